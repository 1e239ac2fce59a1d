// SPDX-License-Identifier: Apache-2.0
/* What internal requests ask of the router: times, retries, the answer when the time is over. */
#include "proxy_fixture.h"

#define INSIDE "x-forwarded-for: 10.1.1.1\r\n"
#define OUTSIDE "x-forwarded-for: 9.9.9.9\r\n"
#define HCM "internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]},"

static struct fix_answer a;
static unsigned int seen;
static char last[8192]; /* the last head that came */
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;

/* What it is now. */
static const char *last_head(void)
{
	static char copy[sizeof(last)];

	pthread_mutex_lock(&last_lock);
	memcpy(copy, last, sizeof(copy));
	pthread_mutex_unlock(&last_lock);
	return copy;
}

/* /status/N fails N times, /header/N has x-again N times, /slow sleeps. */
static void upstream(int fd)
{
	char head[8192], path[16];
	unsigned int n;

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

		pthread_mutex_lock(&last_lock);
		memcpy(last, head, sizeof(last));
		pthread_mutex_unlock(&last_lock);
		if (sscanf(head, "%*s /%15[a-z]/%u", path, &n) != 2)
			return;
		if (__atomic_fetch_add(&seen, 1, __ATOMIC_RELEASE) < n) {
			if (!strcmp(path, "status"))
				answer = "HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n";
			if (!strcmp(path, "header"))
				answer = "HTTP/1.1 200 OK\r\nX-Again: 1\r\ncontent-length: "
					 "0\r\n\r\n";
			if (!strcmp(path, "slow"))
				fix_sleep(300);
		}
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
}

static void ask(const char *path, const char *headers)
{
	char text[1024];
	int fd = fix_dial();

	__atomic_store_n(&seen, 0, __ATOMIC_RELEASE);
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n%s\r\n", path, headers);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	close(fd);
}

static void open_with(const char *more)
{
	char hcm[1024];

	snprintf(hcm, sizeof(hcm), HCM "%s", more);
	fix_server(upstream);
	fix_open_http(hcm, FIX_ROUTE, "", 1, 1);
}

static void test_retries(void **state)
{
	(void)state;
	open_with("");
	ask("/status/2",
	    INSIDE "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: "
		   "400, 418\r\n"
		   "x-envoy-max-retries: 2\r\n");
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 3);
	assert_null(strstr(last_head(), "x-envoy-retr"));
	assert_null(strstr(last_head(), "x-envoy-max-retries"));
	assert_string_equal(fix_header(last_head(), "x-envoy-internal"), "true");
	/* one further attempt without a number */
	ask("/status/2", INSIDE
	    "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 418\r\n");
	assert_int_equal(a.status, 418);
	assert_int_equal(FIX_LOAD(seen), 2);
	ask("/status/1", INSIDE
	    "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 41,x\r\n");
	assert_int_equal(FIX_LOAD(seen), 1);
	ask("/header/1",
	    INSIDE "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: x, "
		   "X-AGAIN\r\n");
	assert_int_equal(FIX_LOAD(seen), 2);
	ask("/header/1",
	    INSIDE "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: x-aga, "
		   "x-again2\r\n");
	assert_int_equal(FIX_LOAD(seen), 1);
	/* others may not ask */
	ask("/status/1", OUTSIDE
	    "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 418\r\n");
	assert_int_equal(a.status, 418);
	assert_int_equal(FIX_LOAD(seen), 1);
	assert_null(fix_header(last_head(), "x-envoy-internal"));
	fix_close();
}

static void test_times(void **state)
{
	(void)state;
	open_with("");
	ask("/slow/1", INSIDE "x-envoy-upstream-rq-timeout-ms: 50\r\n");
	assert_int_equal(a.status, 504);
	assert_string_equal(fix_header(last_head(), "x-envoy-expected-rq-timeout-ms"), "50");
	ask("/slow/1", INSIDE "x-envoy-upstream-rq-timeout-ms: "
			      "50\r\nx-envoy-upstream-rq-timeout-alt-response: 1\r\n");
	assert_int_equal(a.status, 204);
	assert_string_equal(a.body, "");
	ask("/slow/1",
	    INSIDE "x-envoy-upstream-rq-per-try-timeout-ms: 50\r\nx-envoy-retry-on: 5xx\r\n");
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 2);
	ask("/slow/9", INSIDE "x-envoy-upstream-stream-duration-ms: 50\r\n");
	assert_int_equal(a.status, 504);
	assert_string_equal(a.body, "upstream max stream duration reached");
	/* a hedge is tried again whatever the policy, and its last attempt waits for the whole time
	 */
	ask("/slow/1", INSIDE
	    "x-envoy-upstream-rq-per-try-timeout-ms: 50\r\nx-envoy-retry-on: connect-failure\r\n"
	    "x-envoy-hedge-on-per-try-timeout: true\r\n");
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(seen), 2);
	ask("/slow/9", INSIDE "x-envoy-upstream-rq-per-try-timeout-ms: "
			      "50\r\nx-envoy-hedge-on-per-try-timeout: true\r\n");
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(last_head(), "x-envoy-expected-rq-timeout-ms"), "15000");
	ask("/slow/1", INSIDE "x-envoy-upstream-rq-timeout-ms: 0\r\n");
	assert_int_equal(a.status, 200);
	assert_null(fix_header(last_head(), "x-envoy-expected-rq-timeout-ms"));
	ask("/slow/0", OUTSIDE "x-envoy-upstream-rq-timeout-ms: 50\r\n");
	assert_string_equal(fix_header(last_head(), "x-envoy-expected-rq-timeout-ms"), "15000");
	fix_close();
}

#define WITH_ROUTER(more)                                                                          \
	"http_filters: [{name: r, typed_config: {\"@type\": "                                      \
	"type.googleapis.com/envoy.extensions.filters."                                            \
	"http.router.v3.Router, " more "}}],"

static void test_router(void **state)
{
	(void)state;
	open_with(WITH_ROUTER("respect_expected_rq_timeout: true"));
	ask("/x/0", INSIDE
	    "x-envoy-expected-rq-timeout-ms: 700\r\nx-envoy-upstream-rq-timeout-ms: 800\r\n");
	assert_string_equal(fix_header(last_head(), "x-envoy-expected-rq-timeout-ms"), "700");
	assert_string_equal(fix_header(last_head(), "x-envoy-upstream-rq-timeout-ms"), "800");
	fix_close();
	open_with(WITH_ROUTER("strict_check_headers: [x-envoy-max-retries]"));
	ask("/x/0", INSIDE "x-envoy-max-retries: many\r\n");
	assert_int_equal(a.status, 400);
	assert_string_equal(a.body, "invalid header 'x-envoy-max-retries' with value 'many'");
	assert_int_equal(FIX_LOAD(seen), 0);
	ask("/x/0", OUTSIDE "x-envoy-max-retries: many\r\n");
	assert_int_equal(a.status, 200);
	fix_close();
}

/* include_is_timeout_retry_header: why a further attempt is one; the client's own word goes first.
 */
static void test_late(void **state)
{
	(void)state;
	fix_server(upstream);
	fix_open_http("",
		      "{match: {prefix: /}, route: {cluster: up, retry_policy: {retry_on: "
		      "'5xx,retriable-status-codes', "
		      "retriable_status_codes: [418], per_try_timeout: 0.1s}}}], "
		      "include_is_timeout_retry_header: true, "
		      "request_headers_to_remove: [x-unused",
		      "", 1, 1);
	ask("/slow/1", "");
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(last_head(), "x-envoy-is-timeout-retry"), "true");
	ask("/status/1", "x-envoy-is-timeout-retry: mine\r\n");
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(last_head(), "x-envoy-is-timeout-retry"), "false");
	ask("/x/0", "x-envoy-is-timeout-retry: mine\r\n");
	assert_string_equal(fix_header(last_head(), "x-envoy-is-timeout-retry"), "mine");
	fix_close();
}

/* x-forwarded-client-cert: no client here has a certificate. */
static void test_cert(void **state)
{
	static const char *const modes[] = {"via: ''",
					    "forward_client_cert_details: APPEND_FORWARD",
					    "forward_client_cert_details: ALWAYS_FORWARD_ONLY"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		char hcm[128];

		snprintf(hcm, sizeof(hcm), "%s,", modes[i]);
		fix_server(upstream);
		fix_open_http(hcm, FIX_ROUTE, "", 1, 1);
		ask("/x/0", "X-Forwarded-Client-Cert: By=a\r\nx-forwarded-client-cert: By=b\r\n");
		if (i < 2)
			assert_null(fix_header(last_head(), "x-forwarded-client-cert"));
		else
			assert_string_equal(fix_header(last_head(), "x-forwarded-client-cert"),
					    "By=a,By=b");
		fix_close();
	}
}

/* x-envoy-force-trace: the request's id comes back. */
static void test_trace(void **state)
{
	(void)state;
	open_with("");
	ask("/x/0", INSIDE "x-envoy-force-trace: 1\r\nx-request-id: mine\r\n");
	assert_string_equal(fix_header(a.head, "x-request-id"), "mine");
	ask("/x/0", OUTSIDE "x-envoy-force-trace: 1\r\nx-request-id: mine\r\n");
	assert_null(fix_header(a.head, "x-request-id"));
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_retries), FIX_TEST(test_times), FIX_TEST(test_router),
		FIX_TEST(test_late),	FIX_TEST(test_cert),  FIX_TEST(test_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
