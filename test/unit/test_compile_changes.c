// SPDX-License-Identifier: Apache-2.0
/* Header mutations of four levels: their order, and what they come to on replies made here. */
#include "compile_fixture.h"

#define ADD(key, value, more) "{header: {key: " key ", value: '" value "'}" more "}"
#define OVERWRITE ", append_action: OVERWRITE_IF_EXISTS_OR_ADD"
#define ABSENT ", append_action: ADD_IF_ABSENT"
#define EXISTS ", append_action: OVERWRITE_IF_EXISTS"

/* Levels of the request's or the response's changes, as letters: Cluster, Route, Vhost, Table. */
static void order_is(const char *yaml, bool response, const char *want)
{
	const struct weft_img_target *t;
	const struct weft_img_changes *list;
	const struct weft_img_change *change;
	char got[8] = "";
	uint32_t off;
	struct conf c;
	struct conf_req *q = conf_open_asked(&c, yaml);

	t = weft_img_at(q->req.dec.target);
	off = response ? t->response.changes : t->request;
	list = off ? weft_img_at(off) : NULL;
	change = (const void *)(list + 1);
	for (uint32_t i = 0; list && i < list->n; i++)
		got[i] = "CRVT"[change[i].level];
	assert_string_equal(got, want);
	free(q);
	conf_close(&c);
}

#define LEVELS(side, wins)                                                                         \
	LISTENER_80 RC(                                                                            \
		side "_headers_to_remove: [a], most_specific_header_mutations_wins: " wins ", ",   \
		"{name: v, domains: ['*'], " side "_headers_to_remove: [a], routes: [{match: "     \
		"{prefix: /}, " side "_headers_to_remove: [a], route: {weighted_clusters: "        \
		"{clusters: [{name: c, weight: 1, " side "_headers_to_remove: [a]}]}}}]}")

static void test_order(void **state)
{
	(void)state;
	order_is(LEVELS("request", "false"), false, "CRVT");
	order_is(LEVELS("response", "false"), true, "CRVT");
	order_is(LEVELS("request", "false"), true, "");
	/* the weighted cluster's own stay first (Envoy 1.40) */
	order_is(LEVELS("request", "true"), false, "CTVR");
	order_is(LEVELS("response", "true"), true, "CTVR");
	order_is(LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c}}"), false, "");
}

/* One level's changes of responses on a direct response. */
#define DIRECT(adds, removes)                                                                      \
	LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: 200}, "                 \
			   "response_headers_to_add: [" adds "], response_headers_to_remove: ["    \
			   removes "]}")
#define REST "date: \r\nserver: envoy\r\n"

static void reply_is(const char *yaml, const char *lines)
{
	char want[512];
	struct conf c;

	conf_open(&c);
	conf_ok(&c, yaml);
	snprintf(want, sizeof(want), "HTTP/1.1 200 OK\r\n" REST "%scontent-length: 0\r\n\r\n",
		 lines);
	conf_reply_is(&c, "GET", "/", "", want);
	conf_close(&c);
}

static void test_lines(void **state)
{
	(void)state;
	reply_is(DIRECT(ADD("X-A", "1", "") ", " ADD("x-b", "100%%", ""), ""),
		 "x-a: 1\r\nx-b: 100%\r\n");
	reply_is(DIRECT(ADD("x-a", "1", "") ", " ADD("x-a", "2", ""), "x-a"),
		 "x-a: 1\r\nx-a: 2\r\n");
	/* what overwrites is put first, and both are judged by what was there before the level */
	reply_is(DIRECT(ADD("x-a", "1", "") ", " ADD("x-a", "2", OVERWRITE), ""),
		 "x-a: 2\r\nx-a: 1\r\n");
	reply_is(DIRECT(ADD("x-a", "1", ABSENT) ", " ADD("x-a", "2", ABSENT), ""),
		 "x-a: 1\r\nx-a: 2\r\n");
	reply_is(DIRECT(ADD("x-a", "1", "") ", " ADD("x-a", "2", EXISTS), ""), "x-a: 1\r\n");
	reply_is(DIRECT(ADD("x-a", "", "") ", " ADD("x-b", "", ", keep_empty_value: true"), ""),
		 "x-b: \r\n");
}

static void test_lines_of_levels(void **state)
{
	(void)state;
	/* the virtual host has the last word, unless the most specific is to have it */
	reply_is(LISTENER_80 RC(
			 "",
			 "{name: v, domains: ['*'], response_headers_to_add: [" ADD(
				 "x-a", "vhost",
				 OVERWRITE) "], response_headers_to_remove: [x-b], routes: "
					    "[{match: {prefix: /}, " OK_200
					    ", response_headers_to_add: [" ADD(
						    "x-a", "route",
						    "") ", " ADD("x-b", "route", "") "]}]}"),
		 "x-a: vhost\r\n");
	reply_is(LISTENER_80 RC(
			 "most_specific_header_mutations_wins: true, ",
			 "{name: v, domains: ['*'], response_headers_to_add: [" ADD(
				 "x-a", "vhost",
				 OVERWRITE) "], response_headers_to_remove: [x-b], routes: "
					    "[{match: {prefix: /}, " OK_200
					    ", response_headers_to_add: [" ADD(
						    "x-a", "route",
						    EXISTS) ", " ADD("x-b", "route", "") "]}]}"),
		 "x-a: route\r\nx-b: route\r\n");
}

static bool formed(const char *yaml)
{
	struct conf c;
	bool is;
	struct conf_req *q = conf_open_asked(&c, yaml);

	is = weft_reply_is_formed(&q->req);
	free(q);
	conf_close(&c);
	return is;
}

/* What a program cannot say by putting in lines is the agent's. */
static void test_formed(void **state)
{
	char *many = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&many, &len);

	(void)state;
	assert_false(formed(DIRECT(ADD("x-a", "1", ""), "x-b")));
	assert_false(formed(DIRECT("", "")));
	assert_true(formed(DIRECT(ADD("x-a", "%PROTOCOL%", ""), "")));
	assert_true(formed(DIRECT(ADD("content-type", "a/b", ""), "")));
	assert_true(formed(DIRECT(ADD("vary", "a", ""), ""))); /* joined */
	assert_true(formed(DIRECT("", "location")));
	assert_true(formed(DIRECT("", "server")));
	assert_true(formed(DIRECT(ADD("x-envoy-overloaded", "1", ""), "")));
	assert_non_null(f);
	fprintf(f, LISTENER_80 "- {" T("config.route.v3.RouteConfiguration") ", name: r, "
		   "virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, " OK_200
		   ", response_headers_to_add: [");
	for (int i = 0; i < 65; i++)
		fprintf(f, "%s{header: {key: x-%d, value: v}}", i ? ", " : "", i);
	fprintf(f, "]}]}]}\n");
	fclose(f);
	assert_true(formed(many));
	free(many);
}

/* Replies on a way that forwards have that way's lines; those on one that does not, only of their own making. */
static void test_which_reply(void **state)
{
	static const char yaml[] = LISTENER_80 RC(
		"",
		"{name: v, domains: ['*'], response_headers_to_add: [{header: {key: x-v, value: "
		"v}}], routes: [{match: {path: /no-cluster}, route: {cluster: nowhere}}, {match: "
		"{path: /nothing}, non_forwarding_action: {}}, {match: {path: /weighted}, route: "
		"{weighted_clusters: {clusters: [{name: nowhere, weight: 1, "
		"response_headers_to_add: "
		"[{header: {key: x-c, value: c}}]}]}}}]}");
	static const char with[] = "HTTP/1.1 503 Service Unavailable\r\n" REST
				   "%sx-v: v\r\ncontent-length: 0\r\n\r\n";
	char want[256];
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, yaml);
	snprintf(want, sizeof(want), with, "");
	conf_reply_is(&c, "GET", "/no-cluster", "", want);
	conf_reply_is(&c, "GET", "/nothing", "", want);
	snprintf(want, sizeof(want), with, "x-c: c\r\n");
	conf_reply_is(&c, "GET", "/weighted", "", want);
	/* no route: nobody's rules */
	conf_reply_is(&c, "GET", "/else", "",
		      "HTTP/1.1 404 Not Found\r\n" REST "content-length: 0\r\n\r\n");
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),  cmocka_unit_test(test_lines),
		cmocka_unit_test(test_formed), cmocka_unit_test(test_lines_of_levels),
		cmocka_unit_test(test_which_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
