// SPDX-License-Identifier: Apache-2.0
/* Bodies of replies made here, by their formats (agent/compile/reply_body.c). */
#include "agent/compile/reply_body.h"
#include "agent/proxy/mutate.h"

/* An object or a list that is being written. */
struct level {
	size_t start; /* of what it adds to the body, its comma and key included */
	uint32_t n;   /* parts so far */
	bool list;
};

struct writer {
	struct worker *w;
	const struct format *f;
	struct buf *out;
	bool omit;
	uint32_t depth;
	struct level level[WEFT_BODY_DEPTH_MAX + 1];
	const struct weft_img_json *key; /* whose value comes now */
};

static int add(struct writer *j, struct weft_img_str s)
{
	return s.len ? buf_add(j->w, j->out, weft_img_at(s.off), s.len) : 0;
}

/* What stands in front of a value: a comma, its key. */
static int value_begin(struct writer *j)
{
	struct level *l = &j->level[j->depth];
	int r = l->n++ ? buf_add(j->w, j->out, ",", 1) : 0;

	if (!r && j->key)
		r = add(j, j->key->text);
	j->key = NULL;
	return r;
}

/* As if it had not been there. */
static void value_drop(struct writer *j, size_t start)
{
	j->out->end -= buf_len(j->out) - start;
	j->level[j->depth].n--;
}

static int open_write(struct writer *j, bool list)
{
	size_t start = buf_len(j->out);
	int r = j->depth || j->level[0].n ? value_begin(j) : 0;

	if (!j->depth)
		j->level[0].n = 1; /* the whole */
	j->level[++j->depth] = (struct level){.start = start, .list = list};
	return r ? r : buf_add(j->w, j->out, list ? "[" : "{", 1);
}

static int close_write(struct writer *j)
{
	struct level *l = &j->level[j->depth--];

	if (j->omit && !l->n && !l->list && j->depth) {
		value_drop(j, l->start);
		return 0;
	}
	return buf_add(j->w, j->out, l->list ? "]" : "}", 1);
}

static int value_write(struct writer *j, const struct weft_img_json *node)
{
	const struct weft_img_header *h = node->format ? weft_img_at(node->format) : NULL;
	size_t start = buf_len(j->out);
	bool null = false;
	int r = value_begin(j);

	if (r)
		return r;
	if (node->kind == WEFT_JSON_TEXT)
		return add(j, node->text);
	if (h)
		r = format_json(j->w, j->f, h, node->kind == WEFT_JSON_STRING, j->out, &null);
	if (r || (h && !null))
		return r;
	if (!j->omit)
		return buf_add(j->w, j->out, "null", 4);
	value_drop(j, start);
	return 0;
}

static int json_write(struct writer *j, const struct weft_img_json *node, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < n; i++) {
		switch (node[i].kind) {
		case WEFT_JSON_KEY:
			j->key = &node[i];
			break;
		case WEFT_JSON_OBJECT:
		case WEFT_JSON_LIST:
			r = open_write(j, node[i].kind == WEFT_JSON_LIST);
			break;
		case WEFT_JSON_END:
			r = close_write(j);
			break;
		default:
			r = value_write(j, &node[i]);
		}
	}
	return r ? r : buf_add(j->w, j->out, "\n", 1);
}

int reply_body_write(struct worker *w, const struct format *f, const struct weft_img_body *b,
		     struct buf *out)
{
	struct writer j = {.w = w, .f = f, .out = out, .omit = b->flags & WEFT_BODY_OMIT};

	if (b->format)
		return format_value(w, f, weft_img_at(b->format), out);
	return json_write(&j, weft_img_at(b->node), b->n);
}
