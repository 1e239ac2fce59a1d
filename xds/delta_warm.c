// SPDX-License-Identifier: Apache-2.0
/*
 * From what is accepted to what is in force. A new cluster waits for its CLA and a new listener for
 * its routes; a changed one lets its predecessor serve until then. Whatever leads to a new snapshot
 * goes through delta_publish(), and outside of it the published snapshot is always what compose()
 * would give.
 */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Order of the walk: watchers before what they watch. */
static const enum weft_xds_type walk_order[] = {WEFT_XDS_CLUSTER, WEFT_XDS_LISTENER,
						WEFT_XDS_ENDPOINT, WEFT_XDS_ROUTE};
#define WALK_N (sizeof(walk_order) / sizeof(walk_order[0]))

static void slot_mark(const struct delta_slot *s, uint64_t generation)
{
	for (size_t i = 0; s && i < s->n_watches; i++)
		s->watches[i].target->mark = generation;
}

/*
 * The slot that is to be in force; types without wildcard must have been marked by their watchers.
 */
static struct delta_slot *item_choice(const struct weft_delta *d, const struct delta_item *item)
{
	if (!item->held)
		return NULL;
	if (!d->types[item->type].wildcard)
		return item->mark == d->generation ? item->held : NULL;
	return delta_item_warm(item) ? item->held : item->active;
}

/* A name is needed by the cluster in force and by the one that warms beside it. */
static void mark_needed(struct weft_delta *d)
{
	struct delta_item *item;

	d->generation++;
	for (size_t i = 0; i < WALK_N; i++) {
		if (!d->types[walk_order[i]].wildcard)
			continue;
		TAILQ_FOREACH(item, &d->types[walk_order[i]].items, link)
		{
			slot_mark(item_choice(d, item), d->generation);
			slot_mark(item->held, d->generation);
		}
	}
}

static bool slots_differ(const struct delta_slot *a, const struct delta_slot *b)
{
	if (a == b)
		return false;
	return !a || !b || a->res->hash != b->res->hash;
}

static int compose_item(struct weft_delta *d, const struct delta_item *item,
			struct weft_snapshot **next)
{
	const struct delta_slot *choice = item_choice(d, item);
	int err;

	if (!slots_differ(choice, item->active))
		return 0;
	if (!*next) {
		err = weft_snapshot_clone(d->published, next);
		if (!err)
			err = weft_snapshot_set_node(*next, d->node->id, d->node->cluster);
		if (err)
			return err;
	}
	if (choice)
		return weft_snapshot_put(*next, choice->res);
	err = weft_snapshot_del(*next, item->type, item->name);
	return err == -ENOENT ? 0 : err;
}

static bool is_other_content(const struct weft_delta *d, const struct delta_undo *u)
{
	const struct delta_item *item = u->item;

	return !d->types[item->type].wildcard && item->undo == u && u->held && item->held &&
	       item->active == u->held && item->mark == d->generation &&
	       u->expires == DELTA_NEVER && item->expires == DELTA_NEVER;
}

/*
 * Nothing but the content of names that are watched and in force: what waits for what, and until
 * when, stays as it is, and the rest of the snapshot too.
 */
static bool is_content(const struct weft_delta *d, const struct delta_change *change)
{
	for (size_t i = 0; i < change->n; i++) {
		if (!is_other_content(d, &change->undos[i]))
			return false;
	}
	return change->n && change->covered == change->cap;
}

/* compose() for such a change, at a cost by what changed. */
static int content_compose(struct weft_delta *d, const struct delta_change *change,
			   struct weft_snapshot **ret)
{
	struct weft_snapshot *next = NULL;

	for (size_t i = 0; i < change->n; i++) {
		int err = compose_item(d, change->undos[i].item, &next);

		if (err) {
			weft_snapshot_free(next);
			return err;
		}
	}
	*ret = next;
	return 0;
}

/* *ret stays NULL when nothing would change. */
static int compose(struct weft_delta *d, struct weft_snapshot **ret)
{
	struct weft_snapshot *next = NULL;
	struct delta_item *item;

	mark_needed(d);
	for (size_t i = 0; i < WALK_N; i++) {
		TAILQ_FOREACH(item, &d->types[walk_order[i]].items, link)
		{
			int err = compose_item(d, item, &next);

			if (err) {
				weft_snapshot_free(next);
				return err;
			}
		}
	}
	*ret = next;
	return 0;
}

static void published_set(struct weft_delta *d, struct weft_snapshot *next)
{
	if (!next)
		return;
	weft_snapshot_free(d->published);
	d->published = next;
}

static void content_commit(struct weft_delta *d, const struct delta_change *change,
			   struct weft_snapshot *next)
{
	for (size_t i = 0; i < change->n; i++) {
		struct delta_item *item = change->undos[i].item;

		delta_slot_unref(item->active);
		item->active = delta_slot_ref(item->held);
	}
	published_set(d, next);
}

/* `next` was accepted (NULL: equal content): the choices become active. */
static void commit(struct weft_delta *d, struct weft_snapshot *next)
{
	struct delta_item *item;

	/* All choices first, in the order of the walk: taking a slot away unmarks nothing. */
	for (size_t i = 0; i < WALK_N; i++) {
		TAILQ_FOREACH(item, &d->types[walk_order[i]].items, link)
		{
			struct delta_slot *choice = delta_slot_ref(item_choice(d, item));

			delta_slot_unref(item->active);
			item->active = choice;
		}
	}
	published_set(d, next);
}

/* Back to what is in force. Waiting for it any longer makes no sense: it was judged. */
static bool item_drop_candidate(struct weft_delta *d, struct delta_item *item)
{
	if (item->undo) {
		delta_undo_apply(item->undo);
		return true;
	}
	if (!slots_differ(item_choice(d, item), item->active))
		return false;
	delta_slot_unref(item->held);
	item->held = delta_slot_ref(item->active);
	free(item->version);
	item->version = item->held ? strdup(item->held->res->version) : NULL;
	return true;
}

/* Takes back what the causes name. False when they name nothing that was about to change. */
static bool take_back(struct weft_delta *d, const struct weft_diag *diag)
{
	bool any = false;

	for (size_t i = 0; i < diag->n; i++) {
		struct delta_item *item = delta_item_by_resource(d, diag->entries[i].resource);
		struct delta_undo *undo = item ? item->undo : NULL;
		const char *version = undo ? undo->new_version : NULL;
		struct delta_slot *slot = item ? delta_slot_ref(item->held) : NULL;

		if (item && item_drop_candidate(d, item)) {
			delta_item_note(d, item, &diag->entries[i], version);
			delta_item_failed(d, item, slot ? slot->res : NULL);
			if (undo)
				undo->noted = true;
			any = true;
		}
		delta_slot_unref(slot);
	}
	return any;
}

static void take_back_all(struct weft_delta *d, struct delta_change *change,
			  const struct weft_diag *diag)
{
	struct delta_item *item;

	for (size_t i = 0; change && i < change->n; i++) {
		if (change->undos[i].item->undo)
			delta_undo_apply(&change->undos[i]);
	}
	mark_needed(d);
	for (size_t i = 0; i < WALK_N; i++) {
		if (!d->types[walk_order[i]].wildcard)
			continue;
		TAILQ_FOREACH(item, &d->types[walk_order[i]].items, link)
		{
			if (item_drop_candidate(d, item) && diag->n)
				delta_item_note(d, item, &diag->entries[0], NULL);
		}
	}
}

/* The owner's causes; one that it did not give is made up, so that a NACK always has a text. */
static void add_causes(struct weft_diag *diag, const struct weft_diag *more, int err)
{
	if (!more->n)
		weft_diag_add(diag, err, NULL, NULL, "the configuration was refused: %s",
			      strerror(-err));
	for (size_t i = 0; i < more->n; i++)
		weft_diag_add(diag, err, more->entries[i].resource, more->entries[i].field, "%s",
			      more->entries[i].reason);
}

static int offer(struct weft_delta *d, const struct weft_snapshot *next, struct weft_diag *causes)
{
	if (!next)
		return 0;
	d->pause_due = true;
	return d->ops.publish(d->ctx, next, causes);
}

static void change_commit(struct weft_delta *d, const struct delta_change *change,
			  struct weft_snapshot *next)
{
	if (change && change->content)
		content_commit(d, change, next);
	else
		commit(d, next);
}

int delta_publish_whole(struct weft_delta *d, struct delta_change *change)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	struct weft_snapshot *next = NULL;
	int err;

	change->content = is_content(d, change);
	err = change->content ? content_compose(d, change, &next) : compose(d, &next);
	if (!err && offer(d, next, &causes))
		err = -EINVAL;
	if (err) {
		weft_snapshot_free(next);
		return err;
	}
	change_commit(d, change, next);
	return 0;
}

int delta_publish(struct weft_delta *d, struct delta_change *change, struct weft_diag *diag)
{
	if (change)
		change->content = is_content(d, change);
	for (int round = 0;; round++) {
		_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
		struct weft_snapshot *next = NULL;
		bool content = change && change->content;
		int err = content ? content_compose(d, change, &next) : compose(d, &next);

		if (err) {
			take_back_all(d, change, diag);
			return err;
		}
		err = offer(d, next, &causes);
		if (!err) {
			change_commit(d, change, next);
			return round ? -EINVAL : 0;
		}
		weft_snapshot_free(next);
		if (change)
			change->content = false;
		add_causes(diag, &causes, err);
		if (round == DELTA_ROUNDS || !take_back(d, &causes)) {
			take_back_all(d, change, diag);
			return -EINVAL;
		}
	}
}

void delta_watches_fail(struct weft_delta *d, enum weft_xds_type type)
{
	struct delta_item *item;

	for (size_t i = 0; i < WALK_N; i++) {
		if (!d->types[walk_order[i]].wildcard)
			continue;
		TAILQ_FOREACH(item, &d->types[walk_order[i]].items, link)
		{
			for (size_t k = 0; item->held && k < item->held->n_watches; k++) {
				struct delta_watch *w = &item->held->watches[k];

				if (w->target->type == type && !delta_watch_ready(w))
					w->done = true;
			}
		}
	}
}
