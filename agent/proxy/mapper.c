// SPDX-License-Identifier: Apache-2.0
/* What local_reply_config makes of replies (bpf/abi/mapper.h). */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/grpc.h"
#include "agent/proxy/mutate.h"

/* Names of header lines, with their length. */
#define NAME(name) name, sizeof(name) - 1

/* ---- filters ---- */

static bool compares(const struct weft_img_mapper_test *t, uint64_t n)
{
	switch (t->op) {
	case WEFT_OP_EQ:
		return n == t->value;
	case WEFT_OP_GE:
		return n >= t->value;
	case WEFT_OP_LE:
		return n <= t->value;
	default:
		return n != t->value;
	}
}

/* The first eight hexadecimal digits of the request's id; false: it has none. */
static bool id_number(const struct format *f, uint32_t *ret)
{
	uint32_t n = 0;
	size_t len = 0;
	const uint8_t *id = format_request_line(f, "x-request-id", &len);

	if (!id || len < 8)
		return false;
	for (int i = 0; i < 8; i++) {
		int c = tolower(id[i]);

		if (!isxdigit(c))
			return false;
		n = n << 4 | (uint32_t)(isdigit(c) ? c - '0' : c - 'a' + 10);
	}
	*ret = n;
	return true;
}

static bool in_share(const struct format *f, const struct weft_img_mapper_test *t)
{
	uint32_t n;

	if (t->op || !id_number(f, &n))
		return worker_random(f->d->worker) % t->of < t->value;
	return n % t->of < t->value;
}

static bool grpc_among(const struct format *f, const struct weft_img_mapper_test *t)
{
	int status = format_grpc(f);
	bool found = status >= 0 && status < 32 && t->value >> status & 1;

	return found != !!t->op;
}

static bool holds(const struct format *f, const struct weft_img_mapper_test *t)
{
	uint32_t i = 1, flags;

	switch (t->kind) {
	case WEFT_MAPPER_ALWAYS:
		return t->value;
	case WEFT_MAPPER_AND:
		while (i < t->n && holds(f, t + i))
			i += t[i].n;
		return i >= t->n;
	case WEFT_MAPPER_OR:
		while (i < t->n && !holds(f, t + i))
			i += t[i].n;
		return i < t->n;
	case WEFT_MAPPER_STATUS:
		return compares(t, f->status);
	case WEFT_MAPPER_DURATION:
		return compares(t, format_duration(f));
	case WEFT_MAPPER_SHARE:
		return in_share(f, t);
	case WEFT_MAPPER_HEADER:
		return head_matches(f->req, f->req_len, t->value);
	case WEFT_MAPPER_FLAGS:
		flags = format_flags(f);
		return t->value ? flags & t->value : flags;
	case WEFT_MAPPER_GRPC:
		return grpc_among(f, t);
	case WEFT_MAPPER_TYPE:
		return (t->value >> f->log_type & 1) != t->op;
	default:
		return false;
	}
}

bool tests_hold(const struct format *f, uint32_t test)
{
	return holds(f, weft_img_at(test));
}

static const struct weft_img_mapper *mapper_find(const struct weft_img_mapping *m,
						 const struct format *f)
{
	const struct weft_img_mapper *list = m->n ? weft_img_at(m->mapper) : NULL;

	for (uint32_t i = 0; i < m->n; i++)
		if (list[i].n_test && holds(f, weft_img_at(list[i].test)))
			return &list[i];
	return NULL;
}

/* ---- what becomes of the reply ---- */

/* The content-type that the lines say, with its end; empty: none. NULL without memory. */
static char *type_copy(const struct lines *l)
{
	struct line line = {0};
	bool found = lines_find(l, NAME("content-type"), l->from, &line);

	return strndup(found ? (const char *)buf_at(l->b) + line.value : "", line.value_len);
}

/* Headers, status and text as the mapper has them. *ret_typed: its headers changed the
 * content-type. */
static int mapper_apply(const struct weft_img_mapper *m, struct format *f, struct reply *a,
			struct lines *l, bool *ret_typed)
{
	const struct weft_img_change c = {.n_add = m->n_add, .add = m->add};
	char *before = type_copy(l), *after = NULL;
	int r = before ? change_apply(l, &c, f) : -ENOMEM;

	if (!r) {
		after = type_copy(l);
		r = after ? 0 : -ENOMEM;
	}
	if (!r)
		*ret_typed = strcmp(before, after) != 0;
	free(before);
	free(after);
	if (m->has_body) {
		a->body = m->body.len ? weft_img_at(m->body.off) : "";
		a->len = m->body.len;
	}
	if (m->status)
		a->status = m->status;
	return r;
}

/* The type tells, not the format (Envoy 1.40). */
static bool ends_as_json(const struct weft_img_body *format, const struct reply *a)
{
	static const char type[] = "application/json";

	return format->content_type.len == sizeof(type) - 1 &&
	       !memcmp(weft_img_at(format->content_type.off), type, sizeof(type) - 1) && a->len &&
	       a->body[a->len - 1] == '\n';
}

int mapping_apply(struct worker *w, const struct weft_img_mapping *m, struct format *f,
		  struct reply *a, struct lines *l, struct buf *body)
{
	const struct weft_img_mapper *mapper;
	const struct weft_img_body *format;
	const char *was = a->body;
	size_t was_len = a->len;
	bool typed = false;
	struct line line;
	int r = 0;

	if (a->type.len)
		r = lines_set(l, NAME("content-type"), weft_img_at(a->type.off), a->type.len);
	a->type.len = 0;
	f->resp = l;
	f->status = f->code = a->status;
	mapper = r ? NULL : mapper_find(m, f);
	if (mapper)
		r = mapper_apply(mapper, f, a, l, &typed);
	if (r)
		return r;
	format = mapper && mapper->format ? weft_img_at(mapper->format)
		 : m->format		  ? weft_img_at(m->format)
					  : NULL;
	f->status = f->code = a->status;
	f->local = true;
	f->body = a->body;
	f->body_len = a->len;
	if (format) {
		r = reply_body_write(w, f, format, body);
		a->body = (const char *)buf_at(body);
		a->len = buf_len(body);
		a->json = ends_as_json(format, a);
	}
	/* another text is of the format's type, unless the mapper said which */
	if (typed || (a->len == was_len && !memcmp(a->body ? a->body : "", was, was_len)))
		typed = lines_find(l, NAME("content-type"), l->from, &line);
	if (typed)
		return r;
	lines_remove(l, NAME("content-type"));
	if (format)
		a->type = format->content_type;
	return r;
}
