// SPDX-License-Identifier: Apache-2.0
/* Local replies: lines and their order are those of Envoy 1.40 on the wire. */
#include "test/unit/compile_fixture.h"

#define SHUT                                                                                       \
	"token_bucket: {max_tokens: 0, fill_interval: 60s}, filter_enabled: " ON                   \
	", filter_enforced: " ON
#define LIMIT_FILTER "{name: lrl, typed_config: {" LRL ", stat_prefix: rl}}, "
#define LIMITED(more)                                                                              \
	LISTENER("l", AT_80, HCM("", LIMIT_FILTER, RDS))                                           \
	ROUTES("{match: {prefix: /}, " OK_200 ", typed_per_filter_config: {lrl: {" LRL             \
	       ", stat_prefix: rl, " SHUT more "}}}")
#define ADD(key, value, more) "{header: {key: " key ", value: '" value "'}" more "}"
#define DIRECT(path, status, more)                                                                 \
	"{match: {path: " path "}, direct_response: {status: " #status more "}}, "
#define TEXT ", body: {inline_string: hello}"

static void test_direct_responses(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(DIRECT("/e", 200, "") DIRECT("/t", 200, TEXT) DIRECT(
			    "/204", 204, TEXT) DIRECT("/304", 304, "") DIRECT("/418", 418, "")
					       DIRECT("/599", 599, "") DIRECT("/201", 201, TEXT)));
	conf_reply_is(&c, "GET", "/e", "",
		      "HTTP/1.1 200 OK\r\ndate: \r\nserver: envoy\r\ncontent-length: 0\r\n\r\n");
	/* Envoy knows no length of a body that it did not make */
	conf_reply_is(&c, "HEAD", "/e", "",
		      "HTTP/1.1 200 OK\r\ndate: \r\nserver: envoy\r\n"
		      "transfer-encoding: chunked\r\n\r\n");
	conf_reply_is(&c, "HEAD", "/none", "",
		      "HTTP/1.1 404 Not Found\r\ndate: \r\nserver: envoy\r\n"
		      "transfer-encoding: chunked\r\n\r\n");
	conf_reply_is(&c, "HEAD", "/204", "",
		      "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\ndate: \r\nserver: envoy\r\n\r\n");
	conf_reply_is(&c, "HEAD", "/304", "",
		      "HTTP/1.1 304 Not Modified\r\ndate: \r\nserver: envoy\r\nlocation: "
		      "http://h/304\r\n\r\n");
	conf_reply_is(
		&c, "GET", "/t", "",
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\ndate: \r\n"
		"server: envoy\r\n\r\nhello");
	conf_reply_is(
		&c, "HEAD", "/t", "",
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\ndate: \r\n"
		"server: envoy\r\n\r\n");
	/* where Envoy sends bytes that no client reads, they are left out */
	conf_reply_is(&c, "GET", "/204", "",
		      "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\ndate: \r\nserver: envoy\r\n\r\n");
	conf_reply_is(&c, "GET", "/304", "",
		      "HTTP/1.1 304 Not Modified\r\ndate: \r\nserver: envoy\r\nlocation: "
		      "http://h/304\r\n\r\n");
	conf_reply_is(
		&c, "GET", "/418", "",
		"HTTP/1.1 418 Unknown\r\ndate: \r\nserver: envoy\r\ncontent-length: 0\r\n\r\n");
	conf_reply_is(
		&c, "GET", "/599", "",
		"HTTP/1.1 599 Last Unassigned Server Error Code\r\ndate: \r\nserver: envoy\r\n"
		"content-length: 0\r\n\r\n");
	conf_reply_is(&c, "GET", "/201", "",
		      "HTTP/1.1 201 Created\r\ncontent-length: 5\r\ncontent-type: "
		      "text/plain\r\ndate: \r\n"
		      "server: envoy\r\nlocation: http://h/201\r\n\r\nhello");
	conf_reply_is(
		&c, "GET", "/none", "",
		"HTTP/1.1 404 Not Found\r\ndate: \r\nserver: envoy\r\ncontent-length: 0\r\n\r\n");
	conf_close(&c);
}

static void test_limited(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LIMITED(""));
	conf_reply_is(&c, "GET", "/", "",
		      "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 18\r\ncontent-type: "
		      "text/plain\r\n"
		      "date: \r\nserver: envoy\r\n\r\nlocal_rate_limited");
	conf_ok(&c, LIMITED(", status: {code: 503}"));
	conf_reply_is(&c, "HEAD", "/", "",
		      "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 18\r\ncontent-type: "
		      "text/plain\r\n"
		      "date: \r\nserver: envoy\r\n\r\n");
	/* below 400: 429 */
	conf_ok(&c, LIMITED(", status: {code: 200}"));
	conf_reply_is(&c, "GET", "/", "",
		      "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 18\r\ncontent-type: "
		      "text/plain\r\n"
		      "date: \r\nserver: envoy\r\n\r\nlocal_rate_limited");
	conf_close(&c);
}

static void test_added_lines(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		LIMITED(", response_headers_to_add: [" ADD("x-a", "b", "") ", " ADD("X-A", "c", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") ", " ADD(
			"x-q", "d%%",
			", append_action: ADD_IF_ABSENT") ", " ADD("x-p", "e",
								   ", append_action: "
								   "OVERWRITE_IF_EXISTS") ", " ADD("x-e",
												   "",
												   "") ", " ADD("x-k",
														"",
														", keep_empty_value: true") "]"));
	conf_reply_is(
		&c, "GET", "/", "",
		"HTTP/1.1 429 Too Many Requests\r\nx-a: c\r\nx-a: b\r\nx-q: d%\r\nx-k: \r\n"
		"content-length: 18\r\ncontent-type: text/plain\r\ndate: \r\nserver: envoy\r\n\r\n"
		"local_rate_limited");
	conf_ok(&c,
		LIMITED(", response_headers_to_add: [" ADD("x-a", "1", ", append: false") ", " ADD(
			"x-a", "2", ", append: false") "]"));
	conf_reply_is(&c, "HEAD", "/", "",
		      "HTTP/1.1 429 Too Many Requests\r\nx-a: 2\r\ncontent-length: 18\r\n"
		      "content-type: text/plain\r\ndate: \r\nserver: envoy\r\n\r\n");
	conf_close(&c);
}

#define ADD_FIELD(i)                                                                               \
	"virtual_hosts[0].routes[0].typed_per_filter_config[\"lrl\"].response_headers_to_add[" #i  \
	"]"

static void test_refused_lines(void **state)
{
	(void)state;
	conf_refused(LIMITED(", response_headers_to_add: [" ADD("Content-Type", "a/b", "") "]"),
		     "RouteConfiguration/r", ADD_FIELD(0), "changes content-type");
	conf_refused(LIMITED(", response_headers_to_add: [" ADD("x", "y", "") ", " ADD(
			     "x", "%PROTOCOL%", "") "]"),
		     "RouteConfiguration/r", ADD_FIELD(1), "substitution");
	conf_refused(LIMITED(", response_headers_to_add: [{header: {key: x, raw_value: eQ==}}]"),
		     "RouteConfiguration/r", ADD_FIELD(0) ".header.raw_value", "unsupported");
}

static void test_server_name(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER("l", AT_80, HCM("server_name: mesh,", "", RDS))
			    ROUTES(DIRECT("/e", 200, "")));
	conf_reply_is(&c, "GET", "/e", "",
		      "HTTP/1.1 200 OK\r\ndate: \r\nserver: mesh\r\ncontent-length: 0\r\n\r\n");
	conf_ok(&c,
		LISTENER("l", AT_80, HCM("server_header_transformation: PASS_THROUGH,", "", RDS))
			ROUTES(DIRECT("/e", 200, "")));
	conf_reply_is(&c, "GET", "/e", "",
		      "HTTP/1.1 200 OK\r\ndate: \r\ncontent-length: 0\r\n\r\n");
	conf_ok(&c, LISTENER("l", AT_80, HCM("via: gate,", "", RDS)) ROUTES(DIRECT("/e", 200, "")));
	conf_reply_is(&c, "GET", "/e", "",
		      "HTTP/1.1 200 OK\r\ndate: \r\nvia: gate\r\nserver: envoy\r\n"
		      "content-length: 0\r\n\r\n");
	conf_close(&c);
}

/* One table for two managers whose names differ in their last byte only. */
static void test_long_server_names(void **state)
{
	char name[300], want[400], *yaml, *got;
	struct conf c;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_true(asprintf(&yaml,
			     LISTENER("k", "address: " ADDRESS("10.0.0.9", 80) ",",
				      HCM("server_name: %sa,", "", RDS))
				     LISTENER("l", AT_80, HCM("server_name: %sb,", "", RDS))
					     ROUTES(DIRECT("/e", 200, "")),
			     name, name) > 0);
	conf_open(&c);
	conf_ok(&c, yaml);
	snprintf(want, sizeof(want), "\r\nserver: %sb\r\n", name);
	got = conf_reply(&c, "GET", "/e", "");
	assert_non_null(strstr(got, want));
	free(got);
	free(yaml);
	conf_close(&c);
}

#define OVER "upstream connect error or disconnect/reset before headers. reset reason: overflow"
static void test_upstream_replies(void **state)
{
	static const char unknown[] = "HTTP/1.1 503 Service Unavailable\r\ndate: \r\nserver: "
				      "envoy\r\ncontent-length: 0\r\n\r\n";
	static const char missing[] =
		"HTTP/1.1 404 Not Found\r\ndate: \r\nserver: envoy\r\ncontent-length: 0\r\n\r\n";
	static const char dead[] = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: "
				   "19\r\ncontent-type: text/plain\r\ndate: \r\n"
				   "server: envoy\r\n\r\nno healthy upstream";
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {path: /u}, route: {cluster: u}}, "
				       "{match: {path: /v}, route: {cluster: u, "
				       "cluster_not_found_response_code: NOT_FOUND}}, "
				       "{match: {path: /d}, route: {cluster: d}}")
			    CLUSTER("d", "type: STATIC, load_assignment: {cluster_name: d}"));
	conf_reply_is(&c, "GET", "/u", "", unknown);
	conf_reply_is(&c, "GET", "/v", "", missing);
	conf_reply_is(&c, "GET", "/d", "", dead);
	conf_close(&c);
}

/* The reply of a breaker stands ready in the connection manager. */
static void test_overflow_reply(void **state)
{
	struct weft_reply_plan plan = {0};
	const struct weft_img_chain *chain;
	const struct weft_img_hcm *h;
	struct conf_req *q = calloc(1, sizeof(*q));
	char text[512] = "";
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(DIRECT("/e", 200, "")));
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	chain = weft_img_at(weft_chain_find(&q->ctx, WEFT_PROTO_RAW));
	h = weft_img_at(chain->target);
	assert_int_equal(weft_reply_plan_std(h->reply[WEFT_REPLY_OVERFLOW], false, &plan), 0);
	assert_true(plan.total < sizeof(text));
	weft_reply_write(&q->req, &plan, text);
	assert_non_null(strstr(
		text,
		"503 Service Unavailable\r\nx-envoy-overloaded: true\r\ncontent-length: 81\r\n"));
	assert_non_null(strstr(text, "\r\n\r\n" OVER));
	free(q);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_direct_responses), cmocka_unit_test(test_limited),
		cmocka_unit_test(test_added_lines),	 cmocka_unit_test(test_refused_lines),
		cmocka_unit_test(test_server_name),	 cmocka_unit_test(test_upstream_replies),
		cmocka_unit_test(test_overflow_reply),	 cmocka_unit_test(test_long_server_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
