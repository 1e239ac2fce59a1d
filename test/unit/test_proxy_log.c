// SPDX-License-Identifier: Apache-2.0
/* Access logs of the proxy: what a line says, which requests have one, and that each has exactly
 * one. */
#include <stdio.h>
#include <sys/stat.h>

#include "agent/access/writer.h"
#include "proxy_fixture.h"

static char dir[] = "/tmp/weft-log-XXXXXX";
static char path[64], text[1 << 20];
static struct fix_answer a;

#define LOGGER "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"

static int dir_make(void **state)
{
	(void)state;
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	fix.access_dir = dir;
	return 0;
}

static int dir_remove(void **state)
{
	int r = fix_teardown(state);

	fix.access_dir = NULL;
	unlink(path);
	return rmdir(dir) || r;
}

/* What each path asks of the endpoint. */
static void upstream(int fd)
{
	char head[8192], rest[256];

	while (fix_head_read(fd, head, sizeof(head))) {
		if (strstr(head, " /slow")) {
			while (read(fd, rest, sizeof(rest)) > 0)
				;
			return;
		}
		if (strstr(head, " /cut"))
			return;
		send(fd, "HTTP/1.1 200 OK\r\nx-of: up\r\ncontent-length: 2\r\n\r\nok", 50,
		     MSG_NOSIGNAL);
	}
}

#define ROUTES                                                                                     \
	"{match: {path: /d}, name: direct, direct_response: {status: 203, body: {inline_string: "  \
	"hello}}}, {match: {prefix: /slow}, route: {cluster: up, timeout: 0.3s}}, "                \
	"{match: {prefix: /cut}, route: {cluster: up}}, "                                          \
	"{match: {prefix: /ok}, name: forward, route: {cluster: up, prefix_rewrite: /okay}}"

/* format: a whole log_format; filter: fields in front of it, each with its comma. */
static void start(const char *filter, const char *format, unsigned int workers)
{
	char hcm[4096];

	fix_server(upstream);
	snprintf(hcm, sizeof(hcm),
		 "access_log: [{name: f, %s typed_config: {\"@type\": " LOGGER ", path: %s%s}}],",
		 filter, path, format);
	fix_open_http(hcm, ROUTES, "", 1, workers);
}

static const char *lines(uint64_t want)
{
	struct weft_access *log = weft_proxy_access(fix.proxy);
	struct weft_access_stats s = {0};
	ssize_t n = 0;
	int fd;

	for (int i = 0; i < 2000 && s.lines < want; i++) {
		usleep(5000);
		weft_access_stats(log, &s);
	}
	assert_true(s.lines >= want);
	assert_int_equal(s.lost, 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void test_values(void **state)
{
	char want[512];
	int fd;

	(void)state;
	start("",
	      ", log_format: {text_format_source: {inline_string: \"%REQ(:METHOD)% "
	      "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% "
	      "%RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% "
	      "%RESP(X-OF)% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME% "
	      "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %ACCESS_LOG_TYPE% %LISTENER_NAME% "
	      "%REQUESTED_SERVER_NAME% %TRAILER(x)%\\n\"}}",
	      1);
	fd = fix_dial();
	fix_ask(fd, "POST", "/ok", "content-length: 0\r\n", &a);
	assert_int_equal(a.status, 200);
	fix_ask(fd, "GET", "/d", "", &a);
	assert_int_equal(a.status, 203);
	fix_ask(fd, "GET", "/slow", "", &a);
	assert_int_equal(a.status, 504);
	close(fd);
	snprintf(want, sizeof(want),
		 "POST /ok HTTP/1.1 200 - - via_upstream 0 2 up 127.0.0.1:%u up forward 1 "
		 "DownstreamEnd main - -\n"
		 "GET /d HTTP/1.1 203 - - direct_response 0 5 - - - direct 0 DownstreamEnd main - "
		 "-\n"
		 "GET /slow HTTP/1.1 504 UT UpstreamRequestTimeout response_timeout 0 24 - "
		 "127.0.0.1:%u up - 1 DownstreamEnd main - -\n",
		 fix.server[0].port, fix.server[0].port);
	assert_string_equal(lines(3), want);
	fix_close();
}

static void test_json(void **state)
{
	int fd;

	(void)state;
	start("",
	      ", log_format: {json_format: {code: \"%RESPONSE_CODE%\", sent: \"%BYTES_SENT%\", "
	      "none: \"%UPSTREAM_HOST%\", mixed: \"%REQ(:PATH)%?\", failure: "
	      "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\"}}",
	      1);
	fd = fix_dial();
	fix_ask(fd, "GET", "/d", "", &a);
	close(fd);
	assert_string_equal(lines(1), "{\"code\":203,\"failure\":null,\"mixed\":\"/d?\","
				      "\"none\":null,\"sent\":5}\n");
	fix_close();
}

/* The usual format, by its fixed parts. */
static void test_usual(void **state)
{
	const char *line;
	int fd;

	(void)state;
	start("", "", 1);
	fd = fix_dial();
	fix_ask(fd, "GET", "/d", "user-agent: me\r\nx-forwarded-for: 10.0.0.1\r\n", &a);
	close(fd);
	line = lines(1);
	assert_int_equal(*line, '[');
	assert_non_null(strstr(line, "Z] \"GET /d HTTP/1.1\" 203 - 0 5 "));
	assert_non_null(strstr(line, " - \"10.0.0.1\" \"me\" \""));
	assert_non_null(strstr(line, "\" \"a\" \"-\"\n"));
	fix_close();
}

static void test_filters(void **state)
{
	int fd;

	(void)state;
	start("filter: {or_filter: {filters: [{response_flag_filter: {flags: [NR]}}, {and_filter: "
	      "{filters: [{status_code_filter: {comparison: {op: EQ, value: {default_value: 203, "
	      "runtime_key: k}}}}, {header_filter: {header: {name: x-log, present_match: true}}}, "
	      "{log_type_filter: {types: [DownstreamEnd]}}]}}]}},",
	      ", format: \"%RESPONSE_CODE%%REQ(x-log)%\\n\"", 1);
	fd = fix_dial();
	fix_ask(fd, "GET", "/d", "", &a);
	fix_ask(fd, "GET", "/d", "x-log: yes\r\n", &a);
	fix_ask(fd, "GET", "/ok", "x-log: no\r\n", &a);
	fix_ask(fd, "GET", "/nowhere", "", &a);
	assert_int_equal(a.status, 404);
	close(fd);
	assert_string_equal(lines(2), "203yes\n404-\n");
	fix_close();
}

/* Lines before the end: when the request has come, and while it is under way. */
static void test_under_way(void **state)
{
	char hcm[2048];
	int fd;

	(void)state;
	fix_server(upstream);
	snprintf(hcm, sizeof(hcm),
		 "access_log_options: {flush_access_log_on_new_request: true, "
		 "access_log_flush_interval: 0.12s}, access_log: [{name: f, typed_config: "
		 "{\"@type\": " LOGGER ", path: %s, format: \"%%ACCESS_LOG_TYPE%% "
		 "%%REQ(:METHOD)%% %%RESPONSE_CODE%% %%RESPONSE_CODE_DETAILS%%\\n\"}}],",
		 path);
	fix_open_http(hcm, ROUTES, "", 1, 1);
	fd = fix_dial();
	fix_ask(fd, "GET", "/d", "", &a);
	fix_ask(fd, "GET", "/slow", "", &a);
	close(fd);
	/* how often something is under way the machine decides */
	assert_non_null(strstr(lines(5), "DownstreamStart GET 0 -\n"
					 "DownstreamEnd GET 203 direct_response\n"
					 "DownstreamStart GET 0 -\n"
					 "DownstreamPeriodic GET 0 -\n"));
	for (int i = 0; i < 400 && !strstr(lines(5), "DownstreamEnd GET 504"); i++)
		usleep(10000);
	assert_non_null(strstr(text, "DownstreamEnd GET 504 response_timeout\n"));
	fix_close();
}

/* ---- every request has one outcome ---- */

enum { THREADS = 3, ROUNDS = 5, OFTEN = 20 };

static void ask_and_leave(const char *sent, bool answered)
{
	struct fix_answer got;
	int fd = fix_dial();

	fix_say(fd, sent);
	if (answered)
		fix_hear(fd, &got);
	else
		usleep(20000);
	close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"

static void *client(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < OFTEN; k++) {
			ask_and_leave(GET("/ok"), true);
			ask_and_leave(GET("/d"), true);
			ask_and_leave(GET("/nowhere"), true);
			ask_and_leave("GET / HTTP/9.x\r\n\r\n", true);
		}
		ask_and_leave(GET("/slow"), true);
		ask_and_leave(GET("/cut"), true);
		ask_and_leave(GET("/slow/left"), false);
		ask_and_leave("GET /ok HTTP/1.1\r\nhos", false);
	}
	return NULL;
}

static unsigned int count(const char *line)
{
	unsigned int n = 0;

	for (const char *p = text; (p = strstr(p, line)); p += strlen(line))
		n++;
	return n;
}

static void test_each_once(void **state)
{
	enum { ALL = THREADS * ROUNDS };
	const struct weft_http_stat *stat;
	pthread_t t[THREADS];

	(void)state;
	start("", ", format: \"<%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%>\\n\"", 2);
	if (fix.skip)
		skip();
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, client, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	lines(ALL * (4 * OFTEN + 4));
	assert_int_equal(count("<200 - via_upstream>"), ALL * OFTEN);
	assert_int_equal(count("<203 - direct_response>"), ALL * OFTEN);
	assert_int_equal(count("<404 NR route_not_found>"), ALL * OFTEN);
	assert_int_equal(count("<400 DPE http1.codec_error>"), ALL * OFTEN);
	assert_int_equal(count("<504 UT response_timeout>"), ALL);
	assert_int_equal(count("<503 UC upstream_reset_before_response_started{connection_"
			       "termination}>"),
			 ALL);
	assert_int_equal(count("<0 DC downstream_remote_disconnect>"), 2 * ALL);
	/* counted in the same place, so are they */
	stat = &weft_state_head()->http[weft_store_http_stat(fix.offline.store, "s")];
	assert_int_equal(FIX_LOAD(stat->rq[0]), 2 * ALL);
	assert_int_equal(FIX_LOAD(stat->rq[1]), 0);
	assert_int_equal(FIX_LOAD(stat->rq[2]), 2 * ALL * OFTEN);
	assert_int_equal(FIX_LOAD(stat->rq[3]), 0);
	assert_int_equal(FIX_LOAD(stat->rq[4]), 2 * ALL * OFTEN);
	assert_int_equal(FIX_LOAD(stat->rq[5]), 2 * ALL);
	assert_int_equal(FIX_LOAD(stat->rq[WEFT_HTTP_STAT_RESET]), 2 * ALL);
	fix_close();
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, dir_make, dir_remove)
int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_values),	LOG_TEST(test_json),	  LOG_TEST(test_usual),
		LOG_TEST(test_filters), LOG_TEST(test_under_way), LOG_TEST(test_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
