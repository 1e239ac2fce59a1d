// SPDX-License-Identifier: Apache-2.0
/* What of the watches is published. */
#include <stdlib.h>

#include "agent/outlier/internal.h"

struct collect {
	struct weft_ejected *v;
	size_t n;
};

static void out_count(void *ctx, const struct watch *w)
{
	((struct collect *)ctx)->n += w->n_out != 0;
}

static void out_add(void *ctx, const struct watch *w)
{
	struct collect *c = ctx;

	if (w->n_out)
		c->v[c->n++] = (struct weft_ejected){.pod = w->pod,
						     .cluster = w->cluster,
						     .host = w->out,
						     .n = w->n_out};
}

static int compare_ejected(const void *a, const void *b)
{
	const struct weft_ejected *x = a, *y = b;

	if (x->pod != y->pod)
		return x->pod < y->pod ? -1 : 1;
	return (x->cluster > y->cluster) - (x->cluster < y->cluster);
}

const struct weft_ejected *weft_outlier_ejected(struct weft_outlier *o, size_t *ret_n)
{
	struct collect c = {0};

	watches_each(o, out_count, &c);
	free(o->ejected);
	o->ejected = c.v = calloc(c.n + 1, sizeof(*c.v));
	c.n = 0;
	if (c.v)
		watches_each(o, out_add, &c);
	if (c.n)
		qsort(c.v, c.n, sizeof(*c.v), compare_ejected);
	*ret_n = c.n;
	return c.v;
}
