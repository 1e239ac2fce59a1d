// SPDX-License-Identifier: Apache-2.0
/* What an image looks like is in test/golden; here is what it must not depend on. */
#include "test/unit/compile_fixture.h"

static void test_nothing_published(void **state)
{
	struct conf c;
	json_t *j;

	(void)state;
	conf_open(&c);
	j = weft_image_json(c.store);
	assert_int_equal(json_integer_value(json_object_get(j, "epoch")), 0);
	assert_int_equal(json_array_size(json_object_get(j, "views")), 0);
	json_decref(j);
	j = weft_image_json_view(c.store, 0, "clusters");
	assert_int_equal(json_array_size(j), 0);
	json_decref(j);
	conf_close(&c);
}

static void test_unknown_view(void **state)
{
	struct conf c;
	json_t *j;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80);
	j = weft_image_json_view(c.store, 0, "listeners");
	assert_int_equal(json_array_size(j), 1);
	json_decref(j);
	j = weft_image_json_view(c.store, 7, "listeners");
	assert_int_equal(json_array_size(j), 0);
	json_decref(j);
	assert_null(weft_image_json_view(c.store, 0, "nonsense"));
	conf_close(&c);
}

/* Where objects came to lie does not show. */
static void test_same_after_other_publishes(void **state)
{
	static const char yaml[] = LISTENER_80 ROUTES("{match: {prefix: /a}, " OK_200
						      "}, {match: {path: /b}, " OK_200 "}");
	json_t *first, *second;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, yaml);
	first = weft_image_json(c.store);
	for (int i = 0; i < 5; i++) {
		conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /c}, " OK_200 "}"));
		weft_store_reclaim(c.store);
	}
	conf_ok(&c, yaml);
	second = weft_image_json(c.store);
	assert_int_equal(json_integer_value(json_object_get(second, "epoch")), 7);
	json_object_del(first, "epoch");
	json_object_del(second, "epoch");
	assert_true(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	conf_close(&c);
}

/* A body may hold any bytes. */
static void test_body_of_any_bytes(void **state)
{
	struct conf c;
	json_t *j;
	char *text;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: 200, body: "
				       "{inline_bytes: /wD+}}}"));
	j = weft_image_json(c.store);
	text = json_dumps(j, 0);
	assert_non_null(strstr(text, "<3 bytes>"));
	free(text);
	json_decref(j);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_published),
		cmocka_unit_test(test_unknown_view),
		cmocka_unit_test(test_same_after_other_publishes),
		cmocka_unit_test(test_body_of_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
