// SPDX-License-Identifier: Apache-2.0
/* Connections of the app from their first byte to their end: sniffing, pins of the image, draining, broken peers. */
#include "proxy_fixture.h"

#include <sys/epoll.h>

#include "agent/proxy/internal.h"

static struct fix_answer a;

/* The other side may be gone by now. */
static void tell(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/*
 * /hold waits for the client's end, /ws upgrades and echoes, /flood sends as much as it can and then breaks the connection,
 * anything else is answered. What is no HTTP is counted until its end, and the count comes back.
 */
static void serve(int fd)
{
	static const char block[65536];
	char head[8192], text[256];
	ssize_t n = recv(fd, text, 4, MSG_PEEK | MSG_WAITALL), all = 0;

	if (n < 4 || memcmp(text, "GET ", 4)) {
		while ((n = recv(fd, text, sizeof(text), 0)) > 0)
			all += n;
		snprintf(text, sizeof(text), "got %zd", all);
		tell(fd, text);
		return;
	}
	while (fix_head_read(fd, head, sizeof(head))) {
		if (strstr(head, "GET /hold")) {
			while (recv(fd, text, sizeof(text), 0) > 0)
				;
			return;
		}
		if (strstr(head, "GET /ws")) {
			tell(fd, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: "
				    "upgrade\r\n\r\n");
			while ((n = recv(fd, text, sizeof(text), 0)) > 0)
				send(fd, text, (size_t)n, MSG_NOSIGNAL);
			return;
		}
		if (strstr(head, "GET /flood")) {
			tell(fd, "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
			for (int stalls = 0; stalls < 50;) { /* until every buffer on the way is full */
				if (send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
					stalls++;
					fix_sleep(2);
				}
			}
			fix_reset(fd);
			return;
		}
		tell(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
	}
}

#define ASK(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"
#define UPGRADE "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"

static int ask(const char *text, unsigned int status)
{
	int fd = fix_dial();

	fix_say(fd, text);
	if (status) {
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, status);
	}
	return fd;
}

static void wait_inside(uint64_t n)
{
	struct weft_proxy_stats s = {0};

	for (int i = 0; i < 400 && s.exchanges_total < n; i++) {
		weft_proxy_stats(fix.proxy, &s);
		fix_sleep(5);
	}
	assert_true(s.exchanges_total >= n);
}

/* ---- pins of the image ---- */

#define HCM "upgrade_configs: [{upgrade_type: websocket}], delayed_close_timeout: 30s,"
#define OTHER "{match: {prefix: /other}, direct_response: {status: 200, body: {inline_string: other}}}, " FIX_ROUTE

static void expect_free(void)
{
	for (int i = 0; i < 400 && fix_waiting(); i++)
		fix_sleep(5);
	assert_int_equal(fix_waiting(), 0);
}

/* A look inside another one, with a publish in between, neither ends the outer one's pin nor leaves one behind. */
static void test_looks_nest(void **state)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct down d = {.worker = w};

	(void)state;
	fix_server(serve);
	fix_config(fix_http_yaml(HCM, FIX_ROUTE, "", 1));
	assert_int_equal(weft_reader_new(fix.offline.store, &w->reader), 0);
	image_enter(&d);
	fix_publish(fix_http_yaml(HCM, OTHER, "", 1));
	assert_int_not_equal(fix_waiting(), 0);
	image_enter(&d);
	image_leave(&d);
	assert_int_not_equal(fix_waiting(), 0);
	image_leave(&d);
	assert_int_equal(fix_waiting(), 0);
	weft_reader_free(w->reader);
	free(w);
	fix_close();
}

/* An exchange pins its image; nothing else that stays open does. */
static void test_pins(void **state)
{
	int fd[8], n = 0, held;

	(void)state;
	fix_server(serve);
	fix_open(fix_http_yaml(HCM, FIX_ROUTE, "", 1), 1);
	held = ask(ASK("/hold"), 0);
	wait_inside(1);
	fix_publish(fix_http_yaml(HCM, OTHER, "", 1));
	fix_sleep(50);
	assert_int_not_equal(fix_waiting(), 0);
	close(held);
	expect_free();
	fd[n++] = fix_dial();					  /* silent */
	fd[n++] = ask(ASK("/x"), 200);				  /* idle */
	fd[n++] = ask("GET /x HTTP/1.1\r\nho", 0);		  /* half a head */
	fd[n++] = ask(ASK("/other"), 200);			  /* answered here */
	fd[n++] = ask("nonsense\r\n\r\n", 400);			  /* lingering */
	fd[n++] = ask("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426);	  /* the same */
	fd[n++] = ask(UPGRADE, 101);				  /* a tunnel */
	fd[n++] = ask("POST /other HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", 200); /* its body never comes */
	fix_publish(fix_http_yaml(HCM, FIX_ROUTE, "", 1));
	expect_free();
	while (n)
		close(fd[--n]);
	fix_close();
}

/* ---- ends ---- */

/* Who has said all gets its FIN at once; who may still be sending is waited for, and closes itself.
 */
static void test_ends(void **state)
{
	int fd;

	(void)state;
	fix_server(serve);
	fix_open(fix_http_yaml(HCM, OTHER, "", 1), 1);
	fd = ask("GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 200);
	assert_true(fix_ended(fd)); /* before delayed_close_timeout: else reading gives up */
	close(fd);
	fd = ask("POST /other HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", 200);
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_silent(fd, 300));
	tell(fd, "the rest, and more");
	assert_true(fix_silent(fd, 100));
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* ---- sniffing ---- */

/* The end comes while the kind of the connection is not known: Envoy closes. */
static void test_end_while_sniffed(void **state)
{
	int fd;

	(void)state;
	fix_server(serve);
	fix_server(serve);
	fix_open_sniffed(0, 1);
	/* a beginning that may be HTTP */
	fd = fix_dial();
	fix_say(fd, "PO");
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	/* the same after a while */
	fd = fix_dial();
	fix_say(fd, "P");
	fix_sleep(50);
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	/* nothing at all: nobody is told */
	fd = fix_dial();
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	assert_int_equal(fix_calls(0), 0);
	/* a request and the end, in one segment: a client that is half gone gets no answer */
	fd = fix_dial();
	assert_int_equal(send(fd, ASK("/x"), strlen(ASK("/x")), MSG_MORE | MSG_NOSIGNAL), strlen(ASK("/x")));
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	/* broken off */
	fd = fix_dial();
	fix_say(fd, "PO");
	fix_sleep(20);
	fix_reset(fd);
	close(fd);
	fix_close();
}

/* ---- draining ---- */

static bool refused(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(fix.port4[0])};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool r = connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno == ECONNREFUSED;

	close(fd);
	return r;
}

#define DRAIN_MS 400

/* The pod leaves: no new connections, those that are there go on, and end when the time is over. */
static void test_pod_drains(void **state)
{
	int idle, busy, tunnel, head;
	uint64_t start;
	char c;

	(void)state;
	fix_server(serve);
	fix_open_http(HCM, FIX_ROUTE, "", 1, 2);
	idle = ask(ASK("/x"), 200);
	busy = ask(ASK("/hold"), 0);
	tunnel = ask(UPGRADE, 101);
	head = ask("GET /x HTTP/1.1\r\nho", 0);
	wait_inside(3);
	start = fix_now_ms();
	assert_int_equal(weft_proxy_pod_remove(fix.proxy, FIX_POD, DRAIN_MS), 0);
	assert_true(refused());
	fix_say(idle, ASK("/x"));
	assert_true(fix_hear(idle, &a));
	assert_int_equal(a.status, 200);
	fix_say(tunnel, "e");
	assert_int_equal(recv(tunnel, &c, 1, 0), 1);
	assert_true(fix_ended(busy));
	assert_true(fix_now_ms() - start + 2 * PROXY_TICK_MS >= DRAIN_MS);
	assert_true(fix_ended(idle));
	assert_true(fix_ended(tunnel));
	assert_true(fix_ended(head));
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 0);
	close(idle);
	close(busy);
	close(tunnel);
	close(head);
	fix_close();
}

/* The proxy stops whatever its connections are at; fix_close() looks for places that were not given back. */
static void test_stop(void **state)
{
	int fd[12], n = 0;

	(void)state;
	fix_server(serve);
	fix_open_http(HCM, FIX_ROUTE, ", circuit_breakers: {thresholds: [{max_connections: 3}]}", 1, 1);
	fd[n++] = fix_dial();
	fd[n++] = ask("GET /x HTTP/1.1\r\nho", 0);
	fd[n++] = ask(UPGRADE, 101);
	fd[n++] = ask("nonsense\r\n\r\n", 400);
	fd[n++] = ask(ASK("/x") ASK("/hold"), 200);
	fd[n++] = ask(ASK("/hold"), 0);
	fd[n++] = ask(ASK("/waits") ASK("/waits"), 0);
	fd[n++] = ask("POST /waits HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc", 0);
	wait_inside(6);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_pending[0]), 2);
	fix_close();
	for (int i = 0; i < n; i++) {
		assert_true(fix_ended(fd[i]));
		close(fd[i]);
	}
}

/* ---- broken peers ---- */

/* Nothing may be read from `fd` and nothing is to be written: its end wakes nobody (EPOLLHUP would, without end). */
static void expect_off(struct worker *w, const struct watch *watch, int peer)
{
	struct epoll_event e;

	assert_int_equal(watch->events, 0);
	close(peer);
	assert_int_equal(epoll_wait(w->epoll, &e, 1, 20), 0);
}

static void test_full_is_off_the_list(void **state)
{
	static const char bytes[PROXY_HIGH_WATER];
	struct worker *w = calloc(1, sizeof(*w));
	struct upstream u = {.worker = w};
	struct down d = {.worker = w, .state = DOWN_TUNNEL, .relay = &u};
	struct exchange x = {.down = &d};
	int app[2], endpoint[2];

	(void)state;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int exchange = 0; exchange < 2; exchange++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, app), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, endpoint), 0);
		d.watch = (struct watch){.kind = WATCH_DOWN, .fd = app[0]};
		u.watch = (struct watch){.kind = WATCH_UPSTREAM, .fd = endpoint[0]};
		u.relay = exchange ? NULL : &d;
		u.x = exchange ? &x : NULL;
		upstream_watch(&u);
		assert_int_not_equal(u.watch.events, 0);
		assert_int_equal(buf_add(w, &d.out, bytes, sizeof(bytes)), 0);
		upstream_watch(&u);
		expect_off(w, &u.watch, endpoint[1]);
		buf_free(w, &d.out);
		down_watch(&d);
		assert_int_not_equal(d.watch.events, 0);
		assert_int_equal(buf_add(w, &u.out, bytes, sizeof(bytes)), 0);
		down_watch(&d);
		expect_off(w, &d.watch, app[1]);
		buf_free(w, &u.out);
		watch_close(w, &d.watch);
		watch_close(w, &u.watch);
	}
	buf_spares_free(w);
	close(w->epoll);
	free(w);
}

/* The endpoint resets while its client takes nothing: told when the client has read what came before. */
static void test_reset_behind_full_client(void **state)
{
	static char block[65536];
	size_t got = 0;
	ssize_t n;
	int fd;

	(void)state;
	fix_server(serve);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = ask(ASK("/flood"), 0);
	fix_sleep(500); /* full, and reset */
	while ((n = recv(fd, block, sizeof(block), 0)) > 0)
		got += (size_t)n;
	assert_in_range(got, PROXY_HIGH_WATER, 99999999); /* cut off, and not ended as if it were whole */
	close(fd);
	fix_close();
}

/* The client resets while the endpoint takes nothing. */
static void deaf(int fd)
{
	char c;

	recv(fd, &c, 1, MSG_PEEK);
	fix_sleep(500);
}
static void test_reset_before_full_endpoint(void **state)
{
	static const char block[65536];
	int fd, stalls = 0;

	(void)state;
	fix_server(deaf);
	fix_server(serve);
	fix_open_sniffed(0, 1);
	fd = fix_dial();
	while (stalls < 50) {
		if (send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			assert_int_equal(errno, EAGAIN);
			stalls++;
			fix_sleep(2);
		}
	}
	fix_reset(fd);
	fix_sleep(50);
	close(fd);
	fix_close();
}

/* A client that goes away while its answer is waited for takes the exchange with it. */
static void test_reset_of_waiting_client(void **state)
{
	int fd;

	(void)state;
	fix_server(serve);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = ask(ASK("/hold"), 0);
	wait_inside(1);
	while (!FIX_LOAD(fix_cluster()->rq_active[0]))
		fix_sleep(5);
	fix_reset(fd);
	for (int i = 0; i < 400 && FIX_LOAD(fix_cluster()->rq_active[0]); i++)
		fix_sleep(5);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 0);
	close(fd);
	fix_close();
}

/* A client that sends more than is taken in ahead, and goes: seen although nothing of it is read any more. */
static void test_end_behind_full_pipeline(void **state)
{
	static char ahead[3 * PROXY_BUF];
	int fd;

	(void)state;
	fix_server(serve);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = ask(ASK("/hold"), 0);
	wait_inside(1);
	memset(ahead, 'x', sizeof(ahead));
	fix_send(fd, ahead, sizeof(ahead));
	fix_sleep(50);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 1);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 400 && FIX_LOAD(fix_cluster()->rq_active[0]); i++)
		fix_sleep(5);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_looks_nest),
		FIX_TEST(test_pins),
		FIX_TEST(test_ends),
		FIX_TEST(test_end_while_sniffed),
		FIX_TEST(test_pod_drains),
		FIX_TEST(test_stop),
		FIX_TEST(test_full_is_off_the_list),
		FIX_TEST(test_reset_behind_full_client),
		FIX_TEST(test_reset_before_full_endpoint),
		FIX_TEST(test_reset_of_waiting_client),
		FIX_TEST(test_end_behind_full_pipeline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
