/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of weft_kernel, for the files of this folder. */

#include <stdatomic.h>

#include "agent/kernel/kernel.h"
#include "agent/kernel/probe.h"
#include "bpf/engine/engine.h"
#include "weft.skel.h"

/* Programs that attach to the cgroup, in this order: what gives back is there before what takes. */
#define WEFT_CGROUP_PROGRAMS(X) X(sock_release) X(sock_ops) X(getpeername4) X(getpeername6) X(connect6) X(connect4)

/* maps.c: ring_buffer_sample_fn; ctx is the kernel. */
int weft_kernel_on_news(void *ctx, void *data, size_t len);

struct weft_kernel {
	int cgroup_fd; /* also holds the lock */
	int grace_fd;  /* inner map that is put into the map of maps again and again */
	struct weft_bpf *skel;
	struct ring_buffer *news;
	void (*told)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
	void *told_ctx;
	uint8_t *img, *state;
	uint32_t img_size, state_size;
	bool attached;
	struct weft_feature_result feature[WEFT_FEATURE__MAX];
	bool msg_on;	 /* sk_msg judges; else the agent carries everything */
	bool verdict_on; /* the passing verdict program is attached */
	char msg_off_reason[160];
};
