// SPDX-License-Identifier: Apache-2.0
/* Checks by HTTP/2 and gRPC (grpc.health.v1.Health/Check). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/health/probe.h"

#define SERVING 1u

/* A check asks one thing at a time: small windows, Envoy's bounds of what a peer may send. */
static const struct weft_img_h2 options = {.table = 4096,
					   .streams = 1024,
					   .window = 256 * 1024,
					   .session_window = 1024 * 1024,
					   .outbound = 10000,
					   .control = 1000,
					   .empty = 1,
					   .priority = 100,
					   .updates = 10};
/* gRPC's frame around a message: a flag, its length. */
#define GRPC_HEAD 5u

/* ---- frames that come: what they mean is said when all are read ---- */

static bool ours(const struct weft_probe *p, int32_t id)
{
	return p->running && id && id == p->stream;
}

static int on_begin_frame(nghttp2_session *s, const nghttp2_frame_hd *hd, void *arg)
{
	struct weft_probe *p = arg;

	(void)s;
	if (h2_flood_frame(&p->flood, &options, hd))
		return 0;
	p->over = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t n,
		     const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct weft_probe *p = arg;

	(void)s;
	(void)flags;
	if (!ours(p, frame->hd.stream_id))
		return 0;
	if (++p->n_fields > PROXY_RESPONSE_FIELDS_MAX ||
	    (p->n_head += n + len) > PROXY_H2_RESPONSE_HEAD_MAX)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (n != 7 || memcmp(name, ":status", 7) != 0) {
		probe_head_field(&p->head, name, n, value, len);
		return 0;
	}
	p->head.status = 0; /* three digits: nghttp2 sees to it */
	for (size_t i = 0; i < len && i < 3; i++)
		p->head.status = p->head.status * 10 + (uint32_t)(value[i] - '0');
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
	struct weft_probe *p = arg;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	(void)s;
	switch (frame->hd.type) {
	case NGHTTP2_GOAWAY:
		p->goaway = true;
		p->goaway_error |= frame->goaway.error_code != NGHTTP2_NO_ERROR;
		return 0;
	case NGHTTP2_HEADERS:
		if (!ours(p, frame->hd.stream_id))
			return 0;
		/* a status of 1xx is no response yet */
		if (p->head.status >= 200 && !p->has_head) {
			p->has_head = true;
			p->head_only = end;
		} else if (p->has_head) {
			p->trailers = true;
		}
		p->complete |= end;
		return 0;
	case NGHTTP2_DATA:
		if (ours(p, frame->hd.stream_id))
			p->complete |= end;
		return 0;
	default:
		return 0;
	}
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
		   void *arg)
{
	struct weft_probe *p = arg;

	(void)flags;
	nghttp2_session_consume(s, id, len);
	return ours(p, id) && probe_body_add(p, data, len) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_invalid_frame(nghttp2_session *s, const nghttp2_frame *frame, int error, void *arg)
{
	struct weft_probe *p = arg;

	(void)s;
	(void)frame;
	(void)error;
	p->over = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg)
{
	struct weft_probe *p = arg;

	(void)s;
	if (ours(p, id)) {
		p->was_reset = error != NGHTTP2_NO_ERROR && !p->complete;
		p->stream = 0;
	}
	return 0;
}

static int on_sent(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
	struct weft_probe *p = arg;

	(void)s;
	p->flood.n_data_sent += frame->hd.type == NGHTTP2_DATA;
	return 0;
}

static const struct h2_callbacks callbacks = {
	H2_CALLBACKS,
};

/* ---- the request ---- */

static ssize_t body_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct weft_probe *p = arg;
	size_t n = p->request.n - p->request_sent;

	(void)s;
	(void)id;
	(void)source;
	n = n < len ? n : len;
	memcpy(buf, p->request.v + p->request_sent, n);
	p->request_sent += n;
	if (p->request_sent == p->request.n)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* HealthCheckRequest{service} in gRPC's frame. */
static int grpc_message(const char *service, struct weft_probe_bytes *ret)
{
	size_t n = strlen(service), size = n ? n + 2 : 0;
	uint8_t head[GRPC_HEAD] = {0}, len[10];
	size_t k = 0;
	int r;

	for (size_t left = n; n && (k == 0 || left); left >>= 7)
		len[k++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
	size = n ? 1 + k + n : 0;
	for (unsigned int i = 0; i < 4; i++)
		head[1 + i] = (uint8_t)(size >> (24 - 8 * i));
	r = probe_bytes_add(ret, head, sizeof(head));
	if (!r && n)
		r = probe_bytes_add(ret, "\x0a", 1);
	if (!r)
		r = probe_bytes_add(ret, len, k);
	return r ? r : probe_bytes_add(ret, service, n);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int submit(struct weft_probe *p)
{
	const struct weft_health_conf *c = p->conf;
	nghttp2_nv *v = calloc(c->n_header + 5, sizeof(*v));
	nghttp2_data_provider body = {.read_callback = body_read};
	char length[32];
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	v[n++] = nv(":method", c->method);
	v[n++] = nv(":authority", p->host);
	v[n++] = nv(":path", c->path);
	v[n++] = nv(":scheme", "http");
	for (size_t i = 0; i < c->n_header; i++)
		v[n++] = nv(c->header[i].name, c->header[i].value);
	if (c->kind == WEFT_HEALTH_HTTP && c->send.n) {
		snprintf(length, sizeof(length), "%zu", c->send.n);
		v[n++] = nv("content-length", length);
	}
	p->stream = nghttp2_submit_request(p->h2, NULL, v, n, p->request.n ? &body : NULL, NULL);
	free(v);
	return p->stream > 0 ? 0 : -ENOMEM;
}

static int session_open(struct weft_probe *p)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options.table},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window}};

	p->over = p->goaway = p->goaway_error = false;
	p->flood = (struct h2_flood){0};
	if (h2_session_new(&callbacks, &options, true, p, &p->h2) ||
	    nghttp2_submit_settings(p->h2, NGHTTP2_FLAG_NONE, settings,
				    sizeof(settings) / sizeof(*settings)) ||
	    nghttp2_session_set_local_window_size(p->h2, NGHTTP2_FLAG_NONE, 0,
						  (int32_t)options.session_window))
		return -ENOMEM;
	return 0;
}

int probe_h2_request(struct weft_probe *p)
{
	const struct weft_health_conf *c = p->conf;
	int r = p->h2 ? 0 : session_open(p);

	p->complete = p->head_only = p->trailers = p->was_reset = false;
	p->n_fields = 0;
	p->n_head = 0;
	p->request_sent = 0;
	probe_bytes_free(&p->request);
	if (!r)
		r = c->kind == WEFT_HEALTH_GRPC
			    ? grpc_message(c->service, &p->request)
			    : probe_bytes_add(&p->request, c->send.v, c->send.n);
	return r ? r : submit(p);
}

int probe_h2_take(struct weft_probe *p)
{
	while (p->out.n < PROXY_HIGH_WATER) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(p->h2, &data);

		if (n <= 0)
			return n ? -ENOMEM : 0;
		if (probe_bytes_add(&p->out, data, (size_t)n))
			return -ENOMEM;
	}
	return 0;
}

void probe_h2_cancel(struct weft_probe *p)
{
	if (p->stream > 0)
		nghttp2_submit_rst_stream(p->h2, NGHTTP2_FLAG_NONE, p->stream, NGHTTP2_CANCEL);
	p->stream = 0;
}

void probe_h2_close(struct weft_probe *p)
{
	nghttp2_session_del(p->h2);
	p->h2 = NULL;
	p->stream = 0;
	probe_bytes_free(&p->request);
}

/* ---- the answer ---- */

/* A varint at *at; false: it does not end within n. */
static bool varint(const uint8_t *v, size_t n, size_t *at, uint64_t *ret)
{
	*ret = 0;
	for (unsigned int shift = 0; *at < n && shift < 64; shift += 7) {
		uint8_t c = v[(*at)++];

		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

/* HealthCheckResponse.status; UINT64_MAX: it is no such message. */
static uint64_t status_of(const uint8_t *v, size_t n)
{
	uint64_t status = 0, key, value;
	size_t at = 0;

	while (at < n) {
		if (!varint(v, n, &at, &key) || !(key >> 3))
			return UINT64_MAX;
		switch (key & 7) {
		case 0:
			if (!varint(v, n, &at, &value))
				return UINT64_MAX;
			status = key >> 3 == 1 ? value : status;
			break;
		case 1:
		case 5:
			value = key & 4 ? 4 : 8;
			if (value > n - at)
				return UINT64_MAX;
			at += value;
			break;
		case 2:
			if (!varint(v, n, &at, &value) || value > n - at)
				return UINT64_MAX;
			at += value;
			break;
		default:
			return UINT64_MAX;
		}
	}
	return status;
}

bool probe_grpc_serving(const uint8_t *v, size_t n)
{
	bool seen = false, serving = false;
	size_t at = 0;

	while (n - at >= GRPC_HEAD) {
		size_t len = (size_t)v[at + 1] << 24 | (size_t)v[at + 2] << 16 |
			     (size_t)v[at + 3] << 8 | v[at + 4];
		uint8_t flags = v[at];

		at += GRPC_HEAD;
		if (len > n - at)
			return false;
		if (len && (seen || flags))
			return false;
		if (len) {
			seen = true;
			serving = status_of(v + at, len) == SERVING;
		}
		at += len;
	}
	return at == n && serving;
}

/* What a status of HTTP other than 200 is to gRPC is never OK. */
static void grpc_judge(struct weft_probe *p, bool close)
{
	const struct weft_probe_head *h = &p->head;
	bool ended = p->trailers || p->head_only;
	bool ok = h->has_grpc_status && !h->grpc_status && ended &&
		  (h->status == 200 || p->head_only) && h->grpc &&
		  probe_grpc_serving(p->body.v, p->body.n);

	p->head.fail = p->head.degraded = false; /* they mean something over HTTP only */
	probe_end(p, ok ? WEFT_PROBE_OK : WEFT_PROBE_FAILED, close);
}

void probe_h2_read(struct weft_probe *p, bool eof)
{
	ssize_t n = 0;

	if (!p->over && p->in.n)
		n = nghttp2_session_mem_recv(p->h2, p->in.v, p->in.n);
	p->in.n = 0;
	p->over |= n < 0;
	if (!p->running) {
		if (p->over || eof || p->goaway)
			weft_probe_idle_close(p);
		return;
	}
	/* GOAWAY with an error fails the check at hand, one without lets it end */
	if (p->complete && !p->goaway_error) {
		if (p->conf->kind == WEFT_HEALTH_GRPC)
			grpc_judge(p, eof || p->over || p->goaway);
		else
			probe_http_judge(p, eof || p->over || p->goaway);
	} else if (p->was_reset || p->over || eof || p->goaway_error) {
		probe_end(p, WEFT_PROBE_NETWORK, p->over || eof || p->goaway);
	}
}
