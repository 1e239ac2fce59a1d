// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One object for all attach points: they share maps, settings and the engine, whose functions the linker could not merge.
 */

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#include "bpf/engine/all.h"
#include "bpf/maps.h"
#include "bpf/again.h"

#include "bpf/connect.bpf.c"
#include "bpf/sockops.bpf.c"
#include "bpf/msg.bpf.c"
#include "bpf/skb.bpf.c"
