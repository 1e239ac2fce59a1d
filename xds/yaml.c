// SPDX-License-Identifier: Apache-2.0
#include "xds/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "xds/cleanup.h"

#define TAG_STR "tag:yaml.org,2002:str"

struct loader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one; always initialised */
	const char *file;
	struct weft_diag *diag;
	struct weft_lines *lines;
	json_t *anchors; /* name -> [node, number of nodes] */
	size_t aliased;
	unsigned int depth;
};

static int refuse_at(struct loader *l, size_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse_at(struct loader *l, size_t line, const char *fmt, ...)
{
	_xds_free_ char *reason = NULL, *place = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&reason, fmt, args) < 0)
		reason = NULL;
	va_end(args);
	if (asprintf(&place, "%s:%zu", l->file, line + 1) < 0)
		place = NULL;
	return weft_diag_add(l->diag, -EINVAL, place ? place : l->file, NULL, "%s",
			     reason ? reason : "refused");
}

#define refuse(l, ...) refuse_at(l, (l)->event.start_mark.line, __VA_ARGS__)

static int next_event(struct loader *l)
{
	yaml_event_delete(&l->event);
	memset(&l->event, 0, sizeof(l->event));
	if (yaml_parser_parse(&l->parser, &l->event))
		return 0;
	memset(&l->event, 0, sizeof(l->event));
	if (l->parser.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	return refuse_at(l, l->parser.problem_mark.line, "%s",
			 l->parser.problem ? l->parser.problem : "malformed");
}

static bool one_of(const char *text, const char *a, const char *b, const char *c)
{
	return !strcmp(text, a) || !strcmp(text, b) || !strcmp(text, c);
}

static int whole_number(struct loader *l, const char *digits, int base, bool negative,
			json_t **ret)
{
	uint64_t v;

	errno = 0;
	v = strtoull(digits, NULL, base);
	if (errno || v > (uint64_t)INT64_MAX + negative)
		return refuse(l, "%s is too large for a number here: quote it", digits);
	*ret = json_integer((json_int_t)(negative ? -v : v));
	return 0;
}

/* [-+]? ( \.[0-9]+ | [0-9]+ ( \.[0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_real(const char *p)
{
	size_t whole, part = 0;

	p += *p == '-' || *p == '+';
	whole = strspn(p, "0123456789");
	p += whole;
	if (*p == '.') {
		part = strspn(++p, "0123456789");
		p += part;
	}
	if (!whole && !part)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		if (!isdigit((unsigned char)*p))
			return false;
		p += strspn(p, "0123456789");
	}
	return !*p;
}

static int plain_number(struct loader *l, const char *text, bool *ret_is, json_t **ret)
{
	bool sign = *text == '-' || *text == '+';
	const char *digits = text + sign;
	double real;

	*ret_is = true;
	if (*digits && digits[strspn(digits, "0123456789")] == '\0')
		return whole_number(l, digits, 10, *text == '-', ret);
	if (!strncmp(text, "0o", 2) && text[2] && !text[2 + strspn(text + 2, "01234567")])
		return whole_number(l, text + 2, 8, false, ret);
	if (!strncmp(text, "0x", 2) && isxdigit((unsigned char)text[2]) &&
	    !text[2 + strspn(text + 2, "0123456789abcdefABCDEF")])
		return whole_number(l, text + 2, 16, false, ret);
	if (one_of(digits, ".inf", ".Inf", ".INF") || (!sign && one_of(text, ".nan", ".NaN", ".NAN")))
		return refuse(l, "%s is no number that JSON has: quote it", text);
	*ret_is = looks_real(text);
	if (!*ret_is)
		return 0;
	real = strtod(text, NULL);
	if (!isfinite(real))
		return refuse(l, "%s is too large for a number", text);
	*ret = json_real(real);
	return 0;
}

static int plain_scalar(struct loader *l, const char *text, size_t len, json_t **ret)
{
	bool number;
	int r;

	if (strlen(text) != len)
		return refuse(l, "NUL byte");
	if (!len || !strcmp(text, "~") || one_of(text, "null", "Null", "NULL")) {
		*ret = json_null();
	} else if (one_of(text, "true", "True", "TRUE")) {
		*ret = json_true();
	} else if (one_of(text, "false", "False", "FALSE")) {
		*ret = json_false();
	} else {
		r = plain_number(l, text, &number, ret);
		if (r)
			return r;
		if (!number)
			*ret = json_stringn_nocheck(text, len);
	}
	return *ret ? 0 : -ENOMEM;
}

static int check_tag(struct loader *l, const yaml_char_t *tag, bool scalar)
{
	if (!tag || (scalar && !strcmp((const char *)tag, TAG_STR)))
		return 0;
	return refuse(l, "tag %s is not supported", (const char *)tag);
}

static int load_scalar(struct loader *l, json_t **ret)
{
	const char *text = (const char *)l->event.data.scalar.value;
	size_t len = l->event.data.scalar.length;
	int r = check_tag(l, l->event.data.scalar.tag, true);

	if (r)
		return r;
	if (l->event.data.scalar.plain_implicit)
		return plain_scalar(l, text, len, ret);
	*ret = json_stringn_nocheck(text, len);
	return *ret ? 0 : -ENOMEM;
}

static int load_node(struct loader *l, json_t **ret, size_t *ret_nodes);

static int load_list(struct loader *l, json_t **ret, size_t *nodes)
{
	_xds_json_ json_t *array = json_array();
	int r;

	if (!array)
		return -ENOMEM;
	for (size_t i = 0;; i++) {
		json_t *v;
		size_t n, line;

		r = next_event(l);
		if (r)
			return r;
		if (l->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		line = l->event.start_mark.line;
		r = load_node(l, &v, &n);
		if (r)
			return r;
		*nodes += n;
		if (json_array_append_new(array, v) ||
		    weft_lines_put_element(l->lines, array, i, (unsigned int)line + 1))
			return -ENOMEM;
	}
	*ret = WEFT_XDS_TAKE(array);
	return 0;
}

static int load_key(struct loader *l, const json_t *object, char **ret)
{
	const char *text = (const char *)l->event.data.scalar.value;

	if (l->event.type != YAML_SCALAR_EVENT)
		return refuse(l, "a key must be a plain or quoted scalar");
	if (strlen(text) != l->event.data.scalar.length)
		return refuse(l, "NUL byte in a key");
	if (l->event.data.scalar.plain_implicit && !strcmp(text, "<<"))
		return refuse(l, "merge keys (<<) are not supported");
	if (l->event.data.scalar.anchor)
		return refuse(l, "anchors on keys are not supported");
	if (json_object_get(object, text))
		return refuse(l, "key \"%s\" is there twice", text);
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int load_member(struct loader *l, json_t *object, size_t *nodes)
{
	_xds_free_ char *key = NULL;
	size_t n, line = l->event.start_mark.line;
	json_t *v;
	int r;

	r = load_key(l, object, &key);
	if (!r)
		r = next_event(l);
	if (!r)
		r = load_node(l, &v, &n);
	if (r)
		return r;
	*nodes += n;
	if (json_object_set_new_nocheck(object, key, v) ||
	    weft_lines_put_member(l->lines, object, key, (unsigned int)line + 1))
		return -ENOMEM;
	return 0;
}

static int load_mapping(struct loader *l, json_t **ret, size_t *nodes)
{
	_xds_json_ json_t *object = json_object();
	int r;

	if (!object)
		return -ENOMEM;
	for (;;) {
		r = next_event(l);
		if (r)
			return r;
		if (l->event.type == YAML_MAPPING_END_EVENT)
			break;
		r = load_member(l, object, nodes);
		if (r)
			return r;
	}
	*ret = WEFT_XDS_TAKE(object);
	return 0;
}

static int load_alias(struct loader *l, json_t **ret, size_t *ret_nodes)
{
	const char *name = (const char *)l->event.data.alias.anchor;
	const json_t *pair = json_object_get(l->anchors, name);

	if (!pair)
		return refuse(l, "alias *%s without a complete anchor before it", name);
	*ret_nodes = (size_t)json_integer_value(json_array_get(pair, 1));
	if (*ret_nodes > WEFT_YAML_ALIAS_NODES_MAX - l->aliased)
		return refuse(l, "aliases repeat more than %d nodes", WEFT_YAML_ALIAS_NODES_MAX);
	l->aliased += *ret_nodes;
	*ret = json_incref(json_array_get(pair, 0));
	return 0;
}

/* An anchor is known once its node is whole, so no node can contain itself. */
static int remember(struct loader *l, const char *anchor, json_t *node, size_t nodes)
{
	json_t *pair;

	if (!anchor)
		return 0;
	pair = json_array();
	if (!pair || json_array_append(pair, node) ||
	    json_array_append_new(pair, json_integer((json_int_t)nodes))) {
		json_decref(pair);
		return -ENOMEM;
	}
	return json_object_set_new_nocheck(l->anchors, anchor, pair) ? -ENOMEM : 0;
}

static int load_collection(struct loader *l, bool mapping, json_t **ret, size_t *nodes)
{
	int r = check_tag(l, mapping ? l->event.data.mapping_start.tag : l->event.data.sequence_start.tag,
			  false);

	if (r)
		return r;
	if (l->depth == WEFT_YAML_DEPTH_MAX)
		return refuse(l, "nested too deep");
	l->depth++;
	r = mapping ? load_mapping(l, ret, nodes) : load_list(l, ret, nodes);
	l->depth--;
	return r;
}

static const char *anchor_of(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return (const char *)e->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return (const char *)e->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return (const char *)e->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static int load_node(struct loader *l, json_t **ret, size_t *ret_nodes)
{
	const char *name = anchor_of(&l->event);
	_xds_free_ char *anchor = name ? strdup(name) : NULL;
	_xds_json_ json_t *node = NULL;
	size_t nodes = 1;
	int r;

	if (name && !anchor)
		return -ENOMEM;
	switch (l->event.type) {
	case YAML_ALIAS_EVENT:
		return load_alias(l, ret, ret_nodes);
	case YAML_SCALAR_EVENT:
		r = load_scalar(l, &node);
		break;
	case YAML_SEQUENCE_START_EVENT:
		r = load_collection(l, false, &node, &nodes);
		break;
	case YAML_MAPPING_START_EVENT:
		r = load_collection(l, true, &node, &nodes);
		break;
	default:
		return refuse(l, "unexpected");
	}
	if (!r)
		r = remember(l, anchor, node, nodes);
	if (r)
		return r;
	*ret = WEFT_XDS_TAKE(node);
	*ret_nodes = nodes;
	return 0;
}

/* The event is DOCUMENT-START; leaves at DOCUMENT-END. Anchors end with their document. */
static int load_document(struct loader *l, json_t *docs)
{
	json_t *doc;
	size_t nodes;
	int r;

	json_object_clear(l->anchors);
	r = next_event(l);
	if (!r)
		r = load_node(l, &doc, &nodes);
	if (r)
		return r;
	if (json_array_append_new(docs, doc))
		return -ENOMEM;
	return next_event(l);
}

static int load_stream(struct loader *l, json_t *docs)
{
	int r = next_event(l);

	while (!r && l->event.type != YAML_STREAM_END_EVENT) {
		if (l->event.type == YAML_DOCUMENT_START_EVENT)
			r = load_document(l, docs);
		if (!r)
			r = next_event(l);
	}
	return r;
}

int weft_yaml_parse(const char *text, size_t len, const char *file, struct weft_diag *diag,
		    json_t **ret, struct weft_lines **ret_lines)
{
	struct loader l = {.file = file, .diag = diag};
	_xds_json_ json_t *docs = json_array();
	int r;

	if (!docs || !yaml_parser_initialize(&l.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
	l.anchors = json_object();
	r = l.anchors ? weft_lines_new(&l.lines) : -ENOMEM;
	if (!r)
		r = load_stream(&l, docs);
	yaml_event_delete(&l.event);
	yaml_parser_delete(&l.parser);
	json_decref(l.anchors);
	if (r) {
		weft_lines_free(l.lines);
		return r;
	}
	*ret = WEFT_XDS_TAKE(docs);
	*ret_lines = l.lines;
	return 0;
}
