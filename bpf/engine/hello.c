/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * What a TLS ClientHello asks for: Envoy's tls_inspector, which gives the first bytes to
 * BoringSSL's server and looks no further than the server name. What that server would refuse
 * before it is no TLS.
 */

#include <errno.h>
#include <string.h>

#include "bpf/engine/engine.h"

#define RECORD_HEAD 5u
#define RECORD_MAX 16704u /* BoringSSL's, with room for a cipher's overhead */
#define EMPTY_RECORDS_MAX 32u
#define WARNINGS_MAX 4u
#define MESSAGE_HEAD 4u
#define RANDOM_LEN 32u
#define SESSION_ID_MAX 32u
#define V2_HELLO_MAX 4096u
#define V2_HELLO_MIN 3u
#define V2_CIPHER_LEN 3u
#define TLS10 0x0301u
#define TLS13 0x0304u

enum record_type { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22 };
enum alert { ALERT_WARNING = 1, ALERT_CLOSE_NOTIFY = 0 };
enum message_type { CLIENT_HELLO = 1 };
enum extension { EXT_SERVER_NAME = 0, EXT_ALPN = 16 };

/* Bytes that are taken from the front. */
struct span {
	const __u8 *p;
	__u32 n;
};

static bool take(struct span *s, __u32 n, struct span *ret)
{
	if (s->n < n)
		return false;
	*ret = (struct span){s->p, n};
	s->p += n;
	s->n -= n;
	return true;
}

/* A number of `width` bytes, most significant first. */
static bool number(struct span *s, __u32 width, __u32 *ret)
{
	struct span t;

	if (!take(s, width, &t))
		return false;
	*ret = 0;
	for (__u32 i = 0; i < width; i++)
		*ret = *ret << 8 | t.p[i];
	return true;
}

/* What a length of `width` bytes stands before. */
static bool vector(struct span *s, __u32 width, struct span *ret)
{
	__u32 n;

	return number(s, width, &n) && take(s, n, ret);
}

/* ---- records ---- */

/* What has been taken of the first handshake message, and of what else may come before its end. */
struct gather {
	__u8 *room;
	__u32 have, empty, warnings;
};

/* RFC 5246 7.2: warnings are passed over, but not for ever. 0: it was one. */
static int alert_take(struct gather *g, struct span body)
{
	if (body.n != 2 || body.p[0] != ALERT_WARNING)
		return -EPROTO;
	if (body.p[1] == ALERT_CLOSE_NOTIFY)
		return -ECONNABORTED;
	return ++g->warnings > WARNINGS_MAX ? -EPROTO : 0;
}

/* The next whole record; 0: it was taken. */
static int record_take(struct gather *g, struct span *in)
{
	struct span body;
	__u32 len;

	if (in->n < RECORD_HEAD)
		return -EAGAIN;
	len = (__u32)in->p[3] << 8 | in->p[4];
	if (in->p[1] != 3 || len > RECORD_MAX)
		return -EPROTO;
	if (in->n - RECORD_HEAD < len)
		return -EAGAIN;
	body = (struct span){in->p + RECORD_HEAD, len};
	if (in->p[0] == RECORD_ALERT && len) {
		in->p += RECORD_HEAD + len;
		in->n -= RECORD_HEAD + len;
		return alert_take(g, body);
	}
	if (in->p[0] != RECORD_HANDSHAKE || (!len && ++g->empty > EMPTY_RECORDS_MAX) ||
	    g->have + len > WEFT_HELLO_ROOM)
		return -EPROTO;
	memcpy(g->room + g->have, body.p, len);
	g->have += len;
	in->p += RECORD_HEAD + len;
	in->n -= RECORD_HEAD + len;
	return 0;
}

/* The first handshake message, put together in room. 0: *ret is what is behind its head. */
static int message_gather(struct span in, __u8 *room, struct span *ret)
{
	struct gather g = {.room = room};
	__u32 want;
	int r;

	do {
		r = record_take(&g, &in);
		if (r)
			return r;
		want = g.have < MESSAGE_HEAD ? 0
					     : (__u32)room[1] << 16 | (__u32)room[2] << 8 | room[3];
		if (want > WEFT_HELLO_MAX)
			return -EPROTO;
	} while (g.have < MESSAGE_HEAD || g.have < MESSAGE_HEAD + want);
	*ret = (struct span){room + MESSAGE_HEAD, want};
	/* a client says no more before it is answered */
	return g.have > MESSAGE_HEAD + want || room[0] != CLIENT_HELLO ? -EPROTO : 0;
}

/* ---- the message ---- */

static bool message_parse(struct span in, __u32 *ret_version, struct span *ret_extensions)
{
	struct span skipped, ciphers, compressions;

	*ret_extensions = (struct span){NULL, 0};
	if (!number(&in, 2, ret_version) || !take(&in, RANDOM_LEN, &skipped) ||
	    !vector(&in, 1, &skipped) || skipped.n > SESSION_ID_MAX || !vector(&in, 2, &ciphers) ||
	    ciphers.n < 2 || ciphers.n % 2 || !vector(&in, 1, &compressions) || !compressions.n)
		return false;
	/* there are none, or they are all that is left */
	return !in.n || (vector(&in, 2, ret_extensions) && !in.n);
}

/* Is it there? In extensions that are checked. */
static bool extension_find(struct span in, __u32 type, struct span *ret)
{
	__u32 t;

	while (number(&in, 2, &t) && vector(&in, 2, ret)) {
		if (t == type)
			return true;
	}
	return false;
}

/* No type twice (RFC 8446 4.2), and each whole. */
static bool extensions_check(struct span in)
{
	struct span body;
	__u8 seen[65536 / 8] = {0};
	__u32 t;

	while (in.n) {
		if (!number(&in, 2, &t) || !vector(&in, 2, &body) || seen[t / 8] & 1u << t % 8)
			return false;
		seen[t / 8] |= (__u8)(1u << t % 8);
	}
	return true;
}

/* RFC 6066 3: a list, of one host name. */
static bool name_read(struct span extensions, struct weft_hello *ret)
{
	struct span ext, list, name;
	__u32 type;

	ret->name_len = 0;
	if (!extension_find(extensions, EXT_SERVER_NAME, &ext))
		return true;
	if (!vector(&ext, 2, &list) || ext.n || !number(&list, 1, &type) ||
	    !vector(&list, 2, &name) || list.n || type || !name.n ||
	    name.n > WEFT_SERVER_NAME_MAX || memchr(name.p, 0, name.n))
		return false;
	for (__u32 i = 0; i < name.n; i++)
		ret->name[i] =
			(char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
	ret->name_len = name.n;
	return true;
}

/* RFC 7301 3.1. One that is malformed is for the server to refuse: here it is none. */
static void alpn_read(struct span extensions, struct weft_hello *ret)
{
	struct span ext, list, all, one;

	ret->alpn = NULL;
	ret->alpn_len = 0;
	if (!extension_find(extensions, EXT_ALPN, &ext) || !vector(&ext, 2, &list) || ext.n ||
	    list.n < 2)
		return;
	all = list;
	while (list.n) {
		if (!vector(&list, 1, &one) || !one.n)
			return;
	}
	ret->alpn = all.p;
	ret->alpn_len = all.n;
}

/* ---- SSL 2's form of it (RFC 5246 E.2), which has no names ---- */

static bool is_v2(const __u8 *p)
{
	return p[0] & 0x80 && p[2] == CLIENT_HELLO && p[3] == 3;
}

static bool v2_suits(struct span ciphers)
{
	bool some = false;
	struct span one;

	if (ciphers.n % V2_CIPHER_LEN)
		return false;
	while (take(&ciphers, V2_CIPHER_LEN, &one))
		some = some || !one.p[0]; /* of TLS; others are passed over */
	return some;
}

static int v2_read(struct span in, __u32 *ret_version)
{
	__u32 len = ((__u32)in.p[0] & 0x7f) << 8 | in.p[1], type, ciphers_len, id_len,
	      challenge_len;
	struct span all, ciphers, skipped;

	if (len > V2_HELLO_MAX || len < V2_HELLO_MIN)
		return -EPROTO;
	if (in.n - 2 < len)
		return -EAGAIN;
	all = (struct span){in.p + 2, len};
	if (!number(&all, 1, &type) || !number(&all, 2, ret_version) ||
	    !number(&all, 2, &ciphers_len) || !number(&all, 2, &id_len) ||
	    !number(&all, 2, &challenge_len) || !take(&all, ciphers_len, &ciphers) ||
	    !take(&all, id_len, &skipped) || !take(&all, challenge_len, &skipped) || all.n ||
	    !v2_suits(ciphers))
		return -EPROTO;
	return 0;
}

int weft_hello_read(const void *data, __u32 len, __u8 *room, struct weft_hello *ret)
{
	struct span in = {data, len}, all, extensions = {NULL, 0};
	__u32 version = 0;
	int r;

	if (len < RECORD_HEAD)
		return -EAGAIN;
	if (is_v2(data))
		r = v2_read(in, &version);
	else
		r = message_gather(in, room, &all);
	if (r)
		return r;
	if (!is_v2(data) &&
	    (!message_parse(all, &version, &extensions) || !extensions_check(extensions)))
		return -EPROTO;
	if (!name_read(extensions, ret))
		return -EPROTO;
	/* what is no version of TLS: Envoy closes */
	if (version < TLS10 || version > TLS13)
		return -ECONNABORTED;
	alpn_read(extensions, ret);
	return 0;
}
