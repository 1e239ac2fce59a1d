// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/reply_body.h"
#include "agent/compile/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Google__Protobuf__Value json_value;
typedef Google__Protobuf__Struct json_struct;

/* ---- texts ---- */

/* Bytes of the UTF-8 character at p, 0: none (RFC 3629). */
static size_t character(const unsigned char *p, size_t n)
{
	size_t len = *p < 0x80	 ? 1
		     : *p < 0xc2 ? 0
		     : *p < 0xe0 ? 2
		     : *p < 0xf0 ? 3
		     : *p < 0xf5 ? 4
				 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

static bool is_utf8(const unsigned char *p, size_t n)
{
	while (n) {
		size_t len = character(p, n);

		if (!len)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

static void escape_write(FILE *f, unsigned char c, bool utf8)
{
	static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
	const char *p = c && utf8 ? strchr(from, c) : NULL;

	if (p)
		fprintf(f, "\\%c", to[p - from]);
	else if (c < 0x20 || (!utf8 && (c == '"' || c == '\\' || c >= 0x7f)))
		fprintf(f, "\\u%04x", c);
	else
		fputc(c, f);
}

char *weft_json_escape(const void *text, size_t len, size_t *ret_len)
{
	const unsigned char *p = text;
	bool utf8 = is_utf8(p, len);
	char *out = NULL;
	FILE *f = open_memstream(&out, ret_len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < len; i++)
		escape_write(f, p[i], utf8);
	return weft_text_end(f, &out) ? out : NULL;
}

void weft_json_number(double d, char out[WEFT_NUMBER_TEXT])
{
	char plain[WEFT_NUMBER_TEXT];
	int digits = 0, exponent;

	do
		snprintf(out, WEFT_NUMBER_TEXT, "%.*e", digits, d);
	while (strtod(out, NULL) != d && digits++ < 17);
	exponent = atoi(strchr(out, 'e') ? strchr(out, 'e') + 1 : "0");
	snprintf(plain, sizeof(plain), "%.*f", digits > exponent ? digits - exponent : 0, d);
	if (strlen(plain) <= strlen(out))
		memcpy(out, plain, strlen(plain) + 1);
}

bool weft_build_source(struct weft_build *b, const Envoy__Config__Core__V3__DataSource *d,
		       const char *field, struct weft_format_local *ret)
{
	*ret = (struct weft_format_local){.text = ""};
	if (!d)
		return true;
	weft_build_fields(b, &d->base, field);
	switch (d->specifier_case) {
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
		ret->text = d->inline_string;
		ret->len = strlen(d->inline_string);
		return true;
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
		if (d->inline_bytes.len)
			ret->text = d->inline_bytes.data;
		ret->len = d->inline_bytes.len;
		return true;
	default:
		weft_build_fail(b, field, "unsupported: only inline_string and inline_bytes");
		return false;
	}
}

/* ---- JSON ---- */

struct tree {
	struct weft_build *b;
	const struct weft_format_local *local;
	const char *field;
	bool omit;
	unsigned int depth;
	uint32_t n;
	struct weft_img_json node[WEFT_BODY_NODES_MAX];
};

static struct weft_img_json *node_add(struct tree *t, enum weft_json_kind kind)
{
	static struct weft_img_json none;

	if (t->n == WEFT_BODY_NODES_MAX) {
		weft_build_fail(t->b, t->field, "more than %u parts", WEFT_BODY_NODES_MAX);
		return &none;
	}
	t->node[t->n].kind = kind;
	return &t->node[t->n++];
}

/* A string as it is written, with its quotes and this behind it. */
static struct weft_img_str quoted(struct tree *t, const void *text, size_t len, const char *behind)
{
	struct weft_img_str out = {0};
	char *whole = NULL;
	size_t n;
	char *inner = weft_json_escape(text, len, &n);

	if (!inner || asprintf(&whole, "\"%s\"%s", inner, behind) < 0) {
		t->b->err = t->b->err ? t->b->err : -ENOMEM;
		whole = NULL;
	} else {
		out = weft_build_str(t->b, whole);
	}
	free(whole);
	free(inner);
	return out;
}

static void string_add(struct tree *t, const char *text)
{
	struct weft_img_header h = {0};
	enum weft_format_whole whole =
		weft_build_format_body(t->b, text, !t->omit, t->local, t->field, &h);
	struct weft_img_json *node;

	if (t->b->err)
		return;
	if (whole == WEFT_FORMAT_NOTHING) {
		node_add(t, WEFT_JSON_NULL);
	} else if (!h.n_piece) {
		node = node_add(t, WEFT_JSON_TEXT);
		node->text = quoted(t, h.value.len ? weft_store_at(t->b->store, h.value.off) : "",
				    h.value.len, "");
	} else {
		node = node_add(t, whole == WEFT_FORMAT_ALONE ? WEFT_JSON_VALUE : WEFT_JSON_STRING);
		node->format = weft_build_put(t->b, &h, sizeof(h));
	}
}

static void value_add(struct tree *t, const json_value *v);

static int field_order(const void *a, const void *b)
{
	const Google__Protobuf__Struct__FieldsEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static void object_add(struct tree *t, const json_struct *s)
{
	Google__Protobuf__Struct__FieldsEntry **sorted = calloc(s->n_fields + 1, sizeof(void *));

	node_add(t, WEFT_JSON_OBJECT);
	if (!sorted) {
		t->b->err = t->b->err ? t->b->err : -ENOMEM;
		return;
	}
	if (s->n_fields)
		memcpy(sorted, s->fields, s->n_fields * sizeof(*sorted));
	qsort(sorted, s->n_fields, sizeof(*sorted), field_order);
	for (size_t i = 0; i < s->n_fields; i++) {
		struct weft_img_json *key = node_add(t, WEFT_JSON_KEY);

		key->text = quoted(t, sorted[i]->key, strlen(sorted[i]->key), ":");
		value_add(t, sorted[i]->value);
	}
	free(sorted);
	node_add(t, WEFT_JSON_END);
}

static void value_add(struct tree *t, const json_value *v)
{
	char number[WEFT_NUMBER_TEXT];

	if (++t->depth > WEFT_BODY_DEPTH_MAX) {
		weft_build_fail(t->b, t->field, "nested deeper than %u", WEFT_BODY_DEPTH_MAX);
		t->depth--;
		return;
	}
	switch (v ? v->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		weft_json_number(v->number_value, number);
		node_add(t, WEFT_JSON_TEXT)->text = weft_build_str(t->b, number);
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		string_add(t, v->string_value);
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
		node_add(t, WEFT_JSON_TEXT)->text =
			weft_build_str(t->b, v->bool_value ? "true" : "false");
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
		object_add(t, v->struct_value);
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
		node_add(t, WEFT_JSON_LIST);
		for (size_t i = 0; i < v->list_value->n_values; i++)
			value_add(t, v->list_value->values[i]);
		node_add(t, WEFT_JSON_END);
		break;
	default:
		node_add(t, WEFT_JSON_NULL);
	}
	t->depth--;
}

static void json_fill(struct weft_build *b, const json_struct *s, bool omit,
		      const struct weft_format_local *local, const char *field,
		      struct weft_img_body *ret)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (!t) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	*t = (struct tree){.b = b, .local = local, .field = field, .omit = omit};
	object_add(t, s);
	ret->n = t->n;
	ret->node = weft_build_put(b, t->node, t->n * sizeof(*t->node));
	free(t);
}

uint32_t weft_build_body(struct weft_build *b,
			 const Envoy__Config__Core__V3__SubstitutionFormatString *f,
			 const struct weft_format_local *local, const char *field,
			 struct weft_img_body *ret)
{
	bool json = f->format_case ==
		    ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
	struct weft_format_local text = {.text = ""};
	struct weft_img_header h = {0};
	char at[WEFT_FIELD_MAX];
	char *copy;

	*ret = (struct weft_img_body){.flags = f->omit_empty_values ? WEFT_BODY_OMIT : 0};
	weft_build_fields(b, &f->base, field);
	if (*f->content_type || json)
		ret->content_type =
			weft_build_str(b, *f->content_type ? f->content_type : "application/json");
	if (json) {
		json_fill(b, f->json_format, f->omit_empty_values, local,
			  weft_field(at, field, "json_format"), ret);
		return weft_build_put(b, ret, sizeof(*ret));
	}
	weft_field(at, field, "text_format");
	if (f->format_case ==
	    ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT)
		text = (struct weft_format_local){.text = f->text_format,
						  .len = strlen(f->text_format)};
	else
		weft_build_source(b, f->text_format_source,
				  weft_field(at, field, "text_format_source"), &text);
	/* bytes of a source need not end */
	copy = strndup(text.text, text.len);
	if (copy)
		weft_build_format_body(b, copy, !f->omit_empty_values, local, at, &h);
	else
		b->err = b->err ? b->err : -ENOMEM;
	free(copy);
	ret->format = weft_build_put(b, &h, sizeof(h));
	return weft_build_put(b, ret, sizeof(*ret));
}
