// SPDX-License-Identifier: Apache-2.0
#include "xds/validate_rules.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/any.h"
#include "xds/descriptor.h"
#include "xds/validate_internal.h"

#define SECOND INT64_C(1000000000)

/* Where the rules of a message begin, sorted by descriptor. */
struct start {
	const ProtobufCMessageDescriptor *desc;
	const struct weft_rule *rules;
};

static struct {
	struct start *v;
	size_t n;
} starts;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_descriptor(const void *a, const void *b)
{
	const struct start *x = a, *y = b;

	return (x->desc > y->desc) - (x->desc < y->desc);
}

static void build_index(void)
{
	static const struct weft_rule *const tables[] = {weft_rules_core, weft_rules_cluster,
							 weft_rules_route, weft_rules_listener};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct weft_rule *r = tables[i]; r->kind; r++)
			n += r->kind == WEFT_RULE_MESSAGE;
	starts.v = calloc(n, sizeof(*starts.v));
	for (size_t i = 0; starts.v && i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct weft_rule *r = tables[i]; r->kind; r++)
			if (r->kind == WEFT_RULE_MESSAGE)
				starts.v[starts.n++] =
					(struct start){weft_any_descriptor(r->field), r + 1};
	if (starts.v)
		qsort(starts.v, starts.n, sizeof(*starts.v), by_descriptor);
}

static bool in_list(const char *text, const char *list)
{
	size_t n = strlen(text);

	for (const char *p = list;; p = strchr(p, '|') + 1) {
		if (!strncmp(p, text, n) && (p[n] == '|' || !p[n]))
			return true;
		if (!strchr(p, '|'))
			return false;
	}
}

static bool is_token(const char *text)
{
	static const char others[] = "!#$%&'*+-.^_|~`";

	text += *text == ':';
	if (!*text)
		return false;
	for (; *text; text++)
		if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
		      (*text >= 'A' && *text <= 'Z') || strchr(others, *text)))
			return false;
	return true;
}

static bool is_header_value(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

/* Characters of UTF-8. */
static size_t length_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static const char *string_fault(const struct weft_rule *r, const char *text)
{
	size_t n = strlen(text);

	switch (r->kind) {
	case WEFT_RULE_STRING:
		if (n < (uint64_t)r->lo)
			return r->lo == 1 ? "must not be empty" : "is too short";
		return n > (uint64_t)r->hi ? "is too long" : NULL;
	case WEFT_RULE_HEADER_TEXT:
		return strpbrk(text, "\r\n") ? "must not have line ends" : NULL;
	case WEFT_RULE_HEADER_NAME:
		return n && !is_token(text) ? "must be a header name" : NULL;
	case WEFT_RULE_HEADER_VALUE:
		return is_header_value(text) ? NULL : "must not have control characters";
	case WEFT_RULE_ONE_OF:
		return in_list(text, r->text) ? NULL : "is none of the values allowed";
	case WEFT_RULE_PATH_SEGMENTS:
		return length_of(text) < 2 || strpbrk(text, "?#") || text[n - 1] == '/'
			       ? "must match ^[^?#]+[^?#/]$" : NULL;
	case WEFT_RULE_FORMAT:
		return n && (text[0] != '%' || text[n - 1] != '%')
			       ? "must begin and end with %" : NULL;
	default:
		return NULL;
	}
}

/* A number of any kind, or of a wrapper of it; false when there is none. */
static bool number_of(const ProtobufCFieldDescriptor *f, const void *at, double *ret_real,
		      int64_t *ret_whole)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		const ProtobufCMessage *msg = *(ProtobufCMessage *const *)at;
		const ProtobufCFieldDescriptor *inner;

		if (!msg || !msg->descriptor->n_fields)
			return false;
		inner = &msg->descriptor->fields[0];
		return number_of(inner, weft_field_at(msg, inner), ret_real, ret_whole);
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_DOUBLE:
		*ret_real = *(const double *)at;
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		*ret_real = (double)*(const float *)at;
		break;
	case PROTOBUF_C_TYPE_UINT64:
		/* No limit is beyond what int64 has. */
		*ret_whole = *(const uint64_t *)at > INT64_MAX ? INT64_MAX
							       : (int64_t)*(const uint64_t *)at;
		break;
	case PROTOBUF_C_TYPE_INT64:
		*ret_whole = *(const int64_t *)at;
		break;
	case PROTOBUF_C_TYPE_UINT32:
		*ret_whole = *(const uint32_t *)at;
		break;
	default:
		*ret_whole = *(const int32_t *)at;
	}
	return true;
}

static void check_range(struct validator *v, const struct weft_rule *r,
			const ProtobufCFieldDescriptor *f, const void *at)
{
	double real = 0;
	int64_t whole = 0;

	if (!number_of(f, at, &real, &whole))
		return;
	if (r->kind == WEFT_RULE_POSITIVE && !(real > 0))
		validate_refuse(v, r->field, "must be above 0");
	else if (r->kind == WEFT_RULE_REAL && r->hi == WEFT_RULE_MAX && !(real >= (double)r->lo))
		validate_refuse(v, r->field, "must be at least %" PRId64, r->lo);
	else if (r->kind == WEFT_RULE_REAL && r->hi != WEFT_RULE_MAX &&
		 !(real >= (double)r->lo && real <= (double)r->hi))
		validate_refuse(v, r->field, "must be within %" PRId64 " and %" PRId64, r->lo, r->hi);
	else if (r->kind == WEFT_RULE_RANGE && r->hi == WEFT_RULE_MAX && whole < r->lo)
		validate_refuse(v, r->field, "must be at least %" PRId64, r->lo);
	else if (r->kind == WEFT_RULE_RANGE && (whole < r->lo || whole > r->hi))
		validate_refuse(v, r->field, "must be within %" PRId64 " and %" PRId64, r->lo, r->hi);
}

static void check_duration(struct validator *v, const struct weft_rule *r, const void *at)
{
	const Google__Protobuf__Duration *d = *(Google__Protobuf__Duration *const *)at;
	int64_t ns;

	if (!d)
		return;
	/* Sums that do not fit are beyond every limit, on their side. */
	if (__builtin_mul_overflow(d->seconds, SECOND, &ns) ||
	    __builtin_add_overflow(ns, d->nanos, &ns))
		ns = d->seconds < 0 ? INT64_MIN : INT64_MAX;
	if (ns < r->lo && r->lo <= 1)
		validate_refuse(v, r->field, r->lo ? "must be above 0s" : "must not be negative");
	else if (ns < r->lo)
		validate_refuse(v, r->field, "must be at least %gs", (double)r->lo / (double)SECOND);
	else if (ns > r->hi)
		validate_refuse(v, r->field, "must be at most %gs", (double)r->hi / (double)SECOND);
}

static void check_enum(struct validator *v, const struct weft_rule *r,
		       const ProtobufCFieldDescriptor *f, int value)
{
	if (!protobuf_c_enum_descriptor_get_value(f->descriptor, value))
		validate_refuse(v, r->field, "%d is no value of the enum", value);
	else if (r->kind == WEFT_RULE_ENUM_NOT && value == r->lo)
		validate_refuse(v, r->field, "must not be %s",
				protobuf_c_enum_descriptor_get_value(f->descriptor, value)->name);
}

static void check_value(struct validator *v, const struct weft_rule *r,
			const ProtobufCFieldDescriptor *f, const void *at)
{
	const char *fault;

	switch (r->kind) {
	case WEFT_RULE_REQUIRED:
		if (!*(void *const *)at)
			validate_refuse(v, r->field, "is required");
		break;
	case WEFT_RULE_BYTES:
		if (((const ProtobufCBinaryData *)at)->len < (uint64_t)r->lo)
			validate_refuse(v, r->field, "must not be empty");
		else if (((const ProtobufCBinaryData *)at)->len > (uint64_t)r->hi)
			validate_refuse(v, r->field, "is too long");
		break;
	case WEFT_RULE_RANGE:
	case WEFT_RULE_REAL:
	case WEFT_RULE_POSITIVE:
		check_range(v, r, f, at);
		break;
	case WEFT_RULE_DURATION:
		check_duration(v, r, at);
		break;
	case WEFT_RULE_ENUM:
	case WEFT_RULE_ENUM_NOT:
		check_enum(v, r, f, *(const int *)at);
		break;
	case WEFT_RULE_TRUE:
		if (!*(const protobuf_c_boolean *)at)
			validate_refuse(v, r->field, "must be true");
		break;
	default:
		fault = string_fault(r, *(char *const *)at);
		if (fault)
			validate_refuse(v, r->field, "%s", fault);
	}
}

static void check_whole_list(struct validator *v, const struct weft_rule *r,
			     const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	size_t n = weft_field_count(msg, f);
	char *const *texts;

	if (r->kind == WEFT_RULE_COUNT) {
		if (n < (uint64_t)r->lo)
			validate_refuse(v, r->field, "needs at least %" PRId64, r->lo);
		else if (n > (uint64_t)r->hi)
			validate_refuse(v, r->field, "has more than %" PRId64, r->hi);
		return;
	}
	if (r->kind == WEFT_RULE_KEYS) {
		for (size_t i = 0; i < n; i++) {
			const ProtobufCMessage *e = weft_field_msg(msg, f, i);

			if (!**(char *const *)weft_field_at(e, &e->descriptor->fields[0]))
				validate_refuse(v, r->field, "has an empty key");
		}
		return;
	}
	texts = *(char *const **)weft_field_at(msg, f);
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			if (!strcmp(texts[i], texts[j])) {
				validate_refuse(v, r->field, "has \"%s\" twice", texts[i]);
				return;
			}
}

static void check_rule(struct validator *v, const struct weft_rule *r, const ProtobufCMessage *msg)
{
	const char *name = r->kind == WEFT_RULE_ONEOF ? r->text : r->field;
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);
	const char *at;

	assert(f); /* the tables name fields that are there: test_xds_validate.c */
	if (r->kind == WEFT_RULE_ONEOF) {
		if (!*weft_field_case(msg, f))
			validate_refuse(v, r->field, "is required");
		return;
	}
	if (weft_field_in_oneof(f) && *weft_field_case(msg, f) != (int)f->id)
		return;
	if (r->kind == WEFT_RULE_COUNT || r->kind == WEFT_RULE_UNIQUE || r->kind == WEFT_RULE_KEYS) {
		check_whole_list(v, r, msg, f);
		return;
	}
	at = weft_field_at(msg, f);
	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		check_value(v, r, f, at);
		return;
	}
	at = *(char *const *)at;
	for (size_t i = 0; i < weft_field_count(msg, f); i++)
		check_value(v, r, f, at + i * weft_field_size(f));
}

void validate_rules(struct validator *v, const ProtobufCMessage *msg)
{
	struct start key = {.desc = msg->descriptor};
	const struct start *found;

	pthread_once(&once, build_index);
	if (!starts.v) {
		v->out_of_memory = true;
		return;
	}
	found = bsearch(&key, starts.v, starts.n, sizeof(*starts.v), by_descriptor);
	if (!found)
		return;
	for (const struct weft_rule *r = found->rules; r->kind > WEFT_RULE_MESSAGE; r++)
		check_rule(v, r, msg);
}
