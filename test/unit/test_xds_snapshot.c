// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/resource.h"

/* A cluster of one letter's name. */
static struct weft_resource *cluster(char name, const char *version)
{
	const uint8_t data[] = {0x0a, 1, (uint8_t)name};
	struct weft_resource *r = NULL;

	assert_int_equal(weft_resource_from_wire(WEFT_XDS_CLUSTER, data, sizeof(data), version, 0, NULL, &r), 0);
	return r;
}

static void sorted_and_replaced(void **state)
{
	static const char order[] = "dbace";
	struct weft_snapshot *s, *c;
	struct weft_resource *r;

	(void)state;
	assert_int_equal(weft_snapshot_new(&s), 0);
	for (const char *p = order; *p; p++) {
		r = cluster(*p, "1");
		assert_int_equal(weft_snapshot_put(s, r), 0);
		assert_int_equal(weft_snapshot_put(s, r), 0); /* itself again */
		weft_resource_unref(r);
	}
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(weft_snapshot_at(s, WEFT_XDS_CLUSTER, i)->name[0], 'a' + (char)i);
	assert_int_equal(weft_snapshot_index(s, WEFT_XDS_CLUSTER, "d"), 3);
	assert_int_equal(weft_snapshot_index(s, WEFT_XDS_CLUSTER, "dd"), SIZE_MAX);
	assert_int_equal(weft_snapshot_clone(s, &c), 0);
	r = cluster('c', "2");
	weft_snapshot_put(c, r);
	weft_resource_unref(r);
	assert_string_equal(weft_snapshot_get(c, WEFT_XDS_CLUSTER, "c")->version, "2");
	assert_string_equal(weft_snapshot_get(s, WEFT_XDS_CLUSTER, "c")->version, "1");
	assert_int_equal(weft_snapshot_del(c, WEFT_XDS_CLUSTER, "a"), 0);
	assert_int_equal(weft_snapshot_del(c, WEFT_XDS_CLUSTER, "a"), -ENOENT);
	assert_null(weft_snapshot_get(c, WEFT_XDS_CLUSTER, "a"));
	assert_null(weft_snapshot_get(c, WEFT_XDS_LISTENER, "b"));
	weft_snapshot_free(s);
	assert_int_equal(weft_snapshot_count(c, WEFT_XDS_CLUSTER), 4);
	weft_snapshot_free(c);
	weft_snapshot_free(NULL);
}

/* What two clones share is copied by the one that is changed, and only that type. */
static void shared_until_changed(void **state)
{
	struct weft_snapshot *s, *a, *b;
	struct weft_resource *r = cluster('a', "1");

	(void)state;
	assert_int_equal(weft_snapshot_new(&s), 0);
	assert_int_equal(weft_snapshot_new(&b), 0);
	assert_true(weft_snapshot_same(s, b, WEFT_XDS_CLUSTER));
	assert_int_equal(weft_snapshot_put(s, r), 0);
	assert_false(weft_snapshot_same(s, b, WEFT_XDS_CLUSTER));
	weft_snapshot_share(b, s, WEFT_XDS_CLUSTER);
	assert_int_equal(weft_snapshot_clone(s, &a), 0);
	assert_true(weft_snapshot_same(s, a, WEFT_XDS_CLUSTER));
	assert_true(weft_snapshot_same(s, b, WEFT_XDS_CLUSTER));
	/* the same again changes nothing */
	assert_int_equal(weft_snapshot_put(a, r), 0);
	assert_true(weft_snapshot_same(s, a, WEFT_XDS_CLUSTER));
	assert_int_equal(weft_snapshot_del(b, WEFT_XDS_CLUSTER, "a"), 0);
	assert_int_equal(weft_snapshot_count(b, WEFT_XDS_CLUSTER), 0);
	weft_resource_unref(r);
	/* equal, but not the same */
	r = cluster('a', "1");
	assert_int_equal(weft_snapshot_put(a, r), 0);
	assert_false(weft_snapshot_same(s, a, WEFT_XDS_CLUSTER));
	weft_snapshot_free(a);
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 1);
	weft_snapshot_share(s, b, WEFT_XDS_LISTENER);
	weft_snapshot_share(s, b, WEFT_XDS_CLUSTER);
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 0);
	weft_resource_unref(r);
	weft_snapshot_free(s);
	weft_snapshot_free(b);
}

/* A clone says who asked as well, and keeps it when the other changes. */
static void node_is_copied(void **state)
{
	struct weft_snapshot *s = NULL, *clone = NULL;

	(void)state;
	assert_int_equal(weft_snapshot_new(&s), 0);
	assert_string_equal(weft_snapshot_node_id(s), "");
	assert_string_equal(weft_snapshot_node_cluster(s), "");
	assert_int_equal(weft_snapshot_set_node(s, "i", "c"), 0);
	assert_int_equal(weft_snapshot_clone(s, &clone), 0);
	assert_int_equal(weft_snapshot_set_node(s, "", "d"), 0);
	assert_string_equal(weft_snapshot_node_id(s), "");
	assert_string_equal(weft_snapshot_node_cluster(s), "d");
	assert_string_equal(weft_snapshot_node_id(clone), "i");
	assert_string_equal(weft_snapshot_node_cluster(clone), "c");
	weft_snapshot_free(s);
	weft_snapshot_free(clone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorted_and_replaced),
		cmocka_unit_test(shared_until_changed),
		cmocka_unit_test(node_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
