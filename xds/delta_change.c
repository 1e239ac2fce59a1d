// SPDX-License-Identifier: Apache-2.0
/* What a response changes in the table, kept so that it can be taken back. */

#include <errno.h>
#include <stdlib.h>

#include "xds/delta_state.h"

int delta_change_room(struct delta_change *c, size_t n)
{
	c->cap = n;
	c->undos = calloc(n + 1, sizeof(*c->undos));
	return c->undos ? 0 : -ENOMEM;
}

struct delta_undo *delta_change_add(struct delta_change *c, struct delta_item *item,
				    const char *new_version)
{
	struct delta_undo *u = item->undo;

	c->covered++;
	if (u) {
		/* once more in the same change: taken back to what was before the first */
		free(item->version);
		delta_item_refuse(item, NULL, NULL);
		item->version = NULL;
		item->expires = DELTA_NEVER;
		item->absent = false;
		item->timed_out = false;
		u->new_version = new_version;
		return u;
	}
	u = &c->undos[c->n++];
	*u = (struct delta_undo){
		.item = item,
		.held = delta_slot_ref(item->held),
		.version = item->version,
		.error = item->error,
		.failed_version = item->failed_version,
		.failed = item->failed,
		.updated_ms = item->updated_ms,
		.failed_ms = item->failed_ms,
		.expires = item->expires,
		.absent = item->absent,
		.timed_out = item->timed_out,
		.new_version = new_version,
	};
	item->version = NULL;
	item->error = NULL;
	item->failed_version = NULL;
	item->failed = NULL;
	item->failed_ms = 0;
	item->expires = DELTA_NEVER;
	item->absent = false;
	item->timed_out = false;
	item->undo = u;
	return u;
}

void delta_undo_apply(struct delta_undo *u)
{
	struct delta_item *item = u->item;

	delta_slot_unref(item->held);
	free(item->version);
	delta_item_refuse(item, NULL, NULL);
	item->held = u->held;
	item->version = u->version;
	item->error = u->error;
	item->failed_version = u->failed_version;
	item->failed = u->failed;
	item->updated_ms = u->updated_ms;
	item->failed_ms = u->failed_ms;
	item->expires = u->expires;
	item->absent = u->absent;
	item->timed_out = u->timed_out;
	item->undo = NULL;
	u->held = NULL;
	u->version = u->error = u->failed_version = NULL;
	u->failed = NULL;
}

void delta_change_undo(struct delta_change *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->undos[i].item->undo)
			delta_undo_apply(&c->undos[i]);
	}
}

void delta_change_free(struct delta_change *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct delta_undo *u = &c->undos[i];

		if (u->item->undo == u)
			u->item->undo = NULL;
		delta_slot_unref(u->held);
		free(u->version);
		free(u->error);
		free(u->failed_version);
		weft_resource_unref(u->failed);
	}
	free(c->undos);
}
