// SPDX-License-Identifier: Apache-2.0

/*
 * First bytes of connections. The first byte chooses the inspectors and the limit. Held to: what a
 * hello says lies in its own room and is well-formed; a verdict stays, whatever comes behind; a
 * prefix says that more is needed, or the same.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/engine/engine.h"

static void need(int ok)
{
	if (!ok)
		abort();
}

static void check_hello(const struct weft_hello *h, const __u8 *room)
{
	__u32 at = 0;

	need(h->name_len <= WEFT_SERVER_NAME_MAX && !memchr(h->name, 0, h->name_len));
	for (__u32 i = 0; i < h->name_len; i++)
		need(h->name[i] < 'A' || h->name[i] > 'Z');
	if (!h->alpn_len)
		return;
	need(h->alpn >= room && h->alpn + h->alpn_len <= room + WEFT_HELLO_ROOM);
	while (at < h->alpn_len) {
		need(h->alpn[at] > 0);
		at += 1u + h->alpn[at];
	}
	need(at == h->alpn_len);
}

/* On copies whose bounds a sanitizer sees. */
static int detect(const uint8_t *data, size_t n, const struct weft_img_listener *l)
{
	__u8 *bytes = malloc(n ? n : 1), *room = malloc(WEFT_HELLO_ROOM);
	struct weft_hello h;
	int r;

	need(bytes && room);
	memcpy(bytes, data, n);
	r = weft_proto_detect(bytes, (__u32)n, l, room, &h);
	need(r == -EAGAIN || r == -ECONNABORTED || (r >= 0 && r < WEFT_PROTO__MAX));
	if (r == WEFT_PROTO_TLS)
		check_hello(&h, room);
	free(bytes);
	free(room);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weft_img_listener l = {0};
	int whole, r;
	size_t step;

	if (!size)
		return 0;
	l.flags = data[0] & (WEFT_LISTENER_INSPECT_HTTP | WEFT_LISTENER_INSPECT_TLS |
			     WEFT_LISTENER_HELLO_CLOSES);
	l.hello_max = data[0] & 128 ? 256 : WEFT_HELLO_MAX;
	data++;
	size--;
	whole = detect(data, size, &l);
	step = size / 256 + 1; /* each cut of a short one, some of a long one */
	for (size_t n = 0; n < size; n += step) {
		r = detect(data, n, &l);
		need(r == -EAGAIN || r == whole);
	}
	return 0;
}
