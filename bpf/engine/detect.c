/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* What the first bytes of a connection are: Envoy's tls_inspector and http_inspector. */

#include <errno.h>
#include <string.h>

#include "bpf/engine/engine.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static int detect_http(const __u8 *p, __u32 len)
{
	__u32 n = len < sizeof(preface) - 1 ? len : (__u32)sizeof(preface) - 1;

	if (!memcmp(p, preface, n))
		return n == sizeof(preface) - 1 ? WEFT_PROTO_H2C : -EAGAIN;
	return weft_http1_inspect(p, len);
}

int weft_proto_detect(const void *data, __u32 len, const struct weft_img_listener *l, __u8 *room,
		      struct weft_hello *ret)
{
	__u32 seen = len < l->hello_max ? len : l->hello_max;
	int r = -EPROTO;

	if (!len)
		return -EAGAIN;
	if (l->flags & WEFT_LISTENER_INSPECT_TLS) {
		r = weft_hello_read(data, seen, room, ret);
		if (!r)
			return WEFT_PROTO_TLS;
		if (r == -EPROTO && l->flags & WEFT_LISTENER_HELLO_CLOSES)
			return -ECONNABORTED;
		if (r != -EPROTO)
			return r == -EAGAIN && seen == l->hello_max ? -ECONNABORTED : r;
	}
	return l->flags & WEFT_LISTENER_INSPECT_HTTP ? detect_http(data, len) : WEFT_PROTO_RAW;
}
