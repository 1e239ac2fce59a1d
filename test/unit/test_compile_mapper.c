// SPDX-License-Identifier: Apache-2.0
/* local_reply_config: what is compiled of it, and what is refused, with its name. */
#include "agent/compile/mapper.h"
#include "bpf/abi/mapper.h"
#include "test/unit/compile_fixture.h"

#define CONF(local) LISTENER("l", AT_80, HCM("local_reply_config: {" local "},", "", RDS))
#define MAPPER(filter, more) CONF("mappers: [{filter: {" filter "}, " more "}]")
#define F "filter_chains[0].filters[0].typed_config.local_reply_config."
#define STATUS(op, value)                                                                          \
	"status_code_filter: {comparison: {op: " op ", value: {default_value: " value              \
	", runtime_key: k}}}"

static const struct weft_img_mapper *mapper(struct conf *c, const char *yaml)
{
	const struct weft_img_hcm *h = conf_hcm(c, yaml);
	const struct weft_img_mapping *m = weft_img_at(h->mapping);

	/* no reply is the kernel's */
	assert_true(h->flags & WEFT_HCM_PREPARED);
	assert_int_not_equal(h->mapping, 0);
	assert_int_equal(m->n, 1);
	return weft_img_at(m->mapper);
}

static void test_nothing(void **state)
{
	static const char *const idle[] = {CONF(""), CONF("mappers: []")};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct weft_img_hcm *h;
		struct conf c;

		conf_open(&c);
		h = conf_hcm(&c, idle[i]);
		assert_int_equal(h->mapping, 0);
		assert_false(h->flags & WEFT_HCM_PREPARED);
		conf_close(&c);
	}
}

static void test_nested(void **state)
{
	const struct weft_img_mapper_test *t;
	const struct weft_img_mapper *m;
	struct conf c;

	(void)state;
	conf_open(&c);
	m = mapper(&c,
		   MAPPER("and_filter: {filters: [{" STATUS(
				  "GE", "500") "}, {or_filter: {filters: [{"
					       "response_flag_filter: {flags: [LH, UF]}}, "
					       "{not_health_check_filter: {}}]}}, "
					       "{grpc_status_filter: {statuses: [UNKNOWN], "
					       "exclude: true}}]}",
			  "status_code: 299, body: {inline_string: x}, headers_to_add: [{header: "
			  "{key: A, value: b}}]"));
	assert_int_equal(m->n_test, 6);
	t = weft_img_at(m->test);
	assert_int_equal(t[0].kind, WEFT_MAPPER_AND);
	assert_int_equal(t[0].n, 6);
	assert_int_equal(t[1].kind, WEFT_MAPPER_STATUS);
	assert_int_equal(t[1].op, WEFT_OP_GE);
	assert_int_equal(t[1].value, 500);
	assert_int_equal(t[2].kind, WEFT_MAPPER_OR);
	assert_int_equal(t[2].n, 3);
	assert_int_equal(t[3].value, WEFT_FLAG_BIT(LH) | WEFT_FLAG_BIT(UF));
	assert_int_equal(t[4].kind, WEFT_MAPPER_ALWAYS);
	assert_int_equal(t[4].value, 1);
	assert_int_equal(t[5].kind, WEFT_MAPPER_GRPC);
	assert_int_equal(t[5].value, 1u << 2);
	assert_int_equal(t[5].op, 1);
	assert_int_equal(m->status, 299);
	assert_true(m->has_body);
	assert_int_equal(m->body.len, 1);
	assert_int_equal(m->n_add, 1);
	assert_int_equal(m->format, 0);
	conf_close(&c);
}

/* What nothing here sets has one answer. */
static void test_constants(void **state)
{
#define META "metadata_filter: {matcher: {filter: f, path: [{key: k}], value: {bool_match: true}}"
	static const struct {
		const char *yaml;
		uint32_t kind, value, op;
	} t[] = {{MAPPER(META "}", ""), WEFT_MAPPER_ALWAYS, 1, 0},
		 {MAPPER(META ", match_if_key_not_found: false}", ""), WEFT_MAPPER_ALWAYS, 0, 0},
		 {MAPPER("not_health_check_filter: {}", ""), WEFT_MAPPER_ALWAYS, 1, 0},
		 {MAPPER("traceable_filter: {}", ""), WEFT_MAPPER_ALWAYS, 0, 0},
		 {MAPPER("log_type_filter: {types: [NotSet]}", ""), WEFT_MAPPER_TYPE, 1, 0},
		 {MAPPER("log_type_filter: {types: [DownstreamEnd]}", ""), WEFT_MAPPER_TYPE, 1 << 6,
		  0},
		 {MAPPER("log_type_filter: {types: [DownstreamEnd], exclude: true}", ""),
		  WEFT_MAPPER_TYPE, 1 << 6, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		const struct weft_img_mapper_test *test;
		struct conf c;

		conf_open(&c);
		test = weft_img_at(mapper(&c, t[i].yaml)->test);
		assert_int_equal(test->kind, t[i].kind);
		assert_int_equal(test->value, t[i].value);
		assert_int_equal(test->op, t[i].op);
		conf_close(&c);
	}
}

#define REFUSED(yaml, field, why) conf_refused(yaml, "Listener/l", F field, why)
static void test_refused(void **state)
{
#define ONE ".or_filter.filters[1]"
#define DEEP4(x)                                                                                   \
	"or_filter: {filters: [{" STATUS("EQ", "1") "}, {or_filter: {filters: [{" STATUS(          \
		"EQ",                                                                              \
		"1") "}, {or_filter: {filters: [{" STATUS("EQ",                                    \
							  "1") "}, {or_filter: {filters: "         \
							       "[{" STATUS("EQ",                   \
									   "1") "}, {" x           \
										"}]}}]}}]}}]}"
	(void)state;
	REFUSED(MAPPER("extension_filter: {name: e}", ""), "mappers[0].filter.extension_filter",
		"");
	REFUSED(MAPPER("metadata_filter: {matcher: {filter: envoy.filters.http.rbac, path: [{key: "
		       "k}], "
		       "value: {bool_match: true}}}",
		       ""),
		"mappers[0].filter.metadata_filter.matcher.filter", "unsupported");
	REFUSED(MAPPER(STATUS("EQ", "1"), "body: {environment_variable: X}"), "mappers[0].body",
		"only inline_string");
	REFUSED(MAPPER(STATUS("EQ", "1"),
		       "headers_to_add: [{header: {key: content-length, value: '1'}}]"),
		"mappers[0].headers_to_add[0].header", "frames");
	REFUSED(MAPPER(STATUS("EQ", "1"),
		       "headers_to_add: [{header: {key: a, value: '%NO_SUCH%'}}]"),
		"mappers[0].headers_to_add[0].header", "NO_SUCH");
	REFUSED(MAPPER(STATUS("EQ", "1"), "body_format_override: {text_format: '%NO_SUCH%'}"),
		"mappers[0].body_format_override.text_format", "NO_SUCH");
	REFUSED(CONF("body_format: {text_format: '%NO_SUCH%'}"), "body_format.text_format",
		"NO_SUCH");
	REFUSED(CONF("body_format: {text_format: a, formatters: [{name: f, typed_config: {" T("extensions.filters.http.router.v3.Router")
		     "}}]}"),
		"body_format.formatters", "");
	REFUSED(MAPPER(DEEP4(DEEP4(DEEP4(DEEP4(DEEP4(STATUS("EQ", "1")))))), ""),
		"mappers[0].filter" ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE
		".or_filter",
		"nested deeper than 16");
}

static void test_many(void **state)
{
	char *yaml = NULL;
	size_t n;

	(void)state;
	for (unsigned int with = WEFT_MAPPER_TESTS_MAX - 1; with <= WEFT_MAPPER_TESTS_MAX; with++) {
		FILE *f = open_memstream(&yaml, &n);
		struct conf c;

		assert_non_null(f);
		fputs("- {" T("config.listener.v3.Listener") ", name: l, " AT_80
							     " filter_chains: [{filters: [{name: "
							     "h, typed_config: {" HCM_TYPE
							     ", stat_prefix: s, "
							     "local_reply_config: {mappers: "
							     "[{filter: {or_filter: {filters: [",
		      f);
		for (unsigned int i = 0; i < with; i++)
			fputs("{not_health_check_filter: {}}, ", f);
		fputs("]}}}]}, http_filters: [" ROUTER "], " RDS "}}]}]}\n", f);
		assert_int_equal(fclose(f), 0);
		if (with < WEFT_MAPPER_TESTS_MAX) {
			conf_open(&c);
			assert_int_equal(mapper(&c, yaml)->n_test, WEFT_MAPPER_TESTS_MAX);
			conf_close(&c);
		} else {
			conf_refused(yaml, "Listener/l",
				     F "mappers[0].filter.or_filter.filters[255]", "more than 256");
		}
		free(yaml);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_nested),
		cmocka_unit_test(test_constants), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
