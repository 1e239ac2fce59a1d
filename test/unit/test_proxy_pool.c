// SPDX-License-Identifier: Apache-2.0
/* Breakers in front of an upstream, exact with many clients and several workers; every place comes back. */
#include "proxy_fixture.h"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool open_gate;
static unsigned int inside;

static void gate_set(bool on)
{
	pthread_mutex_lock(&gate);
	open_gate = on;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&gate);
}

/* Holds each request until the gate opens. */
static void upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		pthread_mutex_lock(&gate);
		inside++;
		while (!open_gate)
			pthread_cond_wait(&opened, &gate);
		inside--;
		pthread_mutex_unlock(&gate);
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
	}
}

static unsigned int inside_now(void)
{
	unsigned int n;

	pthread_mutex_lock(&gate);
	n = inside;
	pthread_mutex_unlock(&gate);
	return n;
}

static void open_with(const char *thresholds, unsigned int workers)
{
	char cluster[256];

	gate_set(false);
	fix_server(upstream);
	snprintf(cluster, sizeof(cluster), ", circuit_breakers: {thresholds: [{%s}]}", thresholds);
	fix_open_http("", FIX_ROUTE, cluster, 1, workers);
}

static void done(void)
{
	gate_set(true);
	fix_close();
}

#define CLIENTS 24
#define REQUEST "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define OVERFLOW "upstream connect error or disconnect/reset before headers. reset reason: overflow"

struct client {
	pthread_t thread;
	int fd;
	unsigned int status;
	bool overloaded;
};

static void *client_run(void *arg)
{
	struct client *c = arg;
	struct fix_answer *a = calloc(1, sizeof(*a));
	const char *v;

	if (!a)
		abort();
	fix_say(c->fd, REQUEST);
	if (fix_head_read(c->fd, a->head, sizeof(a->head))) {
		c->status = (unsigned int)strtoul(a->head + 9, NULL, 10);
		v = strstr(a->head, "x-envoy-overloaded: true\r\n");
		c->overloaded = v != NULL;
	}
	free(a);
	return NULL;
}

/*
 * All at once, behind `first` of them that are with the upstream already; the gate opens when nobody gets an answer any
 * more. Answers with 200.
 */
static unsigned int storm(unsigned int first)
{
	struct client c[CLIENTS] = {0};
	unsigned int ok = 0;

	for (int i = 0; i < CLIENTS; i++) {
		while (first && i == (int)first && inside_now() < first)
			fix_sleep(5);
		c[i].fd = fix_dial();
		pthread_create(&c[i].thread, NULL, client_run, &c[i]);
	}
	fix_sleep(300);
	gate_set(true);
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(c[i].thread, NULL);
		ok += c[i].status == 200;
		assert_true(c[i].status == 200 || (c[i].status == 503 && c[i].overloaded));
		close(c[i].fd);
	}
	gate_set(false);
	return ok;
}

static void test_max_requests(void **state)
{
	(void)state;
	open_with("max_requests: 7, max_pending_requests: 100, max_connections: 100", 2);
	for (int round = 0; round < 5; round++)
		assert_int_equal(storm(0), 7);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_overflow), 5 * (CLIENTS - 7));
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	done();
}

/* One worker: max_connections carry, max_pending wait for them, the others are refused. */
static void test_max_pending(void **state)
{
	(void)state;
	open_with("max_connections: 3, max_pending_requests: 4, max_requests: 100", 1);
	assert_int_equal(storm(3), 3 + 4);
	assert_int_equal(FIX_LOAD(fix_cluster()->pending_overflow), CLIENTS - 7);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_pending[0]), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 3);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_idle), 3);
	assert_int_equal(fix_calls(0), 3);
	done();
}

static void test_zero(void **state)
{
	struct fix_answer a;
	int fd;

	(void)state;
	/* every pool may open its first connection, as in Envoy */
	open_with("max_connections: 0", 1);
	gate_set(true);
	fd = fix_dial();
	fix_say(fd, REQUEST);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	close(fd);
	done();

	open_with("max_pending_requests: 0", 1);
	fd = fix_dial();
	fix_say(fd, REQUEST);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, OVERFLOW);
	assert_string_equal(fix_header(a.head, "x-envoy-overloaded"), "true");
	assert_null(fix_header(a.head, "connection"));
	close(fd);
	done();

	open_with("max_requests: 0", 1);
	fd = fix_dial();
	fix_say(fd, REQUEST);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 503);
	close(fd);
	done();
}

/* Clients that go away while they wait, or while they are served, leave nothing behind. */
static void test_clients_go(void **state)
{
	int fd[10];

	(void)state;
	open_with("max_connections: 2, max_pending_requests: 100", 1);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 10; i++) {
			fd[i] = fix_dial();
			fix_say(fd[i], REQUEST);
		}
		while (inside_now() < 2)
			fix_sleep(5);
		for (int i = 0; i < 10; i++) {
			struct linger l = {.l_onoff = i % 2};

			setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
			close(fd[i]);
		}
		for (int i = 0; i < 200 && (FIX_LOAD(fix_cluster()->rq_active[0]) || FIX_LOAD(fix_cluster()->rq_pending[0])); i++)
			fix_sleep(5);
		assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
		assert_int_equal(FIX_LOAD(fix_cluster()->rq_pending[0]), 0);
		gate_set(true);
		for (int i = 0; i < 200 && inside_now(); i++)
			fix_sleep(5);
		gate_set(false);
	}
	done();
}

/* Requests wait for connections that each serve one request: as many are opened again as may be. */
static void single(int fd)
{
	char head[8192];

	if (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 59, MSG_NOSIGNAL);
}
static void test_waiting_served(void **state)
{
	struct client c[CLIENTS] = {0};

	(void)state;
	fix_server(single);
	fix_open_http("", FIX_ROUTE, ", circuit_breakers: {thresholds: [{max_connections: 2}]}", 1, 1);
	for (int i = 0; i < CLIENTS; i++) {
		c[i].fd = fix_dial();
		pthread_create(&c[i].thread, NULL, client_run, &c[i]);
	}
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(c[i].thread, NULL);
		assert_int_equal(c[i].status, 200);
		close(c[i].fd);
	}
	assert_int_equal(fix_calls(0), CLIENTS);
	fix_close();
}

/* Holds a request until the gate opens, and answers nothing. */
static void dropping(int fd)
{
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	pthread_mutex_lock(&gate);
	inside++;
	while (!open_gate)
		pthread_cond_wait(&opened, &gate);
	inside--;
	pthread_mutex_unlock(&gate);
}

#define WAITING 150
#define STACK_MAX 8192

/*
 * The only connection ends while many requests wait, each with more behind it, and no other can be opened. Every one is
 * answered, and none while another one is: the stack does not grow with their number.
 */
static void test_no_nesting(void **state)
{
	struct fix_answer a;
	int fd[WAITING];

	(void)state;
	gate_set(false);
	fix_server(dropping);
	fix_open_http("", FIX_ROUTE,
		      ", circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 1000}]}", 1, 1);
	for (int i = 0; i < WAITING; i++) {
		fd[i] = fix_dial();
		fix_say(fd[i], REQUEST REQUEST REQUEST);
		while (!i && !inside_now())
			fix_sleep(5);
	}
	while (FIX_LOAD(fix_cluster()->rq_pending[0]) < WAITING - 1)
		fix_sleep(5);
	__atomic_store_n(&fix.exempt_error, -EMFILE, __ATOMIC_RELEASE);
	gate_set(true);
	for (int i = 0; i < WAITING; i++) {
		for (int k = 0; k < 3; k++) {
			assert_true(fix_hear(fd[i], &a));
			assert_int_equal(a.status, 503);
		}
		close(fd[i]);
	}
	assert_true(FIX_LOAD(fix.stack_high) - FIX_LOAD(fix.stack_low) < STACK_MAX);
	/* and a connection is opened again for those who come then */
	__atomic_store_n(&fix.exempt_error, 0, __ATOMIC_RELEASE);
	fd[0] = fix_dial();
	fix_say(fd[0], REQUEST);
	assert_true(fix_hear(fd[0], &a));
	assert_string_equal(a.body, "upstream connect error or disconnect/reset before headers. reset reason: "
				    "connection termination");
	close(fd[0]);
	done();
}

/* Who waits is served although the one in front of him, for whom a connection was being opened, goes away. */
static void test_cancelled_first(void **state)
{
	struct fix_answer a;
	int first, second;

	(void)state;
	open_with("max_connections: 1", 1);
	first = fix_dial();
	fix_say(first, REQUEST);
	while (!inside_now())
		fix_sleep(5);
	second = fix_dial();
	fix_say(second, REQUEST);
	while (!FIX_LOAD(fix_cluster()->rq_pending[0]))
		fix_sleep(5);
	close(first); /* its connection goes with it: another is opened at the turn's end */
	while (inside_now() < 2)
		fix_sleep(5);
	gate_set(true);
	assert_true(fix_hear(second, &a));
	assert_int_equal(a.status, 200);
	assert_int_equal(fix_calls(0), 2);
	close(second);
	done();
}

/* The pod is taken away while requests are under way: they end, their places come back. */
static void test_pod_removed(void **state)
{
	struct fix_answer a;
	int busy, idle;

	(void)state;
	open_with("max_connections: 5", 1);
	idle = fix_dial();
	busy = fix_dial();
	fix_say(busy, REQUEST);
	while (!inside_now())
		fix_sleep(5);
	assert_int_equal(weft_proxy_pod_remove(fix.proxy, FIX_POD, 5000), 0);
	assert_int_equal(weft_proxy_pod_remove(fix.proxy, FIX_POD, 5000), -ENOENT);
	gate_set(true);
	assert_true(fix_hear(busy, &a));
	assert_int_equal(a.status, 200);
	close(busy);
	close(idle);
	done();
}

/* Pools of the cluster there are now. */
static uint32_t pools(void)
{
	const uint8_t *cell = (const uint8_t *)fix_cluster(),
		      *state = (const uint8_t *)weft_state_head();

	return weft_proxy_pools(fix.proxy, (uint32_t)(cell - state), 0);
}

static unsigned int ask_of(int fd)
{
	struct fix_answer a;

	fix_ask(fd, "GET", "/", "", &a);
	return a.status;
}

/* Round robin over two endpoints, room for one pool: the other endpoint has none while its
 * connection waits. */
static void test_pools(void **state)
{
	int fd;

	(void)state;
	fix_server(upstream);
	fix_server(upstream);
	gate_set(true);
	fix_open_http("", FIX_ROUTE,
		      ", circuit_breakers: {thresholds: [{max_connection_pools: 1}]}", 2, 1);
	fd = fix_dial();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(ask_of(fd), i % 2 ? 503 : 200);
		assert_int_equal(pools(), 1);
	}
	assert_int_equal(fix_calls(0) + fix_calls(1), 1);
	close(fd);
	done();
}

/* The number is the cluster's: a pool of one worker is one less for the other, until its last
 * connection ends. */
static void test_pools_of_workers(void **state)
{
	unsigned int status[16], refused = 16;
	int fd[16];

	(void)state;
	open_with("max_connection_pools: 1", 2);
	gate_set(true);
	for (unsigned int i = 0; i < 16; i++) {
		fd[i] = fix_dial();
		status[i] = ask_of(fd[i]);
		assert_true(status[i] == 200 || (i && status[i] == 503));
		assert_int_equal(pools(), 1);
		refused = status[i] == 503 ? i : refused;
	}
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(ask_of(fd[i]), status[i]);
	assert_int_equal(fix_calls(0), 1);
	shutdown(fix.server[0].call_fd[0], SHUT_RDWR);
	while (pools())
		fix_sleep(5);
	for (unsigned int i = 0; i < 16 && refused < 16; i++)
		assert_int_equal(ask_of(fd[(refused + i) % 16]),
				 status[(refused + i) % 16] == 503 ? 200 : 503);
	for (unsigned int i = 0; i < 16; i++)
		close(fd[i]);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_max_requests),
		FIX_TEST(test_max_pending),
		FIX_TEST(test_zero),
		FIX_TEST(test_clients_go),
		FIX_TEST(test_waiting_served),
		FIX_TEST(test_no_nesting),
		FIX_TEST(test_cancelled_first),
		FIX_TEST(test_pod_removed),
		FIX_TEST(test_pools),
		FIX_TEST(test_pools_of_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
