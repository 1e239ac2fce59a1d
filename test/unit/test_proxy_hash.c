// SPDX-License-Identifier: Apache-2.0
/* Hash policies over a socket: the cookies that they make. */
#include "proxy_fixture.h"

static struct fix_answer a;

/* Answers with the status that the path asks for, and a cookie of its own. */
static void upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *line = strstr(head, "/bad") ? "HTTP/1.1 503 No\r\nset-cookie: "
							  "own=1\r\ncontent-length: 0\r\n\r\n"
							: "HTTP/1.1 200 OK\r\nset-cookie: "
							  "own=1\r\ncontent-length: 0\r\n\r\n";

		send(fd, line, strlen(line), MSG_NOSIGNAL);
	}
}

static void get(int fd, const char *path, const char *extra)
{
	char text[1024];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n%s\r\n", path, extra);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
		n++;
	return n;
}

#define ROUTE(path, more)                                                                          \
	"{match: {prefix: " path                                                                   \
	"}, route: {cluster: up, hash_policy: [{cookie: {name: k, ttl: 60s, path: "                \
	"/p, attributes: [{name: Secure}, {name: SameSite, value: Lax}]}}]" more "}}"

static void start(const char *lb)
{
	char cluster[64];

	snprintf(cluster, sizeof(cluster), ", lb_policy: %s", lb);
	fix_server(upstream);
	fix_open_http("",
		      ROUTE("/bad",
			    ", retry_policy: {retry_on: 5xx, num_retries: 1}") ", " ROUTE("/", ""),
		      cluster, 1, 1);
}

static void test_cookie(void **state)
{
	char first[256];
	const char *p;
	int fd, other;

	(void)state;
	start("RING_HASH");
	fd = fix_dial();
	get(fd, "/", "");
	assert_int_equal(count(a.head, "set-cookie: "), 2);
	p = strstr(a.head, "set-cookie: k=\"");
	assert_non_null(p);
	assert_non_null(strstr(p, "\"; Max-Age=60; Path=/p; Secure; SameSite=Lax; HttpOnly\r\n"));
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(p, "\r"), p);
	/* a connection's is the same each time, another's another */
	get(fd, "/", "cookie: k=\r\n");
	assert_non_null(strstr(a.head, first));
	get(fd, "/", "cookie: k=v\r\n");
	assert_int_equal(count(a.head, "set-cookie: "), 1);
	other = fix_dial();
	get(other, "/", "");
	assert_null(strstr(a.head, first));
	assert_int_equal(count(a.head, "set-cookie: k="), 1);
	close(other);
	close(fd);
	fix_close();
}

/* Once for each choice of an endpoint. */
static void test_retried(void **state)
{
	int fd;

	(void)state;
	start("MAGLEV");
	fd = fix_dial();
	get(fd, "/bad", "");
	assert_int_equal(count(a.head, "set-cookie: own"), 1);
	assert_int_equal(count(a.head, "set-cookie: k="), 2);
	close(fd);
	fix_close();
}

/* Nobody asks for the hash. */
static void test_round_robin(void **state)
{
	int fd;

	(void)state;
	start("ROUND_ROBIN");
	fd = fix_dial();
	get(fd, "/", "");
	assert_int_equal(count(a.head, "set-cookie: "), 1);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_cookie),
		FIX_TEST(test_retried),
		FIX_TEST(test_round_robin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
