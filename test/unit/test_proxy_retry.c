// SPDX-License-Identifier: Apache-2.0
/* Attempts that fail: what is tried again, how often, with which bytes; and what the client is told at last. */
#include "proxy_fixture.h"

static struct fix_answer a;
static unsigned int seen; /* requests that an upstream took */
static unsigned int expected[8]; /* x-envoy-expected-rq-timeout-ms of each */

static unsigned int took(void)
{
	return __atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
}

/* The first requests fail as the path says: /drop/N, /status/N, /slow/N. Then 200 with the body's last bytes. */
static void upstream(int fd)
{
	char head[8192], path[16], body[64] = "";
	unsigned int n;

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *v = fix_header(head, "content-length"), *answer;
		size_t len = v ? strtoul(v, NULL, 10) : 0;

		v = fix_header(head, "x-envoy-expected-rq-timeout-ms");
		__atomic_store_n(&expected[FIX_LOAD(seen) % 8], v ? (unsigned int)strtoul(v, NULL, 10) : 0,
				 __ATOMIC_RELEASE);

		if (sscanf(head, "%*s /%15[a-z]/%u", path, &n) != 2)
			return;
		for (size_t i = 0; i < len; i++) {
			if (recv(fd, body + i % 63, 1, 0) != 1)
				return;
		}
		answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
		if (took() < n) {
			if (!strcmp(path, "drop"))
				return;
			if (!strcmp(path, "slow"))
				fix_sleep(400);
			if (!strcmp(path, "late"))
				fix_sleep(30);
			if (!strcmp(path, "status") || !strcmp(path, "late"))
				answer = "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno";
			if (!strcmp(path, "limited"))
				answer = "HTTP/1.1 503 No\r\nx-envoy-ratelimited: true\r\ncontent-length: 2\r\n\r\nno";
			if (!strcmp(path, "reset")) { /* in a second, and in one and a half of Unix
							 time */
				static char text[160];

				snprintf(text, sizeof(text),
					 "HTTP/1.1 503 No\r\nx-unix: %lld\r\nx-wait: 1\r\n"
					 "content-length: 2\r\n\r\nno",
					 (long long)time(NULL) + 2);
				answer = text;
			}
			if (!strcmp(path, "grpc"))
				answer = "HTTP/1.1 200 OK\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n";
		}
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
}

static void open_with(const char *route, const char *cluster, unsigned int n)
{
	char routes[512];

	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	snprintf(routes, sizeof(routes), "{match: {prefix: /}, route: {cluster: up%s}}", route);
	fix_open_http("", routes, cluster, n, 1);
}

static void ask(const char *text)
{
	int fd = fix_dial();

	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define RETRIED "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
#define FAILED "upstream connect error or disconnect/reset before headers. reset reason: "

static void test_nothing_without_policy(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with("", "", 1);
	ask(GET("/drop/1"));
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, FAILED "connection termination");
	assert_int_equal(FIX_LOAD(seen), 1);
	fix_close();
}

/* A further attempt is told what is left of the route's time. */
static void test_expected_timeout(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", timeout: 3s, retry_policy: {retry_on: 5xx}", "", 1);
	ask(GET("/late/1"));
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(expected[0]), 3000);
	assert_in_range(FIX_LOAD(expected[1]), 1, 2999);
	fix_close();
	fix_server(upstream);
	open_with(", timeout: 3s, retry_policy: {retry_on: 5xx, per_try_timeout: 2s}", "", 1);
	ask(GET("/status/1"));
	assert_int_equal(FIX_LOAD(expected[0]), 2000);
	assert_int_equal(FIX_LOAD(expected[1]), 2000);
	fix_close();
}

/* retriable_headers are the response's, retriable_request_headers say whose requests are tried
 * again at all. */
static void test_by_headers(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: retriable-headers, num_retries: 3, "
		  "retriable_headers: [{name: x-none, present_match: true}, "
		  "{name: X-Envoy-RateLimitee, string_match: {exact: yes}}, {name: ':status', "
		  "string_match: {exact: '503'}}]}",
		  "", 1);
	ask(GET("/status/2"));
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 3);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/grpc/2"));
	assert_int_equal(FIX_LOAD(seen), 1);
	fix_close();
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: 5xx, retriable_request_headers: [{name: X-May, "
		  "string_match: {exact: a}}, "
		  "{name: ':path', string_match: {suffix: /7}}, {name: host, string_match: {exact: "
		  "b}}]}",
		  "", 1);
	ask(GET("/status/1"));
	assert_int_equal(a.status, 503);
	assert_int_equal(FIX_LOAD(seen), 1);
	for (unsigned int i = 0; i < 3; i++) {
		static const char *const may[] = {
			"GET /status/1 HTTP/1.1\r\nhost: a\r\nx-may: b\r\nx-may: a\r\n\r\n",
			"GET /status/7 HTTP/1.1\r\nhost: a\r\n\r\n",
			"GET /status/1 HTTP/1.1\r\nhost: b\r\n\r\n",
		};

		__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
		ask(may[i]);
		assert_int_equal(FIX_LOAD(seen), 2);
	}
	fix_close();
}

/* rate_limited_retry_back_off: no earlier than the response says, where it says it within
 * max_interval. */
static void test_back_off_of_response(void **state)
{
#define LIMITED(headers)                                                                           \
	", retry_policy: {retry_on: 5xx, rate_limited_retry_back_off: {max_interval: 5s, "         \
	"reset_headers: [" headers "]}}"
	static const struct {
		const char *route;
		uint64_t least_ms;
	} t[] = {{LIMITED("{name: X-Wait}"), 1000},
		 {LIMITED("{name: x-none}, {name: x-unix, format: UNIX_TIMESTAMP}"), 900},
		 /* a Unix time is no wait that is short enough */
		 {LIMITED("{name: x-unix}, {name: x-wait}"), 1000}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		uint64_t from;

		fix_server(upstream);
		open_with(t[i].route, "", 1);
		from = fix_now_ms();
		ask(GET("/reset/1"));
		assert_int_equal(a.status, 200);
		assert_int_equal(FIX_LOAD(seen), 2);
		assert_true(fix_now_ms() - from >= t[i].least_ms);
		fix_close();
	}
}

static void test_reset(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: reset, num_retries: 3}", "", 1);
	ask(GET("/drop/3"));
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 4);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/drop/9"));
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, RETRIED "connection termination");
	assert_int_equal(FIX_LOAD(seen), 4);
	fix_close();
}

/* The request was written: it is not "before the request". */
static void test_reset_before_request(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: reset-before-request, num_retries: 3}", "", 1);
	ask(GET("/drop/1"));
	assert_int_equal(a.status, 503);
	assert_int_equal(FIX_LOAD(seen), 1);
	fix_close();
}

static void test_connect_failure(void **state)
{
	(void)state;
	fix_server(NULL);
	open_with("", "", 1);
	ask(GET("/x/0"));
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, FAILED "remote connection failure");
	fix_close();

	/* the other endpoint is tried, each time: previous_hosts */
	fix_server(NULL);
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: connect-failure, num_retries: 1, host_selection_retry_max_attempts: 5, "
		  "retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {\"@type\": "
		  "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}",
		  "", 2);
	for (int i = 0; i < 10; i++) {
		ask(GET("/x/0"));
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(FIX_LOAD(seen), 10);
	assert_true(FIX_LOAD(fix_cluster()->rq_retry) > 0);
	fix_close();
}

static void test_status(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: 5xx, num_retries: 2}", "", 1);
	ask(GET("/status/2"));
	assert_int_equal(a.status, 200);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/status/9")); /* the last answer is the client's */
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, "no");
	assert_int_equal(FIX_LOAD(seen), 3);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/limited/1")); /* refused by a limit: only envoy-ratelimited tries again */
	assert_int_equal(a.status, 503);
	assert_int_equal(FIX_LOAD(seen), 1);
	fix_close();

	fix_server(upstream);
	open_with(", retry_policy: {retry_on: \"unavailable,retriable-status-codes\", retriable_status_codes: [503]}", "", 1);
	ask(GET("/grpc/1"));
	assert_null(fix_header(a.head, "grpc-status"));
	assert_int_equal(FIX_LOAD(seen), 2);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/status/1"));
	assert_int_equal(a.status, 200);
	fix_close();
}

static void test_body_again(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: reset, num_retries: 2}", "", 1);
	ask("POST /drop/2 HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0123456789");
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 3);
	fix_close();
}

/* More than the buffer limit is not kept, so nothing is tried again. */
static void test_body_too_long(void **state)
{
	char text[20000] = "POST /drop/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 19000\r\n\r\n";

	(void)state;
	memset(text + strlen(text), 'x', 19000);
	fix_server(upstream);
	open_with(", retry_policy: {retry_on: reset, num_retries: 2}", ", per_connection_buffer_limit_bytes: 8192", 1);
	ask(text);
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, FAILED "connection termination");
	assert_int_equal(FIX_LOAD(seen), 1);
	fix_close();
}

static void test_route_timeout(void **state)
{
	uint64_t start;

	(void)state;
	fix_server(upstream);
	open_with(", timeout: 0.15s", "", 1);
	start = fix_now_ms();
	ask(GET("/slow/1"));
	assert_int_equal(a.status, 504);
	assert_string_equal(a.body, "upstream request timeout");
	assert_true(fix_now_ms() - start >= 150);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_timeout), 1);
	fix_close();
}

static void test_per_try_timeout(void **state)
{
	(void)state;
	fix_server(upstream);
	open_with(", timeout: 3s, retry_policy: {retry_on: 5xx, num_retries: 2, per_try_timeout: 0.1s}", "", 1);
	ask(GET("/slow/1"));
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 2);
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	ask(GET("/slow/9"));
	assert_int_equal(a.status, 504);
	assert_string_equal(a.body, "upstream request timeout");
	/* an attempt of the request before may still reach the server */
	assert_in_range(FIX_LOAD(seen), 3, 4);
	fix_close();
}

/* A try's time begins with the end of the request: a long upload is no slow answer. */
static void test_per_try_upload(void **state)
{
	static const char *const route[] = {
		", timeout: 3s, retry_policy: {retry_on: 5xx, per_try_timeout: 0.1s}",
		", timeout: 3s, retry_policy: {retry_on: 5xx, per_try_idle_timeout: 0.1s}"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd;

		fix_server(upstream);
		open_with(route[i], "", 1);
		fd = fix_dial();
		fix_say(fd, "POST /x/0 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nh");
		fix_sleep(250);
		fix_say(fd, "i");
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
		/* then it counts */
		fix_say(fd, "POST /slow/9 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nh");
		fix_sleep(150);
		fix_say(fd, "i");
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 504);
		close(fd);
		fix_close();
	}
}

static void test_connect_timeout(void **state)
{
	(void)state;
	fix_server(NULL);
	/* an address that nobody answers for: the SYN is lost */
	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	fix_open("static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains: [{filters: [{name: hcm, typed_config: {\"@type\": type.googleapis.com/envoy."
		 "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s,\n"
		 "      http_filters: [{name: r, typed_config: {\"@type\": type.googleapis.com/envoy.extensions."
		 "filters.http.router.v3.Router}}],\n"
		 "      route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [" FIX_ROUTE "]}]}}}]}]\n"
		 "  clusters:\n"
		 "  - {name: up, type: STATIC, connect_timeout: 0.1s, load_assignment: {cluster_name: up, endpoints: "
		 "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: 192.0.2.77, port_value: 9}}}}]}]}}\n",
		 1);
	ask(GET("/x/0"));
	assert_int_equal(a.status, 503);
	/* a machine without a route says so at once */
	assert_true(!strcmp(a.body, FAILED "connection timeout") || !strcmp(a.body, FAILED "remote connection failure"));
	fix_close();
}

/* An idle connection that the upstream closes is not used again. */
static void once(int fd)
{
	char head[8192];

	if (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
}
static void test_closed_while_idle(void **state)
{
	int fd;

	(void)state;
	fix_server(once);
	open_with("", "", 1);
	fd = fix_dial();
	for (unsigned int i = 0; i < 20; i++) {
		fix_say(fd, GET("/x/0"));
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
		fix_sleep(10);
	}
	assert_int_equal(fix_calls(0), 20);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_by_headers),	     FIX_TEST(test_nothing_without_policy),
		FIX_TEST(test_expected_timeout),     FIX_TEST(test_reset),
		FIX_TEST(test_back_off_of_response), FIX_TEST(test_reset_before_request),
		FIX_TEST(test_connect_failure),	     FIX_TEST(test_status),
		FIX_TEST(test_body_again),	     FIX_TEST(test_body_too_long),
		FIX_TEST(test_route_timeout),	     FIX_TEST(test_per_try_timeout),
		FIX_TEST(test_per_try_upload),	     FIX_TEST(test_connect_timeout),
		FIX_TEST(test_closed_while_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
