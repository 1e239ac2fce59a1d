// SPDX-License-Identifier: Apache-2.0
/* The table of fields: whole, without a fault, and what it says is what resources meet. */
#include "test/unit/compile_fixture.h"

#include "agent/compile/fields.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

#include "xds/any.h"
#include "xds/descriptor.h"

static bool in_table(const ProtobufCMessageDescriptor *d)
{
	const ProtobufCMessageDescriptor *m;
	bool upstream;

	for (size_t i = 0; (m = weft_fields_message(i, &upstream)); i++) {
		if (m == d)
			return true;
	}
	return false;
}

/* A field that is applied and holds a message says nothing of the fields in it: they have rows of
 * their own. */
static void test_whole(void **state)
{
	const ProtobufCMessageDescriptor *m, *sub;
	bool upstream;
	size_t missing = 0;

	(void)state;
	assert_null(weft_fields_fault());
	for (size_t i = 0; (m = weft_fields_message(i, &upstream)); i++) {
		for (unsigned int k = 0; k < m->n_fields; k++) {
			const ProtobufCFieldDescriptor *f = &m->fields[k];
			enum weft_field_class c = weft_field_class(m, upstream, f, NULL);

			if (f->type != PROTOBUF_C_TYPE_MESSAGE || c == WEFT_FIELD_REFUSED ||
			    c == WEFT_FIELD_QUIET)
				continue;
			sub = f->descriptor;
			if (weft_field_is_map(m, f) &&
			    sub->fields[1].type == PROTOBUF_C_TYPE_MESSAGE)
				sub = sub->fields[1].descriptor;
			if (strncmp(sub->name, "google.protobuf.", 16) != 0 && !in_table(sub)) {
				print_message("%s.%s: no rows of %s\n", m->name, f->name,
					      sub->name);
				missing++;
			}
		}
	}
	assert_int_equal(missing, 0);
}

static enum weft_field_class class_of(const char *message, bool upstream, const char *field)
{
	const ProtobufCMessageDescriptor *d = weft_any_descriptor(message);

	assert_non_null(d);
	return weft_field_class(d, upstream,
				protobuf_c_message_descriptor_get_field_by_name(d, field), NULL);
}

static void test_classes(void **state)
{
	static const char *const http1 = "envoy.config.core.v3.Http1ProtocolOptions";

	(void)state;
	assert_int_equal(class_of("envoy.config.route.v3.RouteMatch", false, "prefix"),
			 WEFT_FIELD_KERNEL);
	assert_int_equal(class_of("envoy.config.route.v3.RouteAction", false, "timeout"),
			 WEFT_FIELD_AGENT);
	assert_int_equal(class_of("envoy.config.route.v3.Route", false, "decorator"),
			 WEFT_FIELD_QUIET);
	assert_int_equal(class_of("envoy.config.route.v3.RouteAction", false, "hedge_policy"),
			 WEFT_FIELD_REFUSED);
	assert_int_equal(class_of(http1, false, "enable_trailers"), WEFT_FIELD_KERNEL);
	assert_int_equal(class_of(http1, true, "enable_trailers"), WEFT_FIELD_REFUSED);
	/* a message without rows for clusters has the same everywhere */
	assert_int_equal(class_of("envoy.config.core.v3.Address", true, "socket_address"),
			 WEFT_FIELD_KERNEL);
	assert_int_equal(class_of("envoy.config.route.v3.HedgePolicy", false, "initial_requests"),
			 WEFT_FIELD_REFUSED);
}

struct seen {
	size_t n[WEFT_FIELD__MAX];
	bool exact, decorator;
};

static void seen_add(void *ctx, const ProtobufCMessageDescriptor *d,
		     const ProtobufCFieldDescriptor *f, enum weft_field_class c)
{
	struct seen *s = ctx;

	s->n[c]++;
	s->exact |= !strcmp(d->name, "envoy.type.matcher.v3.StringMatcher") &&
		    !strcmp(f->name, "exact");
	s->decorator |= !strcmp(f->name, "decorator");
}

/* Through repeated fields and Any, not into what has no effect. */
static void test_walk(void **state)
{
	struct seen seen = {0};
	struct weft_field_visitor v = {seen_add, &seen};
	struct weft_snapshot *s;

	(void)state;
	assert_int_equal(conf_load(LISTENER_80 ROUTES("{match: {prefix: /, headers: [{name: a, "
						      "string_match: {exact: b}}]}, "
						      "route: {cluster: c, timeout: 1s}, "
						      "decorator: {operation: o}}"),
				   NULL, &s),
			 0);
	weft_fields_walk_all(s, &v);
	assert_true(seen.exact);
	assert_true(seen.decorator);
	assert_int_equal(seen.n[WEFT_FIELD_AGENT], 2); /* ads, timeout */
	assert_int_equal(seen.n[WEFT_FIELD_QUIET], 1);
	assert_int_equal(seen.n[WEFT_FIELD_REFUSED], 0);
	weft_snapshot_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
