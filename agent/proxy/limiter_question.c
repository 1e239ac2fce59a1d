// SPDX-License-Identifier: Apache-2.0
/* Questions to rate limit services: what stands around their message. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

void question_free(struct worker *w, struct question *q)
{
	buf_free(w, &q->message);
	buf_free(w, &q->head);
	free(q->cluster);
	*q = (struct question){0};
}

/* Units that keep it within eight digits (gRPC over HTTP/2). */
static int timeout_line(struct worker *w, struct buf *b, uint32_t ms)
{
	if (!ms)
		return 0;
	return ms < 100000000 ? buf_printf(w, b, "grpc-timeout: %um\r\n", ms)
			      : buf_printf(w, b, "grpc-timeout: %uS\r\n", ms / 1000);
}

static int metadata_lines(struct down *d, const struct weft_req *req,
			  const struct weft_img_service *s, struct buf *out)
{
	const struct weft_img_header *h = s->n_metadata ? weft_img_at(s->metadata) : NULL;
	struct worker *w = d->worker;
	struct format f = {.d = d, .x = d->x, .conn = !req};
	struct buf head = {0}, value = {0};
	int r = s->n_metadata && req ? request_sent(w, req, &head) : 0;

	f.req = req ? buf_at(&head) : NULL;
	f.req_len = buf_len(&head);
	for (uint32_t i = 0; !r && i < s->n_metadata; i++) {
		r = format_value(w, &f, &h[i], &value);
		if (!r)
			r = line_add(w, out, weft_img_at(h[i].name.off), h[i].name.len,
				     buf_at(&value), buf_len(&value));
		buf_consume(w, &value, buf_len(&value));
	}
	buf_free(w, &head);
	buf_free(w, &value);
	return r;
}

/* What Envoy's own client says of itself: that it is an internal one, and its address. */
static int own_lines(struct down *d, const struct weft_img_service *s, struct buf *b)
{
	const struct weft_addr *a = &down_conn(d)->client.addr;
	struct worker *w = d->worker;
	bool v4 = !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
	char ip[INET6_ADDRSTRLEN];
	int r;

	if (s->flags & WEFT_GLOBAL_PLAIN)
		return 0;
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->w[3] : (const void *)a->w,
		       ip, sizeof(ip)))
		return -EINVAL;
	r = buf_printf(w, b, "x-envoy-internal: true\r\nx-forwarded-for: %s\r\n", ip);
	return r || !s->timeout_ms
		       ? r
		       : buf_printf(w, b, "x-envoy-expected-rq-timeout-ms: %u\r\n", s->timeout_ms);
}

int question_complete(struct down *d, const struct weft_req *req, const struct weft_img_service *s,
		      struct question *q)
{
	struct worker *w = d->worker;
	struct buf *b = &q->head;
	int r = buf_printf(
		w, b,
		"POST /envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit HTTP/1.1\r\n"
		"host: %.*s\r\nte: trailers\r\n",
		(int)s->authority.len, (const char *)weft_img_at(s->authority.off));

	wire_end(&q->message);
	if (!r)
		r = timeout_line(w, b, s->timeout_ms);
	if (!r)
		r = buf_printf(w, b, "content-type: application/grpc\r\n");
	if (!r)
		r = metadata_lines(d, req, s, b);
	if (!r)
		r = own_lines(d, s, b);
	q->timeout_ms = s->timeout_ms;
	q->max_bytes = s->max_bytes;
	q->cluster = strndup(weft_img_at(s->name.off), s->name.len);
	return r || !q->cluster ? -ENOMEM : 0;
}
