// SPDX-License-Identifier: Apache-2.0
/* What of the checks' results is published. */
#include <stdlib.h>
#include <string.h>

#include "agent/health/internal.h"
#include "agent/log.h"

struct pair {
	uint32_t id;
	int mark;
};

static int by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct pair *)a)->id, y = ((const struct pair *)b)->id;

	return (x > y) - (x < y);
}

static int by_pod(const void *a, const void *b)
{
	const struct weft_ejected *x = a, *y = b;

	if (x->pod != y->pod)
		return x->pod < y->pod ? -1 : 1;
	return (x->cluster > y->cluster) - (x->cluster < y->cluster);
}

/* Hosts that others of the view go on to have, and this pod does not; how many there are then. */
static size_t gone_add(struct weft_health *h, const struct hc_check *c, struct pair *p, size_t n)
{
	for (size_t i = 0; i < c->spec->n_kept; i++) {
		const struct kept *k = &c->spec->kept[i];
		size_t at = 0;
		uint32_t id;

		if (kept_here(c, k) ||
		    weft_compiler_endpoint_id(h->cfg.compiler, c->spec->conf.cluster,
					      k->target->address, k->target->port, &id))
			continue;
		while (at < n && p[at].id != id)
			at++;
		p[at] = (struct pair){id, WEFT_MARK_GONE};
		n += at == n;
	}
	return n;
}

/* Marked hosts of one pod's cluster. How many; 0 also without memory: they are as EDS says. */
static size_t check_marks(struct weft_health *h, struct hc_check *c)
{
	size_t most = c->n + c->spec->n_kept + 1, n = 0;
	struct pair *p = calloc(most, sizeof(*p));

	free(c->id);
	free(c->mark);
	c->id = calloc(most, sizeof(*c->id));
	c->mark = calloc(most, sizeof(*c->mark));
	for (size_t i = 0; p && c->id && c->mark && i < c->n; i++) {
		struct session *s = c->session[i];

		s->id = 0;
		if (weft_compiler_endpoint_id(h->cfg.compiler, c->spec->conf.cluster,
					      s->target.address, s->target.port, &s->id))
			continue;
		s->published = weft_health_mark(&s->host);
		if (s->published >= 0)
			p[n++] = (struct pair){s->id, s->published};
	}
	n = p && c->id && c->mark ? gone_add(h, c, p, n) : n;
	if (n)
		qsort(p, n, sizeof(*p), by_id);
	for (size_t i = 0; i < n; i++) {
		c->id[i] = p[i].id;
		c->mark[i] = (uint8_t)p[i].mark;
	}
	free(p);
	return n;
}

/* It takes no part in what is in force. */
static void ids_forget(struct spec *s)
{
	struct hc_check *c;

	s->cluster_id = 0;
	s->n_kept = 0;
	LIST_FOREACH(c, &s->checks, link)
	{
		for (size_t i = 0; i < c->n; i++)
			c->session[i]->id = 0;
	}
}

static bool is_in_force(const struct spec *s, const struct weft_snapshot *in_force)
{
	const struct weft_resource *res =
		in_force ? weft_snapshot_get(in_force, WEFT_XDS_CLUSTER, s->res->name) : NULL;

	return res && res->hash == s->res->hash;
}

const struct weft_ejected *
weft_health_marks(struct weft_health *h,
		  const struct weft_snapshot *(*in_force)(void *ctx, uint32_t view), void *ctx,
		  const struct weft_snapshot *resolved, size_t *ret_n)
{
	struct spec *s, *next;
	struct hc_check *c;
	size_t i, n = 0, k;

	*ret_n = 0;
	SPECS_EACH(h, i, s, next)
	{
		LIST_FOREACH(c, &s->checks, link)
		{
			n++;
		}
	}
	free(h->marks);
	h->marks = calloc(n + 1, sizeof(*h->marks));
	if (!h->marks)
		return NULL;
	n = 0;
	SPECS_EACH(h, i, s, next)
	{
		ids_forget(s);
		if (!is_in_force(s, in_force(ctx, s->view)) ||
		    weft_compiler_cluster_id(h->cfg.compiler, s->res, &s->cluster_id))
			continue;
		if (spec_keep(s, in_force(ctx, s->view), resolved))
			WEFT_LOG(WEFT_LOG_ERROR, "hosts that discovery has no more go at once",
				 WEFT_KV_S("cluster", s->conf.cluster),
				 WEFT_KV_S("reason", "no memory"));
		LIST_FOREACH(c, &s->checks, link)
		{
			k = check_marks(h, c);
			if (k)
				h->marks[n++] = (struct weft_ejected){
					c->pod->id, s->cluster_id, c->id, c->mark, k};
		}
	}
	if (n)
		qsort(h->marks, n, sizeof(*h->marks), by_pod);
	*ret_n = n;
	return h->marks;
}
