// SPDX-License-Identifier: Apache-2.0
/* What would be sent for a decision: the request's head, or the whole reply. */
#include "compile_fixture.h"

#include "agent/proxy/preview.h"

#define ROUTES_TEXT                                                                                \
	"{match: {prefix: /up}, route: {cluster: c, prefix_rewrite: /new, host_rewrite_literal: "  \
	"b}, "                                                                                     \
	"request_headers_to_add: [{header: {key: x-a, value: '%REQ(:path)%'}}]}, {match: {path: "  \
	"/moved}, "                                                                                \
	"redirect: {path_redirect: /n}, response_headers_to_add: [{header: {key: x-was, value: "   \
	"'%RESP(location)%'}}]}, {match: {path: /moved-2}, redirect: {path_redirect: /n}, "        \
	"response_headers_to_remove: [location]}, {match: {path: /plain}, direct_response: "       \
	"{status: "                                                                                \
	"200, body: {inline_string: hi}}}, {match: {prefix: /re}, route: {cluster: c, "            \
	"regex_rewrite: "                                                                          \
	"{pattern: {regex: '^/re/([a-z]+)'}, substitution: '/\\1'}, host_rewrite_path_regex: "     \
	"{pattern: "                                                                               \
	"{regex: '^/re/([a-z]*).*$'}, substitution: '\\1'}}}, {match: {prefix: /to}, redirect: "   \
	"{strip_query: true, regex_rewrite: {pattern: {regex: '^/to/(.*)'}, substitution: '/\\1 "  \
	"x?y'}}, "                                                                                 \
	"response_headers_to_add: [{header: {key: x-now, value: '%REQ(:path)%'}}]}, {match: "      \
	"{prefix: /pre/}, "                                                                        \
	"redirect: {prefix_rewrite: /n/}, response_headers_to_add: [{header: {key: x-now, value: " \
	"'%REQ(:path)% %REQ(x-envoy-original-path)%'}}]}, {match: {prefix: /fmt}, redirect: "      \
	"{path_rewrite: "                                                                          \
	"'%REQ(x-p)%'}, response_headers_to_add: [{header: {key: x-now, value: "                   \
	"'%REQ(:path)%'}}]}, {match: "                                                             \
	"{prefix: /cut}, redirect: {path_rewrite: '%REQ(x-p)%', strip_query: true}}, {match: "     \
	"{prefix: /hash}, "                                                                        \
	"route: {cluster: c, hash_policy: [{header: {header_name: x-k}}]}, "                       \
	"request_headers_to_add: [{header: "                                                       \
	"{key: x-k, value: '%REQ(x-p)%'}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}"

static char *preview(struct conf *c, const char *path, const char *headers)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char *text = NULL;
	size_t len = 0;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", path, headers);
	assert_int_equal(weft_proxy_preview(&q->req, &q->ctx, &text, &len), 0);
	assert_int_equal(strlen(text), len);
	free(q);
	return text;
}

static void preview_has(struct conf *c, const char *path, const char *headers, const char *want, bool has)
{
	char *text = preview(c, path, headers);

	if (!strstr(text, want) == has)
		fail_msg("%s%s expected in\n%s", has ? "" : "not ", want, text);
	free(text);
}

static void test_preview(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(ROUTES_TEXT) CLUSTER(
			    "c", "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT(
					 "10.1.0.1", 80) "]}]}"));
	preview_has(&c, "/up/x?q", "x-c: d\r\n", "GET /new/x?q HTTP/1.1\r\nhost: b\r\nx-c: d\r\n", true);
	preview_has(&c, "/up/x?q", "", "\r\nx-a: /up/x?q\r\n", true);
	preview_has(&c, "/up/x?q", "", "\r\nx-envoy-original-path: /up/x?q\r\n", true);
	preview_has(&c, "/up/x?q", "", "\r\nx-request-id: 00000000-0000-4000-8000-000000000000\r\n", true);
	preview_has(&c, "/moved?q", "", "\r\nx-was: http://h/n?q\r\n", true);
	preview_has(&c, "/moved?q", "", "\r\nlocation: http://h/n?q\r\n", true);
	preview_has(&c, "/moved-2", "", "location", false);
	preview_has(&c, "/moved", "content-type: application/grpc\r\n", "HTTP/1.1 200 OK\r\n", true);
	preview_has(&c, "/moved", "content-type: application/grpc\r\n", "\r\ngrpc-status: 2\r\n", true);
	preview_has(&c, "/plain", "", "\r\n\r\nhi", true);
	preview_has(&c, "/re/ab/c?q=/re/d", "", "GET /ab/c?q=/re/d HTTP/1.1\r\nhost: ab\r\n", true);
	/* an empty host is none; what does not match stays */
	preview_has(&c, "/re/1", "", "GET /re/1 HTTP/1.1\r\nhost: h\r\n", true);
	/* the path by which a redirect goes is what its rules see */
	preview_has(&c, "/to/a?q", "", "\r\nlocation: http://h/a x\r\n", true);
	preview_has(&c, "/to/a?q", "", "\r\nx-now: /a x?y?q\r\n", true);
	preview_has(&c, "/to?q", "", "\r\nlocation: http://h/to\r\n", true);
	preview_has(&c, "/pre/a?q", "", "\r\nx-now: /n/a?q /pre/a?q\r\n", true);
	conf_close(&c);
}

/* path_rewrite of redirects: rules see the path as it was. */
static void test_format(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(ROUTES_TEXT));
	preview_has(&c, "/fmt/x?q", "x-p: /n\r\n", "\r\nlocation: http://h/n?q\r\n", true);
	preview_has(&c, "/fmt/x?q", "x-p: /n\r\n", "\r\nx-now: /fmt/x?q\r\n", true);
	preview_has(&c, "/fmt/x?q", "x-p: n\r\n", "\r\nlocation: http://h/n?q\r\n", true);
	preview_has(&c, "/fmt/x?q", "x-p: /n?a\r\n", "\r\nlocation: http://h/n?a\r\n", true);
	preview_has(&c, "/fmt/x?q", "", "\r\nlocation: http://h/fmt/x?q\r\n", true);
	preview_has(&c, "/cut/x?q", "", "\r\nlocation: http://h/cut/x\r\n", true);
	preview_has(&c, "/cut/x?q", "x-p: /n?a\r\n", "\r\nlocation: http://h/n?a\r\n", true);
	preview_has(&c, "/cut/x?q", "x-p: /n\r\n", "\r\nlocation: http://h/n\r\n", true);
	conf_close(&c);
}

/* The hash is that of the head that goes upstream, to which req then belongs. */
static void test_hash(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c,
		LISTENER_80 ROUTES(ROUTES_TEXT) CLUSTER(
			"c",
			"load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT(
				"10.1.0.1", 80) "]}]}"));
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/hash", "x-k: was\r\nx-p: now\r\n");
	assert_int_equal(weft_proxy_preview(&q->req, &q->ctx, &text, &len), 0);
	assert_true(q->req.dec.hashed);
	assert_true(q->req.dec.hash == weft_hash_xx64("now", 3, 0));
	free(text);
	free(q);
	conf_close(&c);
}

/* A client that is sent to the path without escapes: with a body the connection ends, as when it is
 * carried out. */
static void test_elsewhere(void **state)
{
	static const struct {
		const char *headers;
		bool closes;
	} cases[] = {{"", false},
		     {"content-length: 3\r\n", true},
		     {"transfer-encoding: chunked\r\n", true},
		     {"connection: close\r\n", true}};
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 "}"));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct conf_req *q = calloc(1, sizeof(*q));
		char *text = NULL;
		size_t len = 0;

		assert_non_null(q);
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "POST", "h", "/a/b", cases[i].headers);
		assert_int_equal(
			weft_proxy_preview_refused(&q->req, &q->ctx, WEFT_PARSE_OK, &text, &len),
			0);
		assert_memory_equal(text, "HTTP/1.1 307 Temporary Redirect\r\n", 33);
		assert_non_null(strstr(text, "\r\nlocation: /a/b\r\n"));
		assert_int_equal(!!strstr(text, "\r\nconnection: close\r\n"), cases[i].closes);
		free(text);
		free(q);
	}
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preview), cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_format), cmocka_unit_test(test_hash)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
