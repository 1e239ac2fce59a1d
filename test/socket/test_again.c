// SPDX-License-Identifier: Apache-2.0
/* Refusals that are made of the one before (bpf/again.h): the same answer and the same counts as
 * when judged, and only where nothing else could come of it. */

#include "world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static struct weft_cell_bucket *bucket(void)
{
	return weft_cell_bucket(fix_cell(WORLD_POD, FIX_CELL_LIMIT));
}

static uint64_t repeated(void)
{
	return __atomic_load_n(&world.head->repeated, __ATOMIC_RELAXED);
}

/* Empty from now on, for longer than a test lasts. */
static void drain(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	__atomic_store_n(&bucket()->word,
			 ((uint64_t)now.tv_sec + 3600) * 16000000000u + WEFT_BUCKET_EPOCH,
			 __ATOMIC_RELAXED);
}

static void fill(void)
{
	__atomic_store_n(&bucket()->word, 0, __ATOMIC_RELAXED);
}

static struct answer *refused(int fd, const char *extra)
{
	static struct answer a;

	send_get(fd, "/limit", extra);
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 429);
	assert_false(a.by_agent);
	return &a;
}

static void counts_and_answers(void **state)
{
	struct weft_cell_bucket before;
	uint64_t n = repeated(), outcome = world_outcome(WEFT_OUTCOME_RATE_LIMITED);
	int fd = vip_connect(1);
	char first[8192];

	(void)state;
	drain();
	before = *bucket();
	strcpy(first, refused(fd, "")->text);
	assert_string_equal(refused(fd, "")->text, first);
	assert_int_equal(repeated(), n); /* judged; the second one is kept */
	for (int i = 0; i < 29; i++)
		assert_string_equal(refused(fd, "")->text, first);
	assert_int_equal(repeated(), n + 29);
	assert_int_equal(bucket()->enabled - before.enabled, 31);
	assert_int_equal(bucket()->rate_limited - before.rate_limited, 31);
	assert_int_equal(bucket()->enforced - before.enforced, 31);
	assert_int_equal(bucket()->ok, before.ok);
	assert_int_equal(world_outcome(WEFT_OUTCOME_RATE_LIMITED), outcome + 31);
	/* what is kept is the connection's */
	finish(fd);
	fd = vip_connect(1);
	refused(fd, "");
	assert_int_equal(repeated(), n + 29);
	finish(fd);
	world_drained();
}

/* Every length, and a difference at every place: another head is judged. */
static void only_the_same_bytes(void **state)
{
	char extra[512] = "x: ", other[512];
	int fd = vip_connect(1);

	(void)state;
	drain();
	for (size_t n = 0; n < 80; n++) {
		uint64_t was = repeated();

		memset(extra + 3, 'a', n);
		strcpy(extra + 3 + n, "\r\n");
		refused(fd, extra);
		refused(fd, extra);
		assert_int_equal(repeated(), was);
		refused(fd, extra);
		assert_int_equal(repeated(), was + 1);
		if (!n)
			continue;
		strcpy(other, extra);
		other[3 + (n * 7) % n] = 'b';
		refused(fd, other);
		assert_int_equal(repeated(), was + 1);
		other[2 + n] = 'c'; /* the last one */
		refused(fd, other);
		assert_int_equal(repeated(), was + 1);
	}
	finish(fd);
	world_drained();
}

/* Another answer in between changes nothing, and the kept one is not that of another path. */
static void others_between(void **state)
{
	int fd = vip_connect(1);
	uint64_t n;

	(void)state;
	drain();
	refused(fd, "");
	refused(fd, "");
	n = repeated();
	expect(fd, "/deny", 403, false);
	expect(fd, "/deny", 403, false);
	assert_int_equal(repeated(), n);
	refused(fd, "");
	assert_int_equal(repeated(), n + 1);
	finish(fd);
	world_drained();
}

/* A connection on whose bucket nothing is left, and whose third refusal was the one that is kept.
 * How many were repeated. */
static uint64_t refused_thrice(int fd)
{
	drain();
	for (int i = 0; i < 3; i++)
		refused(fd, "");
	return repeated();
}

static void a_token_is_taken(void **state)
{
	int fd = vip_connect(1);
	uint64_t n;

	(void)state;
	n = refused_thrice(fd);
	fill();
	for (uint32_t i = 0; i < world.image.limit_tokens; i++)
		expect(fd, "/limit", 200, false);
	assert_int_equal(repeated(), n);
	refused(fd, "");
	refused(fd, "");
	finish(fd);
	world_drained();
}

static void a_new_configuration_is_read(void **state)
{
	int fd = vip_connect(1);
	uint64_t n;

	(void)state;
	n = refused_thrice(fd);
	fix_image_publish(&world.image);
	refused(fd, "");
	assert_int_equal(repeated(), n);
	refused(fd, "");
	assert_int_equal(repeated(), n + 1);
	finish(fd);
	world_drained();
}

/* Two seconds later the same of the two dates counts again, with another text. */
static void the_date_is_now(void **state)
{
	struct weft_state_head *h = world.head;
	char old[32];
	int fd = vip_connect(1);

	(void)state;
	memcpy(old, h->date[h->date_which], 32);
	refused_thrice(fd);
	memcpy(h->date[h->date_which], "Sun, 06 Nov 1994 08:49:39 GMT", 30);
	assert_non_null(strstr(refused(fd, "")->text, "date: Sun, 06 Nov 1994 08:49:39 GMT\r\n"));
	assert_non_null(strstr(refused(fd, "")->text, "date: Sun, 06 Nov 1994 08:49:39 GMT\r\n"));
	memcpy(h->date[h->date_which], old, 32);
	finish(fd);
	world_drained();
}

/* What is too long is judged each time. */
static void long_heads(void **state)
{
	char extra[600] = "x: ";
	int fd = vip_connect(1);
	uint64_t n = repeated();

	(void)state;
	drain();
	memset(extra + 3, 'a', 520);
	strcpy(extra + 523, "\r\n");
	for (int i = 0; i < 4; i++)
		refused(fd, extra);
	assert_int_equal(repeated(), n);
	finish(fd);
	world_drained();
}

/* A pod that leaves is not governed any more. */
static void not_for_a_paused_pod(void **state)
{
	struct weft_pod pod = world.pod;
	int fd = vip_connect(1);
	uint64_t n, handed;
	struct answer a;

	(void)state;
	n = refused_thrice(fd);
	pod.flags |= WEFT_POD_PAUSED;
	assert_int_equal(weft_kernel_pod_set(world.kernel, world.netns, &pod), 0);
	handed = world_handed(WEFT_HANDED_NO_LISTENER);
	send_get(fd, "/limit", "");
	recv_answer(fd, false, &a);
	assert_int_equal(world_handed(WEFT_HANDED_NO_LISTENER), handed + 1);
	assert_int_equal(repeated(), n);
	assert_int_equal(weft_kernel_pod_set(world.kernel, world.netns, &world.pod), 0);
	finish(fd);
	world_drained();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_and_answers),
		cmocka_unit_test(only_the_same_bytes),
		cmocka_unit_test(others_between),
		cmocka_unit_test(a_token_is_taken),
		cmocka_unit_test(a_new_configuration_is_read),
		cmocka_unit_test(the_date_is_now),
		cmocka_unit_test(long_heads),
		cmocka_unit_test(not_for_a_paused_pod),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
