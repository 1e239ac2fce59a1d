// SPDX-License-Identifier: Apache-2.0
/* The xDS client from outside: its life, its streams, its timers, what it shows. */

#include "xds/delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xds/delta_state.h"

int weft_delta_new(const struct weft_delta_node *node, const struct weft_delta_ops *ops, void *ctx,
		   struct weft_delta **ret)
{
	struct weft_delta *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->ops = *ops;
	d->ctx = ctx;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		TAILQ_INIT(&d->streams[i].queue);
		TAILQ_INIT(&d->types[i].items);
	}
	d->types[WEFT_XDS_CLUSTER].wildcard = true;
	d->types[WEFT_XDS_LISTENER].wildcard = true;
	err = delta_node_new(node, &d->node);
	if (!err)
		err = weft_snapshot_new(&d->published);
	if (err) {
		weft_delta_free(d);
		return err;
	}
	*ret = d;
	return 0;
}

int weft_delta_set_node(struct weft_delta *d, const struct weft_delta_node *node)
{
	Envoy__Config__Core__V3__Node *old = d->node;
	int err = delta_node_new(node, &d->node);

	if (!err && d->sotw)
		err = weft_delta_speak_sotw(d);
	if (err) {
		if (d->node != old)
			envoy__config__core__v3__node__free_unpacked(d->node, NULL);
		d->node = old;
		return err;
	}
	envoy__config__core__v3__node__free_unpacked(old, NULL);
	return 0;
}

void weft_delta_free(struct weft_delta *d)
{
	if (!d)
		return;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		delta_queue_clear(d, &d->streams[i]);
	delta_pace_clear(d);
	delta_types_clear(d);
	weft_snapshot_free(d->published);
	if (d->node)
		envoy__config__core__v3__node__free_unpacked(d->node, NULL);
	free(d->control_plane);
	free(d);
}

/* The first of tick and connected: a server that never answers must not stop the start for ever. */
static void clock_start(struct weft_delta *d, int64_t now_ms)
{
	struct delta_type *cds = &d->types[WEFT_XDS_CLUSTER];

	if (d->clock_started)
		return;
	d->clock_started = true;
	d->timers_changed = true;
	cds->started = true;
	delta_count_start(&cds->counts);
	cds->deadline = now_ms + DELTA_FETCH_TIMEOUT_MS;
}

/* ---- streams ---- */

void weft_delta_separate(struct weft_delta *d)
{
	d->separate = true;
}

bool weft_delta_is_separate(const struct weft_delta *d)
{
	return d->separate;
}

unsigned int weft_delta_streams(const struct weft_delta *d)
{
	return d->separate ? WEFT_XDS__MAX : 1;
}

struct delta_stream *delta_stream_of(struct weft_delta *d, enum weft_xds_type type)
{
	return &d->streams[d->separate ? type : 0];
}

bool weft_delta_wants(const struct weft_delta *d, unsigned int stream)
{
	const struct delta_type *t = &d->types[stream];
	const struct delta_item *item;

	if (!d->separate)
		return true;
	if (t->wildcard)
		return t->started;
	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->watchers)
			return true;
	}
	return false;
}

bool delta_is_asked(struct weft_delta *d, const struct delta_stream *s, enum weft_xds_type type)
{
	return type != WEFT_XDS__MAX && delta_stream_of(d, type) == s && d->types[type].first_sent;
}

void delta_break(struct weft_delta *d)
{
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		d->streams[i].broken |= d->streams[i].connected;
}

/* What a stream was told of a type is void; names only kept to be unsubscribed are not needed any
 * more. */
static void type_forget(struct weft_delta *d, struct delta_type *t)
{
	struct delta_item *item, *next;

	t->first_sent = false;
	delta_sotw_forget(t);
	for (item = TAILQ_FIRST(&t->items); item; item = next) {
		next = TAILQ_NEXT(item, link);
		item->sent = false;
		if (item->unsubscribe && !item->watchers)
			delta_item_free(d, item);
		else
			item->unsubscribe = false;
	}
}

static void stream_forget(struct weft_delta *d, struct delta_stream *s)
{
	delta_queue_clear(d, s);
	s->node_sent = false;
	s->broken = false;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		if (delta_stream_of(d, (enum weft_xds_type)i) == s)
			type_forget(d, &d->types[i]);
	}
}

int weft_delta_connected_on(struct weft_delta *d, unsigned int stream, int64_t now_ms)
{
	struct delta_stream *s = &d->streams[stream];
	int err = 0;

	d->now_ms = now_ms;
	clock_start(d, now_ms);
	d->timers_changed = true;
	stream_forget(d, s);
	d->stats.connects++;
	s->connected = true;
	for (int i = 0; !err && i < WEFT_XDS__MAX; i++) {
		enum weft_xds_type type = (enum weft_xds_type)i;

		if (delta_stream_of(d, type) == s && (d->types[i].started || !d->types[i].wildcard))
			err = delta_queue_subscription(d, type);
	}
	return err;
}

void weft_delta_disconnected_on(struct weft_delta *d, unsigned int stream, int64_t now_ms)
{
	struct delta_stream *s = &d->streams[stream];

	d->now_ms = now_ms;
	clock_start(d, now_ms);
	d->timers_changed = true;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		if (delta_stream_of(d, (enum weft_xds_type)i) == s)
			delta_count_disconnected(d, (enum weft_xds_type)i);
	}
	if (!s->connected)
		return;
	/* what came counts; its answers have nowhere to go */
	if (delta_pace_end(d, now_ms))
		delta_break(d);
	stream_forget(d, s);
	s->connected = false;
}

int delta_note_control_plane(struct weft_delta *d, const char *identifier)
{
	char *copy;

	if (d->control_plane && !strcmp(d->control_plane, identifier))
		return 0;
	copy = strdup(identifier);
	if (!copy)
		return -ENOMEM;
	free(d->control_plane);
	d->control_plane = copy;
	return 0;
}

static int delta_receive(struct weft_delta *d, const struct delta_stream *s, const uint8_t *data,
			 size_t len, int64_t now_ms)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *resp;
	enum weft_xds_type type;
	int err = 0;

	resp = envoy__service__discovery__v3__delta_discovery_response__unpack(NULL, len, data);
	if (!resp)
		return -EBADMSG;
	d->stats.responses++;
	if (resp->control_plane)
		err = delta_note_control_plane(d, resp->control_plane->identifier);
	type = weft_xds_type_from_url(resp->type_url);
	if (!err && delta_is_asked(d, s, type))
		return delta_pace(d, type, &resp->base, len, now_ms);
	envoy__service__discovery__v3__delta_discovery_response__free_unpacked(resp, NULL);
	return err;
}

int weft_delta_receive_on(struct weft_delta *d, unsigned int stream, const uint8_t *data,
			  size_t len, int64_t now_ms)
{
	const struct delta_stream *s = &d->streams[stream];
	int err;

	d->now_ms = now_ms;
	if (!s->connected)
		return -ENOTCONN;
	err = d->sotw ? delta_sotw_receive(d, s, data, len, now_ms)
		      : delta_receive(d, s, data, len, now_ms);
	/* Those that waited with it may have come on other streams. */
	if (err == -ENOMEM)
		delta_break(d);
	return err;
}

/* ---- order and timers ---- */

static bool all_warm(const struct delta_type *t)
{
	const struct delta_item *item;

	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->held && !delta_item_warm(item))
			return false;
	}
	return true;
}

int delta_advance(struct weft_delta *d, int64_t now_ms)
{
	struct delta_type *cds = &d->types[WEFT_XDS_CLUSTER], *lds = &d->types[WEFT_XDS_LISTENER];
	int err = 0;

	if (!lds->started && cds->fetched && all_warm(cds)) {
		lds->started = true;
		delta_count_start(&lds->counts);
		lds->deadline = now_ms + DELTA_FETCH_TIMEOUT_MS;
		if (delta_stream_of(d, WEFT_XDS_LISTENER)->connected)
			err = delta_queue_subscription(d, WEFT_XDS_LISTENER);
	}
	if (!d->complete && lds->fetched && all_warm(cds) && all_warm(lds))
		d->complete = true;
	if (!d->served && cds->answered && lds->answered && all_warm(cds) && all_warm(lds)) {
		d->served = true;
		if (d->ops.served)
			d->ops.served(d->ctx);
	}
	return err;
}

/* The earlier of two deadlines, where DELTA_NEVER is none. */
static int64_t earlier(int64_t a, int64_t b)
{
	if (a == DELTA_NEVER || (b != DELTA_NEVER && b < a))
		return b;
	return a;
}

/*
 * Expiry of TTL: as if the server had removed it, which for EDS and RDS leaves the data in force.
 */
static bool item_expire(struct weft_delta *d, struct delta_item *item, int64_t now_ms)
{
	if (item->expires == DELTA_NEVER || item->expires > now_ms)
		return false;
	item->expires = DELTA_NEVER;
	if (!d->types[item->type].wildcard)
		return false;
	delta_slot_unref(item->held);
	item->held = NULL;
	free(item->version);
	item->version = NULL;
	delta_item_refuse(item, NULL, NULL);
	return true;
}

static bool watches_expire(struct weft_delta *d, struct delta_item *item, int64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; item->held && i < item->held->n_watches; i++) {
		struct delta_watch *w = &item->held->watches[i];

		if (delta_watch_ready(w) || w->deadline == DELTA_NEVER || w->deadline > now_ms)
			continue;
		w->done = true;
		w->target->timed_out = true;
		d->stats.init_fetch_timeout++;
		delta_count_timeout(&w->target->counts);
		any = true;
	}
	return any;
}

static bool type_expire(struct weft_delta *d, struct delta_type *t, int64_t now_ms)
{
	struct delta_item *item;
	bool any = false;

	if (t->wildcard && t->started && !t->fetched && t->deadline <= now_ms) {
		t->fetched = true;
		d->stats.init_fetch_timeout++;
		delta_count_timeout(&t->counts);
		any = true;
	}
	TAILQ_FOREACH(item, &t->items, link)
	{
		any |= item_expire(d, item, now_ms);
		any |= watches_expire(d, item, now_ms);
	}
	return any;
}

static int64_t type_deadline(const struct delta_type *t)
{
	int64_t next = t->wildcard && t->started && !t->fetched ? t->deadline : DELTA_NEVER;
	const struct delta_item *item;

	TAILQ_FOREACH(item, &t->items, link)
	{
		next = earlier(next, item->expires);
		for (size_t i = 0; item->held && i < item->held->n_watches; i++) {
			if (!delta_watch_ready(&item->held->watches[i]))
				next = earlier(next, item->held->watches[i].deadline);
		}
	}
	return next;
}

static int64_t timers_run(struct weft_delta *d, int64_t now_ms)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	int64_t next = DELTA_NEVER;
	bool any = false;

	if (!d->timers_changed && (d->next_tick == DELTA_NEVER || now_ms < d->next_tick))
		return d->next_tick;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		any |= type_expire(d, &d->types[i], now_ms);
	if (any) {
		/* No response to refuse: the causes are shown with the resources. */
		delta_publish(d, NULL, &causes);
		for (int i = 0; i < WEFT_XDS__MAX; i++)
			delta_collect(d, (enum weft_xds_type)i);
		delta_advance(d, now_ms);
	}
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		next = earlier(next, type_deadline(&d->types[i]));
	d->timers_changed = false;
	d->next_tick = next;
	return next;
}

int64_t weft_delta_tick(struct weft_delta *d, int64_t now_ms)
{
	int64_t next;

	d->now_ms = now_ms;
	clock_start(d, now_ms);
	if (delta_pace_deadline(d) != DELTA_NEVER && delta_pace_deadline(d) <= now_ms &&
	    delta_pace_end(d, now_ms))
		delta_break(d);
	next = timers_run(d, now_ms);
	delta_pace_begin(d, now_ms);
	return earlier(next, delta_pace_deadline(d));
}

bool weft_delta_complete(const struct weft_delta *d)
{
	return d->complete;
}

static enum weft_delta_status item_status(const struct weft_delta *d, const struct delta_item *item)
{
	if (item->error)
		return WEFT_DELTA_NACKED;
	if (d->types[item->type].wildcard)
		return delta_item_warm(item) ? WEFT_DELTA_ACKED : WEFT_DELTA_WARMING;
	if (item->absent)
		return WEFT_DELTA_DOES_NOT_EXIST;
	if (item->held)
		return WEFT_DELTA_ACKED;
	return item->timed_out ? WEFT_DELTA_TIMEOUT : WEFT_DELTA_REQUESTED;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp((*(struct delta_item *const *)a)->name,
		      (*(struct delta_item *const *)b)->name);
}

static struct weft_delta_item item_shown(const struct weft_delta *d, const struct delta_item *item)
{
	bool waits = item->held && item->held != item->active;

	return (struct weft_delta_item){
		.type = item->type,
		.name = item->name,
		.version = item->version ? item->version : "",
		.status = item_status(d, item),
		.error = item->error,
		.failed_version = item->failed_version,
		.updated_ms = item->updated_ms,
		.failed_ms = item->failed_ms,
		.active = item->active ? item->active->res : NULL,
		.warming = waits ? item->held->res : NULL,
		.failed = item->failed,
		.counts = d->types[item->type].wildcard ? NULL : &item->counts,
	};
}

static void type_each(const struct weft_delta *d, const struct delta_type *t,
		      void (*fn)(void *ctx, const struct weft_delta_item *item), void *ctx)
{
	struct delta_item **sorted = calloc(t->n_items + 1, sizeof(*sorted));
	struct delta_item *item;
	size_t n = 0;

	if (!sorted)
		return;
	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->held || item->error || item->watchers)
			sorted[n++] = item;
	}
	qsort(sorted, n, sizeof(*sorted), compare_items);
	for (size_t i = 0; i < n; i++) {
		struct weft_delta_item out = item_shown(d, sorted[i]);

		fn(ctx, &out);
	}
	free(sorted);
}

void weft_delta_each(const struct weft_delta *d,
		     void (*fn)(void *ctx, const struct weft_delta_item *item), void *ctx)
{
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		type_each(d, &d->types[i], fn, ctx);
}

const Envoy__Config__Core__V3__Node *weft_delta_node(const struct weft_delta *d)
{
	return d->node;
}

void weft_delta_stats(const struct weft_delta *d, struct weft_delta_stats *ret)
{
	const struct delta_request *r;
	bool missing = false;

	*ret = d->stats;
	ret->control_plane = d->control_plane;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		ret->types[i] = d->types[i].counts;
	for (unsigned int i = 0; i < weft_delta_streams(d); i++) {
		const struct delta_stream *s = &d->streams[i];

		ret->connected |= s->connected;
		missing |= !s->connected && weft_delta_wants(d, i);
		TAILQ_FOREACH(r, &s->queue, link)
		ret->pending++;
	}
	ret->connected &= !missing;
}
