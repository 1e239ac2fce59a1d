/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* What the first bytes of a connection are: Envoy's tls_inspector and http_inspector. */

#include <errno.h>
#include <string.h>

#include "bpf/engine/engine.h"

/* Envoy's http_inspector gives up on a first line longer than this. */
#define WEFT_DETECT_LINE_MAX 8192u

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* A TLS record with a ClientHello: type 22, version 3.x, length, handshake type 1. */
static int detect_tls(const __u8 *p, __u32 len)
{
	if (p[0] != 22 || (len > 1 && p[1] != 3) || (len > 5 && p[5] != 1))
		return 0;
	return len > 5 ? WEFT_PROTO_TLS : -EAGAIN;
}

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

int weft_proto_detect(const void *data, __u32 len)
{
	const __u8 *p = data;
	__u32 n = len < sizeof(preface) - 1 ? len : (__u32)sizeof(preface) - 1;
	int r;

	if (!len)
		return -EAGAIN;
	r = detect_tls(p, len);
	if (r)
		return r;
	if (!memcmp(p, preface, n))
		return n == sizeof(preface) - 1 ? WEFT_PROTO_H2C : -EAGAIN;
	while (len && (*p == '\r' || *p == '\n')) {
		p++;
		len--;
	}
	return len ? detect_http1(p, len) : -EAGAIN;
}
