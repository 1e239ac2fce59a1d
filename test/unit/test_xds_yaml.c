// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/yaml.h"

static json_t *load(const char *text, struct weft_lines **ret_lines)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *docs;

	if (weft_yaml_parse(text, strlen(text), "f", &diag, &docs, ret_lines))
		fail_msg("%s: %s", diag.entries[0].resource, diag.entries[0].reason);
	return docs;
}

static void gives(const char *yaml, const char *want)
{
	struct weft_lines *lines;
	json_t *docs = load(yaml, &lines), *expected = json_loads(want, 0, NULL);

	assert_non_null(expected);
	if (!json_equal(docs, expected))
		fail_msg("%s gives %s", yaml, json_dumps(docs, 0));
	json_decref(docs);
	json_decref(expected);
	weft_lines_free(lines);
}

static void refuse(const char *yaml, const char *place, const char *reason)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_lines *lines;
	json_t *docs;

	assert_int_equal(weft_yaml_parse(yaml, strlen(yaml), "f", &diag, &docs, &lines), -EINVAL);
	assert_string_equal(diag.entries[0].resource, place);
	if (!strstr(diag.entries[0].reason, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, diag.entries[0].reason);
	weft_diag_clear(&diag);
}

static void scalars(void **state)
{
	(void)state;
	gives("[1, -2, +3, 0x1F, 0o17, 1.5, .5, 1e3, 1.]", "[[1,-2,3,31,15,1.5,0.5,1000.0,1.0]]");
	gives("[true, False, null, ~, yes, no, on, 1_000, 0777, 1.2.3, 12s]",
	      "[[true,false,null,null,\"yes\",\"no\",\"on\",\"1_000\",777,\"1.2.3\",\"12s\"]]");
	gives("['1', \"true\", !!str 5]", "[[\"1\",\"true\",\"5\"]]");
	gives("a: |\n  x\n  y\n", "[{\"a\":\"x\\ny\\n\"}]");
	gives("[9223372036854775807, -9223372036854775808]",
	      "[[9223372036854775807,-9223372036854775808]]");
	refuse("a: 1\nb: 9223372036854775808\n", "f:2", "too large");
	refuse("a: .inf", "f:1", "quote it");
	refuse("a: .nan", "f:1", "quote it");
	refuse("a: 1e999", "f:1", "too large");
	refuse("a: !!int 5", "f:1", "tag");
	refuse("a: !foo {}", "f:1", "tag");
}

static void documents(void **state)
{
	(void)state;
	gives("", "[]");
	gives("a: 1\n---\nb: 2\n", "[{\"a\":1},{\"b\":2}]");
	refuse("a: [1\n", "f:2", "");
	refuse("a: &x 1\n---\nb: *x\n", "f:3", "alias");
}

static void keys(void **state)
{
	(void)state;
	refuse("a: 1\na: 2\n", "f:2", "key \"a\" is there twice");
	refuse("x: &x {a: 1}\ny:\n  <<: *x\n", "f:3", "merge keys");
	refuse("? [a]\n: b\n", "f:1", "a key must be");
	refuse("\"a\\0b\": 1\n", "f:1", "NUL");
	gives("1: a\ntrue: b\n", "[{\"1\":\"a\",\"true\":\"b\"}]");
}

static void aliases_are_bounded(void **state)
{
	char text[1024] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";

	(void)state;
	gives("a: &x {b: 1}\nc: *x\nd: [*x]\n", "[{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1}]}]");
	refuse("a: &x [*x]\n", "f:1", "without a complete anchor");
	for (int i = 1; i < 9; i++) {
		char line[100];

		snprintf(line, sizeof(line), "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
			 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
		strcat(text, line);
	}
	refuse(text, "f:7", "aliases repeat more than");
}

static void depth_is_bounded(void **state)
{
	char text[2 * WEFT_YAML_DEPTH_MAX + 8];

	(void)state;
	memset(text, '[', WEFT_YAML_DEPTH_MAX);
	memset(text + WEFT_YAML_DEPTH_MAX, ']', WEFT_YAML_DEPTH_MAX);
	text[2 * WEFT_YAML_DEPTH_MAX] = '\0';
	struct weft_lines *lines;
	json_decref(load(text, &lines));
	weft_lines_free(lines);
	memset(text, '[', WEFT_YAML_DEPTH_MAX + 1);
	text[WEFT_YAML_DEPTH_MAX + 1] = '\0';
	refuse(text, "f:1", "nested too deep");
}

static void lines_of_members(void **state)
{
	struct weft_lines *lines;
	json_t *docs = load("a:\n  b: 1\n  c:\n  - x\n  - y\n", &lines);
	const json_t *root = json_array_get(docs, 0), *a = json_object_get(root, "a");

	(void)state;
	assert_int_equal(weft_lines_member(lines, root, "a"), 1);
	assert_int_equal(weft_lines_member(lines, a, "c"), 3);
	assert_int_equal(weft_lines_element(lines, json_object_get(a, "c"), 1), 5);
	assert_int_equal(weft_lines_member(lines, a, "none"), 0);
	weft_lines_free(lines);
	json_decref(docs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars),	       cmocka_unit_test(documents),
		cmocka_unit_test(keys),		       cmocka_unit_test(aliases_are_bounded),
		cmocka_unit_test(depth_is_bounded), cmocka_unit_test(lines_of_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
