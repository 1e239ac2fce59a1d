// SPDX-License-Identifier: Apache-2.0
/* What happens to a request: its head, its way to a decision, and what the client or the endpoint
 * gets. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "agent/explain_parts.h"
#include "agent/json_out.h"
#include "agent/proxy/preview.h"
#include "agent/proxy/refused.h"

/* ---- the head ---- */

static bool is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("!#$%&'*+-.^_`|~", s[i]))
			return false;
	}
	return len > 0;
}

/* A line break inside an argument would be another header: said, not sent. */
static int words_check(const struct explain *x)
{
	const struct weft_explain_query *q = x->q;

	if (!is_token(q->method, strlen(q->method)))
		return weft_diag_add(x->diag, -EINVAL, "explain", "method", "not a method");
	if (q->path[0] == '\0' || q->path[strcspn(q->path, " \r\n")])
		return weft_diag_add(x->diag, -EINVAL, "explain", "path",
				     "empty, or with a blank in it");
	if (q->host && q->host[strcspn(q->host, "\r\n")])
		return weft_diag_add(x->diag, -EINVAL, "explain", "host",
				     "with a line break in it");
	for (size_t i = 0; q->headers && q->headers[i]; i++) {
		const char *colon = strchr(q->headers[i], ':');

		if (!colon || !is_token(q->headers[i], (size_t)(colon - q->headers[i])) ||
		    colon[strcspn(colon, "\r\n")])
			return weft_diag_add(x->diag, -EINVAL, "explain", "header",
					     "%s is not \"name: value\"", q->headers[i]);
	}
	return 0;
}

static char *head_new(const struct weft_explain_query *q, const char *host, size_t *ret_len)
{
	char *head = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&head, &len);

	if (!f)
		return NULL;
	fprintf(f, "%s %s HTTP/1.1\r\nhost: %s\r\n", q->method, q->path, host);
	for (size_t i = 0; q->headers && q->headers[i]; i++)
		fprintf(f, "%s\r\n", q->headers[i]);
	fputs("\r\n", f);
	if (fclose(f) != 0) {
		free(head);
		return NULL;
	}
	*ret_len = len;
	return head;
}

/* ---- the answer ---- */

/* Header lines and body of a complete reply. */
static void set_reply_text(struct explain *x, const char *text, size_t len)
{
	const char *end = memmem(text, len, "\r\n\r\n", 4), *line, *next;
	json_t *headers = json_array();

	if (!end)
		end = text + len;
	line = memmem(text, (size_t)(end - text), "\r\n", 2);
	for (; line && line < end; line = next) {
		const char *colon;

		line += 2;
		next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
		if (!next)
			next = end;
		colon = memchr(line, ':', (size_t)(next - line));
		if (!colon)
			continue;
		if (colon - line == 8 && strncasecmp(line, "location", 8) == 0)
			explain_set(x, "location",
				    weft_json_bytes(colon + 2, (size_t)(next - colon - 2)));
		/* The date differs from call to call and says nothing here. */
		if (colon - line == 4 && strncasecmp(line, "date", 4) == 0)
			continue;
		json_array_append_new(
			headers, json_pack("[o, o]", weft_json_bytes(line, (size_t)(colon - line)),
					   weft_json_bytes(colon + 2, (size_t)(next - colon - 2))));
	}
	explain_set(x, "headers", headers);
	end = end + 4 <= text + len ? end + 4 : text + len;
	explain_set(x, "body", weft_json_bytes(end, (size_t)(text + len - end)));
}

/* The answer to a head that is refused; parse 0: to one that is sent elsewhere. */
static void set_early(struct explain *x, int parse)
{
	_auto_free_ char *text = NULL;
	size_t len = 0;

	if (weft_proxy_preview_refused(x->req, &x->ctx, parse, &text, &len) < 0) {
		explain_set(x, "status", json_integer(refused_head(x->req, parse).status));
		return;
	}
	explain_set(x, "status", json_integer(strtol(text + strlen("HTTP/1.1 "), NULL, 10)));
	set_reply_text(x, text, len);
}

static void explain_refusal(struct explain *x, int parse)
{
	struct refused a = refused_head(x->req, parse);

	explain_set(x, "action", json_string("local_reply"));
	set_early(x, parse);
	explain_set(x, "details", json_string(a.details));
	explain_step(x, "parse", "the head is refused: %u", a.status);
}

static void set_reply(struct explain *x)
{
	const struct weft_img_reply *reply = weft_img_at(x->req->dec.reply);
	_auto_free_ char *text = NULL;
	size_t len = 0;

	if (x->req->dec.reply)
		explain_set(x, "details", explain_text(&reply->details));
	else if (x->req->dec.outcome == WEFT_OUTCOME_CORS)
		explain_set(x, "details", json_string("cors_response"));
	else if (x->req->dec.outcome == WEFT_OUTCOME_BAD_REQUEST)
		explain_set(x, "details", json_string("request_headers_failed_strict_check"));
	else if (x->req->dec.outcome == WEFT_OUTCOME_UPGRADE_FAILED)
		explain_set(x, "details", json_string("upgrade_failed"));
	else /* worded by a header */
		explain_set(x, "details", json_string("fault_filter_abort"));
	if (weft_proxy_preview(x->req, &x->ctx, &text, &len) < 0) {
		explain_set(
			x, "status",
			json_integer(x->req->dec.reply ? reply->status : x->req->dec.fault_status));
		return;
	}
	/* a gRPC client gets 200 whatever it is (agent/proxy/grpc.h) */
	explain_set(x, "status", json_integer(strtol(text + strlen("HTTP/1.1 "), NULL, 10)));
	set_reply_text(x, text, len);
}

/* Without an agent no name has an address; whether it will have one is not known here. */
static void unresolved_tell(struct explain *x)
{
	const struct weft_decision *d = &x->req->dec;
	const struct weft_img_endpoints *e = d->endpoints ? weft_img_at(d->endpoints) : NULL;
	const struct weft_img_endpoint *v = e && e->n ? weft_img_at(e->endpoint) : NULL;

	for (uint32_t i = 0; e && i < e->n; i++) {
		if (!v[i].addr.family)
			explain_step(x, "cluster", "unresolved: %.*s", (int)v[i].hostname.len,
				     (const char *)weft_img_at(v[i].hostname.off));
	}
}

/* The head as the endpoint would get it; one of the endpoint's own host excepted, which is not
 * chosen here. */
static void set_upstream(struct explain *x, char *text)
{
	json_t *headers = json_array(), *request;
	char *line, *save = NULL, *path, *end;

	line = strtok_r(text, "\r\n", &save);
	path = line ? strchr(line, ' ') : NULL;
	end = path ? strchr(path + 1, ' ') : NULL;
	if (!end) {
		json_decref(headers);
		return;
	}
	*path = *end = '\0';
	request = json_pack("{s:o, s:o}", "method", weft_json_bytes(line, strlen(line)), "path",
			    weft_json_bytes(path + 1, strlen(path + 1)));
	while ((line = strtok_r(NULL, "\r\n", &save))) {
		char *colon = strchr(line, ':');

		if (colon)
			json_array_append_new(
				headers,
				json_pack("[o, o]", weft_json_bytes(line, (size_t)(colon - line)),
					  weft_json_bytes(colon + 2, strlen(colon + 2))));
	}
	json_object_set_new(request, "headers", headers);
	explain_set(x, "upstream_request", request);
}

/* cluster_header, use_hash_policy: which one the request named, or its hash chose. */
static void set_cluster(struct explain *x)
{
	const struct weft_decision *d = &x->req->dec;
	const struct weft_img_forward *f = weft_img_at(d->forward);
	const struct weft_img_target *t = d->target ? weft_img_at(d->target) : NULL;
	const struct weft_img_cluster *c = d->cluster ? weft_img_at(d->cluster) : NULL;

	if (t && t->slot && t->slot != WEFT_SLOT_HASHED && c)
		explain_set(x, "cluster", explain_text(&c->name));
	else if (f->flags & WEFT_FORWARD_BY_HASH && d->hashed)
		explain_set(x, "cluster", explain_text(&t->name));
}

static void set_where(struct explain *x)
{
	const struct weft_decision *d = &x->req->dec;

	if (d->vhost) {
		const struct weft_img_vhost *v = weft_img_at(d->vhost);

		explain_set(x, "virtual_host", explain_text(&v->name));
	}
	if (d->route) {
		const struct weft_img_route *r = weft_img_at(d->route);

		if (r->index == WEFT_NO_ROUTE)
			explain_set(x, "require_tls", json_true());
		else
			explain_set(x, "route",
				    json_pack("{s:I, s:o}", "index", (json_int_t)r->index, "name",
					      explain_text(&r->name)));
	}
	if (d->forward) {
		const struct weft_img_forward *f = weft_img_at(d->forward);

		const struct weft_img_target *t = d->target ? weft_img_at(d->target) : NULL;

		explain_set_targets(x, f->targets);
		set_cluster(x);
		if (t && t->response.changes)
			explain_set(x, "response_header_changes",
				    weft_changes_json(t->response.changes));
		explain_set(x, "timeout_ms", json_integer(f->timeout_ms));
		if (f->n_mirror)
			explain_set(x, "mirrors", weft_image_mirrors(f));
	}
}

/* What limits that are not enforced add to the request on its way. */
static void set_request_headers(struct explain *x)
{
	const struct weft_decision *d = &x->req->dec;
	json_t *list = json_array();

	for (uint32_t i = 0; i < d->n_add; i++) {
		const struct weft_img_headers *headers = weft_img_at(d->add[i]);
		const struct weft_img_header *h = (const void *)(headers + 1);

		for (uint32_t k = 0; k < headers->n; k++)
			json_array_append_new(list, json_pack("[o, o]", explain_text(&h[k].name),
							      explain_text(&h[k].value)));
	}
	explain_set(x, "request_headers", list);
}

/* What the client gets of a response that several faults hold back. */
static uint32_t slowest(const struct weft_decision *d)
{
	uint32_t kbps = d->rate[0].kbps;

	for (uint32_t i = 1; i < d->n_rate; i++)
		kbps = d->rate[i].kbps < kbps ? d->rate[i].kbps : kbps;
	return kbps;
}

/* What hosts of the cluster have to do decides among them: how. */
static void balancing_tell(struct explain *x)
{
	const struct weft_img_cluster *c =
		x->req->dec.cluster ? weft_img_at(x->req->dec.cluster) : NULL;
	const struct weft_img_moving *m = c && c->moving ? weft_img_at(c->moving) : NULL;

	if (c && c->balance_factor)
		explain_step(x, "balancing",
			     "a host above %u %% of its share of active requests gives way",
			     c->balance_factor);
	if (m && m->window_ms)
		explain_step(x, "balancing", "slow start: hosts of less than %u ms weigh less",
			     m->window_ms);
	if (c && c->lb == WEFT_LB_LEAST_REQUEST && m->bias != 1)
		explain_step(x, "balancing", "unequal weights divided by (active requests + 1)^%g",
			     m->bias);
	if (c && c->lb == WEFT_LB_LEAST_REQUEST && c->choice_count == WEFT_CHOICES_ALL)
		explain_step(x, "balancing", "least active requests of all hosts");
}

/* The request as it goes upstream, the caller's to free; NULL: it does not. */
static char *upstream_text(struct explain *x)
{
	char *text = NULL;
	size_t len = 0;
	int r;

	if (x->req->dec.outcome != WEFT_OUTCOME_FORWARD)
		return NULL;
	r = weft_proxy_preview(x->req, &x->ctx, &text, &len);
	if (r == -EHOSTUNREACH) {
		explain_step(x, "cluster", "the hash leads to no healthy endpoint");
		weft_req_no_host(x->req);
	}
	return r ? NULL : text;
}

static void explain_decision(struct explain *x)
{
	_auto_free_ char *upstream = upstream_text(x);
	const struct weft_decision *d = &x->req->dec;

	set_where(x);
	set_request_headers(x);
	explain_set(x, "outcome", json_string(weft_outcome_name((enum weft_outcome)d->outcome)));
	if (d->delay_ms)
		explain_set(x, "delay_ms", json_integer(d->delay_ms));
	if (d->n_rate)
		explain_set(x, "response_kbps", json_integer(slowest(d)));
	switch (d->outcome) {
	case WEFT_OUTCOME_FORWARD:
		explain_set(x, "action", json_string("forward"));
		/* What Envoy logs for an answer that came from an endpoint. */
		explain_set(x, "details", json_string("via_upstream"));
		unresolved_tell(x);
		balancing_tell(x);
		if (upstream)
			set_upstream(x, upstream);
		return;
	case WEFT_OUTCOME_REDIRECT:
		explain_set(x, "action", json_string("redirect"));
		break;
	case WEFT_OUTCOME_DIRECT_RESPONSE:
		explain_set(x, "action", json_string("direct_response"));
		break;
	default:
		explain_set(x, "action", json_string("local_reply"));
		break;
	}
	if (d->reply || d->outcome == WEFT_OUTCOME_FAULT || d->outcome == WEFT_OUTCOME_CORS ||
	    d->outcome == WEFT_OUTCOME_BAD_REQUEST || d->outcome == WEFT_OUTCOME_UPGRADE_FAILED)
		set_reply(x);
}

/* Escaped slashes: the client is sent to the path without them. */
#define EXPLAIN_ELSEWHERE 1000 /* no enum weft_parse */

static void explain_elsewhere(struct explain *x)
{
	const struct weft_span *path = &x->req->value[WEFT_VALUE_PATH];

	explain_set(x, "action", json_string("redirect"));
	explain_set(x, "details", json_string("path_normalization_failed"));
	explain_set(x, "location",
		    weft_json_bytes((const char *)x->req->head + path->off, path->len));
	set_early(x, WEFT_PARSE_OK);
	explain_step(x, "path", "escaped slashes: the client is sent to the path without");
}

/*
 * What the agent does between parser and routes: the path's normal form, and the headers that Envoy
 * has set by then. room: bytes behind the head that live as long as the
 * request, and WEFT_PREPARE_ROOM behind them.
 */
static int prepare(struct weft_req *req, const struct weft_ctx *ctx, unsigned char *room,
		   __u32 size)
{
	int r = weft_req_form_path(req, room, size);

	if (r == 1 && !(req->flags & WEFT_REQ_GRPC))
		return EXPLAIN_ELSEWHERE;
	if (r)
		return WEFT_PARSE_BAD_PATH;
	weft_req_prepare(req, ctx, "00000000-0000-4000-8000-000000000000", room + size,
			 WEFT_PREPARE_ROOM);
	return WEFT_PARSE_OK;
}

static void on_trace(void *ctx, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void on_trace(void *ctx, const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	explain_step_add(ctx, what, fmt, ap);
	va_end(ap);
}

int explain_http(struct explain *x, uint32_t chain, uint32_t listener)
{
	const struct weft_img_listener *l = weft_img_at(listener);
	_auto_free_ char *host = strndup(weft_img_at(l->name.off), l->name.len), *head = NULL;
	_auto_free_ unsigned char *bytes = NULL;
	struct weft_req *req = x->req;
	size_t len, room;
	int r = words_check(x);

	if (r < 0)
		return r;
	head = host ? head_new(x->q, x->q->host ? x->q->host : host, &len) : NULL;
	if (!head)
		return -ENOMEM;
	r = weft_req_begin(req, &x->ctx, chain);
	if (r < 0)
		return weft_diag_add(x->diag, r, "explain", "listener", "the chain has no routes");
	/* Normalising a path can make every byte three. */
	room = (len > req->max_head ? len : req->max_head) + 512;
	bytes = calloc(1, room * 4 + WEFT_PREPARE_ROOM);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, head, len);
	req->head = bytes;
	req->len = (__u32)len;
	req->trace = on_trace;
	req->trace_ctx = x;
	r = weft_http1_parse(req);
	if (r == WEFT_PARSE_OK)
		r = prepare(req, &x->ctx, bytes + room, (__u32)(room * 3 - 512));
	if (r == EXPLAIN_ELSEWHERE) {
		explain_elsewhere(x);
	} else if (r != WEFT_PARSE_OK) {
		explain_refusal(x, r);
	} else if (weft_decide(req, &x->ctx) < 0) {
		r = weft_diag_add(x->diag, -EIO, "explain", "", "no decision: state is missing");
		req->head = NULL;
		return r;
	} else {
		explain_decision(x);
	}
	req->head = NULL;
	return 0;
}
