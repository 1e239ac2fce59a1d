// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/store/store.h"
#include "bpf/engine/engine.h"

#define IMG (64u << 10)
#define STATE (1u << 20)

static int synchronized;
static int synchronize_result;

static int synchronize(void *ctx)
{
	(void)ctx;
	synchronized++;
	return synchronize_result;
}

/* What the last publish() holds, 0: nothing. */
static uint32_t text_held, root_held;

struct fixture {
	struct weft_store *s;
	void *img, *state;
};

static int setup(void **state)
{
	static struct fixture f;
	struct weft_store_mem mem = {
		.img_size = IMG, .state_size = STATE, .synchronize = synchronize};

	synchronized = synchronize_result = 0;
	text_held = root_held = 0;
	f.img = mem.img = calloc(1, IMG + WEFT_IMAGE_SLACK);
	f.state = mem.state = calloc(1, STATE + WEFT_STATE_SLACK);
	*state = &f;
	return !f.img || !f.state || weft_state_layout(f.state, STATE, 16, 64, 2) ||
	       weft_store_new(&mem, &f.s);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weft_store_free(f->s);
	free(f->img);
	free(f->state);
	return 0;
}

static struct weft_store_stats stats(struct weft_store *s)
{
	struct weft_store_stats st;

	weft_store_stats(s, &st);
	return st;
}

static void drop_held(struct weft_store *s)
{
	if (text_held)
		assert_int_equal(weft_store_drop(s, text_held), 0);
	if (root_held)
		assert_int_equal(weft_store_drop(s, root_held), 0);
}

/* Publishes a root, and `text` beside it unless NULL, in the place of the last; its offset. */
static uint32_t publish(struct weft_store *s, const char *text)
{
	struct weft_img_root root = {.epoch = weft_store_epoch(s) + 1};
	uint32_t off = 0, at;

	assert_int_equal(weft_store_begin(s), 0);
	drop_held(s);
	if (text)
		assert_int_equal(weft_store_put(s, text, strlen(text), &off), 0);
	assert_int_equal(weft_store_put(s, &root, sizeof(root), &at), 0);
	assert_int_equal(weft_store_commit(s, at), 0);
	text_held = off;
	root_held = at;
	return off;
}

static bool is_there(const struct fixture *f, uint32_t off, const char *text)
{
	return !memcmp((const char *)f->img + off, text, strlen(text));
}

static void test_equal_bytes_are_one_object(void **state)
{
	struct fixture *f = *state;
	uint32_t a, b, c;

	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_begin(f->s), -EBUSY);
	assert_int_equal(weft_store_put(f->s, "abc", 3, &a), 0);
	assert_int_equal(weft_store_put(f->s, "abc", 3, &b), 0);
	assert_int_equal(weft_store_put(f->s, "abcd", 4, &c), 0);
	assert_int_equal(a, b);
	assert_int_not_equal(a, c);
	assert_int_equal(a % 8, 0);
	assert_int_equal(c % 8, 0);
	/* eight bytes to read behind it */
	assert_int_equal(*((const uint8_t *)f->img + a + 3), 0);
	assert_int_equal(stats(f->s).objects, 2);
	weft_store_abort(f->s);
}

static void test_abort_forgets(void **state)
{
	struct fixture *f = *state;
	uint32_t kept = publish(f->s, "kept"), off;
	uint64_t used = stats(f->s).img_used;

	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, "kept", 4, &off), 0);
	assert_int_equal(off, kept);
	assert_int_equal(weft_store_put(f->s, "new", 3, &off), 0);
	weft_store_abort(f->s);
	assert_int_equal(stats(f->s).img_used, used);
	assert_int_equal(weft_store_epoch(f->s), 1);
	assert_true(is_there(f, kept, "kept"));
}

static void test_commit_publishes_at_once(void **state)
{
	struct fixture *f = *state;
	const struct weft_img_head *h = f->img;
	struct weft_img_root root = {.epoch = 1};
	uint32_t at;

	assert_int_equal(h->magic, WEFT_IMG_MAGIC);
	assert_int_equal(h->root, 0);
	assert_int_equal(weft_store_commit(f->s, 64), -EINVAL);
	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, &root, sizeof(root), &at), 0);
	assert_int_equal(h->root, 0);
	assert_int_equal(weft_store_commit(f->s, at), 0);
	assert_int_equal(h->root, 1ull << 32 | at);
	assert_int_equal(weft_store_epoch(f->s), 1);
	/* another epoch than the next is a mistake */
	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, &root, sizeof(root), &at), 0);
	assert_int_equal(weft_store_commit(f->s, at), -EINVAL);
	weft_store_abort(f->s);
	assert_int_equal(synchronized, 0);
}

static void test_replaced_waits_for_grace(void **state)
{
	struct fixture *f = *state;
	uint32_t old = publish(f->s, "old");

	publish(f->s, "new");
	assert_true(is_there(f, old, "old"));
	assert_true(stats(f->s).waiting_bytes > 0);
	/* no grace period, nothing is freed */
	synchronize_result = -EAGAIN;
	weft_store_reclaim(f->s);
	assert_int_equal(synchronized, 1);
	assert_true(stats(f->s).waiting_bytes > 0);
	synchronize_result = 0;
	weft_store_reclaim(f->s);
	assert_int_equal(stats(f->s).waiting_bytes, 0);
	/* nothing waits: no further grace period is asked for */
	weft_store_reclaim(f->s);
	assert_int_equal(synchronized, 2);
}

static void test_reader_keeps_its_epoch(void **state)
{
	struct fixture *f = *state;
	struct weft_reader *r;
	uint32_t old = publish(f->s, "old"), epoch;

	assert_int_equal(weft_reader_new(f->s, &r), 0);
	epoch = weft_reader_enter(r);
	assert_int_equal(epoch, 1);
	publish(f->s, "new");
	weft_store_reclaim(f->s);
	assert_true(is_there(f, old, "old"));
	assert_true(stats(f->s).waiting_bytes > 0);
	weft_reader_leave(r, epoch);
	weft_store_reclaim(f->s);
	assert_int_equal(stats(f->s).waiting_bytes, 0);
	/* one grace period served both */
	assert_int_equal(synchronized, 1);
	weft_reader_free(r);
}

static void test_put_again_revives(void **state)
{
	struct fixture *f = *state;
	uint32_t first = publish(f->s, "x");

	publish(f->s, NULL);
	assert_int_equal(publish(f->s, "x"), first);
	weft_store_reclaim(f->s);
	assert_true(is_there(f, first, "x"));
	assert_int_equal(publish(f->s, "x"), first);
}

static void test_held_until_dropped(void **state)
{
	struct fixture *f = *state;
	struct weft_img_root root = {.epoch = 2};
	uint32_t off = publish(f->s, "x"), again, at;

	/* held twice, dropped once */
	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, "x", 1, &again), 0);
	assert_int_equal(again, off);
	assert_int_equal(weft_store_drop(f->s, off), 0);
	assert_int_equal(weft_store_drop(f->s, root_held), 0);
	assert_int_equal(weft_store_drop(f->s, 8000), 0); /* no object there */
	assert_int_equal(weft_store_put(f->s, &root, sizeof(root), &at), 0);
	assert_int_equal(weft_store_commit(f->s, at), 0);
	weft_store_reclaim(f->s);
	assert_true(is_there(f, off, "x"));
	assert_int_equal(stats(f->s).objects, 2);
	root_held = at;
	publish(f->s, NULL);
	weft_store_reclaim(f->s);
	assert_int_equal(stats(f->s).objects, 1);
}

/* A transaction that is given up drops nothing. */
static void test_abort_drops_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t off = publish(f->s, "x");

	assert_int_equal(weft_store_begin(f->s), 0);
	drop_held(f->s);
	weft_store_abort(f->s);
	weft_store_reclaim(f->s);
	assert_int_equal(stats(f->s).waiting_bytes, 0);
	assert_int_equal(stats(f->s).objects, 2);
	assert_true(is_there(f, off, "x"));
}

/* Replaced, but held by the open transaction: room for others is not made of it. */
static void test_revived_in_an_open_transaction(void **state)
{
	struct fixture *f = *state;
	uint32_t first = publish(f->s, "x"), off;

	publish(f->s, NULL);
	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, "x", 1, &off), 0);
	assert_int_equal(off, first);
	weft_store_reclaim(f->s);
	assert_true(is_there(f, first, "x"));
	weft_store_abort(f->s);
	assert_int_equal(stats(f->s).objects, 2);
	weft_store_reclaim(f->s);
	assert_int_equal(stats(f->s).objects, 1);
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	static char big[IMG];
	uint32_t off;

	publish(f->s, "kept");
	assert_int_equal(weft_store_begin(f->s), 0);
	assert_int_equal(weft_store_put(f->s, big, sizeof(big), &off), -ENOSPC);
	assert_int_equal(weft_store_put(f->s, big, sizeof(big) / 2, &off), 0);
	big[0] = 1;
	assert_int_equal(weft_store_put(f->s, big, sizeof(big) / 2, &off), -ENOSPC);
	assert_int_equal(stats(f->s).full, 2);
	weft_store_abort(f->s);
	assert_int_equal(weft_store_epoch(f->s), 1);
}

/* What waits is freed when there is no other room. */
static void test_full_frees_what_waits(void **state)
{
	struct fixture *f = *state;
	static char big[IMG / 3];

	for (char i = 1; i < 8; i++) {
		memset(big, i, sizeof(big) - 1);
		publish(f->s, big);
	}
	assert_int_equal(stats(f->s).full, 0);
	assert_true(synchronized > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(test_equal_bytes_are_one_object),
		TEST(test_abort_forgets),
		TEST(test_commit_publishes_at_once),
		TEST(test_replaced_waits_for_grace),
		TEST(test_reader_keeps_its_epoch),
		TEST(test_put_again_revives),
		TEST(test_held_until_dropped),
		TEST(test_abort_drops_nothing),
		TEST(test_revived_in_an_open_transaction),
		TEST(test_full),
		TEST(test_full_frees_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
