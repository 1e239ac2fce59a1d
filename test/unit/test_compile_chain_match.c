// SPDX-License-Identifier: Apache-2.0
/* filter_chain_match: the order of its levels, without a way back; what overlaps is refused. */
#include "test/unit/compile_fixture.h"
#include "test/unit/hello_fixture.h"

#define TCP                                                                                        \
	"[{name: t, typed_config: {" T(                                                            \
		"extensions.filters.network.tcp_proxy.v3.TcpProxy") ", "                           \
								    "stat_prefix: s, cluster: "    \
								    "a}}]"
#define CHAIN(name, match) "{name: " name ", filter_chain_match: {" match "}, filters: " TCP "}, "
#define INSPECTOR(kind, type)                                                                      \
	"{name: " kind ", typed_config: {" T("extensions.filters.listener." kind ".v3." type) "}}" \
											      ", "
#define INSPECTORS                                                                                 \
	"listener_filters: [" INSPECTOR("tls_inspector", "TlsInspector")                           \
		INSPECTOR("http_inspector", "HttpInspector") "]"
#define LISTENER_OF(more, chains)                                                                  \
	"- {" T("config.listener.v3.Listener") ", name: l, address: " ADDRESS(                     \
		"0.0.0.0", 80) ", use_original_dst: true, " more ", filter_chains: [" chains       \
			       "]}\n"
#define CHAINS(chains) LISTENER_OF(INSPECTORS, chains)
#define OTHERWISE ", default_filter_chain: {name: otherwise, filters: " TCP "}"

/* A connection and what its first bytes say. */
struct seen {
	const char *to;	  /* NULL: 10.0.0.1 */
	uint16_t port;	  /* 0: 80 */
	const char *from; /* NULL: 10.9.9.9 */
	uint16_t from_port;
	enum weft_proto proto;
	const char *name; /* of TLS */
	const char *alpn; /* each with its length before it */
};

static void hello_fill(const struct seen *s, struct weft_hello *ret)
{
	static struct bytes in;
	static __u8 room[WEFT_HELLO_ROOM];

	hello_make(&in, s->name, s->alpn);
	assert_int_equal(weft_hello_read(in.b, in.n, room, ret), 0);
}

/* The name of the chain; "" none. class_id: what connect() would make of it. */
static void chain_of(const struct seen *s, char *name, size_t size, enum weft_class *class_id)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_chain *chain;
	struct weft_hello hello;
	uint32_t off, l4;

	assert_non_null(q);
	conf_connect(q, s->to ? s->to : "10.0.0.1", s->port ? s->port : 80);
	assert_true(weft_ip_parse(s->from ? s->from : "10.9.9.9", s->from_port, &q->ctx.src));
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	if (s->proto == WEFT_PROTO_TLS) {
		hello_fill(s, &hello);
		q->ctx.hello = &hello;
	}
	off = weft_chain_find(&q->ctx, s->proto);
	chain = weft_img_at(off);
	snprintf(name, size, "%.*s", off ? (int)chain->name.len : 0,
		 off ? (const char *)weft_img_at(chain->name.off) : "");
	*class_id = weft_class_find(&q->ctx, &l4);
	free(q);
}

#define IS(want, ...)                                                                              \
	do {                                                                                       \
		const struct seen s_ = {__VA_ARGS__};                                              \
		enum weft_class class_;                                                            \
		char name_[64];                                                                    \
                                                                                                   \
		chain_of(&s_, name_, sizeof(name_), &class_);                                      \
		if (strcmp(name_, want))                                                           \
			fail_msg("%d: \"%s\", not \"%s\"", __LINE__, name_, want);                 \
	} while (0)
#define CLASS_IS(want, ...)                                                                        \
	do {                                                                                       \
		const struct seen s_ = {__VA_ARGS__};                                              \
		enum weft_class class_;                                                            \
		char name_[64];                                                                    \
                                                                                                   \
		chain_of(&s_, name_, sizeof(name_), &class_);                                      \
		assert_int_equal(class_, want);                                                    \
	} while (0)
#define TLS(n) .proto = WEFT_PROTO_TLS, .name = n

static struct conf conf;

static void set(const char *yaml)
{
	conf_ok(&conf, yaml);
}

static void test_server_names(void **state)
{
	(void)state;
	set(CHAINS(CHAIN("exact", "server_names: [www.a.test, B.Test]") CHAIN(
		"wild", "server_names: ['*.a.test']") CHAIN("wilder", "server_names: ['*.test']")
			   CHAIN("tls", "transport_protocol: tls")
				   CHAIN("raw", "transport_protocol: raw_buffer")));
	IS("exact", TLS("www.a.test"));
	IS("exact", TLS("WWW.A.TEST"));
	IS("exact", TLS("b.test")); /* the configuration's case does not count either */
	IS("wild", TLS("x.a.test"));
	IS("wild", TLS("y.x.a.test"));
	IS("wild", TLS(".a.test")); /* as Envoy has it */
	IS("wilder", TLS("a.test"));
	IS("wilder", TLS("c.test"));
	IS("tls", TLS("test"));
	IS("tls", TLS("www.a.test."));
	IS("tls", TLS(NULL));
	IS("raw", .proto = WEFT_PROTO_RAW);
	CLASS_IS(WEFT_CLASS_CAPTURED, .proto = WEFT_PROTO_RAW);
}

static void test_no_way_back(void **state)
{
	(void)state;
	set(LISTENER_OF(
		INSPECTORS OTHERWISE,
		CHAIN("alpn", "server_names: [a.test], application_protocols: [h2]") CHAIN(
			"any", "") CHAIN("port", "destination_port: 443, server_names: [b.test]")
			CHAIN("net", "prefix_ranges: [{address_prefix: 10.1.0.0, prefix_len: 16}], "
				     "server_names: [c.test]")));
	IS("alpn", TLS("a.test"), .alpn = "\x02h2");
	IS("otherwise", TLS("a.test"), .alpn = "\x08http/1.1");
	IS("otherwise", TLS("a.test"));
	IS("any", TLS("b.test"));
	IS("port", TLS("b.test"), .port = 443);
	IS("otherwise", TLS("a.test"), .alpn = "\x02h2", .port = 443);
	IS("net", TLS("c.test"), .to = "10.1.2.3");
	IS("otherwise", TLS("a.test"), .alpn = "\x02h2", .to = "10.1.2.3");
	IS("any", TLS("c.test"), .to = "10.2.2.3");
	CLASS_IS(WEFT_CLASS_CAPTURED, .port = 443);
	/* port before destination: its own network only, below it the default */
	set(LISTENER_OF(
		INSPECTORS OTHERWISE,
		CHAIN("port", "destination_port: 443, prefix_ranges: [{address_prefix: 10.1.0.0, "
			      "prefix_len: 16}]") CHAIN(
			"net", "prefix_ranges: [{address_prefix: 10.2.0.0, prefix_len: 16}]")));
	IS("port", .to = "10.1.0.1", .port = 443);
	IS("otherwise", .to = "10.2.0.1", .port = 443);
	IS("net", .to = "10.2.0.1");
	IS("otherwise", .to = "10.1.0.1");
}

#define RANGE(ip, len) "{address_prefix: '" ip "', prefix_len: " #len "}"

static void test_prefixes(void **state)
{
	(void)state;
	set(LISTENER_OF("bind_to_port: false",
			CHAIN("b8", "prefix_ranges: [" RANGE("10.77.1.1", 8) "]") CHAIN(
				"b16", "prefix_ranges: [" RANGE("10.1.0.0",
								16) ", " RANGE("fd00:1::", 32) "]")
				CHAIN("host", "prefix_ranges: [" RANGE("10.1.2.3", 32) "]")
					CHAIN("six", "prefix_ranges: [" RANGE("::", 0) "]")));
	IS("b8", .to = "10.2.2.3");
	IS("b16", .to = "10.1.2.4");
	IS("host", .to = "10.1.2.3");
	IS("", .to = "11.1.2.3"); /* ::/0 has no IPv4 address */
	IS("b16", .to = "fd00:1::9");
	IS("six", .to = "fd00:2::9");
	/* the destination alone decides: connect() itself */
	CLASS_IS(WEFT_CLASS_L4, .to = "10.1.2.3");
	CLASS_IS(WEFT_CLASS_REFUSED, .to = "11.1.2.3");
	/* without prefix: both families */
	set(LISTENER_OF("bind_to_port: false",
			CHAIN("net", "prefix_ranges: [" RANGE("10.0.0.0", 8) ", " RANGE(
					     "fd00::", 8) "]") CHAIN("any", "")));
	IS("net", .to = "10.2.2.3");
	IS("net", .to = "fd01::1");
	IS("any", .to = "11.2.2.3");
	IS("any", .to = "fe80::1");
	set(LISTENER_OF("bind_to_port: false",
			CHAIN("four", "prefix_ranges: [" RANGE("0.0.0.0", 0) "]")
				CHAIN("six", "prefix_ranges: [" RANGE("::", 0) "]")));
	IS("four", .to = "1.1.1.1");
	IS("six", .to = "fd00::1");
}

static void test_transport_and_protocols(void **state)
{
	(void)state;
	set(CHAINS(CHAIN("h2", "transport_protocol: tls, application_protocols: [h2, istio]")
			   CHAIN("h1", "transport_protocol: tls, application_protocols: [http/1.1]")
				   CHAIN("tls", "transport_protocol: tls")
					   CHAIN("http", "application_protocols: [http/1.1]")
						   CHAIN("any", "")));
	/* the client's order counts */
	IS("h2", TLS("a"), .alpn = "\x01x\x02h2\x08http/1.1");
	IS("h1", TLS("a"), .alpn = "\x08http/1.1\x02h2");
	IS("h2", TLS("a"), .alpn = "\x05istio");
	IS("tls", TLS("a"), .alpn = "\x05other");
	IS("tls", TLS("a"));
	IS("http", .proto = WEFT_PROTO_HTTP11);
	IS("any", .proto = WEFT_PROTO_HTTP10);
	IS("any", .proto = WEFT_PROTO_RAW);
}

static void test_sources(void **state)
{
	(void)state;
	set(LISTENER_OF(
		"bind_to_port: false",
		CHAIN("direct", "direct_source_prefix_ranges: [" RANGE("10.8.0.0", 16) "]")
			CHAIN("local", "source_type: SAME_IP_OR_LOOPBACK") CHAIN(
				"net", "source_type: EXTERNAL, source_prefix_ranges: [" RANGE(
					       "10.0.0.0", 8) "]")
				CHAIN("narrow",
				      "source_type: EXTERNAL, source_prefix_ranges: [" RANGE(
					      "10.9.0.0", 16) "], source_ports: [7, 8]")
					CHAIN("far", "source_type: EXTERNAL")));
	IS("direct", .from = "10.8.1.1");
	IS("local", .from = "127.0.0.1");
	IS("far", .from = "127.0.0.2");			    /* Envoy knows one loopback address */
	IS("local", .from = "10.0.0.1");		    /* where the connection goes, too */
	IS("local", .to = "127.0.0.9", .from = "10.0.0.3"); /* what is made from loopback */
	IS("local", .to = "::1", .from = "fd00::3");
	IS("net", .from = "10.1.1.1");
	IS("narrow", .from = "10.9.1.1", .from_port = 8);
	IS("", .from = "10.9.1.1", .from_port = 9); /* the prefix was taken */
	IS("far", .from = "11.1.1.1");
	IS("far", .to = "fd00::1", .from = "fd00::2");
	CLASS_IS(WEFT_CLASS_CAPTURED, .from = "10.1.1.1");
	set(LISTENER_OF("bind_to_port: false", CHAIN("one", "source_ports: [7]") CHAIN("any", "")));
	IS("one", .from_port = 7);
	IS("any", .from_port = 8);
}

static void refused(const char *chains, const char *field, const char *reason)
{
	char yaml[16384];

	snprintf(yaml, sizeof(yaml), CHAINS("%s"), chains);
	conf_refused(yaml, "Listener/l", field, reason);
}

#define MATCH(n) "filter_chains[" #n "].filter_chain_match"

static void test_overlaps(void **state)
{
	(void)state;
	refused(CHAIN("a", "server_names: [a.test, b.test]")
			CHAIN("b", "server_names: [c.test, B.test]"),
		MATCH(1), "overlaps with filter_chains[0]");
	refused(CHAIN("a", "server_names: [a.test, A.test]"), MATCH(0),
		"overlaps with filter_chains[0]");
	refused(CHAIN("a", "application_protocols: [h2, x]")
			CHAIN("b", "application_protocols: [x]"),
		MATCH(1), "overlaps");
	refused(CHAIN("a", "application_protocols: [h2, x, h2]"), MATCH(0), "has a value twice");
	refused(CHAIN("a", "source_ports: [1, 2]") CHAIN("b", "source_ports: [2, 3]"), MATCH(1),
		"overlaps");
	refused(CHAIN("a", "source_prefix_ranges: [" RANGE("10.1.0.0", 8) "]")
			CHAIN("b", "source_prefix_ranges: [" RANGE("10.2.0.0", 8) "]"),
		MATCH(1), "overlaps");
	refused(CHAIN("a",
		      "source_prefix_ranges: [" RANGE("10.1.0.0", 8) ", " RANGE("10.2.0.0", 8) "]"),
		MATCH(0), "has a value twice");
	refused(CHAIN("a", "direct_source_prefix_ranges: [" RANGE("10.1.0.0",
								  8) ", " RANGE("10.2.0.0", 8) "]"),
		MATCH(0), "has a value twice");
	refused(CHAIN("a", "source_ports: [1, 1]"), MATCH(0), "has a value twice");
	refused(CHAIN("a", "prefix_ranges: [" RANGE("10.1.0.0", 8) "]")
			CHAIN("b", "prefix_ranges: [" RANGE("10.2.0.0", 8) ", " RANGE("10.2.0.0",
										      16) "]"),
		MATCH(1), "overlaps");
	refused(CHAIN("a", "prefix_ranges: [" RANGE("0.0.0.0", 0) "]") CHAIN("b", ""), MATCH(0),
		"all addresses beside filter_chains[1]");
	refused(CHAIN("a", "transport_protocol: quic"), MATCH(0) ".transport_protocol",
		"unsupported: quic");
	refused(CHAIN("a", "prefix_ranges: [" RANGE("::ffff:10.0.0.1", 128) "]"),
		MATCH(0) ".prefix_ranges[0]", "IPv4 addresses as those of IPv6");
	/* values of their own, all of them */
	set(CHAINS(CHAIN("a", "server_names: [a.test]") CHAIN("b", "server_names: ['*.a.test']")
			   CHAIN("c", "server_names: [a.test], source_ports: [1]")
				   CHAIN("d", "server_names: [a.test], source_type: EXTERNAL")));
}

/* More destinations than programs look through: the agent does. */
static void test_many_destinations(void **state)
{
	char *out = NULL, ip[32];
	size_t len;
	FILE *f = open_memstream(&out, &len);

	(void)state;
	assert_non_null(f);
	fputs("- {" T("config.listener.v3.Listener") ", name: l, use_original_dst: true, "
						     "address: " ADDRESS("0.0.0.0",
									 80) ", filter_chains: [",
	      f);
	for (unsigned int i = 0; i < 200; i++)
		fprintf(f, CHAIN("n%u", "prefix_ranges: [" RANGE("10.%u.0.0", 16) "]"), i, i);
	fputs("]}\n", f);
	fclose(f);
	set(out);
	free(out);
	for (unsigned int i = 0; i < 200; i += 33) {
		char want[16];

		snprintf(ip, sizeof(ip), "10.%u.1.1", i);
		snprintf(want, sizeof(want), "n%u", i);
		IS(want, .to = ip);
		CLASS_IS(WEFT_CLASS_CAPTURED, .to = ip);
	}
	IS("", .to = "11.0.0.1");
	CLASS_IS(WEFT_CLASS_CAPTURED, .to = "11.0.0.1");
}

static void numbered_refused(const char *open, const char *item, const char *close, unsigned int n,
			     const char *reason)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	assert_non_null(f);
	fprintf(f,
		"- {" T("config.listener.v3.Listener") ", name: l, address: " ADDRESS(
			"0.0.0.0", 80) ", filter_chains: [{filter_chain_match: {%s: [",
		open);
	for (unsigned int i = 0; i < n; i++)
		fprintf(f, item, i >> 8, i & 255);
	fprintf(f, "]}, filters: " TCP "}]}\n%s", close);
	fclose(f);
	conf_refused(out, "Listener/l", "filter_chains", reason);
	free(out);
}

static void test_limits(void **state)
{
	(void)state;
	numbered_refused("prefix_ranges", "{address_prefix: 10.%u.%u.0, prefix_len: 24}, ", "",
			 WEFT_CHAIN_GROUPS_ALL_MAX,
			 "more than 16384 destination ports and prefixes");
	numbered_refused("server_names", "a%u-%u, ", "", WEFT_CHAIN_RULES_MAX + 1,
			 "more than 65536 server names");
}

static void test_inspector_options(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_listener *l;

	(void)state;
	assert_non_null(q);
	set(LISTENER_OF(
		"listener_filters: [{name: t, typed_config: {" T(
			"extensions.filters.listener.tls_inspector.v3.TlsInspector") ", "
										     "max_client_"
										     "hello_size: "
										     "300, "
										     "close_"
										     "connection_"
										     "on_client_"
										     "hello_"
										     "parsing_"
										     "errors: "
										     "true}}]",
		CHAIN("a", "")));
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	l = weft_img_at(q->ctx.listener);
	assert_int_equal(l->hello_max, 300);
	assert_int_equal(l->flags, WEFT_LISTENER_INSPECT_TLS | WEFT_LISTENER_HELLO_CLOSES);
	conf_noted(
		LISTENER_OF(
			"listener_filters: [{name: t, typed_config: {" T(
				"extensions.filters.listener.tls_inspector.v3.TlsInspector") ", "
											     "enabl"
											     "e_"
											     "ja3_"
											     "finge"
											     "rprin"
											     "ting:"
											     " true"
											     "}}]",
			CHAIN("a", "")),
		"Listener/l", "listener_filters[0].typed_config.enable_ja3_fingerprinting");
	free(q);
}

static int open_all(void **state)
{
	(void)state;
	conf_open(&conf);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	conf_close(&conf);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_server_names),      TEST(test_no_way_back),
		TEST(test_prefixes),	      TEST(test_transport_and_protocols),
		TEST(test_sources),	      TEST(test_overlaps),
		TEST(test_many_destinations), cmocka_unit_test(test_limits),
		TEST(test_inspector_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
