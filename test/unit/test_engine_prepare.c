// SPDX-License-Identifier: Apache-2.0
/* What the connection manager changes before routing: who the client is, x-forwarded-*, x-request-id, what it takes away. */
#include "test/unit/compile_fixture.h"

#include <arpa/inet.h>

#define RULES                                                                                          \
	"{match: {prefix: /, headers: [{name: x-envoy-retry-on, present_match: true}]}, route: {cluster: c}}, " \
	"{match: {prefix: /, headers: [{name: x-forwarded-for, string_match: {suffix: ',10.0.0.9'}}]}, "     \
	"route: {cluster: c}}, {match: {prefix: /}, route: {cluster: c}}"
#define CONF(more) LISTENER("l", AT_80, HCM(more ",", "", RDS)) ROUTES(RULES) CLUSTER("c", "type: STATIC")

struct prepared {
	struct conf c;
	struct conf_req q;
	char text[4096]; /* "name: value\n" of each field */
};

static struct prepared *prepare(const char *more, const char *headers, const char *dst)
{
	struct prepared *p = calloc(1, sizeof(*p));
	size_t n = 0;

	assert_non_null(p);
	conf_open(&p->c);
	conf_ok(&p->c, more);
	conf_connect(&p->q, dst, 80);
	inet_pton(AF_INET, "10.0.0.9", &p->q.ctx.src.addr.w[3]);
	p->q.ctx.src.addr.w[2] = htonl(0xffff);
	p->q.ctx.src.family = AF_INET;
	p->q.ctx.src.port = 4711;
	conf_request(&p->c, &p->q, "GET", "h", "/", headers);
	for (uint32_t i = 0; i < p->q.req.n_field; i++) {
		const struct weft_field *f = &p->q.req.field[i];

		n += (size_t)snprintf(p->text + n, sizeof(p->text) - n, "%.*s: %.*s\n", (int)f->name.len,
				      p->q.req.head + f->name.off, (int)f->value.len,
				      p->q.req.head + f->value.off);
		assert_true(n < sizeof(p->text));
	}
	return p;
}

static void done(struct prepared *p)
{
	conf_close(&p->c);
	free(p);
}

static void line_is(const char *more, const char *headers, const char *line, bool has)
{
	struct prepared *p = prepare(more, headers, "10.0.0.1");

	if (!strstr(p->text, line) == has)
		fail_msg("%s%s with %s expected in\n%s", has ? "" : "no ", line, headers, p->text);
	done(p);
}

static void remote_is(const char *more, const char *headers, const char *ip, uint16_t port)
{
	struct prepared *p = prepare(more, headers, "10.0.0.1");
	char got[INET6_ADDRSTRLEN];

	assert_non_null(inet_ntop(AF_INET, &p->q.req.remote.addr.w[3], got, sizeof(got)));
	if (strcmp(got, ip) || p->q.req.remote.port != port)
		fail_msg("%s:%u expected with %s, got %s:%u", ip, port, headers, got, p->q.req.remote.port);
	done(p);
}

#define XFF "X-Forwarded-For: 1.1.1.1, 2.2.2.2,3.3.3.3\r\n"
#define EDGE "use_remote_address: true"
static void test_remote(void **state)
{
	(void)state;
	remote_is(CONF("via: ''"), "", "10.0.0.9", 4711);
	remote_is(CONF("via: ''"), XFF, "3.3.3.3", 0);
	remote_is(CONF("xff_num_trusted_hops: 1"), XFF, "2.2.2.2", 0);
	remote_is(CONF("xff_num_trusted_hops: 2"), XFF, "1.1.1.1", 0);
	remote_is(CONF("xff_num_trusted_hops: 3"), XFF, "10.0.0.9", 4711);
	remote_is(CONF("xff_num_trusted_hops: 1"), "X-Forwarded-For: 1.1.1.1, nono\r\n", "1.1.1.1", 0);
	remote_is(CONF("via: ''"), "X-Forwarded-For: 1.1.1.1, nono\r\n", "10.0.0.9", 4711);
	remote_is(CONF(EDGE), XFF, "10.0.0.9", 4711);
	remote_is(CONF(EDGE ", xff_num_trusted_hops: 1"), XFF, "3.3.3.3", 0);
	remote_is(CONF(EDGE ", xff_num_trusted_hops: 3"), XFF, "1.1.1.1", 0);
	remote_is(CONF(EDGE ", xff_num_trusted_hops: 4"), XFF, "10.0.0.9", 4711);
}

static void test_forwarded(void **state)
{
	(void)state;
	line_is(CONF("via: ''"), "", "x-forwarded-for", false);
	line_is(CONF("via: ''"), XFF, "x-forwarded-for: 1.1.1.1, 2.2.2.2,3.3.3.3\n", true);
	line_is(CONF(EDGE), "", "x-forwarded-for: 10.0.0.9\n", true);
	line_is(CONF(EDGE), "X-Forwarded-For:\r\n", "x-forwarded-for: 10.0.0.9\n", true);
	line_is(CONF(EDGE), XFF, "x-forwarded-for: 1.1.1.1, 2.2.2.2,3.3.3.3,10.0.0.9\n", true);
	line_is(CONF(EDGE ", skip_xff_append: true"), XFF, "3.3.3.3\n", true);
	line_is(CONF(EDGE), "X-Forwarded-Proto: https\r\n", "x-forwarded-proto: http\n", true);
	line_is(CONF(EDGE ", xff_num_trusted_hops: 1"), "X-Forwarded-Proto: https\r\n", "x-forwarded-proto: https\n", true);
	line_is(CONF("via: ''"), "X-Forwarded-Proto: https\r\n", "x-forwarded-proto: https\n", true);
	line_is(CONF("via: ''"), "", "x-forwarded-proto: http\n", true);
	line_is(CONF("via: ''"), "", "x-forwarded-port", false);
	line_is(CONF("append_x_forwarded_port: true"), "", "x-forwarded-port: 80\n", true);
	line_is(CONF("append_x_forwarded_port: true"), "X-Forwarded-Port: 9\r\n", "x-forwarded-port: 9\n", true);
	line_is(CONF(EDGE ", append_x_forwarded_port: true"), "X-Forwarded-Port: 9\r\n", "x-forwarded-port: 80\n", true);
	line_is(CONF("scheme_header_transformation: {scheme_to_overwrite: https}"), "",
		"x-forwarded-proto: https\n", true);
	line_is(CONF("scheme_header_transformation: {scheme_to_overwrite: http}"),
		"X-Forwarded-Proto: https\r\n", "x-forwarded-proto: http\n", true);
	line_is(CONF(EDGE ", scheme_header_transformation: {scheme_to_overwrite: https}"), "",
		"x-forwarded-proto: https\n", true);
	/* as it is written */
	line_is(CONF(EDGE ", xff_num_trusted_hops: 1"), "X-Forwarded-For: ::ffff:9.9.9.9\r\n",
		"x-envoy-external-address: ::ffff:9.9.9.9\n", true);
	line_is(CONF("via: gate"), "Via: a\r\nVia: b\r\n", "via: a,b, gate\n", true);
	line_is(CONF(EDGE), "X-Envoy-External-Address: 6.6.6.6\r\n", "x-envoy-external-address: 10.0.0.9\n", true);
	line_is(CONF("via: ''"), "X-Envoy-External-Address: 6.6.6.6\r\n", "x-envoy-external-address: 6.6.6.6\n", true);
}

/* Of a client on loopback, Envoy forwards an address of its own, and takes loopback for the client's. */
static void test_loopback(void **state)
{
	struct prepared *p;

	(void)state;
	p = prepare(LISTENER("l", "address: " ADDRESS("127.0.0.1", 80) ",", HCM(EDGE ",", "", RDS)), "",
		    "127.0.0.1");
	assert_non_null(strstr(p->text, "x-forwarded-for: 10.0.0.9\n"));
	assert_non_null(strstr(p->text, "x-envoy-external-address: 127.0.0.1\n"));
	done(p);
}

#define ID "5d1f0f7a-1c6b-9c6e-8f1a-0123456789ab"
#define NEW "x-request-id: 00000000-0000-4000-8000-000000000000\n"
static void test_request_id(void **state)
{
	(void)state;
	line_is(CONF("via: ''"), "", NEW, true);
	line_is(CONF("via: ''"), "X-Request-Id:\r\n", NEW, true);
	line_is(CONF("via: ''"), "X-Request-Id: " ID "\r\n", "x-request-id: " ID "\n", true);
	line_is(CONF("generate_request_id: false"), "", "x-request-id", false);
	line_is(CONF(EDGE), "X-Request-Id: mine\r\n", NEW, true);
	line_is(CONF(EDGE ", generate_request_id: false"), "X-Request-Id: mine\r\n", "x-request-id: mine\n", true);
	line_is(CONF(EDGE ", preserve_external_request_id: true"), "X-Request-Id: mine\r\n", "x-request-id: mine\n", true);
	line_is(CONF(EDGE ", preserve_external_request_id: true"), "X-Request-Id: " ID "\r\n",
		"x-request-id: 5d1f0f7a-1c6b-4c6e-8f1a-0123456789ab\n", true);
}

static void test_removed(void **state)
{
	(void)state;
	for (int i = 0; i < WEFT_N_REMOVED + WEFT_N_REMOVED_EDGE; i++) {
		const char *name = i < WEFT_N_REMOVED ? weft_removed[i] : weft_removed_edge[i - WEFT_N_REMOVED];
		char headers[80], line[80];

		snprintf(headers, sizeof(headers), "%s: a\r\n", name);
		snprintf(line, sizeof(line), "%s: a\n", name);
		line_is(CONF("via: ''"), headers, line, i >= WEFT_N_REMOVED);
		line_is(CONF(EDGE), headers, line, false);
	}
}

#define NET                                                                                        \
	"internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}, "      \
	"{address_prefix: 'fd00::', prefix_len: 8}]}"
#define ONLY                                                                                       \
	LISTENER("l", AT_80, HCM(NET ",", "", RDS))                                                \
	RC("internal_only_headers: [X-Own], ", VHOST(RULES)) CLUSTER("c", "type: STATIC")
static void inside(const char *more, const char *headers, bool is)
{
	line_is(more, headers, "x-envoy-internal: true\n", is);
	line_is(more, headers, "x-envoy-retry-on: 5xx\n", is);
}

static void test_internal(void **state)
{
	char retry[256] = "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Internal: no\r\n";
	size_t n = strlen(retry);
#define FOR(value) (snprintf(retry + n, sizeof(retry) - n, "X-Forwarded-For: %s\r\n", value), retry)
	(void)state;
	inside(CONF(NET), retry, false);
	inside(CONF(NET), FOR("10.1.1.1"), true);
	inside(CONF(NET), FOR("11.1.1.1"), false);
	inside(CONF(NET), FOR("fd11::1"), true);
	/* IPv6, as it is written: the range of IPv4 is another's */
	inside(CONF(NET), FOR("::ffff:10.1.1.1"), false);
	inside(CONF(NET), FOR("10.1.1.1,10.1.1.2"), false);
	inside(CONF(NET), FOR("10.1.1.1,"), false);
	inside(CONF(NET), FOR(""), false);
	inside(CONF(NET ", xff_num_trusted_hops: 1"), FOR("10.1.1.1"), false);
	inside(CONF("via: ''"), FOR("10.1.1.1"), false);
	/* an edge goes by the connection, unless somebody else stands before it */
	inside(CONF(NET ", " EDGE), FOR("10.1.1.1"), false);
	retry[n] = '\0';
	inside(CONF(NET ", " EDGE), retry, true);
	line_is(CONF(NET ", " EDGE), retry, "x-envoy-external-address", false);
	line_is(CONF(NET ", " EDGE), "X-Request-Id: mine\r\n", "x-request-id: mine\n", true);
	line_is(CONF(NET ", " EDGE), "X-Envoy-Original-Path: /a\r\n", "x-envoy-original-path: /a\n",
		true);
	/* of several lines one is made, which of others are gone */
	line_is(CONF(NET),
		"X-Forwarded-For: 10.1.1.1\r\nX-Envoy-Max-Retries: 1\r\nX-Envoy-Max-Retries: 2\r\n",
		"x-envoy-max-retries: 1,2\n", true);
	line_is(ONLY, "X-Forwarded-For: 10.1.1.1\r\nX-Own: 1\r\n", "x-own: 1\n", true);
	line_is(ONLY, "X-Forwarded-For: 9.9.9.9\r\nx-own: 1\r\nx-owned: 2\r\n", "x-own: 1\n",
		false);
	line_is(ONLY, "X-Forwarded-For: 9.9.9.9\r\nx-own: 1\r\nx-owned: 2\r\n", "x-owned: 2\n",
		true);
}

#define CERT                                                                                       \
	"{match: {prefix: /, headers: [{name: X-Forwarded-Client-Cert, string_match: {exact: "     \
	"'a,b'}}]}, "                                                                              \
	"route: {cluster: c}}, {match: {prefix: /, headers: [{name: ':scheme', string_match: "     \
	"{exact: https}}]}, "                                                                      \
	"route: {cluster: c}}, {match: {prefix: /}, route: {cluster: c}}"
#define CERT_CONF(more)                                                                            \
	LISTENER("l", AT_80, HCM(more ",", "", RDS)) ROUTES(CERT) CLUSTER("c", "type: STATIC")
#define CERTS "X-Forwarded-Client-Cert: a\r\nX-Forwarded-Client-Cert: b\r\n"
static void route_is(const char *more, const char *headers, uint32_t index);

static void test_client(void **state)
{
	(void)state;
	route_is(CERT_CONF("via: ''"), CERTS, 2);
	route_is(CERT_CONF("forward_client_cert_details: FORWARD_ONLY"), CERTS, 2);
	route_is(CERT_CONF("forward_client_cert_details: ALWAYS_FORWARD_ONLY"), CERTS, 0);
	route_is(CERT_CONF("scheme_header_transformation: {scheme_to_overwrite: https}"), "", 1);
	route_is(CERT_CONF("scheme_header_transformation: {scheme_to_overwrite: http}"),
		 "X-Forwarded-Proto: https\r\n", 2);
}

static void route_is(const char *more, const char *headers, uint32_t index)
{
	struct prepared *p = prepare(more, headers, "10.0.0.1");
	const struct weft_img_route *r = weft_img_at(p->q.req.dec.route);

	assert_int_equal(r->index, index);
	done(p);
}

/* Rules see a request after all this. */
static void test_rules(void **state)
{
	(void)state;
	route_is(CONF("via: ''"), "X-Envoy-Retry-On: 5xx\r\n", 2);
	route_is(CONF(NET), "X-Envoy-Retry-On: 5xx\r\n", 2);
	route_is(CONF(NET), "X-Envoy-Retry-On: 5xx\r\nX-Forwarded-For: 10.1.1.1\r\n", 0);
	route_is(CONF("via: ''"), "X-Forwarded-For: 1.1.1.1,10.0.0.9\r\n", 1);
	route_is(CONF(EDGE), "X-Forwarded-For: 1.1.1.1\r\n", 1);
	route_is(CONF(EDGE ", skip_xff_append: true"), "X-Forwarded-For: 1.1.1.1\r\n", 2);
}

/* The kernel does not judge what it does not see; where no rule looks, it does. */
static void test_handed(void **state)
{
	struct prepared *p = prepare(CONF(EDGE), "", "10.0.0.1");
	const struct weft_img_view *v = weft_img_at(p->q.ctx.view_off);
	const struct weft_img_hcm *h = weft_img_at(p->q.req.dec.hcm);
	const uint32_t *rc = weft_img_at(v->route_config);
	const struct weft_img_route_config *t = weft_img_at(rc[h->route_config]);

	(void)state;
	assert_true(t->flags & WEFT_RC_PREPARED);
	done(p);
	p = prepare(CONF(EDGE ", skip_xff_append: true"), "", "10.0.0.1");
	v = weft_img_at(p->q.ctx.view_off);
	h = weft_img_at(p->q.req.dec.hcm);
	rc = weft_img_at(v->route_config);
	t = weft_img_at(rc[h->route_config]);
	assert_false(t->flags & WEFT_RC_PREPARED);
	done(p);
}

/* Without room for a value its header stays empty, and no byte is written behind the room. */
static void test_room(void **state)
{
	struct prepared *p = prepare(CONF("via: ''"), "", "10.0.0.1");
	struct weft_req *req = &p->q.req;
	uint8_t *room = p->q.head + WEFT_NATIVE_HEAD_MAX;

	(void)state;
	for (size_t size = 0; size < 128; size++) {
		req->n_field = 0;
		memset(room, 0xee, 256);
		weft_req_prepare(req, &p->q.ctx, "00000000-0000-4000-8000-000000000000", room, size);
		for (size_t i = size; i < 256; i++)
			assert_int_equal(room[i], 0xee);
	}
	assert_int_equal(req->n_field, 2);
	done(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remote),	 cmocka_unit_test(test_internal),
		cmocka_unit_test(test_client),	 cmocka_unit_test(test_forwarded),
		cmocka_unit_test(test_loopback), cmocka_unit_test(test_request_id),
		cmocka_unit_test(test_removed),	 cmocka_unit_test(test_rules),
		cmocka_unit_test(test_handed),	 cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
