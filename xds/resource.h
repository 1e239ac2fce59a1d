/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Typed xDS resources and the set of them that is in force (snapshot). No I/O, no BPF.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xds/diag.h"

/* In the order in which Envoy requests and applies them (make before break). */
enum weft_xds_type {
	WEFT_XDS_CLUSTER,
	WEFT_XDS_ENDPOINT,
	WEFT_XDS_LISTENER,
	WEFT_XDS_ROUTE,
	WEFT_XDS__MAX,
};

/* "type.googleapis.com/envoy.config.cluster.v3.Cluster" ... */
const char *weft_xds_type_url(enum weft_xds_type type);
/* "Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration" */
const char *weft_xds_type_name(enum weft_xds_type type);
/* WEFT_XDS__MAX when the URL names none of the four. */
enum weft_xds_type weft_xds_type_from_url(const char *type_url);

struct weft_body;

/* Immutable once made, shared by reference (atomic count). */
struct weft_resource {
	unsigned int refs;
	enum weft_xds_type type;
	char *name;
	char *version;	      /* as the server sent it; files: content hash in hex */
	uint64_t hash;	      /* xxh64 of the canonical serialised message: equal content, equal hash */
	int64_t updated_ms;   /* wall clock, milliseconds since the epoch, set by the source */
	unsigned int unknown; /* unknown fields accepted (not in narrowing messages; those are refused) */
	ProtobufCMessage *msg; /* Envoy__Config__Listener__V3__Listener and so on, by type */
	struct weft_body *body; /* name and msg are its (xds/body.h); NULL: the resource's own */
};

/*
 * Decodes and validates one resource (wire checks, Envoy's PGV rules, unknown fields in
 * narrowing messages, nested typed_config including TypedStruct). -EINVAL with causes in diag.
 * *ret has one reference. Bytes that a living resource was made of are not decoded again: its
 * message is shared, and not to be changed.
 */
int weft_resource_from_wire(enum weft_xds_type type, const uint8_t *data, size_t len,
			    const char *version, int64_t now_ms, struct weft_diag *diag,
			    struct weft_resource **ret);
/* Takes over msg (allocated by protobuf-c's default allocator), also on failure. Same checks. */
int weft_resource_from_msg(enum weft_xds_type type, ProtobufCMessage *msg, const char *version,
			   int64_t now_ms, struct weft_diag *diag, struct weft_resource **ret);
struct weft_resource *weft_resource_ref(struct weft_resource *r);
void weft_resource_unref(struct weft_resource *r);

/*
 * The resources in force for one view: at most one per (type, name). A snapshot is changed only by
 * its owner; share a clone (cheap: it copies nothing until one of the two is changed). A clone may
 * go to another thread.
 */
struct weft_snapshot;
int weft_snapshot_new(struct weft_snapshot **ret);
int weft_snapshot_clone(const struct weft_snapshot *s, struct weft_snapshot **ret);
void weft_snapshot_free(struct weft_snapshot *s);
/*
 * Who asked for these resources (node.id and node.cluster of a bootstrap or of a stream): parts of
 * some answers (add_user_agent, source_cluster). Copied; "" at first. -ENOMEM.
 */
int weft_snapshot_set_node(struct weft_snapshot *s, const char *id, const char *cluster);
/* Borrowed, never NULL. */
const char *weft_snapshot_node_id(const struct weft_snapshot *s);
const char *weft_snapshot_node_cluster(const struct weft_snapshot *s);
/* Adds or replaces; takes its own reference. -ENOMEM. */
int weft_snapshot_put(struct weft_snapshot *s, struct weft_resource *r);
/* In the place of those of a type, the very same that another has. */
void weft_snapshot_share(struct weft_snapshot *s, const struct weft_snapshot *from,
			 enum weft_xds_type type);
/* -ENOENT: it was not there; -ENOMEM. */
int weft_snapshot_del(struct weft_snapshot *s, enum weft_xds_type type, const char *name);
/* Borrowed; NULL when absent. */
struct weft_resource *weft_snapshot_get(const struct weft_snapshot *s, enum weft_xds_type type,
					const char *name);
/* Its place for weft_snapshot_at(); SIZE_MAX when absent. */
size_t weft_snapshot_index(const struct weft_snapshot *s, enum weft_xds_type type, const char *name);
/* Number and i-th in byte order of names (0 <= i < n). Borrowed. */
size_t weft_snapshot_count(const struct weft_snapshot *s, enum weft_xds_type type);
struct weft_resource *weft_snapshot_at(const struct weft_snapshot *s, enum weft_xds_type type,
				       size_t i);
/*
 * The first place from `from` on where the two have not the very same resource; SIZE_MAX: there is
 * none. What clones share is not looked at.
 */
size_t weft_snapshot_differs(const struct weft_snapshot *a, const struct weft_snapshot *b,
			     enum weft_xds_type type, size_t from);
/* True when both have the very same resources of a type (not only equal ones). */
bool weft_snapshot_same(const struct weft_snapshot *a, const struct weft_snapshot *b,
			enum weft_xds_type type);
