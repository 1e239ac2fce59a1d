/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the delta client share: delta.c (life, timers), delta_item.c (table of
 * resources), delta_refs.c (which names a resource waits for), delta_sub.c (requests),
 * delta_pace.c (when a response is applied), delta_apply.c (how), delta_change.c (and how it is
 * taken back) and delta_warm.c (what is published). Not for use outside of xds/delta*.c.
 */

#include <sys/queue.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "xds/delta.h"

/* Envoy's default of ConfigSource.initial_fetch_timeout. */
#define DELTA_FETCH_TIMEOUT_MS 15000
/* Envoy cuts the text of a NACK here: control planes log it, some into bounded storage. */
#define DELTA_NACK_MAX 4096
/* Refused resources without any accepted version that are remembered per type, for dump only. */
#define DELTA_REFUSED_MAX 1000
/*
 * How often the owner is asked again without what it refused. More than once, because it reports a
 * bounded number of causes at a time; not for ever, because each time costs a compilation.
 */
#define DELTA_ROUNDS 8
/* "For ever" as a time in ms. */
#define DELTA_NEVER (-1)

struct delta_item;
struct delta_undo;

/*
 * One name (CLA or route configuration) that a cluster or listener cannot do without when it
 * starts.
 */
struct delta_watch {
	struct delta_item *target;
	int64_t deadline; /* ms, DELTA_NEVER: without limit */
	bool done;	  /* failed or timed out: goes on without it */
};

/* A resource with its watches, shared by the held and the active place of its item. */
struct delta_slot {
	unsigned int refs;
	struct weft_resource *res;
	size_t n_watches;
	struct delta_watch watches[];
};

/* A name of one type: known by wildcard, watched, or refused. */
struct delta_item {
	TAILQ_ENTRY(delta_item) link;
	struct delta_item *bucket_next;
	enum weft_xds_type type;
	char *name;
	uint64_t hash;
	struct delta_slot *held;   /* newest accepted; NULL none */
	struct delta_slot *active; /* in the snapshot the owner accepted last; NULL none */
	char *version; /* of held, as last sent; NULL none, or the server took it back */
	char *error, *failed_version;
	struct weft_resource *failed; /* what `error` is about, if it could be decoded */
	struct weft_delta_counts counts;
	uint64_t counted; /* hash of the content that counts.reload saw last; 0 none */
	int64_t updated_ms, failed_ms;
	int64_t expires;	 /* TTL, or DELTA_NEVER */
	size_t watchers;	 /* watches that point here */
	uint64_t mark;		 /* last composition that needs it */
	struct delta_undo *undo; /* set while a response that changes it is applied */
	bool sent;		 /* subscribed on this stream */
	bool unsubscribe;	 /* to be unsubscribed on this stream, then forgotten */
	bool absent;		 /* the server said that it does not exist */
	bool timed_out;
};

TAILQ_HEAD(delta_items, delta_item);

struct delta_type {
	struct delta_items items; /* in order of first mention */
	struct delta_item **buckets;
	size_t n_items, n_buckets; /* buckets: power of two */
	bool wildcard;
	bool started;	  /* may be asked for (LDS: clusters are initialised) */
	bool first_sent;  /* on this stream */
	bool queued;	  /* a subscription request waits in the queue */
	bool fetched;	  /* wildcard: first answer arrived, failed or timed out */
	bool answered;	  /* wildcard: an answer was accepted, in part at least */
	int64_t deadline; /* wildcard: of the first answer */
	/* State of the world: newest nonce of the stream, version accepted last, and of the
	 * response that is being applied. NULL: none. */
	char *nonce, *accepted, *offered;
	struct weft_delta_counts counts; /* wildcard */
};

/* A request that waits; a subscription is computed when it leaves, so that changes merge. */
struct delta_request {
	TAILQ_ENTRY(delta_request) link;
	enum weft_xds_type type;
	bool answer; /* ACK or NACK; else a subscription change */
	char *nonce;
	char *error;   /* NACK */
	char *version; /* state of the world: accepted when the answer was given */
};

/* A response that was decoded and is not applied yet. */
struct delta_response {
	enum weft_xds_type type;
	ProtobufCMessage *msg; /* DeltaDiscoveryResponse, or DiscoveryResponse with sotw */
};

/* In the order in which they came. */
struct delta_pending {
	struct delta_response *v;
	size_t n, cap;
	size_t bytes; /* as they came */
};

/* The one of ADS, or of one type. */
struct delta_stream {
	TAILQ_HEAD(, delta_request) queue;
	bool connected, node_sent;
	bool broken; /* memory ran out outside of a receive: it is to be reset */
};

struct weft_delta {
	struct weft_delta_ops ops;
	void *ctx;
	Envoy__Config__Core__V3__Node *node;
	struct delta_type types[WEFT_XDS__MAX];
	struct delta_stream streams[WEFT_XDS__MAX];
	struct weft_snapshot *published;
	uint64_t generation; /* of compositions */
	struct weft_delta_stats stats;
	char *control_plane;
	struct delta_pending pending;
	int64_t pause_until; /* ms; 0: none */
	int64_t now_ms;	     /* of the call that is under way */
	bool pause_due;	     /* since the last look: something was published or refused */
	int64_t next_tick; /* as weft_delta_tick() gave it; void while timers_changed */
	bool timers_changed;
	bool clock_started, complete, served, sotw, separate;
};

/* What a response changed in one item, to take it back. */
struct delta_undo {
	struct delta_item *item;
	struct delta_slot *held;
	char *version, *error, *failed_version;
	struct weft_resource *failed;
	int64_t updated_ms, failed_ms, expires;
	bool absent, timed_out;
	const char *new_version; /* borrowed from the response */
	bool noted;		 /* its own cause stands in the item */
};

/*
 * All changes of one response. Capacity is reserved at the start, so that items may point into it.
 */
struct delta_change {
	struct delta_undo *undos;
	size_t n, cap;
	size_t covered; /* changes, of which several may be of one item */
	bool content; /* published, and nothing but the content of what was in force changed */
};

/* delta_item.c */
struct delta_item *delta_item_find(struct weft_delta *d, enum weft_xds_type type, const char *name);
/* Finds or makes; NULL when out of memory. */
struct delta_item *delta_item_get(struct weft_delta *d, enum weft_xds_type type, const char *name);
void delta_item_free(struct weft_delta *d, struct delta_item *item);
/* Replaces the error; NULL clears. Out of memory: no text is kept. */
void delta_item_refuse(struct delta_item *item, const char *error, const char *failed_version);
/* The error becomes one of now, about `failed` (borrowed; may be NULL). */
void delta_item_failed(const struct weft_delta *d, struct delta_item *item,
		       struct weft_resource *failed);
struct delta_slot *delta_slot_ref(struct delta_slot *s);
void delta_slot_unref(struct delta_slot *s);
/* The server's word counts for it: a type with wildcard, or somebody waits for the name. */
bool delta_item_wanted(const struct weft_delta *d, const struct delta_item *item);
bool delta_watch_ready(const struct delta_watch *w);
bool delta_item_warm(const struct delta_item *item);
/* Drops what nobody needs any more, and queues the subscription changes of a type. */
int delta_collect(struct weft_delta *d, enum weft_xds_type type);
void delta_types_clear(struct weft_delta *d);

/* delta_refs.c: a slot (one reference) with a watch per name that the resource waits for. */
int delta_slot_new(struct weft_delta *d, struct weft_resource *res, int64_t now_ms,
		   struct weft_diag *diag, struct delta_slot **ret);
/* Milliseconds, rounded up; -ERANGE when negative or beyond what protobuf allows. NULL: `unset`. */
/* delta_node.c: -EINVAL when the metadata is no JSON object; freed with free_unpacked. */
int delta_node_new(const struct weft_delta_node *from, Envoy__Config__Core__V3__Node **ret);
int delta_duration_ms(const Google__Protobuf__Duration *duration, int64_t unset, int64_t *ret);

/* delta_sub.c */
int delta_queue_subscription(struct weft_delta *d, enum weft_xds_type type);
/* Takes over nonce and error, also on failure. */
int delta_queue_answer(struct weft_delta *d, enum weft_xds_type type, char *nonce, char *error);
void delta_queue_clear(struct weft_delta *d, struct delta_stream *s);

void delta_subscription_sent(struct weft_delta *d, struct delta_type *t);
/* The node, unless the type's stream has sent it. */
Envoy__Config__Core__V3__Node *delta_node_due(struct weft_delta *d, enum weft_xds_type type);
/* Any request; the node was sent with it. */
int delta_pack(struct weft_delta *d, enum weft_xds_type type, const ProtobufCMessage *msg,
	       uint8_t **ret, size_t *ret_len);

/* delta_pace.c */
/*
 * A response of a type that was asked for: applied now, or with others after a pause. Takes over
 * msg; len: its bytes. -ENOMEM.
 */
int delta_pace(struct weft_delta *d, enum weft_xds_type type, ProtobufCMessage *msg, size_t len,
	       int64_t now_ms);
/* Applies what waits. -ENOMEM. */
int delta_pace_end(struct weft_delta *d, int64_t now_ms);
/* When what waits is due, DELTA_NEVER: nothing waits. */
int64_t delta_pace_deadline(const struct weft_delta *d);
/* After anything that may have led to a publish: a pause begins when one did. */
void delta_pace_begin(struct weft_delta *d, int64_t now_ms);
void delta_pace_clear(struct weft_delta *d);

/* delta_sotw.c */
int delta_sotw_receive(struct weft_delta *d, const struct delta_stream *s, const uint8_t *data,
		       size_t len, int64_t now_ms);
int delta_sotw_apply(struct weft_delta *d, enum weft_xds_type type,
		     const Envoy__Service__Discovery__V3__DiscoveryResponse *resp, int64_t now_ms);
/* Notes the version that the answer confirms. -ENOMEM. */
int delta_sotw_answer(struct delta_type *t, struct delta_request *r);
/* -EAGAIN: nothing to say after all. */
int delta_sotw_pack(struct weft_delta *d, const struct delta_request *r, uint8_t **ret,
		    size_t *ret_len);
/* The stream is over; its nonce means nothing any more. */
void delta_sotw_forget(struct delta_type *t);
void delta_sotw_clear(struct delta_type *t);

/* delta.c */
/* The stream that a type is asked for on. */
struct delta_stream *delta_stream_of(struct weft_delta *d, enum weft_xds_type type);
/* A response of it is due on this stream: any other is neither used nor answered. */
bool delta_is_asked(struct weft_delta *d, const struct delta_stream *s, enum weft_xds_type type);
/* Answers may be lost: every stream is to be reset. */
void delta_break(struct weft_delta *d);
int delta_note_control_plane(struct weft_delta *d, const char *identifier);

/* delta_apply.c: the whole treatment of a response of a known type, its answer included. */
int delta_apply(struct weft_delta *d, enum weft_xds_type type,
		const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *resp, int64_t now_ms);
/*
 * The same for several delta responses in their order, with one publish. -EINVAL: something of them
 * is refused, and nothing was done.
 */
int delta_apply_all(struct weft_delta *d, const struct delta_response *list, size_t n,
		    int64_t now_ms);
/* "Listener/NAME" to its item; NULL when it is none of ours. */
struct delta_item *delta_item_by_resource(struct weft_delta *d, const char *resource);
/* The cause becomes the item's error; `version` is the one that was refused, or NULL. */
void delta_item_note(const struct weft_delta *d, struct delta_item *item,
		     const struct weft_diag_entry *e, const char *version);

/* delta_change.c */
/* Room for the changes of n names. */
int delta_change_room(struct delta_change *c, size_t n);
/* Moves the item's present state into the change; the item then has none but its held slot. */
struct delta_undo *delta_change_add(struct delta_change *c, struct delta_item *item,
				    const char *new_version);
void delta_undo_apply(struct delta_undo *undo);
/* Takes back what was not taken back yet. */
void delta_change_undo(struct delta_change *c);
/* What was not taken back counts. */
void delta_change_free(struct delta_change *c);

/* delta_count.c: what Envoy counts of its subscriptions */
/* Somebody waits for a type, or one more for a name. */
void delta_count_start(struct weft_delta_counts *c);
void delta_count_timeout(struct weft_delta_counts *c);
/* Before what the server took back is forgotten. */
void delta_count_answer(struct weft_delta *d, enum weft_xds_type type,
			const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *resp,
			bool refused);
/* The type's stream ended, or there was none to be had. */
void delta_count_disconnected(struct weft_delta *d, enum weft_xds_type type);
void delta_counts_clear(struct weft_delta_counts *c);

/* delta_warm.c */
/*
 * Offers the owner what is now to be in force, when that differs from what is. 0; -EINVAL: refused
 * in part or as a whole, causes in diag, and what was refused is taken back; -ENOMEM: all is taken
 * back. `change` is NULL when no response caused it.
 */
int delta_publish(struct weft_delta *d, struct delta_change *change, struct weft_diag *diag);
/* The same, but as a whole or not at all: after -EINVAL or -ENOMEM the change is still to be taken
 * back. */
int delta_publish_whole(struct weft_delta *d, struct delta_change *change);
/* Gives up waiting for every missing resource of a type (EDS, RDS). */
void delta_watches_fail(struct weft_delta *d, enum weft_xds_type type);
/* After any change: LDS may start, `complete` may become true. */
int delta_advance(struct weft_delta *d, int64_t now_ms);
