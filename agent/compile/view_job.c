// SPDX-License-Identifier: Apache-2.0
/* Resources of a view: compiled, or taken over from an earlier one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/view_parts.h"
#include "bpf/engine/engine.h"

void view_build_init(struct view *v, struct weft_build *b, const char *type, const char *name,
		     uint64_t hash)
{
	*b = (struct weft_build){
		.store = v->c->store,
		.clusters = v->c->clusters,
		.route_configs = v->c->route_configs,
		.states = v->c->states,
		.diag = v->diag,
		.hash = hash,
		.node_id = v->s ? weft_snapshot_node_id(v->s) : "",
		.node_cluster = v->s ? weft_snapshot_node_cluster(v->s) : "",
		.names_stand = !v->resolved,
		.upstream = !strcmp(type, weft_xds_type_name(WEFT_XDS_CLUSTER)),
		.ejected = v->ejected,
	};
	if (asprintf(&b->resource, "%s/%s", type, name) < 0) {
		b->resource = NULL;
		b->err = -ENOMEM;
	}
}

static struct weft_compiled *compile(struct view *v, const char *key, const struct job *job,
				     const char *name, uint64_t hash)
{
	struct weft_diag notes = WEFT_DIAG_INIT;
	struct weft_compiled *e = NULL;
	struct weft_build b;
	uint32_t off;

	view_build_init(v, &b, weft_xds_type_name(job->res->type), name, hash);
	b.notes = &notes;
	off = b.err ? 0 : job->run(&b, job);
	if (!b.err) {
		e = weft_cache_add(v->c->cache, key, &b, off);
		if (!e)
			b.err = -ENOMEM;
	}
	if (e) {
		e->made = v->c->serial;
		e->notes = notes;
	} else {
		weft_diag_clear(&notes);
	}
	v->err = err_first(v->err, b.err);
	weft_build_clear(&b);
	return e;
}

static void entry_add(struct view *v, struct weft_compiled *e)
{
	if (e->seen == v->serial)
		return;
	e->seen = v->serial;
	e->at = v->entries.n;
	v->err = err_first(v->err, weft_compiled_add(&v->entries, e));
}

/* In the order in which resources are looked at, whether compiled now or before. */
static void notes_append(struct weft_compiler *c, const struct weft_compiled *e)
{
	for (size_t i = 0; i < e->notes.n; i++) {
		const struct weft_diag_entry *n = &e->notes.entries[i];

		weft_diag_add(&c->next_notes, 0, n->resource, n->field, "%s", n->reason);
	}
}

void weft_compiled_told(struct weft_compiler *c, struct weft_compiled *e)
{
	if (e->used == c->serial)
		return;
	notes_append(c, e);
	e->used = c->serial;
}

char *view_key(const char *kind, const char *variant, const char *name, uint64_t hash)
{
	char *key;

	if (asprintf(&key, "%s %016llx %s %s", kind, (unsigned long long)hash, variant, name) < 0)
		return NULL;
	return key;
}

struct weft_compiled *view_resolve(struct view *v, const char *kind, const char *variant,
				   const char *name, uint64_t hash, const struct job *job)
{
	struct weft_compiled *e;
	char *key;

	if (v->err == -ENOSPC || v->err == -ENOMEM)
		return NULL; /* the next one would say the same */
	key = view_key(kind, variant, name, hash);
	if (!key) {
		v->err = err_first(v->err, -ENOMEM);
		return NULL;
	}
	e = weft_cache_find(v->c->cache, key);
	if (!e)
		e = compile(v, key, job, name, hash);
	if (e)
		entry_add(v, e);
	if (e && v->ejected)
		e->used = v->c->serial; /* they were told */
	else if (e)
		weft_compiled_told(v->c, e);
	free(key);
	return e;
}

bool view_table_room(struct view *v, void **table, size_t *cap, size_t each, uint32_t id)
{
	size_t want = *cap ? *cap : 64;
	void *p;

	while (want <= id)
		want *= 2;
	if (want == *cap)
		return true;
	p = reallocarray(*table, want, each);
	if (!p) {
		v->err = err_first(v->err, -ENOMEM);
		return false;
	}
	memset((char *)p + *cap * each, 0, (want - *cap) * each);
	*table = p;
	*cap = want;
	return true;
}

void view_name_put(struct view *v, struct names *names, enum weft_kind kind, const char *name,
		   uint32_t val)
{
	struct weft_tab_key *keys = reallocarray(names->key, names->n + 1, sizeof(*keys));
	uint32_t len = (uint32_t)strlen(name);

	if (!keys) {
		v->err = err_first(v->err, -ENOMEM);
		return;
	}
	names->key = keys;
	if (!len || len > UINT16_MAX)
		return;
	keys[names->n++] = (struct weft_tab_key){.hash = weft_hash_name(name, len),
						 .kind = kind,
						 .val = val,
						 .str = weft_build_str(&v->b, name)};
}
