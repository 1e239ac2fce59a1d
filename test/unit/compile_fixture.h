// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Configuration as YAML text, compiled into a store on the heap, and requests decided on what came
 * of it. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/compile/build.h"
#include "agent/compile/compile.h"
#include "agent/compile/fields.h"
#include "bpf/engine/engine.h"
#include "xds/file.h"

#define CONF_IMG (16u << 20)
#define CONF_STATE (8u << 20)
#define CONF_POD 1u

#define T(name) "\"@type\": type.googleapis.com/envoy." name
#define HCM_TYPE T("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
#define ROUTER "{name: router, typed_config: {" T("extensions.filters.http.router.v3.Router") "}}"
#define LRL T("extensions.filters.http.local_ratelimit.v3.LocalRateLimit")
#define ON "{default_value: {numerator: 100}}"
#define ADDRESS(ip, port) "{socket_address: {address: '" ip "', port_value: " #port "}}"
/* A connection manager with further fields (each ended by a comma) and filters before the router.
 */
#define HCM(more, filters, routes)                                                                 \
	"{name: h, typed_config: {" HCM_TYPE ", stat_prefix: s, " more                             \
	" http_filters: [" filters ROUTER "], " routes "}}"
#define RDS "rds: {route_config_name: r, config_source: {ads: {}}}"
#define LISTENER(name, more, filters)                                                              \
	"- {" T("config.listener.v3.Listener") ", name: " name ", " more                           \
					       " filter_chains: [{filters: [" filters "]}]}\n"
#define AT_80 "address: " ADDRESS("10.0.0.1", 80) ","
#define LISTENER_80 LISTENER("l", AT_80, HCM("", "", RDS))
/* Route configuration r: fields, then virtual hosts. */
#define RC(more, hosts)                                                                            \
	"- {" T("config.route.v3.RouteConfiguration") ", name: r, " more "virtual_hosts: [" hosts  \
						      "]}\n"
#define VHOST(routes) "{name: v, domains: ['*'], routes: [" routes "]}"
#define ROUTES(routes) RC("", VHOST(routes))
#define CLUSTER(name, more) "- {" T("config.cluster.v3.Cluster") ", name: " name ", " more "}\n"
#define ENDPOINT(ip, port) "{endpoint: {address: " ADDRESS(ip, port) "}}"
#define OK_200 "direct_response: {status: 200}"

struct conf {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_snapshot *snapshot;
	struct weft_diag diag;
};

static inline void conf_open(struct conf *c)
{
	*c = (struct conf){0};
	assert_int_equal(weft_store_new_heap(CONF_IMG, CONF_STATE, &c->store), 0);
	assert_int_equal(weft_compiler_new(c->store, &c->compiler), 0);
	for (int i = 0; i < 2; i++)
		memcpy(weft_state_head()->date[i], "Sun, 06 Nov 1994 08:49:37 GMT", WEFT_DATE_LEN);
}

static inline void conf_close(struct conf *c)
{
	weft_snapshot_free(c->snapshot);
	weft_compiler_free(c->compiler);
	weft_store_free(c->store);
	weft_diag_clear(&c->diag);
}

static inline int conf_load(const char *yaml, struct weft_diag *diag, struct weft_snapshot **ret)
{
	char path[] = "/tmp/weft-compile-XXXXXX.yaml";
	int fd = mkstemps(path, 5), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
	close(fd);
	r = weft_file_load(path, 0, diag, ret);
	unlink(path);
	return r;
}

/* Publishes view 0 anew; causes of a refusal, by validation or by the compiler, in c->diag. */
static inline void conf_field_seen(void *ctx, const ProtobufCMessageDescriptor *d,
				   const ProtobufCFieldDescriptor *f, enum weft_field_class class)
{
	(void)ctx;
	if (class == WEFT_FIELD_REFUSED)
		fail_msg("accepted, but by the table of fields refused: %s.%s", d->name, f->name);
}

static inline int conf_set(struct conf *c, const char *yaml)
{
	struct weft_snapshot *s = NULL;
	struct weft_view_input in = {0};
	int r;

	weft_diag_clear(&c->diag);
	r = conf_load(yaml, &c->diag, &s);
	in.snapshot = s;
	if (!r)
		r = weft_compiler_publish(c->compiler, &in, 1, &c->diag);
	if (r) {
		weft_snapshot_free(s);
		return r;
	}
	weft_fields_walk_all(s, &(struct weft_field_visitor){conf_field_seen, NULL});
	weft_snapshot_free(c->snapshot);
	c->snapshot = s;
	return 0;
}

static inline void conf_ok(struct conf *c, const char *yaml)
{
	int r = conf_set(c, yaml);

	for (size_t i = 0; i < c->diag.n; i++)
		print_message("%s: %s: %s\n", c->diag.entries[i].resource, c->diag.entries[i].field,
			      c->diag.entries[i].reason);
	assert_int_equal(r, 0);
}

static inline const struct weft_diag_entry *conf_find(const struct weft_diag *d,
						      const char *resource, const char *field)
{
	for (size_t i = 0; i < d->n; i++) {
		if (!strcmp(d->entries[i].resource, resource) &&
		    !strcmp(d->entries[i].field, field))
			return &d->entries[i];
	}
	return NULL;
}

/* The configuration is refused, and this is named as a cause; what was in force stays. */
static inline void conf_refused(const char *yaml, const char *resource, const char *field,
				const char *reason)
{
	const struct weft_diag_entry *e;
	struct conf c;

	conf_open(&c);
	conf_ok(&c, LISTENER_80);
	if (conf_set(&c, yaml) != -EINVAL)
		fail_msg("accepted: %s", yaml);
	e = conf_find(&c.diag, resource, field);
	if (!e || !strstr(e->reason, reason))
		fail_msg("%s\nwanted %s: %s: %s\nfirst cause %s: %s: %s", yaml, resource, field,
			 reason, c.diag.entries[0].resource, c.diag.entries[0].field,
			 c.diag.entries[0].reason);
	assert_int_equal(weft_store_epoch(c.store), 1);
	conf_close(&c);
}

/* It is accepted, and this is listed as without effect. */
static inline void conf_noted(const char *yaml, const char *resource, const char *field)
{
	struct conf c;

	conf_open(&c);
	conf_ok(&c, yaml);
	if (!conf_find(weft_compiler_not_applied(c.compiler), resource, field))
		fail_msg("%s\nnot listed: %s: %s", yaml, resource, field);
	conf_close(&c);
}

static inline void conf_accepted(const char *yaml)
{
	struct conf c;

	conf_open(&c);
	conf_ok(&c, yaml);
	conf_close(&c);
}

/* ---- requests ---- */

struct conf_req {
	struct weft_ctx ctx;
	struct weft_req req;
	uint32_t chain;
	uint8_t head[WEFT_NATIVE_HEAD_MAX + 1024 + WEFT_PREPARE_ROOM];
};

/* A connection to ip:port of view 0. */
static inline void conf_connect(struct conf_req *q, const char *ip, uint16_t port)
{
	memset(&q->ctx, 0, sizeof(q->ctx));
	q->ctx.pod = CONF_POD;
	q->ctx.now_ns = 1000000000;
	assert_true(weft_ip_parse(ip, port, &q->ctx.dst));
	assert_int_equal(weft_ctx_begin(&q->ctx), 0);
}

/* Decides one request on the chain of raw bytes. headers: lines with their ends. */
static inline void conf_request(struct conf *c, struct conf_req *q, const char *method,
				const char *host, const char *path, const char *headers)
{
	int r;

	assert_int_equal(weft_listener_find(&q->ctx), 0);
	q->chain = weft_chain_find(&q->ctx, WEFT_PROTO_RAW);
	assert_true(q->chain);
	memset(&q->req, 0, sizeof(q->req));
	q->req.head = q->head;
	assert_int_equal(weft_req_begin(&q->req, &q->ctx, q->chain), 0);
	q->req.len = (uint32_t)snprintf((char *)q->head, WEFT_NATIVE_HEAD_MAX,
					"%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, host,
					headers);
	assert_int_equal(weft_http1_parse(&q->req), WEFT_PARSE_OK);
	weft_req_prepare(&q->req, &q->ctx, "00000000-0000-4000-8000-000000000000",
			 q->head + sizeof(q->head) - WEFT_PREPARE_ROOM, WEFT_PREPARE_ROOM);
	while ((r = weft_decide(&q->req, &q->ctx)) == -ENOENT)
		assert_true(weft_store_cell(c->store, CONF_POD, q->req.dec.need_cell));
	assert_int_equal(r, 0);
}

/* The connection manager at 10.0.0.1:80 of this configuration. */
static inline const struct weft_img_hcm *conf_hcm(struct conf *c, const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_chain *chain;

	assert_non_null(q);
	conf_ok(c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	chain = weft_img_at(weft_chain_find(&q->ctx, WEFT_PROTO_RAW));
	free(q);
	assert_int_equal(chain->kind, WEFT_CHAIN_HTTP);
	return weft_img_at(chain->target);
}

/* Opens c with the configuration, and decides GET / of host h at 10.0.0.1:80. Caller frees. */
static inline struct conf_req *conf_open_asked(struct conf *c, const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	conf_open(c);
	conf_ok(c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/", "");
	return q;
}

/* The index of the route that is taken at 10.0.0.1:80, -1: none. */
static inline int conf_route(struct conf *c, const char *method, const char *host, const char *path,
			     const char *headers)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	int index;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, method, host, path, headers);
	index = q->req.dec.route
			? (int)((const struct weft_img_route *)weft_img_at(q->req.dec.route))->index
			: -1;
	free(q);
	return index;
}

/* The bytes of the local reply, its date blanked out. Caller frees. */
static inline char *conf_reply(struct conf *c, const char *method, const char *path,
			       const char *headers)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct weft_reply_plan plan = {0};
	char *out, *date;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, method, "h", path, headers);
	assert_int_equal(weft_reply_plan(&q->req, &q->ctx, &plan), 0);
	out = calloc(1, plan.total + 9);
	assert_non_null(out);
	weft_reply_write(&q->req, &plan, out);
	out[plan.total] = '\0';
	date = strstr(out, "date: ");
	if (date)
		memmove(date + 6, date + 6 + WEFT_DATE_LEN, strlen(date + 6 + WEFT_DATE_LEN) + 1);
	free(q);
	return out;
}

/* The same, compared. */
static inline void conf_reply_is(struct conf *c, const char *method, const char *path,
				 const char *headers, const char *want)
{
	char *got = conf_reply(c, method, path, headers);

	assert_string_equal(got, want);
	free(got);
}
