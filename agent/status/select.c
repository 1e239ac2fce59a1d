// SPDX-License-Identifier: Apache-2.0
/* Which views are shown: one, or all of them with what they share once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/status/status.h"
#include "agent/status/status_http.h"

static void part_drop(struct weft_status *s, size_t i)
{
	weft_status_part_clear(&s->part[i]);
	s->n--;
	memmove(&s->part[i], &s->part[i + 1], (s->n - i) * sizeof(s->part[0]));
}

/* False when the same was there before; without memory it is taken for new. */
static bool is_new(json_t *seen, const struct weft_status_entry *e)
{
	_auto_free_ char *key = NULL;

	/* Equal content is one message in memory, whichever stream brought it. */
	if (asprintf(&key, "%d %d %p %p %s %s", (int)e->type, (int)e->state,
		     e->active ? (void *)e->active->msg : NULL,
		     e->warming ? (void *)e->warming->msg : NULL, e->version, e->name) < 0)
		key = NULL;
	if (!key || json_object_get(seen, key))
		return !key;
	json_object_set_new_nocheck(seen, key, json_true());
	return true;
}

static void part_join(struct weft_status_part *p, json_t *seen)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (is_new(seen, &p->v[i]))
			p->v[n++] = p->v[i];
		else
			weft_status_entry_clear(&p->v[i]);
	}
	p->n = n;
}

void weft_status_select(struct weft_status *s, int64_t view)
{
	_auto_json_ json_t *seen = json_object();
	bool files = false, several = false;

	for (size_t i = 0; i < s->n;) {
		bool file = s->part[i].source == WEFT_SOURCE_FILE;

		/* What the files say is of every view. */
		if (view == WEFT_STATUS_ALL ? file && files : s->part[i].view != view) {
			part_drop(s, i);
			continue;
		}
		files |= file;
		several |= i > 0;
		i++;
	}
	for (size_t i = 0; several && seen && i < s->n; i++)
		part_join(&s->part[i], seen);
}

int weft_http_view(struct weft_daemon *d, const char *query, struct weft_http_answer *ret,
		   int64_t *ret_view)
{
	_auto_free_ char *pod = weft_http_query_value(query, "pod");
	struct weft_pod_info info;
	int r;

	*ret_view = WEFT_STATUS_ALL;
	if (!pod)
		return 0;
	r = d->pods ? weft_pods_find(d->pods, pod, &info) : -ENOENT;
	if (r == 0) {
		*ret_view = info.view;
		return 0;
	}
	weft_http_say(ret, r == -ENOTUNIQ ? 400 : 404,
		      r == -ENOTUNIQ ? "%s is in several namespaces, say NAMESPACE/NAME\n"
				     : "pod %s is not enrolled\n",
		      pod);
	return r;
}
