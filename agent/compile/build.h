/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the compiler share. A resource is compiled with one weft_build; its first error
 * sticks, so that the parts return offsets and need no check at each step: the caller looks at
 * `err` once at the end.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/store/store.h"
#include "bpf/abi/image.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/diag.h"
#include "xds/resource.h"

/* A growing list of 32-bit words. */
struct weft_words {
	uint32_t *v;
	size_t n, cap;
};
int weft_words_add(struct weft_words *w, uint32_t word);

struct weft_ejected;
struct weft_names;

/* Longest field path that is named in an error. */
#define WEFT_FIELD_MAX 512

/* Header names that conditions look at, in the order of their slots (from WEFT_VALUE__HEADERS). */
struct weft_names_local {
	uint32_t n;
	char *name[WEFT_NAMES_MAX];
};

/* A route configuration by name, with what it needs of the connection manager that uses it: for its
 * local replies, and the header names of filters, which get the first slots of its table. */
struct weft_rds_ref {
	uint32_t id; /* in the view's table */
	char *name;
	char *own_lines;
	char *filter_names; /* each ended by a line feed */
	uint32_t hcm_flags; /* WEFT_HCM_*, those that WEFT_BUILD_CLIENT has */
	uint32_t trusted_hops;
};
/* What decides who the client is and which headers the connection manager sets. */
#define WEFT_BUILD_CLIENT                                                                          \
	(WEFT_HCM_USE_REMOTE_ADDRESS | WEFT_HCM_SKIP_XFF_APPEND | WEFT_HCM_APPEND_PORT |           \
	 WEFT_HCM_OWN_PROTO | WEFT_HCM_GENERATE_REQUEST_ID | WEFT_HCM_PRESERVE_REQUEST_ID |        \
	 WEFT_HCM_INTERNAL | WEFT_HCM_FORWARD_CERT | WEFT_HCM_ROUTE_METADATA)
/* Among them: the manager has add_user_agent. No flag of its own, but in the place of one that only
 * requests have. */
#define WEFT_BUILD_USER_AGENT WEFT_HCM_STREAM

/* weft_img_mirror[n]. */
struct weft_mirrors {
	uint32_t n, off;
};

struct weft_build {
	struct weft_store *store;
	struct weft_names *clusters;	  /* name -> id in the view's cluster table */
	struct weft_names *route_configs; /* name -> id in the view's table */
	struct weft_names *states;	  /* key -> state id */
	struct weft_diag *diag;		  /* causes; may be NULL */
	struct weft_diag *notes;	  /* accepted without effect */
	char *resource;			  /* "Listener/main" */
	const char *node_id, *node_cluster; /* as weft_snapshot has them */
	uint64_t hash;			  /* of the resource: part of state keys */
	int err;			  /* first error, 0 none */
	bool names_stand; /* nobody resolves: a DNS cluster's name stands for one host without address */
	bool upstream;	  /* a Cluster is built: other fields of some messages count */
	const struct weft_ejected *ejected; /* hosts of this pod's cluster; NULL: none */
	struct weft_words objects;	/* offsets put: kept alive while the resource is in force */
	struct weft_words cluster_refs; /* ids of clusters that must exist (validate_clusters) */
	struct weft_words live;		/* state ids in use */
	struct weft_words named;	/* ids of all clusters that are named */
	struct weft_words inline_rc;	/* pairs: route configuration id, offset */
	struct weft_rds_ref *rds;
	size_t n_rds;
	/* of the connection manager or route configuration at hand */
	uint64_t scan_work; /* steps left for joining expressions */
	uint32_t max_body; /* max_direct_response_body_size_bytes */
	bool validate_clusters;
	bool traced;	       /* the connection manager has `tracing` */
	const char *own_lines; /* of every local reply: via, server; each with its line end */
	const char *filter_names; /* as weft_rds_ref; NULL none */
	uint32_t hcm_flags, trusted_hops; /* as weft_rds_ref */
	bool any_head; /* conditions are on heads that may have what the connection manager takes */
	bool route_metadata; /* filters or rules look at metadata of routes: tables carry it */
	struct weft_names_local *names; /* of the filters or routes that are built */
	struct weft_mirrors mirrors;	/* request_mirror_policies of the route configuration */
	struct weft_cors_level *cors; /* policies of the levels at hand, the most specific first */
};

/* Records a cause and the first error. Field path as printf arguments of `where`. */
void weft_build_fail(struct weft_build *b, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Records that a field has no effect here. */
void weft_build_note(struct weft_build *b, const char *field, const char *reason);
/* "a.b" into buf of WEFT_FIELD_MAX bytes; returns buf. */
const char *weft_field(char *buf, const char *parent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* An object; 0 after an error. */
uint32_t weft_build_put(struct weft_build *b, const void *bytes, size_t len);
struct weft_img_str weft_build_str(struct weft_build *b, const char *s);
/* struct weft_img_str[n]; 0: none. */
uint32_t weft_build_strs(struct weft_build *b, char *const *s, size_t n);
struct weft_img_str weft_build_bytes(struct weft_build *b, const void *bytes, size_t len);
/* State id of (kind, content, name); the name is what dump shows. */
uint32_t weft_build_state(struct weft_build *b, enum weft_cell_kind kind, uint64_t content,
			  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
uint32_t weft_build_cluster_id(struct weft_build *b, const char *name);

/*
 * Refuses each field of msg that is set and that fields_table.h does not have, and notes those
 * without effect. Sub-messages are the caller's.
 */
void weft_build_fields(struct weft_build *b, const ProtobufCMessage *msg, const char *field);

/* Durations in milliseconds, rounded up; refuses negative and over 49 days. unset: value when NULL.
 */
uint32_t weft_build_ms(struct weft_build *b, const Google__Protobuf__Duration *d, uint32_t unset,
		       const char *field);
static inline uint32_t weft_u32(const Google__Protobuf__UInt32Value *v, uint32_t unset)
{
	return v ? v->value : unset;
}
static inline bool weft_bool(const Google__Protobuf__BoolValue *v, bool unset)
{
	return v ? v->value != 0 : unset;
}
/*
 * Refuses what of a socket address has no meaning here: another protocol than TCP, a port by name,
 * a resolver, another network namespace. True when nothing was.
 */
bool weft_build_socket(struct weft_build *b, const Envoy__Config__Core__V3__SocketAddress *s,
		       const char *field);
/* "1.2.3.4" or "::1" and a port. false: no IP literal. */
bool weft_ip_parse(const char *text, uint32_t port, struct weft_sockaddr *ret);

/* ---- names.c: numbers for names ---- */

int weft_names_new(struct weft_names **ret);
void weft_names_free(struct weft_names *n);
/*
 * Number of the name (from 1; the lowest that is free), given on first use, with high_bits set in
 * it. The next settling takes it back unless it is held. -ENOMEM; also when 2^30 - 1 numbers are in
 * use.
 */
int weft_names_get(struct weft_names *n, const char *name, uint32_t high_bits, uint32_t *ret);
/* One more, or one less, of what is in force has this number. Unknown ones (and 0) are ignored. */
void weft_names_hold(struct weft_names *n, uint32_t id);
void weft_names_drop(struct weft_names *n, uint32_t id);
/*
 * After a publish: numbers that nothing holds any more are retired with `epoch`, the one just
 * published; a retired one that is held again is in force again. epoch 0: the transaction was given
 * up; numbers that no publish ever had are free at once. Only what was asked for, held or dropped
 * since the last settling is looked at.
 */
void weft_names_settle(struct weft_names *n, uint32_t epoch);
/* Appends the numbers that were retired in `settled` or before (weft_store_settled()). -ENOMEM. */
int weft_names_retired(const struct weft_names *n, uint32_t settled, struct weft_words *ret);
/* Retired numbers that nothing can mean any more: free for other names. */
void weft_names_release(struct weft_names *n, const uint32_t *id, size_t n_id);
/* How many are retired and not yet released. */
size_t weft_names_waiting(const struct weft_names *n);
/* When this number's name was first said to have begun (CLOCK_MONOTONIC in ns): now, if it was not
 * before. 0: unknown. */
uint64_t weft_names_begin(struct weft_names *n, uint32_t id);
/* The name of an id, NULL unknown. */
const char *weft_names_text(const struct weft_names *n, uint32_t id);
/* Highest number ever given + 1. */
uint32_t weft_names_count(const struct weft_names *n);

/* ---- tables (table.c) ---- */

struct weft_tab_key {
	uint32_t hash;
	uint32_t kind;
	uint32_t val;
	struct weft_img_str str;
};
uint32_t weft_build_tab(struct weft_build *b, const struct weft_tab_key *keys, size_t n);
struct weft_addr_key {
	struct weft_sockaddr addr;
	uint32_t val;
};
uint32_t weft_build_addr_tab(struct weft_build *b, const struct weft_addr_key *keys, size_t n);
