// SPDX-License-Identifier: Apache-2.0
/* Requests answered inside the kernel, and what must not be. */

#include "world.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static void answers_by_rule(void **state)
{
	int fd = vip_connect(1);
	uint64_t before = world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE);
	struct answer a;

	(void)state;
	for (int i = 0; i < 50; i++) {
		send_get(fd, "/deny", "");
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		assert_string_equal(a.body, "no\n");
		assert_non_null(strstr(a.text, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	}
	assert_int_equal(world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE), before + 50);
	/* of a connection manager whose entry is the first */
	assert_int_equal(world.head->http[0].rq[4], 50);
	finish(fd);
	world_drained();
}

static void redirects(void **state)
{
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	send_get(fd, "/redir", "");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 302);
	assert_non_null(strstr(a.text, "location: http://other.test/redir\r\n"));
	assert_int_equal(world_outcome(WEFT_OUTCOME_REDIRECT), 1);
	finish(fd);
}

static void not_found(void **state)
{
	int fd = vip_connect(2);

	(void)state;
	expect(fd, "/none", 404, false);
	assert_int_equal(world_outcome(WEFT_OUTCOME_NO_ROUTE), 1);
	finish(fd);
}

static void limits(void **state)
{
	int fd = vip_connect(1);

	(void)state;
	for (uint32_t i = 0; i < world.image.limit_tokens; i++)
		expect(fd, "/limit", 200, false);
	for (int i = 0; i < 3; i++)
		expect(fd, "/limit", 429, false);
	assert_int_equal(world_outcome(WEFT_OUTCOME_RATE_LIMITED), 3);
	finish(fd);
}

/* A gRPC client's refusal is the agent's to word; the kernel's decision stands, and each request counts once. */
static void grpc_counts_once(void **state)
{
	struct weft_cell_bucket *b = weft_cell_bucket(fix_cell(WORLD_POD, FIX_CELL_LIMIT));
	const struct weft_cell_bucket before = *b;
	uint64_t handed = world_handed(WEFT_HANDED_GRPC), honoured = world.honoured;
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct timespec t = {.tv_nsec = 2000000};

		send_get(fd, "/limit", "Content-Type: application/grpc\r\n");
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 429); /* test/socket/agent.c words nothing anew */
		nanosleep(&t, NULL);		 /* given back */
	}
	finish(fd);
	world_drained();
	assert_true(world_handed(WEFT_HANDED_GRPC) > handed);
	assert_int_equal(world.honoured - honoured, world_handed(WEFT_HANDED_GRPC) - handed);
	assert_int_equal(b->enabled - before.enabled, 10);
	assert_int_equal(b->rate_limited - before.rate_limited, 10);
	assert_int_equal(b->enforced - before.enforced, 10);
	assert_int_equal(b->ok, before.ok);
}

static void head_gets_the_head(void **state)
{
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	send_text(fd, "HEAD /deny HTTP/1.1\r\nHost: a\r\n\r\n");
	recv_answer(fd, true, &a);
	assert_int_equal(a.status, 403);
	assert_string_equal(a.body, "");
	expect(fd, "/deny", 403, false); /* nothing of a body stands in between */
	finish(fd);
}

/* A reply shorter than the request, and one longer. */
static void any_size_of_head(void **state)
{
	char filler[3500];
	struct answer a;
	int fd = vip_connect(1);

	(void)state;
	for (size_t n = 1; n < 3300; n += 37) {
		memset(filler, 0, sizeof(filler));
		memcpy(filler, "X-Fill: ", 8);
		memset(filler + 8, 'x', n);
		strcpy(filler + 8 + n, "\r\n");
		send_get(fd, "/deny", filler);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		assert_string_equal(a.body, "no\n");
	}
	finish(fd);
}

static void agent_for_the_rest(void **state)
{
	uint64_t honoured = world.honoured, before;
	struct answer a;
	int fd = vip_connect(1);

	(void)state;
	expect(fd, "/", 200, true);
	assert_int_equal(world.honoured, honoured + 1); /* with the kernel's decision */
	expect(fd, "/deny", 403, false);
	finish(fd);
	/* must close: decided here, answered by the agent */
	fd = vip_connect(1);
	send_get(fd, "/deny", "Connection: close\r\n");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	assert_int_equal(world_handed(WEFT_HANDED_MUST_CLOSE), 1);
	finish(fd);
	/* the agent counts the requests of a connection, so it sees all of them */
	before = world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE);
	fd = vip_connect(9);
	for (int i = 0; i < 3; i++)
		expect(fd, "/deny", 403, false);
	assert_int_equal(world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE), before);
	assert_true(world_handed(WEFT_HANDED_MUST_CLOSE) > 1);
	finish(fd);
	/* too long for a program */
	fd = vip_connect(8);
	send_get(fd, "/deny", "");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	assert_true(strlen(a.body) == WEFT_REPLY_MAX);
	assert_int_equal(world_handed(WEFT_HANDED_REPLY_TOO_LONG), 1);
	finish(fd);
	world_drained();
}

static void never_in_place(void **state)
{
	static const struct {
		const char *text;
		enum weft_handed why;
	} c[] = {
		{"GET /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", WEFT_HANDED_BODY},
		{"GET /deny HTTP/1.1\r\nHost: a\r\n\r\nGET /deny HTTP/1.1\r\nHost: a\r\n\r\n",
		 WEFT_HANDED_PIPELINED},
		{"GET /deny HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
		 WEFT_HANDED_UNUSUAL},
	};
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		uint64_t before = world_handed(c[i].why);
		int fd = vip_connect(1);

		send_text(fd, c[i].text);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		if (c[i].why == WEFT_HANDED_PIPELINED)
			recv_answer(fd, false, &a);
		if (world_handed(c[i].why) != before + 1)
			fail_msg("case %zu", i);
		finish(fd);
	}
	world_drained();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_by_rule),    cmocka_unit_test(redirects),
		cmocka_unit_test(not_found),	      cmocka_unit_test(limits),
		cmocka_unit_test(grpc_counts_once),   cmocka_unit_test(head_gets_the_head),
		cmocka_unit_test(any_size_of_head),   cmocka_unit_test(agent_for_the_rest),
		cmocka_unit_test(never_in_place),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
