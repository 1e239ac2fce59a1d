// SPDX-License-Identifier: Apache-2.0
/* Heads of requests for endpoints that speak HTTP/2, and of their responses (RFC 9113 section 8).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/proxy/h2_lines.h"
#include "agent/proxy/mutate.h"
#include "agent/proxy/up.h"

static bool is(const uint8_t *p, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(p, text, n);
}

/* ---- responses ---- */

int up_block_add(struct up_session *s, const uint8_t *name, size_t n, const uint8_t *value,
		 size_t len)
{
	struct up_block *b = &s->block;

	b->n++;
	b->bytes += (uint32_t)(n + len);
	if (b->n > PROXY_RESPONSE_FIELDS_MAX || b->bytes > PROXY_H2_RESPONSE_HEAD_MAX)
		return -E2BIG;
	if (is(name, n, ":status") && len == sizeof(b->status)) {
		memcpy(b->status, value, len);
		return 0;
	}
	return line_add(s->conn->worker, &b->lines, name, n, value, len);
}

void up_block_clear(struct up_session *s)
{
	buf_free(s->conn->worker, &s->block.lines);
	s->block = (struct up_block){0};
}

int up_block_take(struct up_session *s, struct up_stream *st)
{
	struct worker *w = s->conn->worker;
	struct up_block *b = &s->block;
	struct buf *in = &st->up.in;
	/* what an upgrade asked for by HTTP/1.1 is answered as HTTP/1.1 does */
	bool upgraded = st->tunnel && !memcmp(b->status, "200", 3);
	int r = buf_add(w, in, "HTTP/1.1 ", 9);

	if (!r)
		r = buf_add(w, in, upgraded ? "101" : (const char *)b->status, 3);
	if (!r)
		r = buf_add(w, in, " \r\n", 3);
	if (!r && upgraded)
		r = buf_printf(w, in, "upgrade: %s\r\nconnection: upgrade\r\n", st->upgrade);
	if (!r && buf_len(&b->lines))
		r = buf_add(w, in, buf_at(&b->lines), buf_len(&b->lines));
	return r ? r : buf_add(w, in, "\r\n", 2);
}

/* ---- requests ---- */

#define PSEUDO_MAX 5

static nghttp2_nv field(const char *name, const void *value, size_t n)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
			    .value = (uint8_t *)(uintptr_t)value,
			    .namelen = strlen(name),
			    .valuelen = n};
}

/* The value of upgrade among the fields, NULL: none that can be. */
static const nghttp2_nv *upgrade_take(struct up_stream *st, uint8_t *lines, size_t len,
				      nghttp2_nv *ret)
{
	struct buf head = {.data = lines, .end = len};
	struct lines l = {st->up.worker, &head, 0};
	struct line line;

	if (!lines_find(&l, "upgrade", 7, 0, &line) || line.value_len >= sizeof(st->upgrade))
		return NULL;
	memcpy(st->upgrade, lines + line.value, line.value_len);
	st->tunnel = true;
	*ret = field(":protocol", st->upgrade, line.value_len);
	return ret;
}

/* Pseudo headers into the free places, which end at `end`; the host among the others becomes one.
 * Where they begin. */
static nghttp2_nv *pseudo_put(nghttp2_nv *end, size_t *n, const nghttp2_nv *protocol,
			      const char *scheme)
{
	nghttp2_nv *at = end;

	for (size_t i = 0; i < *n; i++) {
		if (!is(end[i].name, end[i].namelen, "host"))
			continue;
		*--at = field(":authority", end[i].value, end[i].valuelen);
		memmove(end + i, end + i + 1, (*n - i - 1) * sizeof(*end));
		(*n)--;
		break;
	}
	if (protocol)
		*--at = *protocol;
	*--at = field(":scheme", scheme, strlen(scheme));
	return at;
}

int up_head_submit(struct up_stream *st, const nghttp2_data_provider *body)
{
	struct upstream *u = &st->up;
	uint8_t *p = buf_at(&u->out);
	uint8_t *end = memmem(p, buf_len(&u->out), "\r\n\r\n", 4);
	uint8_t *lf = end ? memchr(p, '\n', (size_t)(end + 2 - p)) : NULL;
	uint8_t *blank = lf ? memchr(p, ' ', (size_t)(lf - p)) : NULL;
	uint8_t *last = blank ? memrchr(p, ' ', (size_t)(lf - p)) : NULL;
	_auto_free_ nghttp2_nv *nv = NULL;
	const nghttp2_nv *protocol = NULL;
	nghttp2_nv *at, upgrade;
	size_t n;
	ssize_t k;

	if (!last || last == blank)
		return -EBADMSG;
	if (u->x->upgrade) {
		protocol = upgrade_take(st, lf + 1, (size_t)(end + 2 - lf - 1), &upgrade);
		if (!protocol)
			return -EBADMSG;
	}
	k = h2_lines_fields(lf + 1, (size_t)(end + 2 - lf - 1), PSEUDO_MAX, true, &nv);
	if (k < 0)
		return -ENOMEM;
	n = (size_t)k - PSEUDO_MAX;
	at = pseudo_put(nv + PSEUDO_MAX, &n, protocol, u->x->https ? "https" : "http");
	*--at = field(":path", blank + 1, (size_t)(last - blank - 1));
	/* an upgrade is asked for as RFC 8441 has it */
	*--at = protocol ? field(":method", "CONNECT", 7)
			 : field(":method", p, (size_t)(blank - p));
	st->id = nghttp2_submit_request(u->session->session, NULL, at,
					(size_t)(nv + PSEUDO_MAX + n - at), body, st);
	buf_consume(u->worker, &u->out, (size_t)(end + 4 - p));
	if (st->id > 0) {
		u->session->flood.n_streams++;
		return 0;
	}
	/* no number is left for a stream */
	u->session->conn->worn = true;
	st->id = 0;
	return -ENOMEM;
}
