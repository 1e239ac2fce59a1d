/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Objects of the image for local_reply_config; with one the agent makes every reply. */

#include "bpf/abi/body.h"

/* Envoy's response flags, as %RESPONSE_FLAGS% words them. Of those that nothing here has, the names
 * alone are known. */
#define WEFT_REPLY_FLAGS(X)                                                                        \
	X(LH)                                                                                      \
	X(UH) X(UT) X(LR) X(UR) X(UF) X(UC) X(UO) X(NR) X(DI) X(FI) X(RL) X(UAEX) X(RLSE) X(DC)    \
		X(URX) X(SI) X(IH) X(DPE) X(UMSDR) X(RFCF) X(NFCF) X(DT) X(UPE) X(NC) X(OM) X(DF)  \
			X(DO) X(DR) X(UDO)
enum weft_reply_flag {
#define WEFT_REPLY_FLAG(name) WEFT_FLAG_##name,
	WEFT_REPLY_FLAGS(WEFT_REPLY_FLAG)
#undef WEFT_REPLY_FLAG
		WEFT_FLAG__MAX
};
#define WEFT_FLAG_BIT(name) (1u << WEFT_FLAG_##name)

/* One test of a mapper's filter. */
enum weft_mapper_kind {
	WEFT_MAPPER_ALWAYS = 1, /* value: whether it holds */
	WEFT_MAPPER_AND,	/* of the tests inside it */
	WEFT_MAPPER_OR,
	WEFT_MAPPER_STATUS,   /* op, value */
	WEFT_MAPPER_DURATION, /* op, value in milliseconds */
	WEFT_MAPPER_SHARE,    /* value of `of` requests; op 1: drawn, not by the request's id */
	WEFT_MAPPER_HEADER,   /* value: weft_img_matchers of the request */
	WEFT_MAPPER_FLAGS,    /* value: bits of which one is set, 0: any at all */
	WEFT_MAPPER_GRPC,     /* value: bits of gRPC statuses; op 1: none of them */
	WEFT_MAPPER_TYPE,     /* value: bits of enum weft_log_type (log.h); op 1: none of them */
};
enum weft_mapper_op { WEFT_OP_EQ, WEFT_OP_GE, WEFT_OP_LE, WEFT_OP_NE };
struct weft_img_mapper_test {
	__u32 kind;
	__u32 n; /* tests from this one on that are it and what is inside it */
	__u32 op;
	__u32 value;
	__u32 of;
};

struct weft_img_mapper {
	__u32 n_test;
	__u32 test;   /* struct weft_img_mapper_test[n], what is inside another behind it */
	__u32 status; /* 0: it stays */
	__u32 format; /* weft_img_body, 0: the configuration's */
	__u32 add;    /* struct weft_img_header[n_add] */
	__u32 n_add;
	struct weft_img_str body;
	__u32 has_body;
	__u32 pad;
};

struct weft_img_mapping {
	__u32 n;
	__u32 mapper; /* struct weft_img_mapper[n]: the first that fits */
	__u32 format; /* weft_img_body, 0: the text as it is */
	__u32 pad;
};
