/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Access logs of the image (bpf/abi/image.h): the agent alone writes them. */

#include "bpf/abi/mapper.h"

/* envoy.data.accesslog.v3.AccessLogType, by its numbers. */
enum weft_log_type {
	WEFT_LOG_NOT_SET,
	WEFT_LOG_TCP_UPSTREAM_CONNECTED,
	WEFT_LOG_TCP_PERIODIC,
	WEFT_LOG_TCP_END,
	WEFT_LOG_DOWNSTREAM_START,
	WEFT_LOG_DOWNSTREAM_PERIODIC,
	WEFT_LOG_DOWNSTREAM_END,
	WEFT_LOG_TUNNEL_ESTABLISHED = 10,
	WEFT_LOG_TCP_START = 14,
};

struct weft_img_log {
	struct weft_img_str path; /* "/dev/stdout", "/dev/stderr", or a file */
	__u32 body;		  /* weft_img_body: what a line is made of */
	__u32 n_test;
	__u32 test; /* struct weft_img_mapper_test[n]; without any every exchange is logged */
	__u32 pad;
};

/* The logs of a connection manager. */
struct weft_img_logs {
	__u32 n;
	__u32 log; /* struct weft_img_log[n] */
	__u32 flags;
	__u32 interval_ms; /* a line each time of what is under way; 0: none */
};
#define WEFT_LOGS_AT_START (1u << 0)  /* also when a request has come */
#define WEFT_LOGS_AT_TUNNEL (1u << 1) /* also when an upgrade is through */
