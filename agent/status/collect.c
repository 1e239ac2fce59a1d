// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon.h"
#include "agent/status/status.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"

const char *weft_status_name(enum weft_status_state state)
{
	static const char *const names[WEFT_STATUS__MAX] = {
		[WEFT_STATUS_REQUESTED] = "requested",
		[WEFT_STATUS_DOES_NOT_EXIST] = "does_not_exist",
		[WEFT_STATUS_ACKED] = "acked",
		[WEFT_STATUS_NACKED] = "nacked",
		[WEFT_STATUS_TIMEOUT] = "timeout",
		[WEFT_STATUS_WARMING] = "warming",
		[WEFT_STATUS_STALE] = "stale",
	};

	return names[state];
}

void weft_status_entry_clear(struct weft_status_entry *e)
{
	free(e->name);
	free(e->version);
	free(e->error);
	free(e->failed_version);
	free(e->counts.version_text);
	weft_resource_unref(e->active);
	weft_resource_unref(e->warming);
	weft_resource_unref(e->failed);
}

void weft_status_part_clear(struct weft_status_part *p)
{
	for (size_t i = 0; i < p->n; i++)
		weft_status_entry_clear(&p->v[i]);
	free(p->v);
	free(p->stream);
	free(p->node);
	for (int t = 0; t < WEFT_XDS__MAX; t++)
		free(p->version[t]);
}

void weft_status_free(struct weft_status *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		weft_status_part_clear(&s->part[i]);
	weft_snapshot_free(s->resolved);
	free(s->part);
	free(s);
}

static struct weft_resource *share(const struct weft_resource *r)
{
	return r ? weft_resource_ref((struct weft_resource *)(uintptr_t)r) : NULL;
}

static bool copy(const char *from, char **to)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

/* NULL without memory. */
static struct weft_status_entry *entry_add(struct weft_status_part *p, const char *name)
{
	struct weft_status_entry *e;

	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct weft_status_entry *v = reallocarray(p->v, cap, sizeof(*v));

		if (!v)
			return NULL;
		p->v = v;
		p->cap = cap;
	}
	e = &p->v[p->n];
	*e = (struct weft_status_entry){.name = strdup(name)};
	if (!e->name)
		return NULL;
	p->n++;
	return e;
}

/* ---- what a snapshot has ---- */

static int snapshot_add(struct weft_status_part *p, const struct weft_snapshot *s,
			enum weft_status_state state)
{
	for (int t = 0; s && t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(s, (enum weft_xds_type)t);

		for (size_t i = 0; i < n; i++) {
			const struct weft_resource *r =
				weft_snapshot_at(s, (enum weft_xds_type)t, i);
			struct weft_status_entry *e = entry_add(p, r->name);

			if (!e || !copy(r->version ? r->version : "", &e->version))
				return -ENOMEM;
			e->type = (enum weft_xds_type)t;
			e->state = state;
			e->updated_ms = r->updated_ms;
			e->active = share(r);
		}
	}
	return 0;
}

/* ---- what the client of a server has ---- */

static const enum weft_status_state states[] = {
	[WEFT_DELTA_REQUESTED] = WEFT_STATUS_REQUESTED,
	[WEFT_DELTA_DOES_NOT_EXIST] = WEFT_STATUS_DOES_NOT_EXIST,
	[WEFT_DELTA_ACKED] = WEFT_STATUS_ACKED,
	[WEFT_DELTA_NACKED] = WEFT_STATUS_NACKED,
	[WEFT_DELTA_TIMEOUT] = WEFT_STATUS_TIMEOUT,
	[WEFT_DELTA_WARMING] = WEFT_STATUS_WARMING,
};

struct client {
	struct weft_status_part *part;
	/* The saved configuration, in the place of what is in force; NULL: it is not. */
	const struct weft_snapshot *saved;
	int err;
};

/* On the stream's thread; the main thread waits. */
static void item_add(void *ctx, const struct weft_delta_item *item)
{
	struct client *c = ctx;
	struct weft_status_entry *e;
	const char *version = "";

	/* The saved one is in force, whatever was accepted meanwhile. */
	if (c->saved && weft_snapshot_get(c->saved, item->type, item->name))
		return;
	e = c->err ? NULL : entry_add(c->part, item->name);
	if (!e) {
		c->err = -ENOMEM;
		return;
	}
	e->type = item->type;
	e->state = states[item->status];
	e->updated_ms = item->active || item->warming ? item->updated_ms : 0;
	e->failed_ms = item->failed_ms;
	e->active = c->saved ? NULL : share(item->active);
	e->warming = share(item->warming);
	e->failed = share(item->failed);
	if (item->counts) {
		e->counts = *item->counts;
		if (!copy(item->counts->version_text, &e->counts.version_text))
			c->err = -ENOMEM;
	}
	/* The same content under a new version is not made anew. */
	if (e->active)
		version = item->warming ? item->active->version : item->version;
	if (!copy(version, &e->version) || !copy(item->error, &e->error) ||
	    !copy(item->failed_version, &e->failed_version))
		c->err = -ENOMEM;
}

static void items_read(struct weft_delta *delta, void *ctx)
{
	struct client *c = ctx;
	const Envoy__Config__Core__V3__Node *node = weft_delta_node(delta);
	struct weft_status_part *p = c->part;
	struct weft_delta_stats stats;

	weft_delta_stats(delta, &stats);
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		free(p->version[t]);
		if (!copy(stats.types[t].version_text, &p->version[t]))
			c->err = -ENOMEM;
		p->counts[t] = stats.types[t];
		p->counts[t].version_text = NULL;
	}
	if (!p->node) {
		p->node = malloc(envoy__config__core__v3__node__get_packed_size(node) + 1);
		if (p->node)
			p->n_node = envoy__config__core__v3__node__pack(node, p->node);
		else
			c->err = -ENOMEM;
	}
	weft_delta_each(delta, item_add, ctx);
}

static int by_type_and_name(const void *a, const void *b)
{
	const struct weft_status_entry *x = a, *y = b;

	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int client_add(struct weft_daemon *d, struct weft_source_xds *x, struct weft_status_part *p)
{
	struct client c = {.part = p};
	int r;

	if (!copy(weft_source_xds_address(x), &p->stream))
		return -ENOMEM;
	/* First: it may serve a publish, after which a snapshot read before would be old. */
	r = weft_source_xds_call(x, items_read, &c);
	if (weft_source_xds_stale(x)) {
		/* Once more, for what is in force is another. */
		for (size_t i = 0; i < p->n; i++)
			weft_status_entry_clear(&p->v[i]);
		p->n = 0;
		c.saved = weft_views_get(d->views, p->view, WEFT_SOURCE_XDS);
		r = weft_source_xds_call(x, items_read, &c);
		if (weft_source_xds_stale(x) && r == 0 && c.err == 0)
			c.err = snapshot_add(p, c.saved, WEFT_STATUS_STALE);
	}
	if (r < 0 || c.err < 0)
		return r < 0 ? r : c.err;
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), by_type_and_name);
	return 0;
}

/* ---- all ---- */

struct collect {
	struct weft_daemon *d;
	struct weft_status *s;
	size_t cap;
	int err;
};

static struct weft_status_part *part_add(struct collect *c, uint32_t view, enum weft_source source)
{
	struct weft_status *s = c->s;

	if (s->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 4;
		struct weft_status_part *v = reallocarray(s->part, cap, sizeof(*v));

		if (!v) {
			c->err = -ENOMEM;
			return NULL;
		}
		s->part = v;
		c->cap = cap;
	}
	s->part[s->n] = (struct weft_status_part){.view = view, .source = source};
	return &s->part[s->n++];
}

/* What the files say is of every view. */
static void files_add(struct collect *c, uint32_t view)
{
	struct weft_status_part *p;

	if (c->err || !c->d->file)
		return;
	p = part_add(c, view, WEFT_SOURCE_FILE);
	if (!p)
		return;
	c->err = copy(c->d->cfg->config, &p->stream) ? 0 : -ENOMEM;
	if (c->err == 0)
		c->err = snapshot_add(p, weft_views_get(c->d->views, view, WEFT_SOURCE_FILE),
				      WEFT_STATUS_ACKED);
}

static void stream_add(void *ctx, const struct weft_stream *stream)
{
	struct collect *c = ctx;
	struct weft_status_part *p;

	if (c->err || !stream->xds)
		return;
	p = part_add(c, stream->view, WEFT_SOURCE_XDS);
	if (p)
		c->err = client_add(c->d, stream->xds, p);
	files_add(c, stream->view);
}

int weft_status_collect(struct weft_daemon *d, struct weft_status **ret)
{
	struct collect c = {.d = d, .s = calloc(1, sizeof(*c.s))};

	if (!c.s)
		return -ENOMEM;
	c.s->started_ms = d->started_ms;
	if (d->streams)
		weft_streams_each(d->streams, stream_add, &c);
	if (!d->streams || d->cfg->xds_per_pod)
		files_add(&c, WEFT_VIEW_DEFAULT);
	if (c.err == 0 && d->dns && weft_dns_resolved(d->dns))
		c.err = weft_snapshot_clone(weft_dns_resolved(d->dns), &c.s->resolved);
	if (c.err < 0) {
		weft_status_free(c.s);
		return c.err;
	}
	*ret = c.s;
	return 0;
}

/* Place of the first entry of this type or a later one. */
static size_t first_of(const struct weft_status_part *part, int type)
{
	size_t low = 0, high = part->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if ((int)part->v[mid].type < type)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct weft_status_entry *weft_status_at(const struct weft_status *s, enum weft_xds_type type,
					       size_t i, const struct weft_status_part **ret_part)
{
	for (size_t p = 0; p < s->n; p++) {
		const struct weft_status_part *part = &s->part[p];
		size_t first = first_of(part, (int)type);
		size_t n = first_of(part, (int)type + 1) - first;

		if (i < n) {
			if (ret_part)
				*ret_part = part;
			return &part->v[first + i];
		}
		i -= n;
	}
	return NULL;
}

const struct weft_status_entry *weft_status_find(const struct weft_status_part *part,
						 enum weft_xds_type type, const char *name)
{
	const struct weft_status_entry key = {.type = type, .name = (char *)(uintptr_t)name};

	return part->n ? bsearch(&key, part->v, part->n, sizeof(key), by_type_and_name) : NULL;
}

struct weft_status_assignment weft_status_assignment(const struct weft_status *s,
						     const struct weft_status_part *part,
						     const struct weft_resource *cluster)
{
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)cluster->msg;
	struct weft_status_assignment a = {.name = c->name, .msg = c->load_assignment};
	char *resolved = s->resolved ? weft_resolved_name(cluster) : NULL;
	const struct weft_resource *names =
		resolved ? weft_snapshot_get(s->resolved, WEFT_XDS_ENDPOINT, resolved) : NULL;

	free(resolved);
	if (names)
		a.msg = (const void *)names->msg;
	if (!c->eds_cluster_config)
		return a;
	if (*c->eds_cluster_config->service_name)
		a.name = c->eds_cluster_config->service_name;
	a.entry = weft_status_find(part, WEFT_XDS_ENDPOINT, a.name);
	a.msg = a.entry && a.entry->active ? (const void *)a.entry->active->msg : NULL;
	return a;
}
