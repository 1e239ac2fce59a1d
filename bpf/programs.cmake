# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The programs and their skeletons: weft.skel.h (everything that runs) and probe.skel.h (feature tests).
weft_bpf_object(weft weft.bpf.c)
weft_bpf_object(probe probe.bpf.c)
