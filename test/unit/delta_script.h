/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A scripted control plane for the delta client: builds responses byte by byte (so that broken ones
 * can be built too), reads requests, and plays the owner that accepts or refuses snapshots.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "xds/delta.h"

#define CDS WEFT_XDS_CLUSTER
#define EDS WEFT_XDS_ENDPOINT
#define LDS WEFT_XDS_LISTENER
#define RDS WEFT_XDS_ROUTE
#define NO_TTL (-1)
#define DEFAULT_TIMEOUT (-1)

/* ---- protobuf writer ---- */

struct pb {
	uint8_t *data;
	size_t n, cap;
};

static inline void pb_raw(struct pb *b, const void *data, size_t n)
{
	if (b->n + n > b->cap) {
		b->cap = 2 * (b->n + n) + 64;
		b->data = realloc(b->data, b->cap);
		assert_non_null(b->data);
	}
	if (n)
		memcpy(b->data + b->n, data, n);
	b->n += n;
}

static inline void pb_varint(struct pb *b, uint64_t v)
{
	do {
		uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

		pb_raw(b, &byte, 1);
		v >>= 7;
	} while (v);
}

static inline void pb_uint(struct pb *b, unsigned int field, uint64_t v)
{
	pb_varint(b, field << 3);
	pb_varint(b, v);
}

static inline void pb_bytes(struct pb *b, unsigned int field, const void *data, size_t n)
{
	pb_varint(b, field << 3 | 2);
	pb_varint(b, n);
	pb_raw(b, data, n);
}

static inline void pb_string(struct pb *b, unsigned int field, const char *s)
{
	pb_bytes(b, field, s, strlen(s));
}

/* Takes the content of sub and leaves it empty. */
static inline void pb_sub(struct pb *b, unsigned int field, struct pb *sub)
{
	pb_bytes(b, field, sub->data, sub->n);
	free(sub->data);
	*sub = (struct pb){0};
}

static inline void pb_any(struct pb *b, unsigned int field, const char *type_url, struct pb *value)
{
	struct pb any = {0};

	pb_string(&any, 1, type_url);
	pb_sub(&any, 2, value);
	pb_sub(b, field, &any);
}

/* ---- resources ---- */

/* timeout: seconds, or DEFAULT_TIMEOUT to leave it out. */
static inline void pb_ads_source(struct pb *b, unsigned int field, int timeout)
{
	struct pb source = {0}, empty = {0}, duration = {0};

	pb_sub(&source, 3, &empty);
	if (timeout >= 0) {
		pb_uint(&duration, 1, (uint64_t)timeout);
		pb_sub(&source, 4, &duration);
	}
	pb_sub(b, field, &source);
}

/* service: NULL to use the cluster's name. */
static inline struct pb eds_cluster(const char *name, const char *service, int connect_seconds,
				    int timeout)
{
	struct pb c = {0}, eds = {0}, connect = {0};

	pb_string(&c, 1, name);
	pb_uint(&c, 2, 3);
	pb_ads_source(&eds, 1, timeout);
	if (service)
		pb_string(&eds, 2, service);
	pb_sub(&c, 3, &eds);
	pb_uint(&connect, 1, (uint64_t)connect_seconds);
	pb_sub(&c, 4, &connect);
	return c;
}

static inline void pb_address(struct pb *b, unsigned int field, unsigned int port)
{
	struct pb address = {0}, socket = {0};

	pb_string(&socket, 2, "10.0.0.1");
	pb_uint(&socket, 3, port);
	pb_sub(&address, 1, &socket);
	pb_sub(b, field, &address);
}

static inline struct pb cla(const char *name, unsigned int port)
{
	struct pb c = {0}, locality = {0}, lb = {0}, endpoint = {0};

	pb_string(&c, 1, name);
	pb_address(&endpoint, 1, port);
	pb_sub(&lb, 1, &endpoint);
	pb_sub(&locality, 2, &lb);
	pb_sub(&c, 2, &locality);
	return c;
}

static inline struct pb static_cluster(const char *name, int connect_seconds)
{
	struct pb c = {0}, connect = {0}, assignment = cla(name, 80);

	pb_string(&c, 1, name);
	pb_uint(&connect, 1, (uint64_t)connect_seconds);
	pb_sub(&c, 4, &connect);
	pb_sub(&c, 33, &assignment);
	return c;
}

static inline struct pb listener(const char *name, unsigned int port, const char *route,
				 int timeout)
{
	struct pb l = {0}, chain = {0}, filter = {0}, hcm = {0}, rds = {0}, http = {0},
		  router = {0};

	pb_string(&hcm, 2, "in");
	pb_ads_source(&rds, 1, timeout);
	pb_string(&rds, 2, route);
	pb_sub(&hcm, 3, &rds);
	pb_string(&http, 1, "envoy.filters.http.router");
	pb_any(&http, 4, "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
	       &router);
	pb_sub(&hcm, 5, &http);
	pb_string(&filter, 1, "envoy.filters.network.http_connection_manager");
	pb_any(&filter, 4,
	       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
	       "HttpConnectionManager",
	       &hcm);
	pb_sub(&chain, 3, &filter);
	pb_string(&l, 1, name);
	pb_address(&l, 2, port);
	pb_sub(&l, 3, &chain);
	return l;
}

static inline struct pb route(const char *name, const char *cluster)
{
	struct pb r = {0}, vhost = {0}, entry = {0}, match = {0}, action = {0};

	pb_string(&match, 1, "/");
	pb_string(&action, 1, cluster);
	pb_sub(&entry, 1, &match);
	pb_sub(&entry, 2, &action);
	pb_string(&vhost, 1, "all");
	pb_string(&vhost, 2, "*");
	pb_sub(&vhost, 3, &entry);
	pb_string(&r, 1, name);
	pb_sub(&r, 2, &vhost);
	return r;
}

/* ---- the owner and the stream ---- */

struct script {
	bool up[WEFT_XDS__MAX]; /* of separate streams */
	struct weft_delta *d;
	int64_t now;
	struct weft_snapshot *current; /* last accepted by the owner */
	unsigned int publishes;	       /* calls, refused ones included */
	unsigned int served;	       /* calls */
	const char *refuse;	       /* resource to refuse while it is in the snapshot */
	const char *refuse_with;       /* what the cause names; NULL: the same */
	bool refuse_all;
	int64_t pause; /* ms */
	struct pb response;
	enum weft_xds_type type;
};

static inline bool script_has(const struct weft_snapshot *s, const char *resource)
{
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		const char *type = weft_xds_type_name((enum weft_xds_type)i);
		size_t n = strlen(type);

		if (!strncmp(type, resource, n) && resource[n] == '/')
			return weft_snapshot_get(s, (enum weft_xds_type)i, resource + n + 1);
	}
	return false;
}

static inline int script_publish(void *ctx, const struct weft_snapshot *next,
				 struct weft_diag *diag)
{
	struct script *s = ctx;

	s->publishes++;
	if (s->refuse_all)
		return -ENOSPC;
	if (s->refuse && script_has(next, s->refuse)) {
		const char *name = s->refuse_with ? s->refuse_with : s->refuse;

		return weft_diag_add(diag, -EINVAL, name, "some.field", "cannot be represented");
	}
	weft_snapshot_free(s->current);
	assert_int_equal(weft_snapshot_clone(next, &s->current), 0);
	return 0;
}

static inline int64_t script_pause(void *ctx)
{
	const struct script *s = ctx;

	return s->pause;
}

static inline void script_served(void *ctx)
{
	struct script *s = ctx;

	s->served++;
}

static inline struct script *script_new(void)
{
	static const struct weft_delta_ops ops = {
		.publish = script_publish, .served = script_served, .pause = script_pause};
	static const struct weft_delta_node node = {
		.id = "sidecar~10.1.0.5~web.shop~shop.svc.cluster.local",
		.cluster = "web",
		.metadata_json = "{\"NAMESPACE\": \"shop\", \"LABELS\": {\"app\": \"web\"}, \"L\": "
				 "[1, true, null]}",
		.region = "r",
		.zone = "z",
	};
	struct script *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->now = 1000000;
	assert_int_equal(weft_snapshot_new(&s->current), 0);
	assert_int_equal(weft_delta_new(&node, &ops, s, &s->d), 0);
	return s;
}

static inline void script_free(struct script *s)
{
	weft_delta_free(s->d);
	weft_snapshot_free(s->current);
	free(s->response.data);
	free(s);
}

/* The stream of a type; with separate streams it is made when it is wanted. */
static inline unsigned int stream_of(struct script *s, enum weft_xds_type type)
{
	if (!weft_delta_is_separate(s->d))
		return 0;
	if (!s->up[type] && weft_delta_wants(s->d, type)) {
		assert_int_equal(weft_delta_connected_on(s->d, type, s->now), 0);
		s->up[type] = true;
	}
	return type;
}

static inline void stream_cut(struct script *s, enum weft_xds_type type)
{
	weft_delta_disconnected_on(s->d, type, s->now);
	s->up[type] = false;
}

static inline Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *
next_request_of(struct script *s, enum weft_xds_type type)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r;
	uint8_t *data;
	size_t len;
	int err = weft_delta_next_request_on(s->d, stream_of(s, type), &data, &len);

	if (err == -EAGAIN)
		return NULL;
	assert_int_equal(err, 0);
	r = envoy__service__discovery__v3__delta_discovery_request__unpack(NULL, len, data);
	assert_non_null(r);
	free(data);
	return r;
}

static inline Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *next_request(struct script *s)
{
	return next_request_of(s, WEFT_XDS_CLUSTER);
}

static inline void request_free(Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r)
{
	envoy__service__discovery__v3__delta_discovery_request__free_unpacked(r, NULL);
}

static inline int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in byte order, joined by blanks. */
static inline void names_text(char **names, size_t n, char *text, size_t size)
{
	size_t at = 0;

	*text = '\0';
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " " : "", names[i]);
}

/* The next request is a subscription change with exactly these names (sorted, joined by blanks). */
static inline void expect_change(struct script *s, enum weft_xds_type type, const char *subscribe,
				 const char *unsubscribe)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r = next_request_of(s, type);
	char text[512];

	assert_non_null(r);
	assert_string_equal(r->type_url, weft_xds_type_url(type));
	assert_string_equal(r->response_nonce, "");
	assert_null(r->error_detail);
	names_text(r->resource_names_subscribe, r->n_resource_names_subscribe, text, sizeof(text));
	assert_string_equal(text, subscribe);
	names_text(r->resource_names_unsubscribe, r->n_resource_names_unsubscribe, text,
		   sizeof(text));
	assert_string_equal(text, unsubscribe);
	request_free(r);
}

/* NULL: an ACK; else a NACK whose text has this in it. */
static inline void expect_answer(struct script *s, enum weft_xds_type type, const char *nonce,
				 const char *error)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r = next_request_of(s, type);

	assert_non_null(r);
	assert_string_equal(r->type_url, weft_xds_type_url(type));
	assert_string_equal(r->response_nonce, nonce);
	assert_int_equal(r->n_resource_names_subscribe + r->n_resource_names_unsubscribe, 0);
	assert_int_equal(r->n_initial_resource_versions, 0);
	if (!error) {
		if (r->error_detail)
			fail_msg("NACK: %s", r->error_detail->message);
	} else {
		assert_non_null(r->error_detail);
		assert_int_equal(r->error_detail->code, 13);
		if (!strstr(r->error_detail->message, error))
			fail_msg("\"%s\" is not in \"%s\"", error, r->error_detail->message);
	}
	request_free(r);
}

static inline void expect_ack(struct script *s, enum weft_xds_type type, const char *nonce)
{
	expect_answer(s, type, nonce, NULL);
}

static inline void expect_nothing(struct script *s)
{
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r =
			next_request_of(s, (enum weft_xds_type)i);

		if (r)
			fail_msg("unexpected request: %s nonce %s", r->type_url, r->response_nonce);
	}
}

/* ---- responses ---- */

static inline void begin(struct script *s, enum weft_xds_type type)
{
	free(s->response.data);
	s->response = (struct pb){0};
	s->type = type;
	pb_string(&s->response, 4, weft_xds_type_url(type));
}

/* Takes the content of body; type_url NULL: that of the response. */
static inline void add_full(struct script *s, const char *name, const char *version,
			    const char *type_url, struct pb body, int ttl)
{
	struct pb r = {0}, duration = {0};

	pb_string(&r, 3, name);
	pb_string(&r, 1, version);
	pb_any(&r, 2, type_url ? type_url : weft_xds_type_url(s->type), &body);
	if (ttl >= 0) {
		pb_uint(&duration, 1, (uint64_t)ttl);
		pb_sub(&r, 6, &duration);
	}
	pb_sub(&s->response, 2, &r);
}

static inline void add(struct script *s, const char *name, const char *version, struct pb body)
{
	add_full(s, name, version, NULL, body, NO_TTL);
}

static inline void add_heartbeat(struct script *s, const char *name, const char *version, int ttl)
{
	struct pb r = {0}, duration = {0};

	pb_string(&r, 3, name);
	pb_string(&r, 1, version);
	if (ttl >= 0) {
		pb_uint(&duration, 1, (uint64_t)ttl);
		pb_sub(&r, 6, &duration);
	}
	pb_sub(&s->response, 2, &r);
}

static inline void remove_name(struct script *s, const char *name)
{
	pb_string(&s->response, 6, name);
}

static inline int send_response(struct script *s, const char *nonce)
{
	pb_string(&s->response, 5, nonce);
	return weft_delta_receive_on(s->d, stream_of(s, s->type), s->response.data, s->response.n,
				     s->now);
}

static inline void respond(struct script *s, const char *nonce)
{
	assert_int_equal(send_response(s, nonce), 0);
}

/* Lets time pass; ticks once at the end. */
static inline int64_t pass(struct script *s, int64_t ms)
{
	s->now += ms;
	return weft_delta_tick(s->d, s->now);
}

/* ---- what is in force ---- */

static inline bool in_force(const struct script *s, enum weft_xds_type type, const char *name)
{
	return weft_snapshot_get(s->current, type, name);
}

static inline const char *version_in_force(const struct script *s, enum weft_xds_type type,
					   const char *name)
{
	struct weft_resource *r = weft_snapshot_get(s->current, type, name);

	return r ? r->version : "none";
}

struct item_copy {
	enum weft_xds_type type;
	const char *name;
	bool found;
	enum weft_delta_status status;
	char version[64], failed_version[64], error[256];
};

static inline void copy_item(void *ctx, const struct weft_delta_item *item)
{
	struct item_copy *c = ctx;

	if (item->type != c->type || strcmp(item->name, c->name))
		return;
	c->found = true;
	c->status = item->status;
	snprintf(c->version, sizeof(c->version), "%s", item->version);
	snprintf(c->failed_version, sizeof(c->failed_version), "%s",
		 item->failed_version ? item->failed_version : "");
	snprintf(c->error, sizeof(c->error), "%s", item->error ? item->error : "");
}

static inline struct item_copy item_of(const struct script *s, enum weft_xds_type type,
				       const char *name)
{
	struct item_copy c = {.type = type, .name = name};

	weft_delta_each(s->d, copy_item, &c);
	return c;
}

/* ---- usual beginnings ---- */

static inline struct script *connected_script(void)
{
	struct script *s = script_new();

	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_change(s, CDS, "", "");
	return s;
}

/* Cluster a (EDS, version 1) with its CLA, listener l with routes r: all ACKed. */
static inline void serve_all(struct script *s)
{
	begin(s, CDS);
	add(s, "a", "c1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	expect_change(s, EDS, "a", "");
	expect_ack(s, CDS, "n1");
	begin(s, EDS);
	add(s, "a", "e1", cla("a", 1001));
	respond(s, "n2");
	expect_ack(s, EDS, "n2");
	expect_change(s, LDS, "", "");
	begin(s, LDS);
	add(s, "l", "l1", listener("l", 8080, "r", DEFAULT_TIMEOUT));
	respond(s, "n3");
	expect_change(s, RDS, "r", "");
	expect_ack(s, LDS, "n3");
	begin(s, RDS);
	add(s, "r", "r1", route("r", "a"));
	respond(s, "n4");
	expect_ack(s, RDS, "n4");
	expect_nothing(s);
}

static inline struct script *serving_script(void)
{
	struct script *s = connected_script();

	serve_all(s);
	return s;
}
