// SPDX-License-Identifier: Apache-2.0
#include "agent/marks.h"

#include <errno.h>
#include <stdlib.h>

static uint8_t mark_at(const struct weft_ejected *e, size_t i)
{
	return e->mark ? e->mark[i] : WEFT_MARK_OUT;
}

/* Hosts of both to the arrays' ends; how many. */
static size_t hosts_merge(const struct weft_ejected *a, const struct weft_ejected *b,
			  uint32_t *host, uint8_t *mark)
{
	size_t i = 0, j = 0, n = 0;

	while (i < a->n || j < b->n) {
		bool left = j == b->n || (i < a->n && a->host[i] <= b->host[j]);
		bool right = i == a->n || (j < b->n && b->host[j] <= a->host[i]);
		uint8_t x = left ? mark_at(a, i) : 0, y = right ? mark_at(b, j) : 0;

		host[n] = left ? a->host[i] : b->host[j];
		mark[n++] = x > y ? x : y;
		i += left;
		j += right;
	}
	return n;
}

static int compare(const struct weft_ejected *a, const struct weft_ejected *b)
{
	if (a->pod != b->pod)
		return a->pod < b->pod ? -1 : 1;
	return (a->cluster > b->cluster) - (a->cluster < b->cluster);
}

static size_t hosts_of(const struct weft_ejected *e, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += e[i].n;
	return sum;
}

int weft_marks_merge(const struct weft_ejected *a, size_t n_a, const struct weft_ejected *b,
		     size_t n_b, struct weft_marks *ret)
{
	const struct weft_ejected none = {0};
	size_t most = hosts_of(a, n_a) + hosts_of(b, n_b), i = 0, j = 0, at = 0;

	*ret = (struct weft_marks){.v = calloc(n_a + n_b + 1, sizeof(*ret->v)),
				   .host = calloc(most + 1, sizeof(*ret->host)),
				   .mark = calloc(most + 1, sizeof(*ret->mark))};
	if (!ret->v || !ret->host || !ret->mark) {
		weft_marks_clear(ret);
		return -ENOMEM;
	}
	while (i < n_a || j < n_b) {
		int order = i == n_a ? 1 : j == n_b ? -1 : compare(&a[i], &b[j]);
		const struct weft_ejected *x = order <= 0 ? &a[i++] : &none;
		const struct weft_ejected *y = order >= 0 ? &b[j++] : &none;
		struct weft_ejected *out = &ret->v[ret->n++];

		*out = order <= 0 ? *x : *y;
		out->host = ret->host + at;
		out->mark = ret->mark + at;
		out->n = hosts_merge(x, y, ret->host + at, ret->mark + at);
		at += out->n;
	}
	return 0;
}

void weft_marks_clear(struct weft_marks *m)
{
	free(m->v);
	free(m->host);
	free(m->mark);
	*m = (struct weft_marks){0};
}
