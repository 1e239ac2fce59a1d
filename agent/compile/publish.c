// SPDX-License-Identifier: Apache-2.0
/* Views to a root, published or only checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/build.h"
#include "agent/compile/cache.h"
#include "agent/compile/view.h"
#include "xds/any.h"

int weft_compiler_new(struct weft_store *store, struct weft_compiler **ret)
{
	struct weft_compiler *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->store = store;
	if (weft_names_new(&c->clusters) || weft_names_new(&c->route_configs) ||
	    weft_names_new(&c->states) || weft_cache_new(&c->cache)) {
		weft_compiler_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

static void standings_free(struct weft_standing *s, size_t n)
{
	for (size_t i = 0; s && i < n; i++)
		weft_standing_clear(&s[i]);
	free(s);
}

void weft_compiler_free(struct weft_compiler *c)
{
	if (!c)
		return;
	weft_names_free(c->clusters);
	weft_names_free(c->route_configs);
	weft_names_free(c->states);
	weft_cache_free(c->cache);
	standings_free(c->standing, c->n_standing);
	free(c->roots.v);
	weft_diag_clear(&c->notes);
	weft_diag_clear(&c->next_notes);
	free(c);
}

static bool made_now(const struct weft_compiled *e, uint64_t serial)
{
	return e->made == serial;
}

struct collect {
	struct weft_compiler *c;
	struct weft_words live;
	int err;
};

static void collect_one(struct weft_compiled *e, void *arg)
{
	struct collect *k = arg;

	for (size_t i = 0; i < e->live.n && !k->err; i++)
		k->err = weft_words_add(&k->live, e->live.v[i]);
}

static void numbers_each(struct weft_compiler *c, const struct weft_compiled *e,
			 void (*fn)(struct weft_names *n, uint32_t id))
{
	for (size_t i = 0; i < e->live.n; i++)
		fn(c->states, e->live.v[i]);
	for (size_t i = 0; i < e->named.n; i++)
		fn(c->clusters, e->named.v[i]);
	for (size_t i = 0; i + 1 < e->inline_rc.n; i += 2)
		fn(c->route_configs, e->inline_rc.v[i]);
	for (size_t i = 0; i < e->n_rds; i++)
		fn(c->route_configs, e->rds[i].id);
}

void weft_compiled_hold(struct weft_compiler *c, const struct weft_compiled *e)
{
	numbers_each(c, e, weft_names_hold);
}

void weft_compiled_release(struct weft_compiler *c, const struct weft_compiled *e)
{
	numbers_each(c, e, weft_names_drop);
}

void weft_compiler_settle(struct weft_compiler *c, uint32_t epoch)
{
	weft_names_settle(c->clusters, epoch);
	weft_names_settle(c->route_configs, epoch);
	weft_names_settle(c->states, epoch);
}

int weft_words_drop(struct weft_store *s, const struct weft_words *objects)
{
	int r = 0;

	for (size_t i = 0; i < objects->n && !r; i++)
		r = weft_store_drop(s, objects->v[i]);
	return r;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Drops the cells of what is no longer in force. Out of memory they stay until the next publish. */
static void cells_settle(struct weft_compiler *c)
{
	struct collect k = {0};

	weft_cache_each(c->cache, collect_one, &k);
	if (!k.err && k.live.n)
		qsort(k.live.v, k.live.n, sizeof(*k.live.v), compare_ids);
	if (!k.err)
		weft_store_cells_retain(c->store, k.live.v, k.live.n);
	free(k.live.v);
}

static void names_release(struct weft_names *names, uint32_t settled)
{
	struct weft_words gone = {0};

	if (!weft_names_retired(names, settled, &gone))
		weft_names_release(names, gone.v, gone.n);
	free(gone.v);
}

/* As names_release(); but a state's number waits also for the places held in its cells. */
static void states_release(struct weft_compiler *c, uint32_t settled)
{
	struct weft_words gone = {0};
	bool *held = NULL;
	size_t n = 0;

	if (!weft_names_retired(c->states, settled, &gone) && gone.n)
		held = calloc(gone.n, sizeof(*held));
	if (held) {
		qsort(gone.v, gone.n, sizeof(*gone.v), compare_ids);
		weft_store_cells_forget(c->store, gone.v, gone.n, held);
		for (size_t i = 0; i < gone.n; i++) {
			if (!held[i])
				gone.v[n++] = gone.v[i];
		}
		weft_names_release(c->states, gone.v, n);
	}
	free(held);
	free(gone.v);
}

void weft_compiler_reclaim(struct weft_compiler *c)
{
	uint32_t settled;

	weft_store_reclaim(c->store);
	settled = weft_store_settled(c->store);
	names_release(c->clusters, settled);
	names_release(c->route_configs, settled);
	states_release(c, settled);
}

void weft_compiler_stats(const struct weft_compiler *c, struct weft_compiler_stats *ret)
{
	*ret = (struct weft_compiler_stats){
		.clusters = weft_names_count(c->clusters) - 1,
		.route_configs = weft_names_count(c->route_configs) - 1,
		.states = weft_names_count(c->states) - 1,
		.patches = c->patches,
		.waiting = weft_names_waiting(c->clusters) + weft_names_waiting(c->route_configs) +
			   weft_names_waiting(c->states),
	};
}

void weft_compiler_bound(struct weft_compiler *c)
{
	struct weft_store_stats stats;
	uint64_t bytes, objects;

	weft_store_stats(c->store, &stats);
	weft_store_fresh(c->store, &bytes, &objects);
	if (bytes > stats.img_size / WEFT_FRESH_PART || objects > WEFT_FRESH_MAX ||
	    weft_names_waiting(c->clusters) > WEFT_NAMES_WAIT_MAX ||
	    weft_names_waiting(c->route_configs) > WEFT_NAMES_WAIT_MAX ||
	    weft_names_waiting(c->states) > WEFT_NAMES_WAIT_MAX)
		weft_compiler_reclaim(c);
}

static void notes_settle(struct weft_compiler *c, bool keep)
{
	if (keep) {
		weft_diag_clear(&c->notes);
		c->notes = c->next_notes;
		c->next_notes = (struct weft_diag)WEFT_DIAG_INIT;
	} else {
		weft_diag_clear(&c->next_notes);
	}
}

/* What a publish makes, until it is in force. */
struct next {
	struct weft_standing *standing;
	bool *carried; /* taken over from what is in force, as it is */
	size_t n;
	struct weft_words roots;
	uint32_t root;
	struct weft_compiled_list gone; /* no view needs them any more */
	bool counted;
};

static void next_clear(struct next *n)
{
	standings_free(n->standing, n->n);
	free(n->carried);
	free(n->roots.v);
	free(n->gone.v);
}

static int root_put(struct weft_compiler *c, struct next *next, const void *bytes, size_t len,
		    uint32_t *ret)
{
	int r = weft_store_put(c->store, bytes, len, ret);

	return r ? r : weft_words_add(&next->roots, *ret);
}

static int next_init(struct next *next, size_t n)
{
	next->standing = calloc(n + 1, sizeof(*next->standing));
	next->carried = calloc(n + 1, sizeof(*next->carried));
	next->n = n;
	return next->standing && next->carried ? 0 : -ENOMEM;
}

/* Nothing of the view differs: it need not be put together. */
static bool carry(struct weft_compiler *c, struct next *next, size_t i,
		  const struct weft_view_input *in)
{
	if (i >= c->n_standing || !weft_view_stands(&c->standing[i], in))
		return false;
	next->standing[i] = c->standing[i];
	next->carried[i] = true;
	for (size_t k = 0; k < c->standing[i].entries.n; k++)
		weft_compiled_told(c, c->standing[i].entries.v[k]);
	return true;
}

/* Compiles all views into one root, inside a transaction. */
static int root_build(struct weft_compiler *c, const struct weft_view_input *views, size_t n,
		      bool publish, struct weft_diag *diag, struct next *next)
{
	struct {
		struct weft_img_root head;
		uint32_t view[];
	} *root = calloc(1, sizeof(*root) + n * sizeof(*root->view));
	struct weft_own_views *own = calloc(1, sizeof(*own));
	int err = next_init(next, n), r;

	if (!root || !own || err) {
		free(root);
		free(own);
		return -ENOMEM;
	}
	root->head.epoch = weft_store_epoch(c->store) + 1;
	root->head.n_view = (uint32_t)n;
	for (size_t i = 0; i < n && err != -ENOSPC && err != -ENOMEM; i++) {
		r = 0;
		if (views[i].snapshot && (!publish || !carry(c, next, i, &views[i])))
			r = weft_view_build(c, &views[i], diag, own, &next->standing[i]);
		root->view[i] = next->standing[i].view;
		err = err ? err : r;
	}
	root->head.n_own = own->n;
	if (!err && own->n)
		err = root_put(c, next, own->v, own->n * sizeof(*own->v), &root->head.own);
	if (!err) {
		err = root_put(c, next, root, sizeof(*root) + n * sizeof(*root->view), &next->root);
		if (err == -ENOSPC)
			weft_diag_add(diag, err, "", "", "the image is full");
	}
	free(root);
	free(own);
	return err;
}

static bool stays(const struct next *next, size_t i)
{
	return i < next->n && next->carried[i];
}

/* Which views need each compiled resource, from now on. */
static int counts_move(struct weft_compiler *c, struct next *next)
{
	int r = 0;

	next->counted = true;
	for (size_t i = 0; i < next->n; i++) {
		const struct weft_compiled_list *l = &next->standing[i].entries;

		for (size_t k = 0; k < l->n && !next->carried[i]; k++)
			l->v[k]->views++;
	}
	for (size_t i = 0; i < c->n_standing; i++) {
		const struct weft_compiled_list *l = &c->standing[i].entries;

		for (size_t k = 0; k < l->n && !stays(next, i); k++) {
			if (!--l->v[k]->views)
				r = weft_compiled_add(&next->gone, l->v[k]) ?: r;
		}
	}
	return r;
}

static void counts_back(struct weft_compiler *c, struct next *next)
{
	for (size_t i = 0; i < c->n_standing && next->counted; i++) {
		const struct weft_compiled_list *l = &c->standing[i].entries;

		for (size_t k = 0; k < l->n && !stays(next, i); k++)
			l->v[k]->views++;
	}
	for (size_t i = 0; i < next->n && next->counted; i++) {
		const struct weft_compiled_list *l = &next->standing[i].entries;

		for (size_t k = 0; k < l->n && !next->carried[i]; k++)
			l->v[k]->views--;
	}
}

/* What is in force and not needed any more. */
static int objects_drop(struct weft_compiler *c, struct next *next)
{
	int r = counts_move(c, next);

	for (size_t i = 0; i < next->gone.n && !r; i++)
		r = weft_words_drop(c->store, &next->gone.v[i]->objects);
	for (size_t i = 0; i < c->n_standing && !r; i++) {
		if (!stays(next, i))
			r = weft_words_drop(c->store, &c->standing[i].objects);
	}
	return r ? r : weft_words_drop(c->store, &c->roots);
}

static void standing_names(struct weft_compiler *c, const struct weft_standing *s,
			   void (*fn)(struct weft_names *n, uint32_t id))
{
	for (size_t j = 0; j < s->named.n; j++)
		fn(c->clusters, s->named.v[j]);
}

static void standing_hold(struct weft_compiler *c, const struct weft_standing *s)
{
	for (size_t i = 0; i < s->entries.n; i++) {
		struct weft_compiled *e = s->entries.v[i];

		if (!e->held)
			weft_compiled_hold(c, e);
		e->held = true;
	}
	standing_names(c, s, weft_names_hold);
}

/* next is published: it takes the place of what was in force. */
static void next_stands(struct weft_compiler *c, struct next *next)
{
	struct next old = {.standing = c->standing, .n = c->n_standing, .roots = c->roots};

	for (size_t i = 0; i < next->n; i++) {
		if (!next->carried[i])
			standing_hold(c, &next->standing[i]);
	}
	for (size_t i = 0; i < next->gone.n; i++)
		weft_compiled_release(c, next->gone.v[i]);
	for (size_t i = 0; i < old.n; i++) {
		if (stays(next, i))
			old.standing[i] = (struct weft_standing){0}; /* next has it */
		else
			standing_names(c, &old.standing[i], weft_names_drop);
	}
	for (size_t i = 0; i < next->gone.n; i++)
		weft_cache_remove(c->cache, next->gone.v[i]);
	weft_compiler_settle(c, weft_store_epoch(c->store));
	cells_settle(c);
	c->standing = next->standing;
	c->n_standing = next->n;
	c->roots = next->roots;
	free(next->carried);
	free(next->gone.v);
	next_clear(&old);
}

static void next_fails(struct weft_compiler *c, struct next *next)
{
	counts_back(c, next);
	for (size_t i = 0; next->standing && next->carried && i < next->n; i++) {
		if (next->carried[i])
			next->standing[i] = (struct weft_standing){0};
	}
	next_clear(next);
}

static int run(struct weft_compiler *c, const struct weft_view_input *views, size_t n, bool publish,
	       struct weft_diag *diag)
{
	unsigned long failures = weft_any_failures();
	struct next next = {0};
	int err;

	weft_compiler_bound(c);
	err = weft_store_begin(c->store);
	if (err)
		return err;
	c->serial++;
	err = root_build(c, views, n, publish, diag, &next);
	if (weft_any_failures() != failures)
		err = -ENOMEM;
	if (!err && publish)
		err = objects_drop(c, &next);
	if (!err && publish)
		err = weft_store_commit(c->store, next.root);
	notes_settle(c, !err || !publish);
	if (err || !publish) {
		next_fails(c, &next);
		weft_store_abort(c->store);
		weft_cache_prune(c->cache, made_now, c->serial);
		weft_compiler_settle(c, 0);
		return err;
	}
	next_stands(c, &next);
	return 0;
}

/* Without memory what is said of resources may be wrong, and nothing is wrong with them. */
static int told(int r, const struct weft_diag *causes, struct weft_diag *diag)
{
	if (r == -ENOMEM)
		return weft_diag_add(diag, r, "", "", "out of memory");
	for (size_t i = 0; i < causes->n; i++)
		weft_diag_add(diag, r, causes->entries[i].resource, causes->entries[i].field, "%s",
			      causes->entries[i].reason);
	return r;
}

int weft_compiler_publish(struct weft_compiler *c, const struct weft_view_input *views, size_t n,
			  struct weft_diag *diag)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	int r = weft_view_patch(c, views, n, &causes);

	if (r == -EAGAIN)
		r = run(c, views, n, true, &causes);
	return told(r, &causes, diag);
}

int weft_compiler_check(struct weft_compiler *c, const struct weft_snapshot *snapshot,
			struct weft_diag *diag)
{
	struct weft_view_input view = {.snapshot = snapshot};
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;

	return told(run(c, &view, 1, false, &causes), &causes, diag);
}

const struct weft_diag *weft_compiler_not_applied(const struct weft_compiler *c)
{
	return &c->notes;
}

const char *weft_compiler_state_name(const struct weft_compiler *c, uint32_t id,
				     const char **ret_kind)
{
	static const char *const kinds[] = {"bucket", "cluster", "endpoint", "filter"};

	const char *key = weft_names_text(c->states, id), *name = key ? strchr(key, ' ') : NULL;

	*ret_kind = kinds[WEFT_ID_KIND(id)];
	return name ? name + 1 : NULL; /* weft_build_state(): content, name */
}
