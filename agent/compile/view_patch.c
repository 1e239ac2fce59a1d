// SPDX-License-Identifier: Apache-2.0
/*
 * Endpoints change far more often than anything else. When nothing else did, the tables of the view
 * in force are taken over, and only the endpoints of the clusters concerned are compiled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/view_parts.h"

/* Compiled endpoints that come, and those they take the place of. */
struct exchange {
	struct weft_compiled *in, *out;
};

struct patch {
	struct view v;
	struct weft_standing *st;
	struct weft_img_cluster_ref *cluster;
	struct exchange *exchange;
	size_t n, cap;
	uint32_t old_table; /* 0: there are no clusters */
	uint32_t table, view, root;
};

static bool resolved_same(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return a && b ? weft_snapshot_same(a, b, WEFT_XDS_ENDPOINT) : a == b;
}

/* The same resources but for the content of endpoints. */
static bool applies(const struct weft_compiler *c, const struct weft_view_input *in)
{
	const struct weft_standing *st = c->standing;

	return c->n_standing == 1 && in->snapshot && st->snapshot && !in->n_ejected && !st->own &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_CLUSTER) &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_LISTENER) &&
	       weft_snapshot_same(st->snapshot, in->snapshot, WEFT_XDS_ROUTE) &&
	       weft_snapshot_count(st->snapshot, WEFT_XDS_ENDPOINT) ==
		       weft_snapshot_count(in->snapshot, WEFT_XDS_ENDPOINT) &&
	       resolved_same(st->resolved, in->resolved);
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

/* out is none when the cache has lost it: the whole is compiled then. */
static int exchange_add(struct patch *p, struct weft_compiled *in, struct weft_compiled *out)
{
	if (!in)
		return p->v.err;
	if (!out || in->made != p->v.c->serial || !notes_same(&in->notes, &out->notes))
		return -EAGAIN;
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct exchange *more = reallocarray(p->exchange, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->exchange = more;
		p->cap = cap;
	}
	p->exchange[p->n++] = (struct exchange){in, out};
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

static int endpoints_patch(struct patch *p, size_t i, const struct weft_resource *old)
{
	const struct weft_standing *st = p->st;
	struct weft_compiled *in, *out = NULL;
	size_t u = user_find(st, i);
	int r = 0;

	if (u == st->n_user || st->user[u].eds != i) {
		r = view_endpoints_find(p->v.c, NULL, old, &out);
		return r ? r : exchange_add(p, view_endpoints_alone(&p->v, i), out);
	}
	for (; !r && u < st->n_user && st->user[u].eds == i; u++) {
		const struct weft_member *m = &st->member[st->user[u].member];

		r = view_endpoints_find(p->v.c, m->res, old, &out);
		in = r ? NULL : view_endpoints(&p->v, m->res);
		r = r ? r : exchange_add(p, in, out);
		if (!r)
			p->cluster[m->id].endpoints = in ? in->off : 0;
	}
	return r;
}

static int tables_put(struct patch *p)
{
	struct {
		struct weft_img_root head;
		uint32_t view;
	} root = {.head = {.epoch = weft_store_epoch(p->v.c->store) + 1, .n_view = 1}};
	struct weft_img_view view;

	memcpy(&view, weft_store_at(p->v.c->store, p->st->view), sizeof(view));
	p->old_table = view.cluster;
	if (view.cluster)
		view.cluster = p->table =
			weft_build_put(&p->v.b, p->cluster, p->st->n_cluster * sizeof(*p->cluster));
	root.view = weft_build_put(&p->v.b, &view, sizeof(view));
	p->view = root.view;
	p->root = weft_build_put(&p->v.b, &root, sizeof(root));
	return p->v.b.err;
}

static int patch_build(struct patch *p)
{
	const struct weft_snapshot *old = p->st->snapshot, *next = p->v.s;
	size_t n = weft_snapshot_count(next, WEFT_XDS_ENDPOINT);
	size_t size = p->st->n_cluster * sizeof(*p->cluster);
	int r = 0;

	p->cluster = malloc(size + 1);
	p->v.eds_used = calloc(n + 1, sizeof(*p->v.eds_used));
	view_build_init(&p->v, &p->v.b, "View", "0", 0);
	if (!p->cluster || !p->v.eds_used || p->v.b.err)
		return -ENOMEM;
	if (size)
		memcpy(p->cluster, p->st->cluster, size);
	for (size_t i = 0; i < n && (!r || r == -EINVAL); i++) {
		const struct weft_resource *a = weft_snapshot_at(old, WEFT_XDS_ENDPOINT, i);
		const struct weft_resource *b = weft_snapshot_at(next, WEFT_XDS_ENDPOINT, i);
		int e = 0;

		if (a != b && strcmp(a->name, b->name))
			return -EAGAIN;
		if (a != b && a->hash != b->hash)
			e = endpoints_patch(p, i, a);
		/* every resource that is refused is named */
		if (e)
			r = r && e == -EINVAL ? r : e;
	}
	return r ? r : tables_put(p);
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

/* What is replaced, with the commit. */
static int patch_drop(struct patch *p)
{
	struct weft_store *s = p->v.c->store;
	int r = p->old_table ? weft_store_drop(s, p->old_table) : 0;

	if (!r)
		r = weft_store_drop(s, p->st->view);
	if (!r)
		r = weft_words_drop(s, &p->v.c->roots);
	for (size_t i = 0; i < p->n && !r; i++)
		r = weft_words_drop(s, &p->exchange[i].out->objects);
	return r;
}

/* Published: the view that stands is the patched one. */
static void patch_stands(struct patch *p, struct weft_snapshot *snapshot)
{
	struct weft_compiler *c = p->v.c;
	struct weft_standing *st = p->st;

	for (size_t i = 0; i < p->n; i++)
		weft_compiled_hold(c, p->exchange[i].in);
	for (size_t i = 0; i < p->n; i++) {
		weft_compiled_release(c, p->exchange[i].out);
		weft_cache_remove(c->cache, p->exchange[i].out);
	}
	weft_compiler_settle(c, weft_store_epoch(c->store));
	weft_snapshot_free(st->snapshot);
	st->snapshot = snapshot;
	free(st->cluster);
	st->cluster = p->cluster;
	p->cluster = NULL;
	if (p->old_table)
		word_replace(&st->objects, p->old_table, p->table);
	word_replace(&st->objects, st->view, p->view);
	st->view = p->view;
	c->roots.v[0] = p->root;
	c->patches++;
}

static bool made_now(const struct weft_compiled *e, uint64_t serial)
{
	return e->made == serial;
}

static void patch_clear(struct patch *p)
{
	weft_build_clear(&p->v.b);
	free(p->v.eds_used);
	free(p->cluster);
	free(p->exchange);
}

/* In a transaction, which is committed or given up. */
static int patch_run(struct patch *p)
{
	struct weft_compiler *c = p->v.c;
	struct weft_snapshot *snapshot = NULL;
	int r = patch_build(p);

	if (!r)
		r = weft_snapshot_clone(p->v.s, &snapshot);
	if (!r)
		r = patch_drop(p);
	if (!r)
		r = weft_store_commit(c->store, p->root);
	/* they are what they were */
	weft_diag_clear(&c->next_notes);
	if (r) {
		weft_snapshot_free(snapshot);
		weft_store_abort(c->store);
		weft_cache_prune(c->cache, made_now, c->serial);
		weft_compiler_settle(c, 0);
		return r;
	}
	patch_stands(p, snapshot);
	return 0;
}

int weft_view_patch(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	struct patch p = {
		.v = {.c = c, .s = in->snapshot, .resolved = in->resolved, .diag = &causes},
		.st = c->standing};
	int r;

	if (!applies(c, in))
		return -EAGAIN;
	weft_compiler_bound(c);
	r = weft_store_begin(c->store);
	if (r)
		return r;
	c->serial++;
	r = patch_run(&p);
	patch_clear(&p);
	/* else the whole is compiled, and tells them again */
	for (size_t i = 0; r != -EAGAIN && i < causes.n; i++)
		weft_diag_add(diag, r, causes.entries[i].resource, causes.entries[i].field, "%s",
			      causes.entries[i].reason);
	return r;
}
