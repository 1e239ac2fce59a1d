// SPDX-License-Identifier: Apache-2.0
#include "agent/explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"
#include "agent/explain_parts.h"
#include "agent/json_out.h"
#include "xds/clock.h"

json_t *explain_text(const struct weft_img_str *s)
{
	return s->off ? weft_json_bytes(weft_img_at(s->off), s->len) : json_string("");
}

void explain_step_add(struct explain *x, const char *what, const char *fmt, va_list ap)
{
	_auto_free_ char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		return;
	json_array_append_new(x->steps, json_pack("{s:s, s:o}", "step", what, "text",
						  weft_json_bytes(text, strlen(text))));
}

void explain_step(struct explain *x, const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	explain_step_add(x, what, fmt, ap);
	va_end(ap);
}

void explain_set(struct explain *x, const char *key, json_t *value)
{
	json_object_set_new(x->out, key, value);
}

/* ---- targets ---- */

void explain_set_targets(struct explain *x, uint32_t off)
{
	const struct weft_img_targets *t = weft_img_at(off);
	const struct weft_img_target *target = (const void *)(t + 1);
	json_t *list;

	if (t->n == 1) {
		explain_set(x, "cluster", explain_text(&target->name));
		return;
	}
	list = json_array();
	for (uint32_t i = 0; i < t->n; i++)
		json_array_append_new(list,
				      json_pack("{s:o, s:I}", "name", explain_text(&target[i].name),
						"weight", (json_int_t)target[i].weight));
	explain_set(x, "weighted_clusters", list);
}

/* ---- TCP ---- */

/* Why connect() is refused, in the words of the counters. */
static void set_refused(struct explain *x, enum weft_outcome outcome)
{
	explain_set(x, "action", json_string("refused"));
	explain_set(x, "details", json_string(weft_outcome_name(outcome)));
	explain_step(x, "class", "connect() is refused: %s", weft_outcome_name(outcome));
}

static void explain_tcp(struct explain *x, uint32_t chain_off)
{
	const struct weft_img_chain *chain = weft_img_at(chain_off);
	const struct weft_img_targets *t = weft_img_at(chain->target);
	struct weft_tcp tcp = {0};
	char text[INET6_ADDRSTRLEN];

	explain_set_targets(x, chain->target);
	if (t->n > 1) {
		/* Each of them may be refused or not: what one draw would give says little. */
		explain_set(x, "action", json_string("tcp"));
		explain_step(x, "tcp", "to one of %u clusters by weight", t->n);
		return;
	}
	if (weft_tcp_choose(&x->ctx, chain_off, &tcp) < 0) {
		explain_step(x, "tcp", "state %u is missing", tcp.need);
		return;
	}
	if (tcp.outcome != WEFT_OUTCOME_FORWARD) {
		set_refused(x, (enum weft_outcome)tcp.outcome);
	} else if (!tcp.endpoint) {
		explain_set(x, "action", json_string("passthrough"));
		explain_step(x, "tcp", "to the address the app asked for");
	} else {
		explain_set(x, "action", json_string("tcp"));
		if (tcp.addr.family)
			explain_step(x, "tcp", "an endpoint, for instance %s port %u",
				     weft_addr_text(&tcp.addr.addr, text), tcp.addr.port);
		else
			explain_step(x, "tcp", "an endpoint whose name is not resolved here");
	}
}

/* ---- the connection ---- */

/* Which chains other first bytes would take, where they are looked at. */
static void other_protocols(struct explain *x, uint32_t chosen)
{
	static const char *const names[WEFT_PROTO__MAX] = {"other", "TLS", "HTTP/1.0", "HTTP/1.1",
							   "HTTP/2"};

	for (int p = 0; p < WEFT_PROTO__MAX; p++) {
		uint32_t off = weft_chain_find(&x->ctx, (enum weft_proto)p);
		const struct weft_img_chain *chain = off ? weft_img_at(off) : NULL;

		if (!chain)
			explain_step(x, "chain", "%s bytes: none, closed", names[p]);
		else if (off != chosen)
			explain_step(x, "chain", "%s bytes: chain \"%.*s\" (%s)", names[p],
				     (int)chain->name.len,
				     (const char *)weft_img_at(chain->name.off),
				     chain->kind == WEFT_CHAIN_TCP ? "tcp" : "http");
	}
}

/* What its first bytes would be, where they are looked at. */
static enum weft_proto proto_of(const struct explain *x, uint32_t inspectors)
{
	if (x->q->server_name && inspectors & WEFT_LISTENER_INSPECT_TLS)
		return WEFT_PROTO_TLS;
	return inspectors & WEFT_LISTENER_INSPECT_HTTP && !x->q->server_name ? WEFT_PROTO_HTTP11
									     : WEFT_PROTO_RAW;
}

/* The class as connect() fixes it, then what the connection's first bytes choose. */
static int explain_connection(struct explain *x)
{
	const struct weft_img_listener *l = weft_img_at(x->ctx.listener);
	const struct weft_img_chain *chain;
	enum weft_class class_id;
	uint32_t chain_off = 0;

	explain_set(x, "listener", explain_text(&l->name));
	explain_step(x, "listener", "%.*s", (int)l->name.len,
		     (const char *)weft_img_at(l->name.off));
	class_id = weft_class_find(&x->ctx, &chain_off);
	explain_set(x, "class", json_string(weft_class_name(class_id)));
	if (class_id == WEFT_CLASS_BYPASS) {
		explain_set(x, "action", json_string("passthrough"));
		return 0;
	}
	if (class_id != WEFT_CLASS_L4 && class_id != WEFT_CLASS_REFUSED)
		chain_off = weft_chain_find(&x->ctx, proto_of(x, l->flags));
	if (!chain_off) {
		set_refused(x, WEFT_OUTCOME_REFUSED_NO_CHAIN);
		return 0;
	}
	chain = weft_img_at(chain_off);
	explain_set(x, "chain", explain_text(&chain->name));
	if (l->flags & (WEFT_LISTENER_INSPECT_HTTP | WEFT_LISTENER_INSPECT_TLS))
		other_protocols(x, chain_off);
	if (chain->kind == WEFT_CHAIN_TCP) {
		explain_tcp(x, chain_off);
		return 0;
	}
	return explain_http(x, chain_off, x->ctx.listener);
}

static int hello_fill(const struct explain *x, struct weft_hello *ret)
{
	const char *name = x->q->server_name ? x->q->server_name : "";
	size_t n = strlen(name);

	if (n > WEFT_SERVER_NAME_MAX)
		return weft_diag_add(x->diag, -EINVAL, "explain", "server_name",
				     "longer than %u bytes", WEFT_SERVER_NAME_MAX);
	*ret = (struct weft_hello){.name_len = (uint32_t)n};
	for (size_t i = 0; i < n; i++)
		ret->name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	return 0;
}

static int explain_find(struct explain *x)
{
	struct weft_listener_ref ref = {0};
	struct weft_hello hello;
	int r = hello_fill(x, &hello);

	if (r < 0)
		return r;
	x->ctx.hello = &hello;

	x->ctx.pod = x->q->pod;
	x->ctx.view = x->q->view;
	x->ctx.now_ns = weft_clock_ns(CLOCK_MONOTONIC);
	x->ctx.flags = WEFT_CTX_EXPLAIN;
	x->ctx.src.addr = x->q->source;
	if (weft_addr_is_zero(&x->q->source) && weft_addr_parse("127.0.0.1", &x->ctx.src.addr) < 0)
		return -EINVAL;
	x->ctx.src.family = weft_addr_is_v4(&x->ctx.src.addr) ? AF_INET : AF_INET6;
	if (weft_ctx_begin(&x->ctx) < 0)
		return weft_diag_add(x->diag, -ENOENT, "explain", "",
				     "no configuration is in force");
	r = weft_listener_locate(x->ctx.view_off, x->q->listener, x->diag, &ref);
	if (r < 0)
		return r;
	x->ctx.dst = ref.dst;
	x->ctx.listener = ref.off;
	if (ref.off == 0 && weft_listener_find(&x->ctx) < 0) {
		explain_set(x, "action", json_string("passthrough"));
		explain_set(x, "class", json_string(weft_class_name(WEFT_CLASS_BYPASS)));
		explain_step(x, "listener", "none has this address: the connection is left alone");
		return 0;
	}
	return explain_connection(x);
}

int weft_explain(const struct weft_explain_query *q, struct weft_diag *diag, json_t **ret)
{
	struct explain x = {.q = q, .diag = diag};
	int r = -ENOMEM;

	x.out = json_object();
	x.steps = json_array();
	x.req = calloc(1, sizeof(*x.req));
	if (x.out && x.steps && x.req)
		r = explain_find(&x);
	free(x.req);
	if (r < 0) {
		json_decref(x.out);
		json_decref(x.steps);
		return r;
	}
	explain_set(&x, "steps", x.steps);
	*ret = x.out;
	return 0;
}
