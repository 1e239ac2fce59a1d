// SPDX-License-Identifier: Apache-2.0
/*
 * One response, from its checks to its answer. Checked before anything is applied, so that they
 * refuse the whole response: names (twice, or both sent and removed), types, TTLs, and in EDS and
 * RDS every resource. In CDS and LDS a resource that is refused does not keep the others out.
 */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A name in the response; resource is NULL in removed_resources. */
struct response_name {
	const char *name;
	const Envoy__Service__Discovery__V3__Resource *resource;
};

/* A response while it is applied. */
struct application {
	struct weft_delta *d;
	enum weft_xds_type type;
	const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *resp;
	int64_t now_ms;
	struct response_name *names; /* sorted */
	size_t n_names;
	struct delta_change *change; /* several responses may share it */
	struct weft_diag diag;
	bool refused; /* in part or as a whole, even if memory was short for the cause */
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct response_name *)a)->name,
		      ((const struct response_name *)b)->name);
}

/* Appends a cause under the name the server used. */
static int refuse(struct application *a, const char *name, const char *field, const char *reason)
{
	char *resource = NULL;

	a->refused = true;
	if (asprintf(&resource, "%s/%s", weft_xds_type_name(a->type), name) < 0)
		return -ENOMEM;
	weft_diag_add(&a->diag, -EINVAL, resource, field, "%s", reason);
	free(resource);
	return -EINVAL;
}

static int collect_names(struct application *a)
{
	size_t n = a->resp->n_resources + a->resp->n_removed_resources;

	a->names = calloc(n + 1, sizeof(*a->names));
	if (!a->names)
		return -ENOMEM;
	for (size_t i = 0; i < a->resp->n_resources; i++) {
		a->names[i].name = a->resp->resources[i]->name;
		a->names[i].resource = a->resp->resources[i];
	}
	for (size_t i = 0; i < a->resp->n_removed_resources; i++)
		a->names[a->resp->n_resources + i].name = a->resp->removed_resources[i];
	a->n_names = n;
	qsort(a->names, n, sizeof(*a->names), compare_names);
	return 0;
}

static bool is_heartbeat(const struct application *a,
			 const Envoy__Service__Discovery__V3__Resource *r)
{
	const struct delta_item *item = delta_item_find(a->d, a->type, r->name);

	return !r->resource && !r->n_aliases && item && item->held && item->version &&
	       !strcmp(item->version, r->version);
}

/* Aliases answer requests by alias, which only VHDS makes. */
static bool is_alias_only(const Envoy__Service__Discovery__V3__Resource *r)
{
	return !r->resource && r->n_aliases;
}

static int check_resource(struct application *a, const Envoy__Service__Discovery__V3__Resource *r)
{
	const char *want = a->resp->type_url;
	int64_t ttl;

	if (delta_duration_ms(r->ttl, 0, &ttl))
		return refuse(a, r->name, "ttl", "out of range");
	if (is_heartbeat(a, r) || is_alias_only(r))
		return 0;
	if (!r->resource)
		return refuse(a, r->name, "resource", "missing, and no version of it is held");
	if (weft_xds_type_from_url(r->resource->type_url) != a->type) {
		char reason[256];

		snprintf(reason, sizeof(reason), "type is %.100s, in a response of %.100s",
			 r->resource->type_url, want);
		return refuse(a, r->name, "resource.type_url", reason);
	}
	return 0;
}

static int check_response(struct application *a)
{
	int err = collect_names(a);

	if (err)
		return err;
	for (size_t i = 1; i < a->n_names; i++) {
		if (!strcmp(a->names[i - 1].name, a->names[i].name))
			return refuse(a, a->names[i].name, "name",
				      "twice in resources and removed_resources");
	}
	for (size_t i = 0; i < a->resp->n_resources; i++) {
		err = check_resource(a, a->resp->resources[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Decodes and cross-checks; causes are filed under the name in the envelope. */
static int resource_decode(struct application *a, const Envoy__Service__Discovery__V3__Resource *r,
			   struct weft_resource **ret)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	struct weft_resource *res = NULL;
	int err = weft_resource_from_wire(a->type, r->resource->value.data, r->resource->value.len,
					  r->version, a->now_ms, &causes, &res);

	if (err == -ENOMEM)
		return err;
	if (err && !causes.n)
		return refuse(a, r->name, "resource", strerror(-err));
	for (size_t i = 0; err && i < causes.n; i++)
		refuse(a, r->name, causes.entries[i].field, causes.entries[i].reason);
	if (err)
		return err;
	if (strcmp(res->name, r->name)) {
		char reason[256];

		snprintf(reason, sizeof(reason), "\"%.200s\" is not the name it was sent under",
			 res->name);
		weft_resource_unref(res);
		return refuse(a, r->name, a->type == WEFT_XDS_ENDPOINT ? "cluster_name" : "name",
			      reason);
	}
	*ret = res;
	return 0;
}

/* The same content again keeps its slot, so that nothing warms anew. */
static int resource_slot(struct application *a, struct weft_resource *res,
			 const struct delta_item *item, struct delta_slot **ret)
{
	int err;

	if (item && item->held && item->held->res->hash == res->hash) {
		*ret = delta_slot_ref(item->held);
		return 0;
	}
	err = delta_slot_new(a->d, res, a->now_ms, &a->diag, ret);
	a->refused = a->refused || err;
	return err;
}

/* A resource without TTL, also as a heartbeat, ends the one it had. */
static int64_t expiry(const struct application *a, const Envoy__Service__Discovery__V3__Resource *r)
{
	int64_t ttl;

	if (!r->ttl || delta_duration_ms(r->ttl, 0, &ttl))
		return DELTA_NEVER;
	return a->now_ms + ttl;
}

static void apply_heartbeats(struct application *a)
{
	for (size_t i = 0; i < a->resp->n_resources; i++) {
		const Envoy__Service__Discovery__V3__Resource *r = a->resp->resources[i];

		if (is_heartbeat(a, r))
			delta_item_find(a->d, a->type, r->name)->expires = expiry(a, r);
	}
}

static int item_update(struct application *a, const Envoy__Service__Discovery__V3__Resource *r,
		       struct delta_slot *slot)
{
	struct delta_item *item = delta_item_get(a->d, a->type, r->name);
	char *version = strdup(r->version);

	if (!item || !version) {
		free(version);
		return -ENOMEM;
	}
	delta_change_add(a->change, item, r->version);
	delta_slot_unref(item->held);
	item->held = delta_slot_ref(slot);
	item->version = version;
	item->updated_ms = a->now_ms;
	item->expires = expiry(a, r);
	return 0;
}

static int apply_resource(struct application *a, const Envoy__Service__Discovery__V3__Resource *r)
{
	struct delta_item *item = delta_item_find(a->d, a->type, r->name);
	struct weft_resource *res = NULL;
	struct delta_slot *slot = NULL;
	int err;

	if (is_alias_only(r) || is_heartbeat(a, r))
		return 0;
	if (!a->d->types[a->type].wildcard && (!item || !item->watchers))
		return 0; /* nobody asked for it */
	err = resource_decode(a, r, &res);
	if (err)
		return err;
	err = resource_slot(a, res, item, &slot);
	weft_resource_unref(res);
	if (!err)
		err = item_update(a, r, slot);
	delta_slot_unref(slot);
	return err;
}

/*
 * LDS, CDS: gone. EDS, RDS: the last data stays in force, but the server no longer vouches for it.
 */
static void apply_removal(struct application *a, const char *name)
{
	struct delta_item *item = delta_item_find(a->d, a->type, name);

	if (!item || !delta_item_wanted(a->d, item))
		return;
	delta_change_add(a->change, item, NULL);
	if (a->d->types[a->type].wildcard) {
		delta_slot_unref(item->held);
		item->held = NULL;
	} else {
		item->absent = true;
	}
}

static int apply_all(struct application *a)
{
	bool partial = a->d->types[a->type].wildcard;

	for (size_t i = 0; i < a->resp->n_resources; i++) {
		int err = apply_resource(a, a->resp->resources[i]);

		if (err == -ENOMEM || (err && !partial))
			return err;
	}
	for (size_t i = 0; i < a->resp->n_removed_resources; i++)
		apply_removal(a, a->resp->removed_resources[i]);
	return 0;
}

struct delta_item *delta_item_by_resource(struct weft_delta *d, const char *resource)
{
	const char *slash = resource ? strchr(resource, '/') : NULL;

	for (int i = 0; slash && i < WEFT_XDS__MAX; i++) {
		const char *type = weft_xds_type_name((enum weft_xds_type)i);

		if (strlen(type) == (size_t)(slash - resource) &&
		    !strncmp(type, resource, strlen(type)))
			return delta_item_find(d, (enum weft_xds_type)i, slash + 1);
	}
	return NULL;
}

void delta_item_note(const struct weft_delta *d, struct delta_item *item,
		     const struct weft_diag_entry *e, const char *version)
{
	struct weft_resource *failed;
	char *text = NULL;

	if (asprintf(&text, "%s%s%s", e->field, *e->field ? ": " : "", e->reason) < 0)
		return;
	/* What is refused may be noted twice, the second time without its content. */
	failed = item->failed;
	if (failed && (!version || strcmp(failed->version, version)))
		failed = NULL;
	if (failed)
		weft_resource_ref(failed);
	delta_item_refuse(item, text, version);
	delta_item_failed(d, item, failed);
	weft_resource_unref(failed);
	free(text);
}

/* Resources of this response that never got as far as the owner. */
static void note_refused(struct application *a)
{
	const char *prefix = weft_xds_type_name(a->type);

	for (size_t i = a->diag.n; i-- > 0;) {
		const struct weft_diag_entry *e = &a->diag.entries[i];
		struct response_name key, *found;
		struct delta_item *item;

		if (strncmp(e->resource, prefix, strlen(prefix)) ||
		    e->resource[strlen(prefix)] != '/')
			continue;
		key.name = e->resource + strlen(prefix) + 1;
		found = bsearch(&key, a->names, a->n_names, sizeof(key), compare_names);
		item = delta_item_find(a->d, a->type, key.name);
		if (!item && found && a->d->types[a->type].wildcard)
			item = delta_item_get(a->d, a->type, key.name);
		if (item && found && delta_item_wanted(a->d, item))
			delta_item_note(a->d, item, e,
					found->resource ? found->resource->version : NULL);
	}
}

/* Envoy's form: cut, and said to be cut. */
static char *nack_text(const struct weft_diag *diag)
{
	static const char cut[] = "...(truncated)";
	char *text = weft_diag_text(diag);

	if (!text)
		return strdup("refused"); /* only when memory is short */
	if (strlen(text) > DELTA_NACK_MAX) {
		char *shorter;
		size_t n = DELTA_NACK_MAX;

		while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--; /* protobuf strings are UTF-8: not in the middle of a character */
		shorter = realloc(text, DELTA_NACK_MAX + sizeof(cut));
		text = shorter ? shorter : text;
		if (shorter)
			memcpy(text + n, cut, sizeof(cut));
		else
			text[n] = '\0';
	}
	return text;
}

static int answer(struct application *a)
{
	char *nonce = strdup(a->resp->nonce);
	char *text = a->refused ? nack_text(&a->diag) : NULL;

	if (!nonce || (a->refused && !text)) {
		free(nonce);
		free(text);
		return -ENOMEM;
	}
	if (text) {
		/* A server may send what was refused again at once, without end. */
		a->d->pause_due = true;
		a->d->stats.nacks++;
		a->d->stats.refused[a->type]++;
	} else {
		a->d->stats.acks++;
		a->d->stats.accepted[a->type]++;
	}
	delta_count_answer(a->d, a->type, a->resp, a->refused);
	return delta_queue_answer(a->d, a->type, nonce, text);
}

/*
 * What the response made necessary goes out first, then its answer, then changes of its own type.
 * Other content makes nothing necessary.
 */
static int finish(struct application *a)
{
	int err = 0;

	if (a->change->content)
		return answer(a);
	for (int i = 0; !err && i < WEFT_XDS__MAX; i++) {
		if ((enum weft_xds_type)i != a->type)
			err = delta_collect(a->d, (enum weft_xds_type)i);
	}
	if (!err)
		err = answer(a);
	if (!err)
		err = delta_collect(a->d, a->type);
	return err ? err : delta_advance(a->d, a->now_ms);
}

/* Changes that were taken back although no cause names them: the first cause is theirs too. */
static void note_undone(struct application *a)
{
	for (size_t i = 0; a->diag.n && i < a->change->n; i++) {
		struct delta_undo *u = &a->change->undos[i];

		if (u->item->undo != u && !u->noted)
			delta_item_note(a->d, u->item, &a->diag.entries[0], u->new_version);
	}
}

/* 0, also when refused; -ENOMEM. */
static int apply_and_publish(struct application *a)
{
	int err = check_response(a);

	if (!err)
		err = delta_change_room(a->change, a->n_names);
	if (!err)
		err = apply_all(a);
	if (err) {
		delta_change_undo(a->change);
		return err == -ENOMEM ? err : 0;
	}
	err = delta_publish(a->d, a->change, &a->diag);
	if (err == -ENOMEM)
		return err;
	a->refused = a->refused || err;
	apply_heartbeats(a);
	note_undone(a);
	return 0;
}

/* The server's word is in force, in part at least. */
static bool took_effect(const struct application *a)
{
	for (size_t i = 0; i < a->change->n; i++) {
		if (a->change->undos[i].item->undo == &a->change->undos[i])
			return true;
	}
	return !a->refused;
}

int delta_apply(struct weft_delta *d, enum weft_xds_type type,
		const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *resp, int64_t now_ms)
{
	struct delta_change change = {0};
	struct application a = {
		.d = d, .type = type, .resp = resp, .now_ms = now_ms, .change = &change};
	int err = apply_and_publish(&a);

	d->types[type].answered |= !err && took_effect(&a);
	d->timers_changed |= !change.content;
	delta_change_free(&change);
	d->types[type].fetched = d->types[type].fetched || !err;
	if (!err && a.refused) {
		/*
		 * What no longer waits may come into force; a refusal joins this response's causes.
		 */
		delta_watches_fail(d, type);
		if (delta_publish(d, NULL, &a.diag) == -ENOMEM)
			err = -ENOMEM;
		note_refused(&a);
	}
	if (!err)
		err = finish(&a);
	free(a.names);
	weft_diag_clear(&a.diag);
	return err;
}

/* What each response changes, one after the other; -EINVAL as soon as something is refused. */
static int all_change(struct application *a, size_t n, struct delta_change *change)
{
	size_t names = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		names += a[i].resp->n_resources + a[i].resp->n_removed_resources;
	err = delta_change_room(change, names);
	for (size_t i = 0; i < n && !err; i++) {
		err = check_response(&a[i]);
		if (!err)
			err = apply_all(&a[i]);
		if (!err && a[i].refused)
			err = -EINVAL;
		/* what the next response says of it counts from here on */
		if (!err)
			apply_heartbeats(&a[i]);
	}
	return err;
}

static int all_finish(struct application *a, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		struct delta_type *t = &a->d->types[a[i].type];

		t->answered = t->fetched = true;
		err = finish(&a[i]);
	}
	return err;
}

int delta_apply_all(struct weft_delta *d, const struct delta_response *list, size_t n,
		    int64_t now_ms)
{
	struct application *a = calloc(n, sizeof(*a));
	struct delta_change change = {0};
	int err;

	if (!a)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		a[i] = (struct application){.d = d,
					    .type = list[i].type,
					    .resp = (const void *)list[i].msg,
					    .now_ms = now_ms,
					    .change = &change};
	err = all_change(a, n, &change);
	if (!err)
		err = delta_publish_whole(d, &change);
	d->timers_changed |= !change.content;
	if (err)
		delta_change_undo(&change);
	delta_change_free(&change);
	if (!err)
		err = all_finish(a, n);
	for (size_t i = 0; i < n; i++) {
		free(a[i].names);
		weft_diag_clear(&a[i].diag);
	}
	free(a);
	return err;
}
