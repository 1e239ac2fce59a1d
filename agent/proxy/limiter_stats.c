// SPDX-License-Identifier: Apache-2.0
/*
 * What rate limit services said, by pod, cluster of the request and stat_prefix, or of connections
 * by stat_prefix: each worker counts for itself, dump adds up. Bounded: what more names there would
 * be is not counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"

/* Names that a request's header may make (cluster_header) are the view's clusters; so many pairs.
 */
#define CELLS_MAX 4096u
#define CHAINS 256u

struct limiter_cell {
	struct limiter_cell *next;
	uint32_t pod, hash;
	uint32_t n; /* counters that it has */
	uint64_t count[LIMITER__MAX];
	char name[]; /* "cluster.NAME.ratelimit.", "cluster.NAME.ratelimit.PREFIX.",
			"ratelimit.PREFIX." */
};

struct limiter_cells {
	uint32_t n;
	struct limiter_cell *chain[CHAINS];
};

static struct limiter_cell *cell_find(struct limiter_cells *c, uint32_t pod, uint32_t hash,
				      const char *name)
{
	struct limiter_cell *e = c->chain[hash % CHAINS];

	while (e && (e->hash != hash || e->pod != pod || strcmp(e->name, name)))
		e = e->next;
	return e;
}

static struct limiter_cell *cell_make(struct limiter_cells *c, uint32_t pod, uint32_t hash,
				      const char *name, uint32_t n)
{
	struct limiter_cell *e = c->n < CELLS_MAX ? calloc(1, sizeof(*e) + strlen(name) + 1) : NULL;

	if (!e)
		return NULL;
	e->pod = pod;
	e->n = n;
	e->hash = hash;
	strcpy(e->name, name);
	e->next = c->chain[hash % CHAINS];
	/* dump reads on this worker's thread only */
	c->chain[hash % CHAINS] = e;
	c->n++;
	return e;
}

/* n: length of the name, as of snprintf(). */
static struct limiter_cell *cell_of(struct worker *w, uint32_t pod, const char *name, size_t size,
				    int n, uint32_t n_count)
{
	struct limiter_cell *e;
	uint32_t hash;

	if (!w->limits)
		w->limits = calloc(1, sizeof(*w->limits));
	if (!w->limits || n < 0 || (size_t)n >= size)
		return NULL;
	hash = (uint32_t)weft_hash_xx64(name, (size_t)n, pod);
	e = cell_find(w->limits, pod, hash, name);
	return e ? e : cell_make(w->limits, pod, hash, name, n_count);
}

void limiter_count(struct worker *w, uint32_t pod, struct weft_rate_text cluster,
		   struct weft_img_str prefix, enum limiter_count what)
{
	char name[512];
	int n = snprintf(name, sizeof(name), "cluster.%.*s.ratelimit.%.*s%s", (int)cluster.len,
			 (const char *)cluster.p, (int)prefix.len,
			 (const char *)weft_img_at(prefix.off), prefix.len ? "." : "");

	limiter_conn_count(cell_of(w, pod, name, sizeof(name), n, LIMITER_HTTP__MAX), what, 1);
}

struct limiter_cell *limiter_conn_cell(struct worker *w, uint32_t pod, struct weft_img_str prefix)
{
	char name[512];
	int n = snprintf(name, sizeof(name), "ratelimit.%.*s.", (int)prefix.len,
			 (const char *)weft_img_at(prefix.off));

	return cell_of(w, pod, name, sizeof(name), n, LIMITER__MAX);
}

void limiter_conn_count(struct limiter_cell *c, enum limiter_count what, int n)
{
	if (c)
		c->count[what] += (uint64_t)(int64_t)n;
}

static void drop(struct limiter_cells *c, uint32_t pod, bool any)
{
	for (uint32_t i = 0; c && i < CHAINS; i++) {
		struct limiter_cell **at = &c->chain[i];

		while (*at) {
			struct limiter_cell *e = *at;

			if (!any && e->pod != pod) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			c->n--;
			free(e);
		}
	}
}

void limiter_stats_drop(struct worker *w, uint32_t pod)
{
	drop(w->limits, pod, false);
}

void limiter_stats_free(struct worker *w)
{
	drop(w->limits, 0, true);
	free(w->limits);
	w->limits = NULL;
}

static void add(json_t *all, const struct limiter_cell *e)
{
	static const char *const names[] = {
		"ok",	 "error",     "over_limit", "failure_mode_allowed",
		"total", "cx_closed", "active"};
	char name[600];

	for (size_t i = 0; i < e->n; i++) {
		snprintf(name, sizeof(name), "%s%s", e->name, names[i]);
		json_object_set_new(all, name,
				    json_integer(json_integer_value(json_object_get(all, name)) +
						 (json_int_t)e->count[i]));
	}
}

static void dump_worker(struct worker *w, void *arg)
{
	json_t *pods = arg;

	for (uint32_t i = 0; w->limits && i < CHAINS; i++) {
		for (const struct limiter_cell *e = w->limits->chain[i]; e; e = e->next) {
			char id[16];
			json_t *pod;

			snprintf(id, sizeof(id), "%u", e->pod);
			pod = json_object_get(pods, id);
			if (!pod) {
				pod = json_object();
				json_object_set_new(pods, id, pod);
			}
			add(pod, e);
		}
	}
}

json_t *weft_proxy_limits(struct weft_proxy *p)
{
	json_t *pods = json_object();

	for (unsigned int i = 0; pods && i < p->n; i++)
		worker_call(&p->worker[i], dump_worker, pods);
	return pods;
}
