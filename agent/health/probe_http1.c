// SPDX-License-Identifier: Apache-2.0
/* Checks by HTTP: what a response says of the host, and requests and responses of HTTP/1.1. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/health/probe.h"

/* ---- the verdict ---- */

static bool in_ranges(const struct weft_health_range *r, size_t n, uint32_t status)
{
	for (size_t i = 0; i < n; i++) {
		if (status >= r[i].from && status < r[i].end)
			return true;
	}
	return false;
}

static bool is(const uint8_t *name, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(name, text, n);
}

void probe_head_field(struct weft_probe_head *h, const uint8_t *name, size_t n,
		      const uint8_t *value, size_t len)
{
	static const char grpc[] = "application/grpc";

	if (is(name, n, "x-envoy-immediate-health-check-fail")) {
		h->fail = true;
	} else if (is(name, n, "x-envoy-degraded")) {
		h->degraded = true;
	} else if (is(name, n, "x-envoy-upstream-healthchecked-cluster")) {
		if (len < sizeof(h->cluster))
			snprintf(h->cluster, sizeof(h->cluster), "%.*s", (int)len,
				 (const char *)value);
	} else if (is(name, n, "content-type")) {
		h->grpc = len >= sizeof(grpc) - 1 && !memcmp(value, grpc, sizeof(grpc) - 1) &&
			  (len == sizeof(grpc) - 1 || value[sizeof(grpc) - 1] == '+');
	} else if (is(name, n, "grpc-status")) {
		h->has_grpc_status = len && len <= 3;
		h->grpc_status = 0;
		for (size_t i = 0; h->has_grpc_status && i < len; i++) {
			h->has_grpc_status = value[i] >= '0' && value[i] <= '9';
			h->grpc_status = h->grpc_status * 10 + (uint32_t)(value[i] - '0');
		}
	}
}

/* As Envoy: the body first, then the status, then the service's name. */
void probe_http_judge(struct weft_probe *p, bool close)
{
	const struct weft_health_conf *c = p->conf;
	uint32_t status = p->head.status;
	enum weft_probe_end end = WEFT_PROBE_OK;

	if (c->n_receive &&
	    !probe_payload_found(c->receive, c->n_receive, p->body.v, p->body.n)) {
		end = WEFT_PROBE_FAILED;
	} else if (!in_ranges(c->expected, c->n_expected, status)) {
		end = in_ranges(c->retriable, c->n_retriable, status) ? WEFT_PROBE_RETRIABLE
								       : WEFT_PROBE_FAILED;
	} else if (c->match_service) {
		p->verified = true;
		if (!weft_health_service_matches(c, p->head.cluster, strlen(p->head.cluster))) {
			p->head.fail = false; /* of what is no success by status or body alone */
			end = WEFT_PROBE_FAILED;
		}
	}
	probe_end(p, end, close);
}

/* ---- HTTP/1.1 ---- */

static int line_put(struct weft_probe_bytes *b, const char *name, const char *value)
{
	int r = probe_bytes_add(b, name, strlen(name));

	if (!r)
		r = probe_bytes_add(b, ": ", 2);
	if (!r)
		r = probe_bytes_add(b, value, strlen(value));
	return r ? r : probe_bytes_add(b, "\r\n", 2);
}

int probe_http1_request(struct weft_probe *p)
{
	const struct weft_health_conf *c = p->conf;
	struct weft_probe_bytes *b = &p->out;
	char text[32];
	int r = probe_bytes_add(b, c->method, strlen(c->method));

	if (!r)
		r = probe_bytes_add(b, " ", 1);
	if (!r)
		r = probe_bytes_add(b, c->path, strlen(c->path));
	if (!r)
		r = probe_bytes_add(b, " HTTP/1.1\r\n", 11);
	if (!r)
		r = line_put(b, "host", p->host);
	for (size_t i = 0; !r && i < c->n_header; i++)
		r = line_put(b, c->header[i].name, c->header[i].value);
	if (!r && c->send.n) {
		snprintf(text, sizeof(text), "%zu", c->send.n);
		r = line_put(b, "content-length", text);
	}
	if (!r)
		r = probe_bytes_add(b, "\r\n", 2);
	return r ? r : probe_bytes_add(b, c->send.v, c->send.n);
}

static void consume(struct weft_probe_bytes *b, size_t n)
{
	memmove(b->v, b->v + n, b->n - n);
	b->n -= n;
}

static void framing_of(struct weft_probe *p, const struct response *r)
{
	p->keep_alive = r->keep_alive;
	if (!strcmp(p->conf->method, "HEAD") || r->status == 204 || r->status == 304)
		body_init(&p->framing, BODY_NONE, 0);
	else if (r->chunked)
		body_init(&p->framing, BODY_CHUNKED, PROXY_RESPONSE_HEAD_MAX);
	else if (r->has_length)
		body_init(&p->framing, BODY_LENGTH, r->length);
	else
		body_init(&p->framing, BODY_CLOSE, 0);
}

/* 0, -EAGAIN, or another one: it is no response. */
static int head_read(struct weft_probe *p)
{
	static struct response r; /* of the main thread */
	int e;

	do {
		if (!p->in.n)
			return -EAGAIN;
		e = response_parse(p->in.v, p->in.n, &r);
		if (e)
			return e;
		if (r.status == 101)
			return -EBADMSG;
		if (r.status < 200) {
			consume(&p->in, r.len);
			continue;
		}
		p->head.status = r.status;
		for (uint32_t i = 0; i < r.n; i++)
			probe_head_field(&p->head, p->in.v + r.field[i].name, r.field[i].name_len,
					 p->in.v + r.field[i].value, r.field[i].value_len);
		framing_of(p, &r);
		consume(&p->in, r.len);
		p->has_head = true;
		return 0;
	} while (true);
}

static int body_read(struct weft_probe *p)
{
	size_t at = 0, used, len;
	const uint8_t *data;
	int r = 0;

	while (!r && !p->framing.done && at < p->in.n) {
		r = body_step(&p->framing, p->in.v + at, p->in.n - at, &used, &data, &len);
		if (!r)
			r = probe_body_add(p, data, len);
		at += used;
		if (!used)
			break;
	}
	consume(&p->in, at);
	return r;
}

void probe_http1_read(struct weft_probe *p, bool eof)
{
	int r = 0;

	if (!p->running) {
		weft_probe_idle_close(p); /* it closes, or says what nobody asked for */
		return;
	}
	if (!p->has_head)
		r = head_read(p);
	if (!r)
		r = body_read(p);
	if (!r && eof && p->framing.kind == BODY_CLOSE)
		p->framing.done = true;
	if (!r && p->framing.done)
		probe_http_judge(p, eof || !p->keep_alive || p->in.n ||
					    p->framing.kind == BODY_CLOSE);
	else if ((r && r != -EAGAIN) || eof)
		probe_end(p, WEFT_PROBE_NETWORK, true);
}
