// SPDX-License-Identifier: Apache-2.0
/* Virtual hosts by domain, and what a route configuration may say. */
#include "test/unit/compile_fixture.h"

#define HOST(name, domains)                                                                        \
	"{name: " name ", domains: [" domains "], routes: [{match: {prefix: /}, " OK_200 "}]}, "

static void host_is(struct conf *c, const char *host, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_vhost *v;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", host, "/", "");
	v = weft_img_at(q->req.dec.vhost);
	if (!q->req.dec.vhost != !*want ||
	    (*want &&
	     (v->name.len != strlen(want) || memcmp(weft_img_at(v->name.off), want, v->name.len))))
		fail_msg("%s: not virtual host \"%s\"", host, want);
	free(q);
}

static void test_domains(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 RC("", HOST("exact", "A.Example.com, 'a.example.com:80'") HOST(
					       "suffix", "'*.example.com', '*-bar.example.com'")
					       HOST("longer", "'*.b.example.com'")
						       HOST("prefix", "'api.*'")
							       HOST("longer-prefix", "'api.v1.*'")
								       HOST("star", "'*'")));
	host_is(&c, "a.example.com", "exact");
	host_is(&c, "A.EXAMPLE.COM", "exact");
	host_is(&c, "a.example.com:80", "exact");
	host_is(&c, "a.example.com:81", "star");
	host_is(&c, "x.example.com", "suffix");
	host_is(&c, "x.b.example.com", "longer");
	host_is(&c, "foo-bar.example.com", "suffix");
	host_is(&c, "api.org", "prefix");
	host_is(&c, "api.v1.org", "longer-prefix");
	host_is(&c, "api.example.com", "suffix");
	host_is(&c, ".example.com", "star");
	host_is(&c, "example.com", "star");
	conf_ok(&c, LISTENER_80 RC("", HOST("exact", "a")));
	host_is(&c, "b", "");
	conf_ok(&c, LISTENER_80 RC("ignore_port_in_host_matching: true, ", HOST("exact", "a")));
	host_is(&c, "a:99", "exact");
	conf_close(&c);
}

static void test_many_domains(void **state)
{
	char *out = NULL, host[64];
	size_t len;
	FILE *f = open_memstream(&out, &len);
	struct conf c;

	(void)state;
	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [",
	      f);
	for (int i = 0; i < 5000; i++)
		fprintf(f,
			"{name: v%d, domains: [h%d.example.com], routes: [{match: {prefix: "
			"/}, " OK_200 "}]}, ",
			i, i);
	fputs("]}\n", f);
	fclose(f);
	conf_open(&c);
	conf_ok(&c, out);
	for (int i = 0; i < 5000; i += 499) {
		char want[16];

		sprintf(host, "h%d.example.com", i);
		sprintf(want, "v%d", i);
		host_is(&c, host, want);
	}
	host_is(&c, "h5000.example.com", "");
	free(out);
	conf_close(&c);
}

#define REFUSED(more, field)                                                                       \
	conf_refused(LISTENER_80 RC(more ", ", HOST("v", "'*'")), "RouteConfiguration/r", field,   \
		     "unsupported")
#define HOST_REFUSED(more, field)                                                                  \
	conf_refused(LISTENER_80 RC("", "{name: v, domains: ['*'], " more                          \
					", routes: [{match: {prefix: /}, " OK_200 "}]}"),          \
		     "RouteConfiguration/r", "virtual_hosts[0]." field, "unsupported")

static void test_refused(void **state)
{
	(void)state;
	REFUSED("request_headers_to_add: [{header: {key: a, value: '%A%'}}]",
		"request_headers_to_add[0].header");
	REFUSED("response_headers_to_remove: [content-length]", "response_headers_to_remove[0]");
	REFUSED("vhds: {config_source: {ads: {}}}", "vhds");
	HOST_REFUSED("request_headers_to_add: [{header: {key: a, value: '%A%'}}]",
		     "request_headers_to_add[0].header");
	HOST_REFUSED("response_headers_to_remove: [connection]", "response_headers_to_remove[0]");
	HOST_REFUSED("hedge_policy: {}", "hedge_policy");
}

/* vhost_header, as Envoy 1.40 (test/oracle/cases/vhost-header.yaml). */
static void test_vhost_header(void **state)
{
#define ANSWERS(name, domains, status)                                                             \
	"{name: " name ", domains: [" domains "], routes: [{match: {prefix: /}, direct_response: " \
	"{status: " #status "}}]}"
	static const struct {
		const char *yaml, *host, *headers;
		uint16_t want; /* 0: no route */
	} list[] = {
		{"a.test", "x", "x-v: A.test\r\n", 201},
		{"a.test", "a.test", "x-v: b\r\n", 202},
		{"a.test", "a.test", "", 0},
		{"a.test", "a.test", "x-v: \r\n", 202},
		{"a.test", "x", "x-v: a.test\r\nx-v: b\r\n", 201},
		{"a.test", "x", "x-v: b\r\nx-v: a.test\r\n", 202},
		{"'*.a.test'", "x", "x-v: b.a.test\r\n", 201},
		{"''", "x", "", 0},
	};
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		const struct weft_img_reply *r;
		char yaml[4096];

		snprintf(yaml, sizeof(yaml),
			 LISTENER_80 RC("vhost_header: X-V, ",
					ANSWERS("v", "%s", 201) ", " ANSWERS("w", "'*'", 202)),
			 list[i].yaml);
		conf_ok(&c, yaml);
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "GET", list[i].host, "/", list[i].headers);
		r = q->req.dec.reply ? weft_img_at(q->req.dec.reply) : NULL;
		if ((q->req.dec.route ? r->status : 0) != list[i].want)
			fail_msg("%zu: %u", i, q->req.dec.route ? r->status : 0);
	}
	/* "*" alone asks nobody */
	conf_ok(&c, LISTENER_80 RC("vhost_header: X-V, ", ANSWERS("w", "'*'", 202)));
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/", "");
	assert_true(q->req.dec.route);
	conf_close(&c);
	free(q);
}

static void test_long_domain(void **state)
{
	char domain[WEFT_HOST_LEN_MAX + 1], *yaml;

	(void)state;
	memset(domain, 'a', WEFT_HOST_LEN_MAX);
	domain[WEFT_HOST_LEN_MAX] = '\0';
	assert_true(asprintf(&yaml, LISTENER_80 RC("", HOST("v", "%s")), domain) > 0);
	conf_refused(yaml, "RouteConfiguration/r", "virtual_hosts[0].domains[0]",
		     "longer than 255 bytes");
	free(yaml);
	domain[WEFT_HOST_LEN_MAX - 1] = '\0';
	assert_true(asprintf(&yaml, LISTENER_80 RC("", HOST("v", "%s")), domain) > 0);
	conf_accepted(yaml);
	free(yaml);
}

static void test_without_effect(void **state)
{
	(void)state;
	conf_noted(LISTENER_80 RC("",
				  "{name: v, domains: ['*'], virtual_clusters: [{name: x, headers: "
				  "[{name: a}]}], routes: [{match: {prefix: /}, " OK_200 "}]}"),
		   "RouteConfiguration/r", "virtual_hosts[0].virtual_clusters");
}

static void test_require_tls(void **state)
{
	static const char *const kinds[] = {"ALL", "EXTERNAL_ONLY", "NONE"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		char yaml[2048], *reply;
		struct conf c;

		snprintf(yaml, sizeof(yaml),
			 LISTENER_80 RC("response_headers_to_add: [{header: {key: x-t, value: t}}],",
					"{name: v, domains: ['*'], require_tls: %s, routes: [{match: "
					"{prefix: /}, " OK_200 "}]}"),
			 kinds[i]);
		conf_open(&c);
		conf_ok(&c, yaml);
		reply = conf_reply(&c, "GET", "/a?b", "");
		if (i == 2)
			assert_non_null(strstr(reply, "HTTP/1.1 200 "));
		else
			assert_non_null(strstr(reply, "\r\nlocation: https://h/a?b\r\n"));
		assert_true(!strstr(reply, "x-t: t") == (i != 2));
		free(reply);
		reply = conf_reply(&c, "GET", "/a?b", "x-forwarded-proto: https\r\n");
		assert_non_null(strstr(reply, "HTTP/1.1 200 "));
		free(reply);
		conf_close(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains),	    cmocka_unit_test(test_many_domains),
		cmocka_unit_test(test_refused),	    cmocka_unit_test(test_vhost_header),
		cmocka_unit_test(test_long_domain), cmocka_unit_test(test_without_effect),
		cmocka_unit_test(test_require_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
