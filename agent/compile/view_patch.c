// SPDX-License-Identifier: Apache-2.0
/*
 * Endpoints change far more often than anything else. When nothing else did, the tables of the view
 * in force are taken over, and only the endpoints of the clusters concerned are compiled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/view_parts.h"
#include "xds/any.h"

/* Compiled endpoints that come to a view, and those they take the place of. */
struct exchange {
	struct weft_compiled *in, *out;
	size_t view, entry; /* in weft_standing.entries */
};

/* Endpoints that a cluster had. */
struct former {
	uint32_t id, endpoints;
};

/* A view whose endpoints differ. */
struct changed {
	struct view v;
	size_t i; /* which */
	struct weft_standing *st;
	struct weft_snapshot *snapshot; /* of its own, for st */
	struct former *former;		/* what of st->cluster was written over */
	size_t n_former, cap_former;
	uint32_t old_table; /* 0: there are no clusters */
	uint32_t table, view;
};

struct patch {
	struct weft_compiler *c;
	const struct weft_view_input *in;
	size_t n;
	struct weft_diag *diag;
	struct changed *changed;
	size_t n_changed;
	struct exchange *exchange;
	size_t n_exchange, cap;
	struct weft_compiled_list gone; /* no view needs them any more */
	struct weft_build b;		/* for the root */
	uint32_t root;
	bool counted;
};

static bool node_same(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return !strcmp(weft_snapshot_node_id(a), weft_snapshot_node_id(b)) &&
	       !strcmp(weft_snapshot_node_cluster(a), weft_snapshot_node_cluster(b));
}

static bool resolved_same(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return a && b ? weft_snapshot_same(a, b, WEFT_XDS_ENDPOINT) : a == b;
}

bool weft_view_fits(const struct weft_standing *st, const struct weft_view_input *in)
{
	if (!st->snapshot || !in->snapshot)
		return !st->snapshot && !in->snapshot;
	return !in->n_ejected && !st->own &&
	       node_same(st->snapshot, in->snapshot) &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_CLUSTER) &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_LISTENER) &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_ROUTE) &&
	       weft_snapshot_count(st->snapshot, WEFT_XDS_ENDPOINT) ==
		       weft_snapshot_count(in->snapshot, WEFT_XDS_ENDPOINT) &&
	       resolved_same(st->resolved, in->resolved);
}

static bool endpoints_same(const struct weft_standing *st, const struct weft_view_input *in)
{
	return !st->snapshot || weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_ENDPOINT);
}

bool weft_view_stands(const struct weft_standing *st, const struct weft_view_input *in)
{
	return weft_view_fits(st, in) && endpoints_same(st, in);
}

static bool applies(const struct weft_compiler *c, const struct weft_view_input *in, size_t n)
{
	for (size_t i = 0; i < n && c->n_standing == n; i++) {
		if (!weft_view_fits(&c->standing[i], &in[i]))
			return false;
	}
	return c->n_standing == n;
}

static bool notes_same(const struct weft_diag *a, const struct weft_diag *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->entries[i].resource, b->entries[i].resource) ||
		    strcmp(a->entries[i].field, b->entries[i].field) ||
		    strcmp(a->entries[i].reason, b->entries[i].reason))
			return false;
	}
	return true;
}

static size_t entry_find(const struct weft_standing *st, const struct weft_compiled *e)
{
	for (size_t i = 0; e && i < st->entries.n; i++) {
		if (st->entries.v[i] == e)
			return i;
	}
	return SIZE_MAX;
}

/* in takes the place of the view's entry. */
static int exchange_add(struct patch *p, const struct changed *ch, struct weft_compiled *in,
			size_t entry)
{
	struct weft_compiled *out;

	if (!in)
		return ch->v.err;
	if (entry >= ch->st->entries.n)
		return -EAGAIN;
	out = ch->st->entries.v[entry];
	/* Another view may have had it before, but not this one. */
	if (!notes_same(&in->notes, &out->notes) ||
	    (in->made != p->c->serial && entry_find(ch->st, in) != SIZE_MAX))
		return -EAGAIN;
	if (p->n_exchange == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct exchange *more = reallocarray(p->exchange, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->exchange = more;
		p->cap = cap;
	}
	p->exchange[p->n_exchange++] = (struct exchange){in, out, ch->i, entry};
	return 0;
}

/* First user of the resource, or of one behind it. */
static size_t user_find(const struct weft_standing *st, size_t eds)
{
	size_t lo = 0, hi = st->n_user;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (st->user[mid].eds < eds)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* In the table that stands; changed_back() takes it back. */
static int cluster_set(struct changed *ch, uint32_t id, uint32_t endpoints)
{
	if (ch->n_former == ch->cap_former) {
		size_t cap = ch->cap_former ? ch->cap_former * 2 : 4;
		struct former *more = reallocarray(ch->former, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		ch->former = more;
		ch->cap_former = cap;
	}
	ch->former[ch->n_former++] = (struct former){id, ch->st->cluster[id].endpoints};
	ch->st->cluster[id].endpoints = endpoints;
	return 0;
}

static void changed_back(struct changed *ch)
{
	while (ch->n_former) {
		const struct former *f = &ch->former[--ch->n_former];

		ch->st->cluster[f->id].endpoints = f->endpoints;
	}
}

static int endpoints_patch(struct patch *p, struct changed *ch, size_t i,
			   const struct weft_resource *old)
{
	const struct weft_standing *st = ch->st;
	struct weft_compiled *in, *out = NULL;
	size_t u = user_find(st, i);
	int r = 0;

	if (u == st->n_user || st->user[u].eds != i) {
		r = view_endpoints_find(p->c, old, &out);
		return r ? r
			 : exchange_add(p, ch, view_endpoints_alone(&ch->v, i),
					entry_find(st, out));
	}
	for (; !r && u < st->n_user && st->user[u].eds == i; u++) {
		const struct weft_member *m = &st->member[st->user[u].member];

		in = view_endpoints(&ch->v, m->res);
		r = exchange_add(p, ch, in, st->user[u].entry);
		if (!r)
			r = cluster_set(ch, m->id, in ? in->off : 0);
	}
	return r;
}

/* The view's tables with other endpoints. */
static int tables_put(struct changed *ch)
{
	struct weft_img_view view;

	memcpy(&view, weft_store_at(ch->v.c->store, ch->st->view), sizeof(view));
	ch->old_table = view.cluster;
	if (view.cluster)
		view.cluster = ch->table = weft_build_put(
			&ch->v.b, ch->st->cluster, ch->st->n_cluster * sizeof(*ch->st->cluster));
	ch->view = weft_build_put(&ch->v.b, &view, sizeof(view));
	return ch->v.b.err;
}

static int view_patch(struct patch *p, struct changed *ch)
{
	const struct weft_snapshot *old = ch->st->snapshot, *next = ch->v.s;
	size_t n = weft_snapshot_count(next, WEFT_XDS_ENDPOINT), i = 0;
	int r = weft_snapshot_clone(next, &ch->snapshot);

	ch->v.eds_used = calloc(n + 1, sizeof(*ch->v.eds_used));
	ch->v.serial = ++p->c->view_serial;
	view_build_init(&ch->v, &ch->v.b, "View", "0", 0);
	if (r || !ch->v.eds_used || ch->v.b.err)
		return -ENOMEM;
	for (; !r || r == -EINVAL; i++) {
		const struct weft_resource *a, *b;
		int e = 0;

		i = weft_snapshot_differs(old, next, WEFT_XDS_ENDPOINT, i);
		if (i == SIZE_MAX)
			break;
		a = weft_snapshot_at(old, WEFT_XDS_ENDPOINT, i);
		b = weft_snapshot_at(next, WEFT_XDS_ENDPOINT, i);
		if (strcmp(a->name, b->name))
			return -EAGAIN;
		if (a->hash != b->hash)
			e = endpoints_patch(p, ch, i, a);
		/* every resource that is refused is named */
		if (e)
			r = r && e == -EINVAL ? r : e;
	}
	return r ? r : tables_put(ch);
}

static int root_patch(struct patch *p)
{
	struct {
		struct weft_img_root head;
		uint32_t view[];
	} *root = calloc(1, sizeof(*root) + p->n * sizeof(*root->view));

	if (!root)
		return -ENOMEM;
	root->head.epoch = weft_store_epoch(p->c->store) + 1;
	root->head.n_view = (uint32_t)p->n;
	for (size_t i = 0; i < p->n; i++)
		root->view[i] = p->c->standing[i].view;
	for (size_t i = 0; i < p->n_changed; i++)
		root->view[p->changed[i].i] = p->changed[i].view;
	p->b.store = p->c->store;
	p->root = weft_build_put(&p->b, root, sizeof(*root) + p->n * sizeof(*root->view));
	free(root);
	return p->b.err;
}

static int patch_build(struct patch *p)
{
	int r = 0;

	p->changed = calloc(p->n + 1, sizeof(*p->changed));
	if (!p->changed)
		return -ENOMEM;
	for (size_t i = 0; i < p->n && (!r || r == -EINVAL); i++) {
		struct changed *ch = &p->changed[p->n_changed];
		int e;

		if (endpoints_same(&p->c->standing[i], &p->in[i]))
			continue;
		*ch = (struct changed){.i = i,
				       .st = &p->c->standing[i],
				       .v = {.c = p->c,
					     .s = p->in[i].snapshot,
					     .resolved = p->in[i].resolved,
					     .diag = p->diag}};
		p->n_changed++;
		e = view_patch(p, ch);
		if (e)
			r = r && e == -EINVAL ? r : e;
	}
	return r ? r : root_patch(p);
}

/* The last ones are looked at first: that is where tables of patches stand. */
static void word_replace(struct weft_words *w, uint32_t old, uint32_t word)
{
	for (size_t i = w->n; i-- > 0;) {
		if (w->v[i] == old) {
			w->v[i] = word;
			return;
		}
	}
}

/* Which views need each compiled resource, from now on. */
static int counts_move(struct patch *p)
{
	int r = 0;

	p->counted = true;
	for (size_t i = 0; i < p->n_exchange; i++)
		p->exchange[i].in->views++;
	for (size_t i = 0; i < p->n_exchange; i++) {
		if (!--p->exchange[i].out->views)
			r = weft_compiled_add(&p->gone, p->exchange[i].out) ?: r;
	}
	return r;
}

static void counts_back(struct patch *p)
{
	for (size_t i = 0; i < p->n_exchange && p->counted; i++) {
		p->exchange[i].in->views--;
		p->exchange[i].out->views++;
	}
}

/* What is replaced, with the commit. */
static int patch_drop(struct patch *p)
{
	struct weft_store *s = p->c->store;
	int r = counts_move(p);

	for (size_t i = 0; i < p->n_changed && !r; i++) {
		const struct changed *ch = &p->changed[i];

		r = ch->old_table ? weft_store_drop(s, ch->old_table) : 0;
		if (!r)
			r = weft_store_drop(s, ch->st->view);
	}
	if (!r)
		r = weft_words_drop(s, &p->c->roots);
	for (size_t i = 0; i < p->gone.n && !r; i++)
		r = weft_words_drop(s, &p->gone.v[i]->objects);
	return r;
}

static void changed_stands(struct changed *ch)
{
	struct weft_standing *st = ch->st;

	weft_snapshot_free(st->snapshot);
	st->snapshot = ch->snapshot;
	ch->snapshot = NULL;
	ch->n_former = 0;
	if (ch->old_table)
		word_replace(&st->objects, ch->old_table, ch->table);
	word_replace(&st->objects, st->view, ch->view);
	st->view = ch->view;
}

/* Published: the views that stand are the patched ones. */
static void patch_stands(struct patch *p)
{
	struct weft_compiler *c = p->c;

	for (size_t i = 0; i < p->n_exchange; i++) {
		struct exchange *x = &p->exchange[i];

		if (!x->in->held)
			weft_compiled_hold(c, x->in);
		x->in->held = true;
		c->standing[x->view].entries.v[x->entry] = x->in;
	}
	for (size_t i = 0; i < p->gone.n; i++) {
		weft_compiled_release(c, p->gone.v[i]);
		weft_cache_remove(c->cache, p->gone.v[i]);
	}
	weft_compiler_settle(c, weft_store_epoch(c->store));
	for (size_t i = 0; i < p->n_changed; i++)
		changed_stands(&p->changed[i]);
	c->roots.v[0] = p->root;
	c->patches++;
}

static bool made_now(const struct weft_compiled *e, uint64_t serial)
{
	return e->made == serial;
}

static void patch_clear(struct patch *p)
{
	for (size_t i = 0; i < p->n_changed; i++) {
		struct changed *ch = &p->changed[i];

		weft_build_clear(&ch->v.b);
		free(ch->v.eds_used);
		free(ch->v.entries.v);
		changed_back(ch);
		free(ch->former);
		weft_snapshot_free(ch->snapshot);
	}
	weft_build_clear(&p->b);
	free(p->changed);
	free(p->exchange);
	free(p->gone.v);
}

/* In a transaction, which is committed or given up. */
static int patch_run(struct patch *p)
{
	unsigned long failures = weft_any_failures();
	struct weft_compiler *c = p->c;
	int r = patch_build(p);

	if (weft_any_failures() != failures)
		r = -ENOMEM;
	if (!r)
		r = patch_drop(p);
	if (!r)
		r = weft_store_commit(c->store, p->root);
	/* they are what they were */
	weft_diag_clear(&c->next_notes);
	if (r) {
		counts_back(p);
		weft_store_abort(c->store);
		weft_cache_prune(c->cache, made_now, c->serial);
		weft_compiler_settle(c, 0);
		return r;
	}
	patch_stands(p);
	return 0;
}

int weft_view_patch(struct weft_compiler *c, const struct weft_view_input *in, size_t n,
		    struct weft_diag *diag)
{
	struct patch p = {.c = c, .in = in, .n = n, .diag = diag};
	int r;

	if (!applies(c, in, n))
		return -EAGAIN;
	weft_compiler_bound(c);
	r = weft_store_begin(c->store);
	if (r)
		return r;
	c->serial++;
	r = patch_run(&p);
	patch_clear(&p);
	/* the whole is compiled, and tells them again */
	if (r == -EAGAIN)
		weft_diag_clear(diag);
	return r;
}
