// SPDX-License-Identifier: Apache-2.0
/* Header mutations, and rewrites of host and path, in Envoy's order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/mutate.h"
#include "agent/regex/regex.h"

#define NAME(s) (s), sizeof(s) - 1

static const char *img_chars(struct weft_img_str s)
{
	return weft_img_at(s.off);
}

/* ---- mutations ---- */

/* A value of one level, worked out before any is put in: bytes of `bytes` up to end. */
struct value {
	size_t end;
	bool put;
};
struct values {
	struct buf bytes;
	struct value *v;
};

static int values_make(struct lines *l, const struct weft_img_header *h, uint32_t n, struct format *f,
		       struct values *ret)
{
	for (uint32_t i = 0; i < n; i++) {
		size_t before = buf_len(&ret->bytes);
		struct value *v = &ret->v[i];
		struct line line;
		bool have;
		int r = format_value(l->w, f, &h[i], &ret->bytes);

		if (r)
			return r;
		v->end = buf_len(&ret->bytes);
		have = lines_find(l, img_chars(h[i].name), h[i].name.len, l->from, &line);
		v->put = v->end > before || h[i].flags & WEFT_HEADER_KEEP_EMPTY;
		if ((h[i].action == WEFT_ADD_IF_ABSENT && have) ||
		    (h[i].action == WEFT_OVERWRITE_IF_EXISTS && !have))
			v->put = false;
	}
	return 0;
}

static int value_put(struct lines *l, const struct weft_img_header *h, const uint8_t *value, size_t len)
{
	if (h->action < WEFT_OVERWRITE)
		return lines_add(l, img_chars(h->name), h->name.len, value, len,
				 h->flags & WEFT_HEADER_JOINS ? "," : NULL);
	return lines_set(l, img_chars(h->name), h->name.len, value, len);
}

/* What overwrites is put first, then what is added. */
static int values_put(struct lines *l, const struct weft_img_header *h, uint32_t n, const struct values *v)
{
	int r = 0;

	for (int adds = 0; adds < 2; adds++) {
		for (uint32_t i = 0; !r && i < n; i++) {
			size_t at = i ? v->v[i - 1].end : 0, len = v->v[i].end - at;

			if (v->v[i].put && (h[i].action < WEFT_OVERWRITE) == adds)
				r = value_put(l, &h[i], len ? buf_at(&v->bytes) + at : NULL, len);
		}
	}
	return r;
}

int change_apply(struct lines *l, const struct weft_img_change *c, struct format *f)
{
	const struct weft_img_str *remove = c->n_remove ? weft_img_at(c->remove) : NULL;
	const struct weft_img_header *h = c->n_add ? weft_img_at(c->add) : NULL;
	struct values v = {.v = calloc(c->n_add + 1, sizeof(*v.v))};
	int r;

	for (uint32_t i = 0; i < c->n_remove; i++)
		lines_remove(l, img_chars(remove[i]), remove[i].len);
	if (!f->resp) { /* the lines are the request's own */
		f->req = buf_at(l->b);
		f->req_len = buf_len(l->b);
	}
	r = v.v ? values_make(l, h, c->n_add, f, &v) : -ENOMEM;
	if (!r)
		r = values_put(l, h, c->n_add, &v);
	buf_free(l->w, &v.bytes);
	free(v.v);
	return r;
}

int changes_apply(struct lines *l, uint32_t changes, struct format *f)
{
	const struct weft_img_changes *list = changes ? weft_img_at(changes) : NULL;
	const struct weft_img_change *c = (const void *)(list + 1);
	int r = 0;

	for (uint32_t i = 0; !r && list && i < list->n; i++)
		r = change_apply(l, &c[i], f);
	return r;
}

/* ---- host ---- */

/* The lines of x->head, behind the request line. */
static struct lines head_lines(struct worker *w, struct exchange *x)
{
	const uint8_t *p = buf_at(&x->head), *lf = memchr(p, '\n', buf_len(&x->head));

	return (struct lines){w, &x->head, lf ? (size_t)(lf - p) + 1 : buf_len(&x->head)};
}

/*
 * append_x_forwarded_host: the old host goes to the end of x-forwarded-host, unless it is the last there already. Room
 * for it has been made, and the host's line is the first: its bytes stay where they are.
 */
static int forwarded_host_add(struct lines *l, const struct line *host)
{
	const uint8_t *old = buf_at(l->b) + host->value;
	struct line xfh;

	if (!host->value_len)
		return 0;
	if (lines_find(l, NAME("x-forwarded-host"), l->from, &xfh)) {
		const uint8_t *v = buf_at(l->b) + xfh.value;
		const uint8_t *comma = memrchr(v, ',', xfh.value_len);
		const uint8_t *last = comma ? comma + 1 : v;

		/* compared as it stands: a blank behind the comma makes it another one (Envoy 1.40) */
		if ((size_t)(v + xfh.value_len - last) == host->value_len &&
		    !memcmp(last, old, host->value_len))
			return 0;
	}
	return lines_add(l, NAME("x-forwarded-host"), old, host->value_len, ",");
}

int request_host_set(struct worker *w, struct exchange *x, const void *host, size_t n)
{
	struct lines l = head_lines(w, x);
	struct line line;
	int r;

	if (!lines_find(&l, NAME("host"), l.from, &line))
		return -EINVAL;
	r = buf_room(w, l.b, 128 + 2 * line.value_len);
	if (!r && x->forward->flags & WEFT_FORWARD_APPEND_XFH)
		r = forwarded_host_add(&l, &line);
	if (!r && !(x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS)) {
		lines_remove(&l, NAME("x-envoy-original-host"));
		r = line_add(w, l.b, NAME("x-envoy-original-host"), buf_at(l.b) + line.value,
			     line.value_len);
	}
	return r ? r : buf_replace(w, l.b, line.value, line.value_len, host, n);
}

/* Where the request's target is in x->head: its bytes, and those before the query. */
struct target {
	size_t at, len, path;
};

static bool target_find(const struct exchange *x, size_t first_line, struct target *ret)
{
	const uint8_t *p = buf_at(&x->head), *blank = memchr(p, ' ', first_line), *end, *query;

	/* a redirect's path may have got blanks */
	end = blank ? memrchr(blank + 1, ' ', first_line - (size_t)(blank + 1 - p)) : NULL;
	if (!end)
		return false;
	*ret = (struct target){.at = (size_t)(blank + 1 - p), .len = (size_t)(end - blank - 1)};
	query = memchr(blank + 1, '?', ret->len);
	ret->path = query ? (size_t)(query - blank - 1) : ret->len;
	return true;
}

/* What a weft_img_rewrite makes of the path; without a match it is the path itself, as RE2 leaves it. */
static int path_substitute(struct worker *w, const struct exchange *x, uint32_t rewrite, const struct target *t,
			   struct buf *out)
{
	const struct weft_img_rewrite *re = weft_img_at(rewrite);
	const uint8_t *path = buf_at(&x->head) + t->at;
	uint32_t len = 0;
	char *text = NULL;
	int n = 0, r;

	if (re->nfa)
		n = weft_regex_replace_nfa(weft_img_at(re->nfa), path, (uint32_t)t->path, weft_img_at(re->text),
					   &text, &len);
	if (n < 0)
		return n;
	r = n ? buf_add(w, out, text, len) : buf_add(w, out, path, t->path);
	free(text);
	return r;
}

/* A value put together from the head as it stands. */
static int head_format(struct worker *w, struct exchange *x, uint32_t header, struct buf *out)
{
	const struct format f = {
		.d = x->down, .x = x, .req = buf_at(&x->head), .req_len = buf_len(&x->head)};

	return format_value(w, &f, weft_img_at(header), out);
}

static int host_rewrite(struct worker *w, struct exchange *x)
{
	const struct weft_img_forward *f = x->forward;
	struct lines l = head_lines(w, x);
	struct buf copy = {0};
	struct target t;
	struct line line;
	int r;

	if (f->host.len)
		return request_host_set(w, x, img_chars(f->host), f->host.len);
	if (f->host_format || f->host_regex) {
		if (f->host_format)
			r = head_format(w, x, f->host_format, &copy);
		else
			r = target_find(x, l.from, &t) ? path_substitute(w, x, f->host_regex, &t, &copy) : 0;
		if (!r && buf_len(&copy))
			r = request_host_set(w, x, buf_at(&copy), buf_len(&copy));
		buf_free(w, &copy);
		return r;
	}
	if (!f->host_header.len ||
	    !lines_find(&l, img_chars(f->host_header), f->host_header.len, l.from, &line) || !line.value_len)
		return 0;
	r = buf_add(w, &copy, buf_at(l.b) + line.value, line.value_len);
	if (!r)
		r = request_host_set(w, x, buf_at(&copy), line.value_len);
	buf_free(w, &copy);
	return r;
}

/* What is left of the route's timeout, at least 1 ms (0 would be none), but no more than an attempt has. */
static uint64_t time_left(const struct worker *w, const struct exchange *x)
{
	uint64_t left = x->total.at > w->now_ms ? x->total.at - w->now_ms : 1;

	return !x->hedged && x->per_try_ms && x->per_try_ms < left ? x->per_try_ms : left;
}

int request_attempt_set(struct worker *w, struct exchange *x)
{
	struct lines l = head_lines(w, x);
	int r = 0;

	if (x->attempt_count) {
		lines_remove(&l, NAME("x-envoy-attempt-count"));
		r = line_add_number(w, &x->head, NAME("x-envoy-attempt-count"), x->attempts);
	}
	if (!r && x->late_retry)
		r = lines_set(&l, NAME("x-envoy-is-timeout-retry"), x->was_late ? "true" : "false",
			      x->was_late ? 4 : 5);
	if (r || !x->req_done || !x->timeout_ms || x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS)
		return r;
	lines_remove(&l, NAME("x-envoy-expected-rq-timeout-ms"));
	return line_add_number(w, &x->head, NAME("x-envoy-expected-rq-timeout-ms"), time_left(w, x));
}

int response_id_set(struct worker *w, const struct exchange *x, struct lines *l)
{
	struct buf *head = (struct buf *)(uintptr_t)&x->head;
	struct lines req = {.w = w, .b = head};
	struct line line;

	if (!x->id_back || !buf_len(head) || !lines_find(&req, NAME("x-request-id"), 0, &line))
		return 0;
	return lines_set(l, NAME("x-request-id"), buf_at(head) + line.value, line.value_len);
}

/* ---- path ---- */

/* The first `old` bytes of the path become these; the path that was stays in x-envoy-original-path. */
static int path_set(struct worker *w, struct exchange *x, const struct target *t, size_t old, const void *to,
		    size_t n)
{
	struct lines l = head_lines(w, x);
	int r = 0;

	if (!(x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS)) {
		lines_remove(&l, NAME("x-envoy-original-path"));
		r = buf_room(w, l.b, 64 + t->len);
		if (!r)
			r = line_add(w, l.b, NAME("x-envoy-original-path"), buf_at(l.b) + t->at, t->len);
	}
	return r ? r : buf_replace(w, l.b, t->at, old, to, n);
}

static size_t at_most(size_t n, size_t max)
{
	return n < max ? n : max;
}

/* The path by an expression; an empty one changes nothing. */
static int path_regex(struct worker *w, struct exchange *x, uint32_t rewrite, const struct target *t)
{
	struct buf text = {0};
	int r = path_substitute(w, x, rewrite, t, &text);

	if (!r && buf_len(&text))
		r = path_set(w, x, t, t->path, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	return r;
}

static int path_rewrite(struct worker *w, struct exchange *x)
{
	const struct weft_img_forward *f = x->forward;
	struct buf text = {0};
	struct target t;
	int r;

	if ((!f->prefix_rewrite.len && !f->path_format && !f->path_regex) ||
	    !target_find(x, head_lines(w, x).from, &t))
		return 0;
	if (f->path_regex)
		return path_regex(w, x, f->path_regex, &t);
	if (!f->path_format)
		return path_set(w, x, &t, at_most(f->matched_len, t.path), img_chars(f->prefix_rewrite),
				f->prefix_rewrite.len);
	r = head_format(w, x, f->path_format, &text);
	/* a blank would end the path early for whoever reads it next: refused, where Envoy sends it */
	for (size_t i = 0; !r && i < buf_len(&text); i++)
		r = buf_at(&text)[i] <= ' ' || buf_at(&text)[i] == 0x7f ? -EINVAL : 0;
	if (!r && buf_len(&text))
		r = path_set(w, x, &t, t.path, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	return r;
}

/*
 * path_rewrite of a redirect, behind what location has: with a query of its own it is whole, else
 * the request's follows; an empty one is the request's path.
 */
static int redirect_format(struct worker *w, struct exchange *x, const struct weft_img_redirect *rd,
			   const struct target *t, struct lines *location, const struct line *line)
{
	const uint8_t *target = buf_at(&x->head) + t->at;
	struct buf text = {0};
	int r = head_format(w, x, rd->path_format, &text);
	bool empty = !buf_len(&text), query;

	if (!r && empty)
		r = buf_add(w, &text, target, t->path);
	else if (!r && buf_at(&text)[0] != '/')
		r = buf_replace(w, &text, 0, 0, "/", 1);
	query = !r && memchr(buf_at(&text), '?', buf_len(&text));
	if (!r && !query && !(rd->flags & WEFT_REDIRECT_STRIP_QUERY))
		r = buf_add(w, &text, target + t->path, t->len - t->path);
	if (!r)
		r = buf_replace(w, location->b, line->value + line->value_len, 0, buf_at(&text),
				buf_len(&text));
	buf_free(w, &text);
	return r;
}

int request_redirect(struct worker *w, struct exchange *x, struct lines *location)
{
	const struct weft_img_redirect *rd = weft_img_at(x->dec.redirect);
	size_t first_line = head_lines(w, x).from;
	struct line line;
	struct target t;
	int r = 0;

	if (!target_find(x, first_line, &t))
		return 0;
	if (rd->flags & WEFT_REDIRECT_PREFIX)
		return path_set(w, x, &t, at_most(rd->matched_len, t.path), img_chars(rd->path), rd->path.len);
	if (!(rd->flags & WEFT_REDIRECT_AGENT))
		return 0;
	if (rd->path_regex)
		r = path_regex(w, x, rd->path_regex, &t);
	if (r || !target_find(x, head_lines(w, x).from, &t) ||
	    !lines_find(location, NAME("location"), location->from, &line))
		return r;
	if (rd->path_format)
		return redirect_format(w, x, rd, &t, location, &line);
	return buf_replace(w, location->b, line.value + line.value_len, 0, buf_at(&x->head) + t.at,
			   rd->flags & WEFT_REDIRECT_STRIP_QUERY ? t.path : t.len);
}

/* ---- all of a request ---- */

int request_change(struct worker *w, struct exchange *x)
{
	const struct weft_img_target *t = weft_img_at(x->dec.target);
	struct lines l = head_lines(w, x);
	struct format f = {.d = x->down, .x = x};
	const struct weft_img_changes *list = t->request ? weft_img_at(t->request) : NULL;
	const struct weft_img_change *c = (const void *)(list + 1);
	struct line line;
	int r = 0;
	uint32_t i = 0;

	/* the weighted cluster's own part, its host included, comes before the others */
	if (list && list->n && c->level == WEFT_LEVEL_CLUSTER)
		r = change_apply(&l, &c[i++], &f);
	if (!r && t->host.len && lines_find(&l, NAME("host"), l.from, &line))
		r = buf_replace(w, l.b, line.value, line.value_len, img_chars(t->host), t->host.len);
	for (; !r && list && i < list->n; i++)
		r = change_apply(&l, &c[i], &f);
	if (!r)
		r = host_rewrite(w, x);
	return r ? r : path_rewrite(w, x);
}
