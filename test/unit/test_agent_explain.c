// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/enroll/pod.h"
#include "agent/explain.h"
#include "agent/offline.h"
#include "bpf/engine/engine.h"

static struct weft_offline offline;

static int setup(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	(void)state;
	return weft_offline_open(WEFT_TEST_DATA "/cli/data/good.yaml", 4u << 20, true, &diag,
				 &offline);
}

static int teardown(void **state)
{
	(void)state;
	weft_offline_close(&offline);
	return 0;
}

static json_t *ask(const char *listener, const char *path, const char *const *headers)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_explain_query q = {.listener = listener,
					     .method = "GET",
					     .path = path,
					     .host = "shop.test",
					     .headers = headers};
	json_t *j = NULL;

	assert_int_equal(weft_explain(&q, &diag, &j), 0);
	return j;
}

static const char *text(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static void test_actions(void **state)
{
	static const struct {
		const char *listener, *path, *action, *details;
	} cases[] = {
		{"main", "/api", "forward", "via_upstream"},
		{"main", "/old", "redirect", "direct_response"},
		{"main", "/tea", "direct_response", "direct_response"},
		{"main", "/nothing", "local_reply", "route_not_found"},
		{"tcp", "/", "tcp", NULL},
		{"refusing", "/", "refused", "refused_no_endpoint"},
		{"192.0.2.1:1", "/", "passthrough", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *j = ask(cases[i].listener, cases[i].path, NULL);

		assert_string_equal(text(j, "action"), cases[i].action);
		if (cases[i].details)
			assert_string_equal(text(j, "details"), cases[i].details);
		assert_true(json_array_size(json_object_get(j, "steps")) > 0);
		json_decref(j);
	}
}

/* The question changes nothing: the bucket is as full after a hundred of them. */
static void test_takes_nothing(void **state)
{
	struct weft_state_head before = *weft_state_head();

	(void)state;
	for (int i = 0; i < 100; i++) {
		json_t *j = ask("main", "/limited", NULL);

		assert_string_equal(text(j, "action"), "forward");
		json_decref(j);
	}
	assert_memory_equal(&before, weft_state_head(), sizeof(before));
}

static void refused(const char *listener, const char *path, const char *header, const char *field)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const char *const headers[] = {header, NULL};
	const struct weft_explain_query q = {.listener = listener,
					     .method = "GET",
					     .path = path,
					     .host = "shop.test",
					     .headers = headers};
	json_t *j = NULL;

	assert_int_equal(weft_explain(&q, &diag, &j), -EINVAL);
	assert_null(j);
	assert_int_equal(diag.n, 1);
	assert_string_equal(diag.entries[0].field, field);
}

static void test_wrong_questions(void **state)
{
	(void)state;
	refused("none", "/", NULL, "listener");
	refused(NULL, "/", NULL, "listener");
	refused("main", "", NULL, "path");
	refused("main", "/a b", NULL, "path");
	refused("main", "/", "nocolon", "header");
	refused("main", "/", "a: b\r\nc: d", "header");
	refused("main", "/", "a b: c", "header");
}

/* The longest head that is let through, and the first that is not. */
static void test_long_head(void **state)
{
	static char line[70000] = "x-long: ";
	const char *const headers[] = {line, NULL};
	json_t *j;

	(void)state;
	memset(line + 8, 'x', sizeof(line) - 9);
	j = ask("main", "/tea", headers);
	assert_int_equal(json_integer_value(json_object_get(j, "status")), 431);
	json_decref(j);
	line[50000] = '\0';
	j = ask("main", "/tea", headers);
	assert_int_equal(json_integer_value(json_object_get(j, "status")), 418);
	json_decref(j);
}

static void test_nothing_published(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_explain_query q = {.method = "GET", .path = "/", .view = 7};
	json_t *j = NULL;

	(void)state;
	assert_int_equal(weft_explain(&q, &diag, &j), -ENOENT);
}

/* The chain of a listener that goes by server names. */
static void test_server_name(void **state)
{
	static char too_long[WEFT_SERVER_NAME_MAX + 2];
	static const struct {
		const char *name, *chain, *action;
	} cases[] = {{"one.test", "one", "tcp"},
		     {"ONE.test", "one", "tcp"},
		     {"two.test", "rest", "passthrough"},
		     {NULL, "rest", "passthrough"}};
	struct weft_explain_query q = {.listener = "names", .method = "GET", .path = "/"};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *j;

	teardown(state); /* one at a time */
	assert_int_equal(weft_offline_open(WEFT_TEST_DATA "/cli/data/names.yaml", 4u << 20, true,
					   &diag, &offline),
			 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		q.server_name = cases[i].name;
		assert_int_equal(weft_explain(&q, &diag, &j), 0);
		assert_string_equal(text(j, "class"), "captured");
		assert_string_equal(text(j, "chain"), cases[i].chain);
		assert_string_equal(text(j, "action"), cases[i].action);
		json_decref(j);
	}
	memset(too_long, 'a', WEFT_SERVER_NAME_MAX + 1);
	q.server_name = too_long;
	assert_int_equal(weft_explain(&q, &diag, &j), -EINVAL);
	assert_string_equal(diag.entries[0].field, "server_name");
	teardown(state);
	assert_int_equal(setup(state), 0); /* what the others ask */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),		  cmocka_unit_test(test_takes_nothing),
		cmocka_unit_test(test_wrong_questions),	  cmocka_unit_test(test_long_head),
		cmocka_unit_test(test_nothing_published), cmocka_unit_test(test_server_name),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
