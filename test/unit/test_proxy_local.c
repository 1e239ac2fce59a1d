// SPDX-License-Identifier: Apache-2.0
/* Replies made here, over a socket: after which of them the connection ends, and says so (each checked against Envoy 1.40). */
#include "proxy_fixture.h"

static struct fix_answer a;

static void upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
}

#define LIMIT_TYPE                                                                                       \
	"\"@type\": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, " \
	"stat_prefix: l"
#define LIMIT_400                                                                                              \
	"typed_per_filter_config: {l: {" LIMIT_TYPE ", status: {code: BadRequest}, token_bucket: {max_tokens: 1, "  \
	"tokens_per_fill: 1, fill_interval: 3600s}, filter_enabled: {default_value: {numerator: 100}}, "        \
	"filter_enforced: {default_value: {numerator: 100}}}}"
#define FILTERS                                                                                            \
	"http_filters: [{name: l, typed_config: {" LIMIT_TYPE "}}, {name: r, typed_config: {\"@type\": "        \
	"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}],"
#define ROUTES                                                                                                  \
	"{match: {path: /400}, direct_response: {status: 400, body: {inline_string: bad}}}, "                    \
	"{match: {path: /403}, direct_response: {status: 403, body: {inline_string: no}}}, "                     \
	"{match: {path: /redirect}, redirect: {path_redirect: /x}}, "                                            \
	"{match: {path: /limit-400}, direct_response: {status: 200}, " LIMIT_400 "}, " FIX_ROUTE

static void start(const char *hcm, const char *cluster)
{
	char fields[1024];

	fix_server(upstream);
	snprintf(fields, sizeof(fields), "%s%s", hcm, FILTERS);
	fix_open_http(fields, ROUTES, cluster, 1, 1);
}

static void say(int fd, const char *method, const char *path, const char *extra)
{
	char text[512];

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nhost: a\r\n%s\r\n", method, path, extra);
	fix_say(fd, text);
}

/* The last answer on the connection: it says so, and it is. */
static void expect_end(int fd, unsigned int status)
{
	assert_int_equal(a.status, status);
	assert_non_null(fix_header(a.head, "connection"));
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
}

static void expect_open(int fd, unsigned int status)
{
	assert_int_equal(a.status, status);
	assert_null(fix_header(a.head, "connection"));
	say(fd, "GET", "/403", "");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 403);
	close(fd);
}

#define GRPC "content-type: application/grpc\r\ncontent-length: 0\r\n"

static int ask(const char *method, const char *path, const char *extra)
{
	int fd = fix_dial();

	say(fd, method, path, extra);
	assert_true(fix_hear_of(fd, &a, !strcmp(method, "HEAD")));
	return fd;
}

/* Whoever makes a 400. */
static void test_bad_request(void **state)
{
	int fd;

	(void)state;
	start("", ", circuit_breakers: {thresholds: [{max_pending_requests: 0}]}");
	expect_end(ask("GET", "/400", ""), 400);
	expect_end(ask("HEAD", "/400", ""), 400);
	expect_open(ask("GET", "/limit-400", ""), 200); /* the only token */
	expect_end(ask("GET", "/limit-400", ""), 400);
	fd = ask("POST", "/400", GRPC);
	assert_string_equal(fix_header(a.head, "grpc-status"), "13");
	expect_end(fd, 200);
	fd = ask("POST", "/limit-400", GRPC);
	assert_string_equal(fix_header(a.head, "grpc-message"), "local_rate_limited");
	expect_end(fd, 200);
	expect_open(ask("GET", "/403", ""), 403);
	expect_open(ask("GET", "/redirect", ""), 301);
	expect_open(ask("GET", "/overflow", ""), 503);
	expect_open(ask("POST", "/403", GRPC), 200);
	fix_close();
}

/* HEAD of a reply without a body: Envoy words it as one whose length it does not know. */
static void test_empty_head(void **state)
{
	static const char *const asks[] = {"/redirect", "/limit-400"};
	int fd;

	(void)state;
	start("", "");
	for (size_t i = 0; i < sizeof(asks) / sizeof(*asks); i++) {
		fd = ask("HEAD", asks[i], "");
		assert_non_null(fix_header(a.head, "transfer-encoding"));
		assert_string_equal(fix_header(a.head, "transfer-encoding"), "chunked");
		assert_null(fix_header(a.head, "content-length"));
		expect_open(fd, i ? 200 : 301);
	}
	fd = ask("HEAD", "/403", "");
	assert_null(fix_header(a.head, "transfer-encoding"));
	assert_string_equal(fix_header(a.head, "content-length"), "2");
	expect_open(fd, 403);
	fd = ask("HEAD", "/403", GRPC);
	assert_null(fix_header(a.head, "grpc-message"));
	assert_string_equal(fix_header(a.head, "transfer-encoding"), "chunked");
	assert_null(fix_header(a.head, "content-length"));
	expect_open(fd, 200);
	fd = ask("GET", "/403", GRPC);
	assert_null(fix_header(a.head, "transfer-encoding"));
	assert_string_equal(fix_header(a.head, "content-length"), "0");
	expect_open(fd, 200);
	fix_close();
}

/* max_requests_per_connection: the last one says so, whoever answers it. */
static void test_last_request(void **state)
{
	static const struct {
		const char *method, *path, *extra;
		unsigned int status;
	} last[] = {{"GET", "/403", "", 403},	  {"GET", "/redirect", "", 301},
		    {"GET", "/overflow", "", 503}, {"POST", "/403", GRPC, 200}};

	(void)state;
	start("common_http_protocol_options: {max_requests_per_connection: 2},",
	      ", circuit_breakers: {thresholds: [{max_pending_requests: 0}]}");
	for (size_t i = 0; i < sizeof(last) / sizeof(*last); i++) {
		int fd = ask("GET", "/403", "");

		assert_null(fix_header(a.head, "connection"));
		say(fd, last[i].method, last[i].path, last[i].extra);
		assert_true(fix_hear(fd, &a));
		expect_end(fd, last[i].status);
	}
	fix_close();
}

/* Makes one of the connection manager's own replies one that closes. */
static void reply_closes(unsigned int which)
{
	struct weft_ctx ctx = {.pod = FIX_POD, .dst = fix.dst.dst};
	const struct weft_img_chain *chain;
	const struct weft_img_hcm *h;

	assert_int_equal(weft_ctx_begin(&ctx), 0);
	assert_int_equal(weft_listener_find(&ctx), 0);
	chain = weft_img_at(weft_chain_find(&ctx, WEFT_PROTO_RAW));
	h = weft_img_at(chain->target);
	((struct weft_img_reply *)(uintptr_t)weft_img_at(h->reply[which]))->flags |= WEFT_REPLY_CLOSES;
}

/* The flag of the reply decides where the caller knows nothing of it: said and done are the same. */
static void test_flag(void **state)
{
	(void)state;
	start("", ", circuit_breakers: {thresholds: [{max_pending_requests: 0}]}");
	reply_closes(WEFT_REPLY_OVERFLOW);
	expect_end(ask("GET", "/overflow", ""), 503);
	expect_open(ask("GET", "/403", ""), 403);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {FIX_TEST(test_bad_request), FIX_TEST(test_empty_head),
					   FIX_TEST(test_last_request),
					   FIX_TEST(test_flag)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
