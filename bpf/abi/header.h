/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Changes of heads in the image (bpf/abi/image.h), and replies that are made here. */

#include "bpf/abi/table.h"

/* Header lines to add: each "name: value", with append action. */
struct weft_img_headers {
	__u32 n;
	__u32 pad;
	/* struct weft_img_header[n] */
};
struct weft_img_header {
	struct weft_img_str name;  /* lower case */
	struct weft_img_str value; /* when n_piece is 0 */
	__u32 action;		   /* HeaderAppendAction */
	__u32 flags;		   /* WEFT_HEADER_* */
	__u32 n_piece;
	__u32 piece; /* struct weft_img_piece[n]: the value is put together for each message */
};
#define WEFT_HEADER_KEEP_EMPTY (1u << 0) /* keep_empty_value */
/* Envoy keeps this header as one line: what is added is joined to it by a comma. */
#define WEFT_HEADER_JOINS (1u << 1)
#define WEFT_HEADER_DASH (1u << 2) /* a command without a value is "-" */
#define WEFT_APPEND 0u		   /* HeaderAppendAction */
#define WEFT_ADD_IF_ABSENT 1u
#define WEFT_OVERWRITE 2u
#define WEFT_OVERWRITE_IF_EXISTS 3u

/* A part of a header's value: text, or a command of Envoy's substitution formatter. */
enum weft_piece_kind {
	WEFT_PIECE_TEXT = 1, /* a */
	WEFT_PIECE_REQ,	     /* request header a, else b */
	WEFT_PIECE_RESP,     /* response header a, else b */
	WEFT_PIECE_PROTOCOL,
	WEFT_PIECE_START_TIME, /* a: format, none: the default */
	WEFT_PIECE_RESPONSE_CODE,
	WEFT_PIECE_UPSTREAM_CLUSTER,
	WEFT_PIECE_UPSTREAM_PROTOCOL,
	WEFT_PIECE_ATTEMPT_COUNT,
	WEFT_PIECE_ROUTE_NAME,
	WEFT_PIECE_PATH,	/* WEFT_PIECE_* flags */
	WEFT_PIECE_QUERY_PARAM, /* a */
	/* flags say which part of the address */
	WEFT_PIECE_UPSTREAM_REMOTE,
	WEFT_PIECE_UPSTREAM_LOCAL,
	WEFT_PIECE_REMOTE, /* by x-forwarded-for */
	WEFT_PIECE_DIRECT_REMOTE,
	WEFT_PIECE_LOCAL,
	WEFT_PIECE_BODY,	/* of the reply, before it is put into its form */
	WEFT_PIECE_FLAGS,	/* names of its response flags, long ones with WEFT_PIECE_LONG */
	WEFT_PIECE_DETAILS,	/* why it is the response that it is */
	WEFT_PIECE_FAILURE,	/* why the way to the endpoint failed */
	WEFT_PIECE_TERMINATION, /* why the connection was ended */
	WEFT_PIECE_TRAILER,	/* response trailer a, else b */
	WEFT_PIECE_GRPC_STATUS, /* WEFT_PIECE_* flags */
	WEFT_PIECE_BYTES_RECEIVED,
	WEFT_PIECE_BYTES_SENT,
	WEFT_PIECE_DURATION,	     /* of all, in ms as those below */
	WEFT_PIECE_REQUEST_DURATION, /* until all of the request came */
	WEFT_PIECE_REQUEST_TX_DURATION,
	WEFT_PIECE_RESPONSE_DURATION,	 /* until the endpoint began to answer */
	WEFT_PIECE_RESPONSE_TX_DURATION, /* from then on */
	WEFT_PIECE_EMIT_TIME,		 /* a: as START_TIME */
	WEFT_PIECE_STREAM_ID,
	WEFT_PIECE_UNIQUE_ID, /* a UUID for each value */
	WEFT_PIECE_CONNECTION_ID,
	WEFT_PIECE_LOG_TYPE,
	WEFT_PIECE_UPSTREAM_NAME, /* the endpoint's hostname, else its address */
	WEFT_PIECE_CHAIN_NAME,
	WEFT_PIECE_LISTENER_NAME,
	WEFT_PIECE_REQUEST_HEAD, /* bytes of names and values */
	WEFT_PIECE_RESPONSE_HEAD,
	WEFT_PIECE_RESPONSE_TRAILERS,
	WEFT_PIECE_ZERO, /* the number 0 */
};
struct weft_img_piece {
	__u32 kind;
	__u32 max; /* bytes of it that count */
	__u32 flags;
	__u32 pad;
	struct weft_img_str a, b;
};
#define WEFT_PIECE_WHOLE 0xffffffffu /* of max */
#define WEFT_PIECE_NO_PORT (1u << 0) /* addresses */
#define WEFT_PIECE_ONLY_PORT (1u << 1)
#define WEFT_PIECE_NO_QUERY (1u << 2) /* PATH */
#define WEFT_PIECE_ORIGINAL (1u << 3) /* PATH: x-envoy-original-path, not :path */
#define WEFT_PIECE_LONG (1u << 5)     /* FLAGS: UpstreamRequestTimeout, not UT */
#define WEFT_PIECE_SNAKE (1u << 6)    /* GRPC_STATUS: INVALID_ARGUMENT, not InvalidArgument */
#define WEFT_PIECE_NUMBER (1u << 7)   /* GRPC_STATUS: 3 */
#define WEFT_PIECE_BLANKS (1u << 8)   /* DETAILS: blanks stay */
#define WEFT_PIECE_CURRENT (1u << 4)  /* PATH: :path; neither: the original one, else :path */

/* Header mutations in the order they are applied: one element for each level that has some. */
struct weft_img_changes {
	__u32 n;
	__u32 pad;
	/* struct weft_img_change[n] */
};
struct weft_img_change {
	__u32 n_remove;
	__u32 remove; /* struct weft_img_str[n]: names, lower case */
	__u32 n_add;
	__u32 add;   /* struct weft_img_header[n] */
	__u32 level; /* enum weft_level */
	__u32 pad;
};
enum weft_level { WEFT_LEVEL_CLUSTER, WEFT_LEVEL_ROUTE, WEFT_LEVEL_VHOST, WEFT_LEVEL_TABLE };

/* What rules do to the headers of responses. */
struct weft_img_response {
	__u32 changes; /* weft_img_changes, 0: none */
	__u32 flags;   /* WEFT_RESPONSE_FORMED */
	/* what becomes of the changes on a reply made here: complete lines, to be put into it */
	struct weft_img_str lines;
};
/* A reply made here is formed by the agent: values depend on the request, or its own lines are
 * changed. */
#define WEFT_RESPONSE_FORMED (1u << 0)

/*
 * A complete local reply: status line, headers, blank line, body. The date is written over the 29
 * bytes at date_off; `location` (redirects) is inserted at insert_off; the agent inserts
 * "connection: close" lines there as well.
 */
struct weft_img_reply {
	__u16 status;
	__u16 flags;	  /* WEFT_REPLY_CLOSES: Envoy closes the connection after it */
	__u32 date_off;	  /* in data */
	__u32 insert_off; /* in data: where further lines go; only Content-Length: 0 follows */
	__u32 head_off;	  /* in data: where a HEAD request goes on; insert_off, or len when it is
			     worded otherwise */
	__u32 head_len; /* end of what a HEAD request gets, with the blank line; the body follows if
			   head_off is insert_off */
	__u32 len;	/* end of what other requests get */
	__u32 data;	/* offset of the bytes */
	struct weft_img_str details; /* response code details */
	__u32 add;  /* weft_img_headers that data has lines of, of which some replace; 0: they are
		       only added */
	__u32 body; /* weft_img_body that makes its body, from the one in data; 0: that is it */
	struct weft_img_str
		content_type; /* whatever rules say; empty: text/plain, unless they say another */
	__u32 body_len; /* of the body at head_len, also where a status has none; gRPC has it as
			   message */
	__u32 pad;
};
#define WEFT_REPLY_CLOSES 1u
#define WEFT_DATE_LEN 29u
