// SPDX-License-Identifier: Apache-2.0
/* Responses and a client that does not take them. */
#include "proxy_fixture.h"

#define HINT "HTTP/1.1 103 Hints\r\nlink: </a-rather-long-name-of-a-stylesheet>; rel=preload\r\n\r\n"

static size_t poured; /* atomic: bytes that the upstream got rid of */
static bool over; /* atomic: it has stopped */

/* Interim responses without end. */
static void hints(int fd)
{
	static char block[sizeof(HINT) * 500];
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	for (size_t at = 0; at < 500; at++)
		memcpy(block + at * (sizeof(HINT) - 1), HINT, sizeof(HINT) - 1);
	__atomic_store_n(&poured, fix_pour(fd, block, 500 * (sizeof(HINT) - 1), FIX_POUR_MOST), __ATOMIC_RELEASE);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	fix_head_read(fd, head, sizeof(head));
}

/* A client that takes none of them holds the upstream back; when it does, they go on. */
static void test_interim_bounded(void **state)
{
	struct fix_answer a;
	int fd;

	(void)state;
	fix_server(hints);
	fix_open_http("proxy_100_continue: true,", "{match: {prefix: /}, route: {cluster: up, timeout: 0s}}", "", 1, 1);
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		fix_sleep(20);
	assert_true(__atomic_load_n(&poured, __ATOMIC_ACQUIRE) < FIX_POUR_MOST);
	for (int i = 0; i < 20000; i++) {
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 103);
	}
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {FIX_TEST(test_interim_bounded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
