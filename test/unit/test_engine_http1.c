// SPDX-License-Identifier: Apache-2.0

/* Heads as Envoy 1.40 takes and refuses them; each also cut at every byte. */

#include "test/unit/image_fixture.h"

struct head_case {
	const char *name;
	const char *head;
	size_t len; /* 0: strlen */
	int verdict;
	const char *details;
	const char *host, *path; /* OK: what is seen of them */
	__u32 flags;		 /* must be set */
	const char *x;		 /* value of the field "x" */
};

#define BYTES(s) s, sizeof(s) - 1
#define BAD(n, h) { n, BYTES(h), WEFT_PARSE_BAD, "http1.codec_error", NULL, NULL, 0, NULL }
#define CTL(n, h) { n, BYTES(h), WEFT_PARSE_BAD, "http1.invalid_characters", NULL, NULL, 0, NULL }
#define NOT(n, h, v, d) { n, BYTES(h), v, d, NULL, NULL, 0, NULL }
#define OK(n, h, host, path, flags, x) { n, BYTES(h), WEFT_PARSE_OK, NULL, host, path, flags, x }
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

static const struct head_case cases[] = {
	/* framing */
	OK("length", POST "Content-Length: 5\r\n\r\n", "a", "/", WEFT_REQ_HAS_LENGTH, NULL),
	OK("chunked", POST "Transfer-Encoding: chunked\r\n\r\n", "a", "/", WEFT_REQ_CHUNKED, NULL),
	OK("chunked upper", POST "Transfer-Encoding: CHUNKED\r\n\r\n", "a", "/", WEFT_REQ_CHUNKED,
	   NULL),
	NOT("length and chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	    WEFT_PARSE_BAD, "http1.content_length_and_chunked_not_allowed"),
	NOT("chunked and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
	    WEFT_PARSE_BAD, "http1.content_length_and_chunked_not_allowed"),
	BAD("two lengths equal", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	BAD("two lengths different", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	BAD("length list", POST "Content-Length: 5, 5\r\n\r\n"),
	BAD("length plus", POST "Content-Length: +5\r\n\r\n"),
	BAD("length negative", POST "Content-Length: -5\r\n\r\n"),
	BAD("length hex", POST "Content-Length: 0x5\r\n\r\n"),
	BAD("length empty", POST "Content-Length:\r\n\r\n"),
	BAD("length huge", POST "Content-Length: 99999999999999999999\r\n\r\n"),
	NOT("coding gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n",
	    WEFT_PARSE_BAD_CODING, "http1.invalid_transfer_encoding"),
	NOT("coding identity", POST "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
	    WEFT_PARSE_BAD, "http1.content_length_and_chunked_not_allowed"),
	NOT("coding twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    WEFT_PARSE_BAD_CODING, "http1.invalid_transfer_encoding"),
	NOT("coding empty", POST "Transfer-Encoding:\r\n\r\n", WEFT_PARSE_BAD_CODING,
	    "http1.invalid_transfer_encoding"),
	OK("post without either", POST "\r\n", "a", "/", 0, NULL),
	OK("expect", POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "a", "/",
	   WEFT_REQ_EXPECT | WEFT_REQ_HAS_LENGTH, NULL),
	/* malformed */
	OK("bare lf", "GET / HTTP/1.1\nHost: a\n\n", "a", "/", 0, NULL),
	OK("bare lf first", "GET / HTTP/1.1\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	OK("bare lf between", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", "a", "/", 0, "1"),
	OK("bare cr in value", GET "X: 1\r2\r\n\r\n", "a", "/", 0, "12"),
	OK("cr behind the line", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	OK("leading empty line", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	OK("leading empty lines", "\r\n\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	BAD("blank before colon", GET "X : 1\r\n\r\n"),
	BAD("blank in name", GET "X Y: 1\r\n\r\n"),
	BAD("no colon", GET "XY\r\n\r\n"),
	BAD("empty name", GET ": 1\r\n\r\n"),
	OK("folded", GET "X: 1\r\n 2\r\n\r\n", "a", "/", 0, "1 2"),
	OK("folded by tab", GET "X: 1\r\n\t2\r\n\r\n", "a", "/", 0, "1\t2"),
	OK("folded from the start", GET "X:\r\n 2\r\n\r\n", "a", "/", 0, "2"),
	BAD("folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
	CTL("nul in value", GET "X: a\0b\r\n\r\n"),
	CTL("control in value", GET "X: a\x01"
				    "b\r\n\r\n"),
	CTL("delete in value", GET "X: a\x7f\r\n\r\n"),
	OK("tab in value", GET "X: a\tb\r\n\r\n", "a", "/", 0, "a\tb"),
	OK("high bytes in value", GET "X: \xe9\xff\r\n\r\n", "a", "/", 0, "\xe9\xff"),
	OK("two blanks in request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	NOT("blank in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD_VERSION,
	    "http1.codec_error"),
	CTL("control in target", "GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("high byte in target", "GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("bad method character", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("unknown method", "GETS / HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("m-search", "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"),
	OK("purge", "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	NOT("query without type", "QUERY / HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_NO_TYPE,
	    "query_missing_content_type"),
	OK("query", "QUERY / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\n\r\n", "a", "/", 0, NULL),
	OK("empty value", GET "X:\r\n\r\n", "a", "/", 0, ""),
	OK("blanks around value", GET "X: \t v \t \r\n\r\n", "a", "/", 0, "v"),
	OK("many blanks", GET "X:            v             \r\n\r\n", "a", "/", 0, "v"),
	OK("token characters", GET "!#$%&'*+-.^_|~9: 1\r\nX: 2\r\n\r\n", "a", "/", 0, "2"),
	BAD("bad name character", GET "X(: 1\r\n\r\n"),
	BAD("high byte in name", GET "X\xe9: 1\r\n\r\n"),
	BAD("not http", "hello\r\n\r\n"),
	NOT("a line begun that cannot be one", "{get", WEFT_PARSE_MORE, NULL),
	BAD("control at the start of a line begun", "\x16\x03\x01"),
	NOT("unfinished", "GET / HTTP/1.1\r\nHost: a\r\n", WEFT_PARSE_MORE, NULL),
	BAD("tls hello", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
	/* targets, hosts, versions */
	NOT("no host", "GET / HTTP/1.1\r\n\r\n", WEFT_PARSE_NO_HOST, "missing_host_header"),
	OK("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "", "/", 0, NULL),
	OK("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "a,b", "/",
	   WEFT_REQ_REPEATED_HOST, NULL),
	OK("two hosts apart", "GET / HTTP/1.1\r\nHost: aa\r\nX: 12\r\nHost: bbb\r\nY: 2\r\n\r\n",
	   "aa,bbb", "/", WEFT_REQ_REPEATED_HOST, "12"),
	OK("three hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost:\r\nX: q\r\nHost:cc\r\n\r\n", "a,cc",
	   "/", WEFT_REQ_REPEATED_HOST, "q"),
	NOT("host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	OK("host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "u@a", "/", 0, NULL),
	NOT("host with blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	OK("absolute", "GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/x?y",
	   WEFT_REQ_ABSOLUTE, NULL),
	OK("absolute without path", "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/",
	   WEFT_REQ_ABSOLUTE, NULL),
	NOT("absolute query only", "GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_NO_PATH,
	    "absolute_path_rejected"),
	OK("absolute without host", "GET http://b/x HTTP/1.1\r\n\r\n", "b", "/x", WEFT_REQ_ABSOLUTE,
	   NULL),
	OK("absolute https", "GET https://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/x",
	   WEFT_REQ_ABSOLUTE, NULL),
	NOT("absolute ftp", "GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.invalid_scheme"),
	OK("absolute user", "GET http://u:p@b/x HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/x",
	   WEFT_REQ_ABSOLUTE, NULL),
	OK("absolute v6", "GET http://[::1]:8/x HTTP/1.1\r\nHost: a\r\n\r\n", "[::1]:8", "/x",
	   WEFT_REQ_ABSOLUTE, NULL),
	NOT("absolute bad port", "GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.invalid_url"),
	NOT("asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_NO_PATH,
	    "absolute_path_rejected"),
	NOT("asterisk get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.invalid_url"),
	BAD("no slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
	BAD("query only", "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n"),
	NOT("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD_PATH,
	    "path_normalization_failed"),
	OK("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "a:80", NULL, WEFT_REQ_CONNECT,
	   NULL),
	NOT("connect with body", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
	    WEFT_PARSE_BAD, "http1.body_disallowed"),
	NOT("connect chunked",
	    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	    WEFT_PARSE_BAD_CODING, "http1.invalid_transfer_encoding"),
	OK("upgrade", GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "a", "/",
	   WEFT_REQ_UPGRADE, NULL),
	OK("upgrade h2c",
	   GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	       "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	   "a", "/", 0, NULL),
	OK("upgrade h2c, empty", GET "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade:\r\n\r\n", "a",
	   "/", 0, NULL),
	OK("upgrade twice", GET "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
	   "a", "/", WEFT_REQ_UPGRADE, NULL),
	OK("one user", "GET http://u@b/x HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/x", WEFT_REQ_ABSOLUTE,
	   NULL),
	NOT("user with an at", "GET http://u@v@b/x HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.invalid_url"),
	NOT("underscore in target's host", "GET http://a_b/x HTTP/1.1\r\nHost: a\r\n\r\n",
	    WEFT_PARSE_BAD, "http1.invalid_url"),
	NOT("connect with user", "CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.invalid_url"),
	OK("connect with empty user", "CONNECT @a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "a:80", NULL,
	   WEFT_REQ_CONNECT, NULL),
	NOT("host with caret", "GET / HTTP/1.1\r\nHost: a^b\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	NOT("host with backquote", "GET / HTTP/1.1\r\nHost: a`b\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	NOT("host with braces", "GET / HTTP/1.1\r\nHost: {a}\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	NOT("host with bar", "GET / HTTP/1.1\r\nHost: a|b\r\n\r\n", WEFT_PARSE_BAD_HOST,
	    "http.invalid_authority"),
	NOT("connect-udp elsewhere", GET "Upgrade: connect-udp\r\n\r\n", WEFT_PARSE_BAD_UDP,
	    "invalid_path"),
	NOT("connect-udp by connect",
	    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nUpgrade: Connect-UDP\r\n\r\n", WEFT_PARSE_BAD_UDP,
	    "invalid_path"),
	NOT("connect-udp without port",
	    "GET /.well-known/masque/udp/h// HTTP/1.1\r\nHost: a\r\nUpgrade: connect-udp\r\n\r\n",
	    WEFT_PARSE_BAD_UDP, "invalid_path"),
	NOT("connect-udp with more",
	    "GET /.well-known/masque/udp/h/1/? HTTP/1.1\r\nHost: a\r\nUpgrade: connect-udp\r\n\r\n",
	    WEFT_PARSE_BAD_UDP, "invalid_path"),
	OK("connect-udp",
	   "GET /.well-known/masque/udp/h/80/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
	   "Upgrade: connect-udp\r\n\r\n",
	   "a", "/.well-known/masque/udp/h/80/", WEFT_REQ_UPGRADE, NULL),
	NOT("1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("0.9", "GET /\r\n\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("0.9 line", "GET /\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("0.9 then malformed", "GET / \r\nx\r\n\r\n", WEFT_PARSE_VERSION, "low_version"),
	NOT("no digits", "GET / HTTP/1.\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD_VERSION,
	    "http1.codec_error"),
	NOT("1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD_VERSION,
	    "http1.codec_error"),
	NOT("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", WEFT_PARSE_BAD_VERSION,
	    "http1.codec_error"),
	OK("close", GET "Connection: close\r\n\r\n", "a", "/", WEFT_REQ_CLOSE, NULL),
	OK("proxy close", GET "Proxy-Connection: x, Close\r\nX: 1\r\n\r\n", "a", "/",
	   WEFT_REQ_CLOSE, "1"),
	OK("nominated",
	   GET "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\n"
	       "Proxy-Connection: keep-alive\r\nX: 1\r\n\r\n",
	   "a", "/", WEFT_REQ_TE_TRAILERS, "1"),
	OK("nominated length", POST "Connection: content-length\r\nContent-Length: 5\r\n\r\n", "a",
	   "/", WEFT_REQ_HAS_LENGTH | WEFT_REQ_LENGTH_DROPPED, NULL),
	NOT("nominated host", GET "Connection: host\r\n\r\n", WEFT_PARSE_NO_HOST,
	    "missing_host_header"),
	NOT("nominated xff", GET "Connection: X-Forwarded-For\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.connection_header_rejected"),
	NOT("ten nominated", GET "Connection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", WEFT_PARSE_BAD,
	    "http1.connection_header_rejected"),
	OK("trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", 0, NULL),
	OK("plain", "GET /a/b?c=d HTTP/1.1\r\nHost: A.Example:80\r\nX: Y\r\nAccept: */*\r\n\r\n",
	   "A.Example:80", "/a/b?c=d", 0, "Y"),
};

static void span_is(const struct weft_req *q, struct weft_span s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(q->head + s.off, want, s.len);
}

static void check(const struct head_case *c, struct fix_req *r)
{
	size_t len = c->len;
	const struct weft_req *q = &r->req;
	int found = 0;

	assert_int_equal(fix_parse(r, c->head, len), c->verdict);
	if (c->verdict) {
		if (c->details)
			assert_string_equal(q->details, c->details);
		return;
	}
	assert_int_equal(q->hash, weft_hash_head(c->head, (__u32)len));
	assert_int_equal(q->head_len, len);
	assert_int_equal(q->flags & c->flags, c->flags);
	span_is(q, q->value[WEFT_VALUE_HOST], c->host);
	if (c->path)
		span_is(q, q->value[WEFT_VALUE_PATH], c->path);
	for (__u32 i = 0; i < q->n_field; i++) {
		struct weft_span n = q->field[i].name;

		assert_true(n.off + n.len < q->head_len);
		if (n.len != 1 || q->head[n.off] != 'x')
			continue;
		found = 1;
		span_is(q, q->field[i].value, c->x);
	}
	assert_int_equal(found, c->x != NULL);
}

static void every_head(void **state)
{
	struct fix_req *r = fix_req_new();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		check(&cases[i], r);
	}
	free(r);
}

/* Any cut: the part says MORE or what the whole says, and leaves its bytes as they were. */
static void every_cut(void **state)
{
	struct fix_req *r = fix_req_new();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t n = 0; n < cases[i].len; n++) {
			int v = fix_parse(r, cases[i].head, n);

			if (v == WEFT_PARSE_MORE)
				assert_memory_equal(r->head, cases[i].head, n);
			else
				assert_int_equal(v, cases[i].verdict);
		}
	free(r);
}

static size_t repeat(char *p, const char *fmt, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += (size_t)sprintf(p + len, fmt, i);
	return len;
}

static int sized(struct fix_req *r, const char *start, const char *fmt, int n, const char *end)
{
	char *p = malloc(1 << 17);
	size_t len = (size_t)sprintf(p, "%s", start);
	int v;

	len += repeat(p + len, fmt, n);
	len += (size_t)sprintf(p + len, "%s", end);
	v = fix_parse(r, p, len > WEFT_NATIVE_HEAD_MAX ? WEFT_NATIVE_HEAD_MAX : len);
	free(p);
	return v;
}

static void limits(void **state)
{
	struct fix_req *r = fix_req_new();

	(void)state;
	assert_int_equal(sized(r, GET, "x-%d: v\r\n", 99, "\r\n"), WEFT_PARSE_OK);
	assert_int_equal(r->req.n_field, 100);
	assert_int_equal(sized(r, GET, "x-%d: v\r\n", 100, "\r\n"), WEFT_PARSE_TOO_MANY);
	assert_string_equal(r->req.details, "http1.too_many_headers");
	assert_int_equal(sized(r, GET, "x: v\r\n", 100, "\r\n"), WEFT_PARSE_TOO_MANY);
	assert_int_equal(sized(r, GET "X: ", "v", 60416, "\r\n\r\n"), WEFT_PARSE_OK);
	assert_int_equal(sized(r, GET "X: ", "v", 62464, "\r\n\r\n"), WEFT_PARSE_TOO_LONG);
	assert_string_equal(r->req.details, "http1.headers_too_large");
	assert_int_equal(sized(r, GET, "n", 62464, ": 1\r\n\r\n"), WEFT_PARSE_TOO_LONG);
	assert_int_equal(sized(r, "GET /", "p", 30720, " HTTP/1.1\r\nHost: a\r\n\r\n"), WEFT_PARSE_OK);
	assert_int_equal(sized(r, "GET /", "p", 62464, " HTTP/1.1\r\nHost: a\r\n\r\n"),
			 WEFT_PARSE_TOO_LONG);
	free(r);
}

static void settings(void **state)
{
	struct fix_req *r = fix_req_new();
	static const char custom[] = "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char *const lower[] = {
		"head / HTTP/1.1\r\nHost: a\r\n\r\n", "connect / HTTP/1.1\r\nHost: a\r\n\r\n",
		"query / HTTP/1.1\r\nHost: a\r\n\r\n", "options * HTTP/1.1\r\nHost: a\r\n\r\n"};
	static const char old[] = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
	static const char keeps[] =
		"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive, close\r\n\r\n";
	static const char oldest[] = "GET http://a/bcd\nX: 1\r\n\r\n";
	static const char both[] = POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const char under[] = GET "X_Y: 1\r\nZ: 2\r\n\r\n";
	static const char abs[] = "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n";

	(void)state;
	r->req.hcm_flags = WEFT_HCM_CUSTOM_METHODS;
	assert_int_equal(fix_parse(r, custom, sizeof(custom) - 1), WEFT_PARSE_OK);
	/* methods are told apart by case */
	assert_int_equal(fix_parse(r, lower[0], strlen(lower[0])), WEFT_PARSE_OK);
	assert_int_equal(r->req.flags & WEFT_REQ_HEAD_METHOD, 0);
	assert_int_equal(fix_parse(r, lower[1], strlen(lower[1])), WEFT_PARSE_OK);
	assert_int_equal(r->req.flags & WEFT_REQ_CONNECT, 0);
	assert_int_equal(fix_parse(r, lower[2], strlen(lower[2])), WEFT_PARSE_OK);
	assert_int_equal(fix_parse(r, lower[3], strlen(lower[3])), WEFT_PARSE_BAD);
	r->req.hcm_flags = WEFT_HCM_ACCEPT_HTTP10;
	assert_int_equal(fix_parse(r, old, sizeof(old) - 1), WEFT_PARSE_OK);
	assert_true(r->req.flags & WEFT_REQ_HTTP10);
	/* its connection closes, unless it says otherwise; then nothing else counts */
	assert_true(r->req.flags & WEFT_REQ_CLOSE);
	assert_int_equal(fix_parse(r, keeps, sizeof(keeps) - 1), WEFT_PARSE_OK);
	assert_false(r->req.flags & WEFT_REQ_CLOSE);
	assert_int_equal(fix_parse(r, oldest, sizeof(oldest) - 1), WEFT_PARSE_OK);
	assert_int_equal(r->req.head_len, 17); /* the line is all of it */
	assert_int_equal(r->req.n_field, 0);
	r->req.hcm_flags = WEFT_HCM_ALLOW_CHUNKED_LENGTH;
	assert_int_equal(fix_parse(r, both, sizeof(both) - 1), WEFT_PARSE_OK);
	assert_int_equal(r->req.flags & (WEFT_REQ_CHUNKED | WEFT_REQ_HAS_LENGTH), WEFT_REQ_CHUNKED);
	assert_int_equal(r->req.n_field, 2); /* the length is gone */
	r->req.hcm_flags = WEFT_HCM_NO_ABSOLUTE_URL;
	assert_int_equal(fix_parse(r, abs, sizeof(abs) - 1), WEFT_PARSE_NO_PATH);
	r->req.hcm_flags = 0;
	r->req.underscores = 1;
	assert_int_equal(fix_parse(r, under, sizeof(under) - 1), WEFT_PARSE_BAD);
	assert_string_equal(r->req.details, "http1.unexpected_underscore");
	r->req.underscores = 2;
	assert_int_equal(fix_parse(r, under, sizeof(under) - 1), WEFT_PARSE_OK);
	assert_int_equal(r->req.n_field, 2);
	free(r);
}

static void odd_paths(void **state)
{
	static const struct { const char *path; int odd; } paths[] = {
		{ "/a/b", 0 }, { "/a-b_c.d~e/!$&'()*+,;=:@[]", 0 }, { "/a//b", 1 }, { "/a/./b", 1 },
		{ "/a/x/../b", 1 }, { "/%61", 1 }, { "/a\\b", 1 }, { "/a<b", 1 }, { "/abcdef//", 1 },
		{ "/abcdefg/x", 0 }, { "/abcdef/./x", 1 }, { "/abcdefg.x/y", 0 }, { "/a?x=//", 0 },
	};
	struct fix_req *r = fix_req_new();
	char head[256];

	(void)state;
	r->req.hcm_flags = WEFT_HCM_NORMALIZE_PATH;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int n = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i].path);

		assert_int_equal(fix_parse(r, head, (size_t)n), WEFT_PARSE_OK);
		assert_int_equal(!!(r->req.flags & WEFT_REQ_PATH_ODD), paths[i].odd);
	}
	free(r);
}

/*
 * The hash says that the bytes which the kernel judged are the bytes which the agent got. Flips of the highest bits go
 * through sums and products unchanged: no client may know of two heads that look alike.
 */
static void no_twin_heads(void **state)
{
	__u8 head[WEFT_HEAD_MAX], twin[WEFT_HEAD_MAX];
	__u64 whole = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(head); i++)
		head[i] = (__u8)(i * 7);
	for (__u32 bits = 1; bits < 8; bits++)
		for (__u32 at = 7; at + 8 < 512; at++) {
			memcpy(twin, head, sizeof(head));
			twin[at] = (__u8)(twin[at] ^ 0x80);
			twin[at + 8] = (__u8)(twin[at + 8] ^ (bits & 1) << 7);
			twin[at + 4] = (__u8)(twin[at + 4] ^ (bits >> 1 & 1) << 7);
			twin[at + 1] = (__u8)(twin[at + 1] ^ (bits >> 2) << 7);
			assert_int_not_equal(weft_hash_head(head, 520), weft_hash_head(twin, 520));
		}
	/* nor is it the same wherever weft runs */
	for (int i = 0; i < 4; i++) {
		fix_close();
		fix_open();
		assert_int_not_equal(weft_hash_head(head, 520), whole);
		whole = weft_hash_head(head, 520);
	}
	/* length and every byte count, up to the longest head that a program judges */
	for (__u32 len = 1; len < WEFT_HEAD_MAX; len++)
		assert_int_not_equal(weft_hash_head(head, len), weft_hash_head(head, len + 1));
	whole = weft_hash_head(head, sizeof(head));
	for (size_t i = 0; i < sizeof(head); i++) {
		head[i] = (__u8)~head[i];
		assert_int_not_equal(weft_hash_head(head, sizeof(head)), whole);
		head[i] = (__u8)~head[i];
	}
}

/* A name that is one byte off from one that means something means nothing. */
static void one_byte_off(void **state)
{
	static const char *const lines[] = {"transfer-encoding: chunked", "content-length: 5", "connection: close",
					    "content-type: application/grpc", "x-forwarded-proto: https",
					    "upgrade: websocket", "expect: 100-continue", "te: trailers"};
	struct fix_req *r = fix_req_new();
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		for (size_t at = 0; lines[i][at] != ':'; at++) {
			size_t n = (size_t)snprintf(text, sizeof(text), GET "%s\r\n\r\n", lines[i]);

			text[strlen(GET) + at] = '6';
			assert_int_equal(fix_parse(r, text, n), WEFT_PARSE_OK);
			assert_int_equal(r->req.flags, 0);
			assert_false(r->req.present >> WEFT_VALUE_SCHEME & 1);
		}
	}
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_twin_heads), cmocka_unit_test(every_head), cmocka_unit_test(every_cut), cmocka_unit_test(limits),
		cmocka_unit_test(settings), cmocka_unit_test(odd_paths), cmocka_unit_test(one_byte_off),
	};

	fix_open();
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
