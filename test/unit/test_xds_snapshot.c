// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

/* ---- against a model ---- */

#define NAMES 700u
#define COPIES 4u
#define TURNS 20000u

/* What a snapshot is to have, by name. */
struct model {
	struct weft_resource *r[NAMES];
};

static struct weft_resource *numbered(unsigned int i)
{
	uint8_t data[16] = {0x0a};
	struct weft_resource *r = NULL;
	int n = snprintf((char *)data + 2, sizeof(data) - 2, "c-%04u", i);

	data[1] = (uint8_t)n;
	assert_int_equal(
		weft_resource_from_wire(WEFT_XDS_CLUSTER, data, (size_t)n + 2, "1", 0, NULL, &r),
		0);
	return r;
}

static void model_check(const struct weft_snapshot *s, const struct model *m)
{
	size_t n = 0;

	for (unsigned int i = 0; i < NAMES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "c-%04u", i);
		assert_ptr_equal(weft_snapshot_get(s, WEFT_XDS_CLUSTER, name), m->r[i]);
		assert_true(weft_snapshot_index(s, WEFT_XDS_CLUSTER, name) ==
			    (m->r[i] ? n : SIZE_MAX));
		if (m->r[i])
			assert_ptr_equal(weft_snapshot_at(s, WEFT_XDS_CLUSTER, n++), m->r[i]);
	}
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), n);
}

/* Every place that differs, as one by one finds them. */
static void differs_check(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	size_t x = weft_snapshot_count(a, WEFT_XDS_CLUSTER),
	       y = weft_snapshot_count(b, WEFT_XDS_CLUSTER);
	size_t at = weft_snapshot_differs(a, b, WEFT_XDS_CLUSTER, 0);
	bool same = true;

	for (size_t i = 0; i < x || i < y; i++) {
		if (i < x && i < y &&
		    weft_snapshot_at(a, WEFT_XDS_CLUSTER, i) ==
			    weft_snapshot_at(b, WEFT_XDS_CLUSTER, i))
			continue;
		same = false;
		assert_int_equal(at, i);
		at = weft_snapshot_differs(a, b, WEFT_XDS_CLUSTER, i + 1);
	}
	assert_true(at == SIZE_MAX);
	assert_int_equal(weft_snapshot_same(a, b, WEFT_XDS_CLUSTER), same);
}

/* Long tables, whose clones share most of them: changes of one are never seen in another. */
static void clones_against_a_model(void **state)
{
	struct weft_resource *all[2][NAMES];
	struct weft_snapshot *s[COPIES];
	static struct model m[COPIES];
	unsigned int seed = 1, grow = 1;

	(void)state;
	for (unsigned int i = 0; i < NAMES; i++) {
		all[0][i] = numbered(i);
		all[1][i] = numbered(i);
	}
	for (unsigned int k = 0; k < COPIES; k++)
		assert_int_equal(weft_snapshot_new(&s[k]), 0);
	for (unsigned int turn = 0; turn < TURNS; turn++) {
		unsigned int k, i, what;

		seed = seed * 1664525 + 1013904223;
		k = (seed >> 8) % COPIES;
		i = (seed >> 12) % NAMES;
		what = (seed >> 24) % 16;
		if (turn % (TURNS / 8) == 0)
			grow = !grow; /* filled, emptied, and filled again */
		if (what == 0) {
			unsigned int to = (k + 1) % COPIES;

			weft_snapshot_free(s[to]);
			assert_int_equal(weft_snapshot_clone(s[k], &s[to]), 0);
			m[to] = m[k];
		} else if (what < (grow ? 4 : 12)) {
			char name[16];

			snprintf(name, sizeof(name), "c-%04u", i);
			assert_int_equal(weft_snapshot_del(s[k], WEFT_XDS_CLUSTER, name),
					 m[k].r[i] ? 0 : -ENOENT);
			m[k].r[i] = NULL;
		} else {
			m[k].r[i] = all[what % 2][i];
			assert_int_equal(weft_snapshot_put(s[k], m[k].r[i]), 0);
		}
		if (turn % 500 == 0 || turn + 1 == TURNS) {
			for (k = 0; k < COPIES; k++) {
				model_check(s[k], &m[k]);
				differs_check(s[k], s[(k + 1) % COPIES]);
			}
		}
	}
	for (unsigned int k = 0; k < COPIES; k++)
		weft_snapshot_free(s[k]);
	for (unsigned int i = 0; i < NAMES; i++) {
		assert_int_equal(all[0][i]->refs, 1);
		assert_int_equal(all[1][i]->refs, 1);
		weft_resource_unref(all[0][i]);
		weft_resource_unref(all[1][i]);
	}
}

/* In a table that clones share, a change costs references to a part of it, not to all. */
static void change_copies_a_part(void **state)
{
	struct weft_resource *all[NAMES], *other = numbered(300);
	struct weft_snapshot *s, *clone;
	unsigned int twice = 0;

	(void)state;
	assert_int_equal(weft_snapshot_new(&s), 0);
	for (unsigned int i = 0; i < NAMES; i++) {
		all[i] = numbered(i);
		assert_int_equal(weft_snapshot_put(s, all[i]), 0);
	}
	assert_int_equal(weft_snapshot_clone(s, &clone), 0);
	assert_int_equal(weft_snapshot_put(clone, other), 0);
	for (unsigned int i = 0; i < NAMES; i++)
		twice += all[i]->refs > 2;
	assert_in_range(twice, 1, NAMES / 4);
	assert_int_equal(weft_snapshot_differs(s, clone, WEFT_XDS_CLUSTER, 0), 300);
	assert_true(weft_snapshot_differs(s, clone, WEFT_XDS_CLUSTER, 301) == SIZE_MAX);
	weft_snapshot_free(s);
	weft_snapshot_free(clone);
	for (unsigned int i = 0; i < NAMES; i++)
		weft_resource_unref(all[i]);
	weft_resource_unref(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clones_against_a_model), cmocka_unit_test(change_copies_a_part),
		cmocka_unit_test(sorted_and_replaced),	  cmocka_unit_test(shared_until_changed),
		cmocka_unit_test(node_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
