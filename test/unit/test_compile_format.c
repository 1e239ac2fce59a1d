// SPDX-License-Identifier: Apache-2.0
/* The substitution formatter's language: which values are known now, which are put together, which are refused. */
#include "compile_fixture.h"

#define FIELD "virtual_hosts[0].routes[0].request_headers_to_add[0].header"

static char *config(const char *value)
{
	char *yaml;

	assert_true(asprintf(&yaml,
			     LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c}, "
						"request_headers_to_add: [{header: {key: X-A, "
						"value: '%s'}, keep_empty_value: true}]}"),
			     value) > 0);
	return yaml;
}

/* The header that a value compiles to. */
static const struct weft_img_header *compiled(struct conf *c, const char *value)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_target *t;
	const struct weft_img_changes *list;
	const struct weft_img_change *change;
	char *yaml = config(value);

	assert_non_null(q);
	conf_ok(c, yaml);
	free(yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/", "");
	t = weft_img_at(q->req.dec.target);
	free(q);
	assert_true(t->request);
	list = weft_img_at(t->request);
	assert_int_equal(list->n, 1);
	change = (const void *)(list + 1);
	assert_int_equal(change->n_add, 1);
	return weft_img_at(change->add);
}

static void known_now(const char *value, const char *want)
{
	const struct weft_img_header *h;
	struct conf c;

	conf_open(&c);
	h = compiled(&c, value);
	assert_int_equal(h->n_piece, 0);
	assert_int_equal(h->value.len, strlen(want));
	assert_memory_equal(weft_img_at(h->value.off), want, strlen(want));
	conf_close(&c);
}

static void test_known_now(void **state)
{
	char host[256] = "", want[300];

	(void)state;
	known_now("plain", "plain");
	known_now("100%%", "100%");
	known_now("%%%%", "%%");
	known_now("", "");
	known_now("%ENVIRONMENT(WEFT_TEST_UNSET)%", "-");
	setenv("WEFT_TEST_SET", "abcdef", 1);
	known_now("<%ENVIRONMENT(WEFT_TEST_SET)%>", "<abcdef>");
	known_now("%ENVIRONMENT(WEFT_TEST_SET):3%", "abc");
	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	snprintf(want, sizeof(want), "on %s", host);
	known_now("on %HOSTNAME%", want);
	known_now("%DOWNSTREAM_PEER_URI_SAN%", "");
	known_now("a%TRACE_ID%b", "ab");
}

static void test_pieces(void **state)
{
	const struct weft_img_header *h;
	const struct weft_img_piece *p;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = compiled(&c, "a%%%REQ(X-One?:Path):12%b%START_TIME(%s.%3f)%%PROTOCOL%");
	assert_int_equal(h->n_piece, 5);
	p = weft_img_at(h->piece);
	assert_int_equal(p[0].kind, WEFT_PIECE_TEXT);
	assert_memory_equal(weft_img_at(p[0].a.off), "a%", 2);
	assert_int_equal(p[1].kind, WEFT_PIECE_REQ);
	assert_memory_equal(weft_img_at(p[1].a.off), "x-one", 5);
	assert_memory_equal(weft_img_at(p[1].b.off), ":path", 5);
	assert_int_equal(p[1].max, 12);
	assert_int_equal(p[2].kind, WEFT_PIECE_TEXT);
	assert_int_equal(p[3].kind, WEFT_PIECE_START_TIME);
	assert_int_equal(p[3].a.len, 6);
	assert_memory_equal(weft_img_at(p[3].a.off), "%s.%3f", 6);
	assert_int_equal(p[4].kind, WEFT_PIECE_PROTOCOL);
	assert_int_equal(p[4].max, WEFT_PIECE_WHOLE);
	h = compiled(&c, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%");
	p = weft_img_at(h->piece);
	assert_int_equal(p->kind, WEFT_PIECE_REMOTE);
	assert_int_equal(p->flags, WEFT_PIECE_NO_PORT);
	h = compiled(&c, "%PATH(NQ:ORIG)%");
	p = weft_img_at(h->piece);
	assert_int_equal(p->flags, WEFT_PIECE_NO_QUERY | WEFT_PIECE_ORIGINAL);
	conf_close(&c);
}

static void refused(const char *value, const char *reason)
{
	char *yaml = config(value);

	conf_refused(yaml, "RouteConfiguration/r", FIELD, reason);
	free(yaml);
}

static void test_refused(void **state)
{
	char many[2048] = "";

	(void)state;
	refused("%NOT_AN_OPERATOR%", "unsupported: command %NOT_AN_OPERATOR%");
	refused("%DYNAMIC_METADATA(a:b)%", "unsupported: command %DYNAMIC_METADATA%");
	refused("%UPSTREAM_WIRE_BYTES_SENT%", "unsupported: command");
	refused("%LOCAL_REPLY_BODY%", "unsupported: command");
	refused("%GRPC_STATUS(LONG)%", "not an option");
	refused("%RESPONSE_CODE_DETAILS(WHITESPACE)%", "not an option");
	refused("%REQ_WITHOUT_QUERY(:PATH)%", "unsupported: command");
	refused("50%", "no command at");
	refused("%REQ(X-A%", "no command at");
	refused("%lower%", "no command at");
	refused("%REQ%", "requires parameters");
	refused("%REQ()%", "requires parameters");
	refused("%REQ(a?b?c)%", "more than one alternative");
	refused("%PROTOCOL(x)%", "does not take");
	refused("%PROTOCOL:3%", "does not take");
	refused("%PATH(XX)%", "not an option");
	refused("%START_TIME(%Q)%", "unsupported: time format");
	refused("%START_TIME(%)%", "unsupported: time format");
	refused("%START_TIME(0123456789012345678901234567890123456789012345678901234567890123x)%",
		"over 64 bytes");
	for (int i = 0; i < 129; i++)
		strcat(many, "%PROTOCOL%");
	refused(many, "more than 128 parts");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_now),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
