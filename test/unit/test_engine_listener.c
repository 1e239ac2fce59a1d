// SPDX-License-Identifier: Apache-2.0

/* Destination to listener, chain and class; what first bytes are. */

#include "test/unit/hello_fixture.h"
#include "test/unit/image_fixture.h"

#define BOTH (WEFT_LISTENER_INSPECT_HTTP | WEFT_LISTENER_INSPECT_TLS)

static struct fix_world w;

static void to(struct weft_addr a, __u16 port)
{
	w.ctx.dst = (struct weft_sockaddr){ a, port, a.w[2] == 0xffff0000u ? 2 : 10 };
}

static __u32 listener(const char *name, __u32 flags, const struct weft_img_chain_group *g, __u32 n)
{
	struct weft_img_listener l = { .name = fix_str(name), .flags = flags, .n_group = n };

	l.group = fix_put(g, n * sizeof(*g), 0);
	return FIX_PUT(l);
}

static __u32 chain(enum weft_chain_kind kind)
{
	struct weft_img_chain c = { .kind = (__u32)kind, .target = w.hcm };

	return FIX_PUT(c);
}

static __u32 all(__u32 c, struct weft_img_chain_group *g, __u32 port)
{
	g->port = port;
	for (int i = 0; i < WEFT_PROTO__MAX; i++)
		g->chain[i] = c;
	return c;
}

static void by_destination(void **state)
{
	struct weft_img_chain_group g[2] = { 0 };
	struct weft_img_view *v = FIX_AT(struct weft_img_view, w.view);
	__u32 tcp = all(chain(WEFT_CHAIN_TCP), &g[0], 8443), http = all(chain(WEFT_CHAIN_HTTP), &g[1], 0);
	__u32 wild = listener("wild", 0, g, 2), fall = listener("fall", 0, g, 1), c = 0;
	struct weft_addr v6 = { { 1, 2, 3, 4 } };

	(void)state;
	v->wildcard = fix_addr_tab(16);
	fix_addr_tab_add(v->wildcard, fix_v4(0, 0, 0, 0), 8443, wild);
	fix_addr_tab_add(v->wildcard, (struct weft_addr){ { 0 } }, 9000, wild);
	to(fix_v4(10, 1, 1, 1), 80);
	assert_int_equal(weft_listener_find(&w.ctx), 0);
	assert_int_equal(w.ctx.listener, w.listener);
	to(fix_v4(10, 9, 9, 9), 8443);
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_L4);
	assert_int_equal(c, tcp);
	to(v6, 8443);
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_BYPASS); /* the other family */
	to(v6, 9000);
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_CAPTURED);
	assert_int_equal(weft_chain_find(&w.ctx, WEFT_PROTO_RAW), http);
	to(fix_v4(10, 9, 9, 9), 1);
	assert_int_equal(weft_listener_find(&w.ctx), -ENOENT);
	v->fallback = fall;
	assert_int_equal(weft_listener_find(&w.ctx), 0);
	/* only port 8443 has a chain there */
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_REFUSED);
	v->fallback = 0;
}

static void by_first_bytes(void **state)
{
	struct weft_img_chain_group g = { 0 };
	struct weft_img_view *v = FIX_AT(struct weft_img_view, w.view);
	__u32 tcp = all(chain(WEFT_CHAIN_TCP), &g, 0), http = chain(WEFT_CHAIN_HTTP), l, c = 0;

	(void)state;
	g.chain[WEFT_PROTO_HTTP11] = http;
	l = listener("sniff", WEFT_LISTENER_INSPECT_HTTP, &g, 1);
	fix_addr_tab_add(v->listener, fix_v4(10, 2, 2, 2), 80, l);
	to(fix_v4(10, 2, 2, 2), 80);
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_CAPTURED);
	assert_int_equal(weft_chain_find(&w.ctx, WEFT_PROTO_HTTP11), http);
	assert_int_equal(weft_chain_find(&w.ctx, WEFT_PROTO_TLS), tcp);
	/* without the inspector the columns do not count */
	FIX_AT(struct weft_img_listener, l)->flags = 0;
	assert_int_equal(weft_class_find(&w.ctx, &c), WEFT_CLASS_L4);
}

static void views(void **state)
{
	struct weft_ctx c = { .view = 9 };

	(void)state;
	assert_int_equal(weft_ctx_begin(&c), -ENOENT);
	assert_int_equal(weft_listener_find(&c), -ENOENT);
}

static int detect(const char *bytes, size_t len, __u32 flags)
{
	static __u8 room[WEFT_HELLO_ROOM];
	struct weft_img_listener l = {.flags = flags, .hello_max = 300};
	struct weft_hello h;

	return weft_proto_detect(bytes, (__u32)len, &l, room, &h);
}

static void detection(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int want;
	} t[] = {
		{"GET / HTTP/1.1\r\n", 16, WEFT_PROTO_HTTP11},
		{"GET / HTTP/1.0\r\n", 16, WEFT_PROTO_HTTP10},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, WEFT_PROTO_H2C},
		{"hello\n", 6, WEFT_PROTO_RAW},
		{"SSH-2.0-x\r\n", 11, WEFT_PROTO_RAW},
		{"GET /\r\n", 7, WEFT_PROTO_HTTP10},
		{"get / HTTP/2.0\r\n", 16, WEFT_PROTO_HTTP10},
		{"GET /a b HTTP/1.1\r\n", 19, WEFT_PROTO_RAW},
		{"\r\nPOST /x HTTP/1.1\n", 19, WEFT_PROTO_RAW},
		{"\0\0\0\0\0", 5, WEFT_PROTO_RAW},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(detect(t[i].bytes, t[i].len, WEFT_LISTENER_INSPECT_HTTP),
				 t[i].want);
		assert_int_equal(detect(t[i].bytes, t[i].len, BOTH), t[i].want);
		assert_int_equal(detect(t[i].bytes, t[i].len, WEFT_LISTENER_INSPECT_TLS),
				 WEFT_PROTO_RAW);
		/* a cut says the same, or that it needs more */
		for (__u32 n = 0; n < t[i].len; n++) {
			int r = detect(t[i].bytes, n, WEFT_LISTENER_INSPECT_HTTP);

			assert_true(r == -EAGAIN || r == t[i].want);
			/* whoever looks for TLS waits for a record's head */
			assert_int_equal(detect(t[i].bytes, n, BOTH), n < 5 ? -EAGAIN : r);
		}
	}
}

static void detection_of_tls(void **state)
{
	static const __u8 more[250];
	static struct bytes in;
	__u32 flags = BOTH | WEFT_LISTENER_HELLO_CLOSES;

	(void)state;
	hello_make(&in, "a.test", NULL);
	assert_int_equal(detect((const char *)in.b, in.n, BOTH), WEFT_PROTO_TLS);
	assert_int_equal(detect((const char *)in.b, in.n, WEFT_LISTENER_INSPECT_HTTP),
			 WEFT_PROTO_RAW);
	assert_int_equal(detect((const char *)in.b, in.n - 1, BOTH), -EAGAIN);
	assert_int_equal(detect((const char *)in.b, in.n, flags), WEFT_PROTO_TLS);
	assert_int_equal(detect("GET / HTTP/1.1\r\n", 16, flags), -ECONNABORTED);
	/* more than max_client_hello_size, or just that and not whole */
	put(&in, more, sizeof(more));
	in.b[3] = 1;
	assert_int_equal(detect((const char *)in.b, 299, BOTH), -EAGAIN);
	assert_int_equal(detect((const char *)in.b, 300, BOTH), -ECONNABORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_destination),
		cmocka_unit_test(by_first_bytes),
		cmocka_unit_test(views),
		cmocka_unit_test(detection),
		cmocka_unit_test(detection_of_tls),
	};

	fix_open();
	fix_world_open(&w);
	fix_publish(&w);
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
