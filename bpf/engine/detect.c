/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* What the first bytes of a connection are: Envoy's tls_inspector and http_inspector. */

#include <errno.h>
#include <string.h>

#include "bpf/engine/engine.h"

/* Envoy's http_inspector gives up on a first line longer than this. */
#define WEFT_DETECT_LINE_MAX 8192u

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* "METHOD target HTTP/x.y" up to its line end, or as much of it as there is. */
static int detect_http1(const __u8 *p, __u32 len)
{
	const __u8 *lf = memchr(p, '\n', len), *end = lf ? lf : p + len, *q = p;
	bool is_10;

	while (q < end && ((*q >= 'A' && *q <= 'Z') || *q == '-'))
		q++;
	if (q == p || q - p > 32 || (q < end && *q != ' '))
		return WEFT_PROTO_RAW;
	if (!lf)
		return len < WEFT_DETECT_LINE_MAX ? -EAGAIN : WEFT_PROTO_RAW;
	while (end > q && end[-1] <= ' ')
		end--;
	if (end - q < 10 || memcmp(end - 8, "HTTP/1.", 7) || end[-9] != ' ')
		return WEFT_PROTO_RAW;
	is_10 = end[-1] == '0';
	return end[-1] == '1' ? WEFT_PROTO_HTTP11 : is_10 ? WEFT_PROTO_HTTP10 : WEFT_PROTO_RAW;
}

static int detect_http(const __u8 *p, __u32 len)
{
	__u32 n = len < sizeof(preface) - 1 ? len : (__u32)sizeof(preface) - 1, all = len;

	if (!memcmp(p, preface, n))
		return n == sizeof(preface) - 1 ? WEFT_PROTO_H2C : -EAGAIN;
	while (len && (*p == '\r' || *p == '\n')) {
		p++;
		len--;
	}
	if (len)
		return detect_http1(p, len);
	return all < WEFT_DETECT_LINE_MAX ? -EAGAIN : WEFT_PROTO_RAW;
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
