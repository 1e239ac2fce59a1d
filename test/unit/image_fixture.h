// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Small images by hand, for tests of the engine: a bump allocator on a bound block of memory. Nothing here knows the
 * compiler. Offsets are image offsets; strings have the slack the engine reads.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bpf/engine/engine.h"

#define FIX_IMG_SIZE (8u << 20)
#define FIX_STATE_SIZE (2u << 20)
#define FIX_POD 7u

struct fix {
	__u8 *img, *state;
	__u32 used;
	__u32 n_cell;
};

static struct fix fix __attribute__((unused));

static inline void fix_open_on(void *img, void *state)
{
	struct weft_img_head *h = img;

	fix = (struct fix){ .img = img, .state = state, .used = sizeof(*h), .n_cell = 1 };
	h->magic = WEFT_IMG_MAGIC;
	h->abi = WEFT_ABI_VERSION;
	assert_int_equal(weft_state_layout(state, FIX_STATE_SIZE, 64, 256, 16), 0);
	memcpy(((struct weft_state_head *)state)->date[0], "Sun, 06 Nov 1994 08:49:37 GMT", 30);
	weft_engine_bind(img, FIX_IMG_SIZE - 1, state, FIX_STATE_SIZE - 1);
}

static inline void fix_open(void)
{
	fix_open_on(calloc(1, FIX_IMG_SIZE + WEFT_IMAGE_SLACK),
		    calloc(1, FIX_STATE_SIZE + WEFT_STATE_SLACK));
}

static inline void fix_close(void)
{
	free(fix.img);
	free(fix.state);
	fix = (struct fix){ 0 };
}

/* An object of these bytes and `more` zero ones. */
static inline __u32 fix_put(const void *bytes, size_t len, size_t more)
{
	__u32 off = (fix.used + 7) & ~7u;

	assert_true(off + len + more + 8 < FIX_IMG_SIZE);
	if (bytes)
		memcpy(fix.img + off, bytes, len);
	fix.used = off + (__u32)(len + more) + 8;
	return off;
}
#define FIX_PUT(x) fix_put(&(x), sizeof(x), 0)
#define FIX_AT(type, off) ((type *)(void *)(fix.img + (off)))

static inline struct weft_img_str fix_str(const char *s)
{
	return (struct weft_img_str){ fix_put(s, strlen(s), 8), (__u32)strlen(s) };
}

/* The cell of (FIX_POD, id), made when missing: what agent/store does. */
static inline __u32 fix_cell(__u32 id)
{
	struct weft_state_head *h = (void *)fix.state;
	struct weft_dir_ent *dir = (void *)(fix.state + h->dir);
	__u32 i = weft_hash_cell(FIX_POD, id), cell = weft_cell_find(FIX_POD, id);

	if (cell)
		return cell;
	while (dir[i & (h->n_dir - 1)].key)
		i++;
	cell = h->cell + fix.n_cell++ * WEFT_CELL_SIZE;
	dir[i & (h->n_dir - 1)].cell = cell;
	dir[i & (h->n_dir - 1)].key = (__u64)FIX_POD << 32 | id;
	return cell;
}

static inline __u32 fix_tab(__u32 n)
{
	struct weft_img_tab t = { .mask = n - 1 };

	return fix_put(&t, sizeof(t), n * sizeof(struct weft_img_ent));
}

static inline void fix_tab_add(__u32 tab, enum weft_kind kind, __u32 hash, const char *key, __u32 val)
{
	struct weft_img_tab *t = FIX_AT(struct weft_img_tab, tab);
	struct weft_img_ent *e = (void *)(t + 1);
	__u32 i = hash;

	while (e[i & t->mask].kind)
		i++;
	e[i & t->mask] = (struct weft_img_ent){
		.hash = hash, .str = fix_str(key).off, .len = (__u16)strlen(key),
		.kind = (__u16)kind, .val = val
	};
}

static inline __u32 fix_addr_tab(__u32 n)
{
	struct weft_img_addr_tab t = { .mask = n - 1 };

	return fix_put(&t, sizeof(t), n * sizeof(struct weft_img_addr_ent));
}

static inline void fix_addr_tab_add(__u32 tab, struct weft_addr a, __u32 port, __u32 val)
{
	struct weft_img_addr_tab *t = FIX_AT(struct weft_img_addr_tab, tab);
	struct weft_img_addr_ent *e = (void *)(t + 1);
	__u32 i = weft_hash_addr(&a, port);

	while (e[i & t->mask].port)
		i++;
	e[i & t->mask] = (struct weft_img_addr_ent){ a, port, val };
}

static inline struct weft_addr fix_v4(__u8 a, __u8 b, __u8 c, __u8 d)
{
	return (struct weft_addr){
		{ 0, 0, 0xffff0000u, (__u32)a | (__u32)b << 8 | (__u32)c << 16 | (__u32)d << 24 }
	};
}

/* A reply with this status, further header lines ("x: y\r\n") and body. */
static inline __u32 fix_reply(int status, const char *lines, const char *body)
{
	char text[8192];
	int date = snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\ndate: ", status);
	int ins = date + snprintf(text + date, sizeof(text) - (size_t)date,
				  "%29s\r\nserver: envoy\r\ncontent-length: %zu\r\n%s", "",
				  strlen(body), lines);
	int head = ins + snprintf(text + ins, sizeof(text) - (size_t)ins, "\r\n");
	struct weft_img_reply r = { .status = (__u16)status,
				    .date_off = (__u32)date,
				    .insert_off = (__u32)ins,
				    .head_off = (__u32)ins,
				    .head_len = (__u32)head };

	strcpy(text + head, body);
	r.len = (__u32)strlen(text);
	r.data = fix_put(text, strlen(text), 8);
	return FIX_PUT(r);
}

/* ---- paths: a compressed trie is hard by hand, so here it is one byte per node ---- */

struct fix_route {
	const char *path;
	int exact;	/* path, else prefix */
	__u32 route;	/* weft_img_route */
	int has_conds;
};

static inline __u32 fix_accept(const struct fix_route *r, __u32 n, const char *at, int exact_too)
{
	struct { struct weft_img_accept a; struct weft_img_candidate c[256]; } o = {
		.a = { .best = WEFT_NO_ROUTE }
	};
	int any = 0;

	for (__u32 i = 0; i < n; i++) {
		int fits = r[i].exact ? exact_too && !strcmp(r[i].path, at) :
					!strncmp(r[i].path, at, strlen(r[i].path));

		if (!fits)
			continue;
		any = 1;
		if (!r[i].has_conds) {
			o.a.best = i;
			o.a.best_route = r[i].route;
			break;
		}
		o.c[o.a.n++] = (struct weft_img_candidate){ i, r[i].route };
	}
	return any ? fix_put(&o, sizeof(o.a) + o.a.n * sizeof(o.c[0]), 0) : 0;
}

/* The node for the path `at`, whose last byte is its label, and all below. */
static inline __u32 fix_node(const struct fix_route *r, __u32 n, const char *at)
{
	size_t len = strlen(at);
	struct { struct weft_img_node n; __u32 child[256]; } o = { .n = { .child_mask = 255 } };
	__u32 off;

	if (len) {
		o.n.label8 = (__u8)at[len - 1];
		o.n.label = fix_put(at + len - 1, 1, 8);
		o.n.len = 1;
	}
	o.n.accept = fix_accept(r, n, at, 0);
	o.n.accept_exact = fix_accept(r, n, at, 1);
	off = fix_put(&o, sizeof(o), 0);
	for (__u32 i = 0; i < n; i++) {
		char longer[256];
		__u32 *child, next;

		if (strncmp(r[i].path, at, len) || strlen(r[i].path) <= len)
			continue;
		snprintf(longer, sizeof(longer), "%.*s", (int)len + 1, r[i].path);
		child = &FIX_AT(__u32, off + sizeof(struct weft_img_node))[(__u8)r[i].path[len]];
		if (*child)
			continue;
		next = fix_node(r, n, longer);
		*child = next;
	}
	return off;
}

static inline __u32 fix_vhost(const char *name, const struct fix_route *r, __u32 n)
{
	struct weft_img_vhost v = { .name = fix_str(name), .n_route = n };

	for (__u32 i = 0; i < n; i++)
		FIX_AT(struct weft_img_route, r[i].route)->index = i;
	v.trie = fix_node(r, n, "");
	return FIX_PUT(v);
}

static inline __u32 fix_direct(__u32 reply)
{
	struct weft_img_route r = {
		.name = fix_str("r"), .action_kind = WEFT_ACTION_DIRECT, .action = reply
	};

	return FIX_PUT(r);
}

static inline __u32 fix_targets(__u32 n, const __u32 *cluster, const __u32 *weight)
{
	struct { struct weft_img_targets t; struct weft_img_target e[8]; } o = { .t = { .n = n } };

	for (__u32 i = 0; i < n; i++) {
		o.t.total += weight[i];
		o.e[i] = (struct weft_img_target){ .name = fix_str("c"), .cluster = cluster[i],
						   .weight = weight[i], .end = o.t.total };
	}
	return fix_put(&o, sizeof(o.t) + n * sizeof(o.e[0]), 0);
}

static inline __u32 fix_forward(__u32 cluster)
{
	struct weft_img_forward f = { .targets = fix_targets(1, &cluster, (__u32[]){ 1 }),
				      .no_cluster = WEFT_REPLY_NO_CLUSTER_503 };
	struct weft_img_route r = { .name = fix_str("f"), .action_kind = WEFT_ACTION_FORWARD };

	r.action = FIX_PUT(f);
	return FIX_PUT(r);
}

static inline void fix_conds(__u32 route, const struct weft_img_cond *c, __u32 n)
{
	__u32 off = fix_put(c, n * sizeof(*c), 0);

	FIX_AT(struct weft_img_route, route)->cond = off;
	FIX_AT(struct weft_img_route, route)->n_cond = n;
}

static inline __u32 fix_endpoints(__u32 n, const __u32 *weights, __u32 first_cell)
{
	struct weft_img_endpoint e[16] = { 0 };
	__u32 host[16];
	struct weft_img_host_set s = { .load_end = 100, .n_host = n };
	struct weft_img_endpoints o = { .n = n, .n_set = n ? 1 : 0 };

	for (__u32 i = 0; i < n; i++) {
		e[i] = (struct weft_img_endpoint){
			.addr = { fix_v4(10, 0, 0, (__u8)(i + 1)), 80, 2 },
			.weight = weights ? weights[i] : 1, .cell = first_cell + i
		};
		host[i] = i;
	}
	o.endpoint = fix_put(e, n * sizeof(e[0]), 0);
	s.host = fix_put(host, n * sizeof(host[0]), 0);
	o.set = FIX_PUT(s);
	return FIX_PUT(o);
}

static inline __u32 fix_cluster(enum weft_lb lb, __u32 cell)
{
	struct weft_img_cluster c = { .name = fix_str("c"), .type = WEFT_CLUSTER_ENDPOINTS,
				      .lb = lb, .cell = cell, .choice_count = 2 };

	for (int i = 0; i < WEFT_PRIORITY__MAX; i++)
		c.threshold[i] = (struct weft_img_thresholds){.max_connections = 1024,
							      .max_pending = 1024,
							      .max_requests = 1024,
							      .max_retries = 3,
							      .max_per_host = WEFT_THRESHOLD_NONE,
							      .max_pools = WEFT_THRESHOLD_NONE};
	return FIX_PUT(c);
}

/* ---- a whole configuration around one route configuration ---- */

struct fix_world {
	__u32 hcm, chain, listener, rc, view, hosts, headers;
	struct weft_img_cluster_ref cluster[8];
	__u32 n_cluster;
	struct weft_ctx ctx;
};

static inline void fix_world_open(struct fix_world *w)
{
	struct weft_img_route_config rc = { .name = fix_str("rc") };
	struct weft_img_hcm h = { .max_head = 61440, .max_headers = 100 };
	struct weft_img_chain c = { .name = fix_str("chain"), .kind = WEFT_CHAIN_HTTP };

	*w = (struct fix_world){ 0 };
	w->hosts = rc.hosts = fix_tab(64);
	w->headers = rc.headers = fix_tab(64);
	w->rc = FIX_PUT(rc);
	h.reply[WEFT_REPLY_NOT_FOUND] = fix_reply(404, "", "");
	h.reply[WEFT_REPLY_NO_CLUSTER_503] = fix_reply(503, "", "");
	h.reply[WEFT_REPLY_NO_CLUSTER_404] = fix_reply(404, "", "");
	h.reply[WEFT_REPLY_NO_CLUSTER_500] = fix_reply(500, "", "");
	h.reply[WEFT_REPLY_NO_UPSTREAM] = fix_reply(503, "content-type: text/plain\r\n",
						    "no healthy upstream");
	h.reply[WEFT_REPLY_OVERFLOW] = fix_reply(503, "x-envoy-overloaded: true\r\n", "overflow");
	w->hcm = FIX_PUT(h);
	c.target = w->hcm;
	w->chain = FIX_PUT(c);
}

static inline void fix_domain(struct fix_world *w, const char *domain, __u32 vhost)
{
	struct weft_img_route_config *rc = FIX_AT(struct weft_img_route_config, w->rc);
	__u32 n = (__u32)strlen(domain);
	char s[256];

	if (!strcmp(domain, "*")) {
		rc->star = vhost;
	} else if (*domain == '*') {
		rc->suffix_len[(n - 1) >> 6] |= 1ull << ((n - 1) & 63);
		fix_tab_add(w->hosts, WEFT_KIND_HOST_SUFFIX, weft_hash_suffix(domain + 1, n - 1),
			    domain + 1, vhost);
	} else if (domain[n - 1] == '*') {
		snprintf(s, sizeof(s), "%.*s", (int)n - 1, domain);
		rc->flags |= WEFT_RC_PREFIX_HOSTS;
		rc->prefix_len[(n - 1) >> 6] |= 1ull << ((n - 1) & 63);
		fix_tab_add(w->hosts, WEFT_KIND_HOST_PREFIX, weft_hash_prefix(s, n - 1), s, vhost);
	} else {
		fix_tab_add(w->hosts, WEFT_KIND_HOST, weft_hash_host(domain, n), domain, vhost);
	}
}

/* Interns a header name: its slot. */
static inline __u8 fix_name(struct fix_world *w, const char *name)
{
	static __u8 slot;
	struct weft_img_route_config *rc = FIX_AT(struct weft_img_route_config, w->rc);
	__u32 hash = weft_hash_name(name, (__u32)strlen(name));

	if (!rc->bloom)
		slot = WEFT_VALUE__HEADERS;
	rc->bloom |= 1ull << (hash & 63);
	fix_tab_add(w->headers, WEFT_KIND_HEADER, hash, name, slot + 1u);
	return slot++;
}

/* Publishes: one listener on 10.1.1.1:80, one view. */
static inline void fix_publish(struct fix_world *w)
{
	struct weft_img_chain_group g = { .port = 0 };
	struct weft_img_listener l = { .name = fix_str("l"), .n_group = 1 };
	struct weft_img_view v = { .n_route_config = 1, .n_cluster = w->n_cluster };
	struct { struct weft_img_root r; __u32 view[2]; } root = { .r = { .epoch = 1, .n_view = 1 } };

	for (int i = 0; i < WEFT_PROTO__MAX; i++)
		g.chain[i] = w->chain;
	l.group = FIX_PUT(g);
	w->listener = FIX_PUT(l);
	v.listener = fix_addr_tab(16);
	fix_addr_tab_add(v.listener, fix_v4(10, 1, 1, 1), 80, w->listener);
	v.route_config = fix_put(&w->rc, 4, 0);
	v.cluster = fix_put(w->cluster, sizeof(w->cluster), 0);
	root.view[0] = w->view = FIX_PUT(v);
	FIX_AT(struct weft_img_head, 0)->root = 1ull << 32 | FIX_PUT(root);
	w->ctx = (struct weft_ctx){ .pod = FIX_POD, .now_ns = 1000000000ull,
				    .dst = { fix_v4(10, 1, 1, 1), 80, 2 } };
	assert_int_equal(weft_ctx_begin(&w->ctx), 0);
}

/* ---- requests ---- */

struct fix_req {
	struct weft_req req;
	__u8 head[WEFT_NATIVE_HEAD_MAX + 512];
};

static inline struct fix_req *fix_req_new(void)
{
	struct fix_req *r = calloc(1, sizeof(*r));

	r->req.head = r->head;
	r->req.max_head = 61440;
	r->req.max_headers = 100;
	return r;
}

static inline int fix_parse(struct fix_req *r, const void *bytes, size_t len)
{
	assert_true(len <= WEFT_NATIVE_HEAD_MAX);
	memcpy(r->head, bytes, len);
	r->req.len = (__u32)len;
	return weft_http1_parse(&r->req);
}

/* Parses and decides in the world. The decision's outcome. */
static inline __u32 fix_decide(struct fix_world *w, struct fix_req *r, const char *head)
{
	assert_int_equal(weft_req_begin(&r->req, &w->ctx, w->chain), 0);
	assert_int_equal(fix_parse(r, head, strlen(head)), WEFT_PARSE_OK);
	assert_int_equal(weft_decide(&r->req, &w->ctx), 0);
	return r->req.dec.outcome;
}
