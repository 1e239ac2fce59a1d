# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The policy engine natively: the headers that the programs include, compiled for this machine.
add_library(weft_engine STATIC engine/native.c engine/detect.c engine/hello.c engine/rules.c engine/path.c engine/joined.c engine/nfa.c engine/removed.c
	engine/asked.c)
target_link_libraries(weft_engine PUBLIC weft_flags m)

# The same headers under BPF_PROG_TEST_RUN, for tests only.
weft_bpf_object(twin twin.bpf.c)
