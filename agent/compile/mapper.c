// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/mapper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/changes.h"
#include "agent/compile/parts.h"
#include "agent/compile/reply_body.h"
#include "bpf/abi/mapper.h"
#include "envoy/config/accesslog/v3/accesslog.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__LocalReplyConfig config;
typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__ResponseMapper mapper;
typedef Envoy__Config__Accesslog__V3__AccessLogFilter filter;
typedef Envoy__Config__Accesslog__V3__ComparisonFilter comparison;

#define FILTER(name) ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG_FILTER__FILTER_SPECIFIER_##name

struct tests {
	struct weft_build *b;
	unsigned int depth;
	uint32_t n;
	struct weft_img_mapper_test test[WEFT_MAPPER_TESTS_MAX];
};

static struct weft_img_mapper_test *test_put(struct tests *t, enum weft_mapper_kind kind,
					     const char *field)
{
	static struct weft_img_mapper_test none;

	if (t->n == WEFT_MAPPER_TESTS_MAX) {
		weft_build_fail(t->b, field, "more than %u filters in one mapper",
				WEFT_MAPPER_TESTS_MAX);
		return &none;
	}
	t->test[t->n] = (struct weft_img_mapper_test){.kind = kind, .n = 1};
	return &t->test[t->n++];
}

static void compare_put(struct tests *t, enum weft_mapper_kind kind, const ProtobufCMessage *msg,
			const comparison *c, const char *field)
{
	struct weft_img_mapper_test *test = test_put(t, kind, field);
	char at[WEFT_FIELD_MAX];

	weft_build_fields(t->b, msg, field);
	weft_build_fields(t->b, &c->base, weft_field(at, field, "comparison"));
	test->op = (uint32_t)c->op;
	test->value = c->value->default_value;
}

static void share_put(struct tests *t, const Envoy__Config__Accesslog__V3__RuntimeFilter *f,
		      const char *field)
{
	static const uint32_t of[] = {100, 10000, 1000000};
	const Envoy__Type__V3__FractionalPercent *p = f->percent_sampled;
	struct weft_img_mapper_test *test = test_put(t, WEFT_MAPPER_SHARE, field);

	weft_build_fields(t->b, &f->base, field);
	test->op = f->use_independent_randomness != 0;
	test->value = p ? p->numerator : 0;
	test->of = of[p ? p->denominator : 0];
}

static void flags_put(struct tests *t, const Envoy__Config__Accesslog__V3__ResponseFlagFilter *f,
		      const char *field)
{
#define NAME(name) #name,
	static const char *const names[] = {WEFT_REPLY_FLAGS(NAME)};
#undef NAME
	struct weft_img_mapper_test *test = test_put(t, WEFT_MAPPER_FLAGS, field);

	weft_build_fields(t->b, &f->base, field);
	/* others are refused by xds/, as by Envoy */
	for (size_t i = 0; i < f->n_flags; i++)
		for (uint32_t k = 0; k < WEFT_FLAG__MAX; k++)
			if (!strcmp(f->flags[i], names[k]))
				test->value |= 1u << k;
}

static void grpc_put(struct tests *t, const Envoy__Config__Accesslog__V3__GrpcStatusFilter *f,
		     const char *field)
{
	struct weft_img_mapper_test *test = test_put(t, WEFT_MAPPER_GRPC, field);

	weft_build_fields(t->b, &f->base, field);
	for (size_t i = 0; i < f->n_statuses; i++)
		test->value |= 1u << f->statuses[i];
	test->op = f->exclude != 0;
}

static void header_put(struct tests *t, const Envoy__Config__Accesslog__V3__HeaderFilter *f,
		       const char *field)
{
	Envoy__Config__Route__V3__HeaderMatcher *const list[] = {f->header};
	struct weft_img_mapper_test *test = test_put(t, WEFT_MAPPER_HEADER, field);
	char at[WEFT_FIELD_MAX];

	weft_build_fields(t->b, &f->base, field);
	test->value = weft_build_matchers(t->b, 1, list, weft_field(at, field, "header"));
}

/* Metadata that nothing sets: what is said of a missing key; the matcher's invert is not looked at
 * (Envoy 1.40). */
static void metadata_put(struct tests *t, const Envoy__Config__Accesslog__V3__MetadataFilter *f,
			 const char *field)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(t->b, &f->base, field);
	if (f->matcher)
		weft_build_unset_metadata(t->b, f->matcher, weft_field(at, field, "matcher"));
	test_put(t, WEFT_MAPPER_ALWAYS, field)->value = weft_bool(f->match_if_key_not_found, true);
}

static void type_put(struct tests *t, const Envoy__Config__Accesslog__V3__LogTypeFilter *f,
		     const char *field)
{
	struct weft_img_mapper_test *test = test_put(t, WEFT_MAPPER_TYPE, field);

	weft_build_fields(t->b, &f->base, field);
	/* the 15 that there are, xds/ has seen to */
	for (size_t i = 0; i < f->n_types; i++)
		test->value |= 1u << (f->types[i] & 31);
	test->op = f->exclude != 0;
}

static void filter_put(struct tests *t, const filter *f, const char *field);

static void list_put(struct tests *t, enum weft_mapper_kind kind, filter *const *list, size_t n,
		     const char *field)
{
	uint32_t first = t->n;
	char at[WEFT_FIELD_MAX];

	if (++t->depth > WEFT_MAPPER_DEPTH_MAX) {
		weft_build_fail(t->b, field, "nested deeper than %u", WEFT_MAPPER_DEPTH_MAX);
	} else {
		test_put(t, kind, field);
		for (size_t i = 0; i < n; i++)
			filter_put(t, list[i], weft_field(at, field, "filters[%zu]", i));
		if (first < t->n)
			t->test[first].n = t->n - first;
	}
	t->depth--;
}

static void filter_put(struct tests *t, const filter *f, const char *field)
{
	char at[WEFT_FIELD_MAX];

	/* the kinds that cannot be decided here are refused by name with it */
	weft_build_fields(t->b, &f->base, field);
	switch (f->filter_specifier_case) {
	case FILTER(STATUS_CODE_FILTER):
		compare_put(t, WEFT_MAPPER_STATUS, &f->status_code_filter->base,
			    f->status_code_filter->comparison,
			    weft_field(at, field, "status_code_filter"));
		break;
	case FILTER(DURATION_FILTER):
		compare_put(t, WEFT_MAPPER_DURATION, &f->duration_filter->base,
			    f->duration_filter->comparison,
			    weft_field(at, field, "duration_filter"));
		break;
	case FILTER(NOT_HEALTH_CHECK_FILTER):
		/* only a filter that weft does not have marks a request as one */
		test_put(t, WEFT_MAPPER_ALWAYS, field)->value = 1;
		break;
	case FILTER(TRACEABLE_FILTER):
		if (t->b->traced)
			weft_build_fail(t->b, weft_field(at, field, "traceable_filter"),
					"unsupported with tracing");
		test_put(t, WEFT_MAPPER_ALWAYS, field)->value = 0; /* nothing is traced */
		break;
	case FILTER(EXTENSION_FILTER):
		weft_build_fail(t->b, weft_field(at, field, "extension_filter"), "unsupported");
		break;
	case FILTER(RUNTIME_FILTER):
		share_put(t, f->runtime_filter, weft_field(at, field, "runtime_filter"));
		break;
	case FILTER(AND_FILTER):
		weft_build_fields(t->b, &f->and_filter->base, weft_field(at, field, "and_filter"));
		list_put(t, WEFT_MAPPER_AND, f->and_filter->filters, f->and_filter->n_filters, at);
		break;
	case FILTER(OR_FILTER):
		weft_build_fields(t->b, &f->or_filter->base, weft_field(at, field, "or_filter"));
		list_put(t, WEFT_MAPPER_OR, f->or_filter->filters, f->or_filter->n_filters, at);
		break;
	case FILTER(HEADER_FILTER):
		header_put(t, f->header_filter, weft_field(at, field, "header_filter"));
		break;
	case FILTER(RESPONSE_FLAG_FILTER):
		flags_put(t, f->response_flag_filter,
			  weft_field(at, field, "response_flag_filter"));
		break;
	case FILTER(GRPC_STATUS_FILTER):
		grpc_put(t, f->grpc_status_filter, weft_field(at, field, "grpc_status_filter"));
		break;
	case FILTER(METADATA_FILTER):
		metadata_put(t, f->metadata_filter, weft_field(at, field, "metadata_filter"));
		break;
	case FILTER(LOG_TYPE_FILTER):
		type_put(t, f->log_type_filter, weft_field(at, field, "log_type_filter"));
		break;
	default:
		break;
	}
}

uint32_t weft_build_log_filter(struct weft_build *b, const filter *f, const char *field,
			       uint32_t *ret_n)
{
	struct tests *t = calloc(1, sizeof(*t));
	uint32_t off;

	if (!t) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	t->b = b;
	filter_put(t, f, field);
	*ret_n = t->n;
	off = weft_build_put(b, t->test, t->n * sizeof(*t->test));
	free(t);
	return off;
}

static void mapper_fill(struct weft_build *b, const mapper *m, const char *field,
			struct weft_img_mapper *ret)
{
	struct weft_change_lists lists = {.n_add = m->n_headers_to_add,
					  .add = m->headers_to_add,
					  .name = "headers_to_add",
					  .response = true};
	struct weft_format_local body = {0};
	struct weft_img_change change;
	struct weft_img_body format;
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &m->base, field);
	ret->test =
		weft_build_log_filter(b, m->filter, weft_field(at, field, "filter"), &ret->n_test);
	ret->status = weft_u32(m->status_code, 0);
	ret->has_body = m->body != NULL;
	if (m->body && weft_build_source(b, m->body, weft_field(at, field, "body"), &body))
		ret->body = weft_build_bytes(b, body.text, body.len);
	if (m->body_format_override)
		ret->format =
			weft_build_body(b, m->body_format_override, NULL,
					weft_field(at, field, "body_format_override"), &format);
	change = weft_build_change(b, WEFT_LEVEL_TABLE, &lists, field);
	ret->add = change.add;
	ret->n_add = change.n_add;
}

uint32_t weft_build_mapping(struct weft_build *b, const config *c, const char *field)
{
	struct weft_img_mapping out = {0};
	struct weft_img_mapper *list;
	struct weft_img_body format;
	char at[WEFT_FIELD_MAX];

	if (!c)
		return 0;
	weft_build_fields(b, &c->base, field);
	if (c->body_format)
		out.format = weft_build_body(b, c->body_format, NULL,
					     weft_field(at, field, "body_format"), &format);
	list = calloc(c->n_mappers + 1, sizeof(*list));
	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	for (size_t i = 0; i < c->n_mappers; i++)
		mapper_fill(b, c->mappers[i], weft_field(at, field, "mappers[%zu]", i), &list[i]);
	out.n = (uint32_t)c->n_mappers;
	if (out.n)
		out.mapper = weft_build_put(b, list, out.n * sizeof(*list));
	free(list);
	return out.n || out.format ? weft_build_put(b, &out, sizeof(out)) : 0;
}
