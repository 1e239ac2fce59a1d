// SPDX-License-Identifier: Apache-2.0

/* Local replies and Location lines (Envoy's redirect-parts, direct-response). */

#include "test/unit/image_fixture.h"

static struct fix_world w;
static struct fix_req *r;

static __u32 redirect(__u32 flags, const char *scheme, const char *host, const char *path, __u32 port,
		      __u32 matched)
{
	struct weft_img_redirect d = { .reply = fix_reply(301, "", ""), .flags = flags,
				       .scheme = fix_str(scheme), .host = fix_str(host),
				       .path = fix_str(path), .port = port, .matched_len = matched };
	struct weft_img_route o = { .name = fix_str("r"), .action_kind = WEFT_ACTION_REDIRECT };

	o.action = FIX_PUT(d);
	return FIX_PUT(o);
}

static const char *answer(const char *method, const char *host, const char *path, const char *lines)
{
	static char out[16384];
	char head[1024];
	struct weft_reply_plan plan;

	snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, host, lines);
	fix_decide(&w, r, head);
	assert_int_equal(weft_reply_plan(&r->req, &w.ctx, &plan), 0);
	weft_reply_write(&r->req, &plan, out);
	out[plan.total] = 0;
	return out;
}

static void located(const char *host, const char *path, const char *lines, const char *want)
{
	char line[256];
	const char *got = answer("GET", host, path, lines);

	snprintf(line, sizeof(line), "\r\nlocation: %s\r\n\r\n", want);
	if (!strstr(got, line))
		fail_msg("%s: not in %s", line, got);
}

static void locations(void **state)
{
	const struct fix_route f[] = {
		{ "/https", 0, redirect(WEFT_REDIRECT_HTTPS, "", "", "", 0, 0), 0 },
		{ "/scheme", 0, redirect(0, "ftp", "", "", 0, 0), 0 },
		{ "/host", 0, redirect(0, "", "new.example", "", 0, 0), 0 },
		{ "/port", 0, redirect(0, "", "", "", 8443, 0), 0 },
		{ "/hp", 0, redirect(0, "", "new.example", "", 81, 0), 0 },
		{ "/path", 0, redirect(WEFT_REDIRECT_PATH, "", "", "/new", 0, 0), 0 },
		{ "/ownq", 0, redirect(WEFT_REDIRECT_PATH, "", "", "/new?own=1", 0, 0), 0 },
		{ "/prefix", 0, redirect(WEFT_REDIRECT_PREFIX, "", "", "/p", 0, 7), 0 },
		{ "/whole", 1, redirect(WEFT_REDIRECT_PREFIX, "", "", "/w", 0, 6), 0 },
		{ "/strip", 0, redirect(WEFT_REDIRECT_STRIP_QUERY | WEFT_REDIRECT_HTTPS, "", "", "", 0, 0), 0 },
		{ "/both", 0, redirect(WEFT_REDIRECT_STRIP_QUERY | WEFT_REDIRECT_HTTPS | WEFT_REDIRECT_PATH,
				       "", "new.example", "/n", 0, 0), 0 },
		{ "/same", 0, redirect(0, "http", "", "", 0, 0), 0 },
		{ "/five", 0, redirect(0, "", "", "", 65535, 0), 0 },
		{ "/201", 1, fix_direct(fix_reply(201, "", "hello")), 0 },
	};

	(void)state;
	fix_world_open(&w);
	fix_domain(&w, "*", fix_vhost("v", f, sizeof(f) / sizeof(f[0])));
	fix_publish(&w);
	located("old.example", "/https/a?b=c", "", "https://old.example/https/a?b=c");
	located("old.example:80", "/https", "", "https://old.example/https");
	located("old.example:8080", "/https", "", "https://old.example:8080/https");
	located("old.example:443", "/https", "", "https://old.example:443/https");
	located("old.example:80", "/scheme", "", "ftp://old.example/scheme");
	located("old.example:8080", "/host?q", "", "http://new.example/host?q");
	located("old.example:8080", "/port", "", "http://old.example:8443/port");
	located("old.example", "/port", "", "http://old.example:8443/port");
	located("old.example", "/hp/x", "", "http://new.example:81/hp/x");
	located("h", "/path/x?q=1", "", "http://h/new?q=1");
	located("h", "/pathq?q=1", "", "http://h/new?q=1");
	located("h", "/ownq?q=1", "", "http://h/new?own=1");
	located("h", "/ownq", "", "http://h/new?own=1");
	located("h", "/prefix/rest?q=1", "", "http://h/p/rest?q=1");
	located("h", "/prefixed", "", "http://h/ped");
	located("h", "/whole?q=1", "", "http://h/w?q=1");
	located("h", "/strip/a?b=c", "", "https://h/strip/a");
	located("old.example:80", "/both/a?b=c", "", "https://new.example/n");
	located("[::1]:80", "/https", "", "https://[::1]/https");
	located("a:80", "/same", "", "http://a:80/same");
	located("a", "/five", "", "http://a:65535/five");
	/* the client's x-forwarded-proto is the scheme */
	located("a:443", "/host", "X-Forwarded-Proto: https\r\n", "https://new.example/host");
	located("a:80", "/https", "X-Forwarded-Proto: https\r\n", "https://a:80/https");
	assert_non_null(strstr(answer("GET", "h", "/201?x", ""), "\r\nlocation: http://h/201?x\r\n\r\nhello"));
}

static void whole_reply(void **state)
{
	struct fix_route f = { "/", 0, fix_direct(fix_reply(200, "x: y\r\n", "body")), 0 };
	struct weft_reply_plan plan;
	char out[1024];
	const char *want = "HTTP/1.1 200 X\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			   "server: envoy\r\ncontent-length: 4\r\nx: y\r\n\r\nbody";

	(void)state;
	fix_world_open(&w);
	fix_domain(&w, "h", fix_vhost("v", &f, 1));
	fix_publish(&w);
	assert_string_equal(answer("GET", "h", "/", ""), want);
	assert_int_equal(strlen(answer("HEAD", "h", "/", "")), strlen(want) - 4);
	assert_non_null(strstr(answer("GET", "other", "/", ""), "HTTP/1.1 404"));
	assert_int_equal(weft_reply_plan_std(r->req.dec.reply, false, &plan), 0);
	assert_int_equal(plan.status, 404);
	weft_reply_write(&r->req, &plan, out);
	assert_memory_equal(out, "HTTP/1.1 404", 12);
	assert_int_equal(weft_reply_plan_std(0, false, &plan), -ENOENT);
}

static void long_scheme_is_refused(void **state)
{
	struct fix_route f = { "/", 0, redirect(0, "a-scheme-of-more-than-20-bytes", "", "", 0, 0), 0 };
	struct weft_reply_plan plan;

	(void)state;
	fix_world_open(&w);
	fix_domain(&w, "*", fix_vhost("v", &f, 1));
	fix_publish(&w);
	fix_decide(&w, r, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(weft_reply_plan(&r->req, &w.ctx, &plan), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(locations), cmocka_unit_test(whole_reply),
					    cmocka_unit_test(long_scheme_is_refused) };

	fix_open();
	r = fix_req_new();
	int e = cmocka_run_group_tests(tests, NULL, NULL);

	free(r);
	fix_close();
	return e;
}
