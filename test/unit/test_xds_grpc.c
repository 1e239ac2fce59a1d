// SPDX-License-Identifier: Apache-2.0
/* The stream's life without a server; what needs one is in test/interop. */

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "xds/grpc.h"

/* A unix socket that nobody listens on: refused at once, without any network. */
#define NOBODY "unix:///nonexistent/weft-test.sock"

static int publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	(void)ctx;
	(void)next;
	(void)diag;
	return 0;
}

struct owner {
	struct weft_delta *d;
	struct weft_xds_stream *s;
	atomic_uint failures;
	atomic_int stop_result, nested_result;
	int64_t retry_max;
	unsigned int at_once, tried[3]; /* of three servers, by the letter of their sockets */
	bool no_credentials;
};

static void nothing(struct weft_delta *d, void *ctx)
{
	(void)d;
	++*(unsigned int *)ctx;
}

static void on_disconnected(void *ctx, const char *why, int64_t retry_ms)
{
	struct owner *o = ctx;
	unsigned int calls = 0;
	struct weft_xds_stream_stats stats;

	weft_xds_stream_stats(o->s, &stats);
	if (!strcmp(stats.address, "unix:///nonexistent/b.sock"))
		o->tried[1]++;
	else if (!strcmp(stats.address, "unix:///nonexistent/c.sock"))
		o->tried[2]++;
	else
		o->tried[0]++;
	o->at_once += !retry_ms;
	assert_true(*why);
	if (retry_ms > o->retry_max)
		o->retry_max = retry_ms;
	o->stop_result = weft_xds_stream_stop(o->s, 1000);
	o->nested_result = weft_xds_stream_call(o->s, nothing, &calls);
	assert_int_equal(calls, 1);
	o->failures++;
}

static int on_metadata(void *ctx, struct weft_xds_metadata *md)
{
	struct owner *o = ctx;

	if (o->no_credentials)
		return -EACCES;
	assert_int_equal(weft_xds_metadata_add(md, "authorization", "Bearer x"), 0);
	assert_int_equal(weft_xds_metadata_add(md, "Not A Key", "x"), -EINVAL);
	assert_int_equal(weft_xds_metadata_add(md, "key", "line\nbreak"), -EINVAL);
	return 0;
}

static int owner_new_more(const char *address, const char *const *more, size_t n_more,
			  struct owner *o)
{
	static const struct weft_delta_ops ops = {.publish = publish};
	static const struct weft_delta_node node = {.id = "x"};
	struct weft_xds_stream_conf conf = {
		.address = address,
		.more = more,
		.n_more = n_more,
		.metadata = on_metadata,
		.disconnected = on_disconnected,
		.ctx = o,
		.backoff_base_ms = 2,
		.backoff_max_ms = 8,
	};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	int err;

	memset(o, 0, sizeof(*o));
	assert_int_equal(weft_delta_new(&node, &ops, NULL, &o->d), 0);
	conf.delta = o->d;
	err = weft_xds_stream_new(&conf, &diag, &o->s);
	if (err) {
		assert_int_equal(diag.n, 1);
		weft_delta_free(o->d);
	}
	return err;
}

static int owner_new(const char *address, struct owner *o)
{
	return owner_new_more(address, NULL, 0, o);
}

static void owner_free(struct owner *o)
{
	weft_xds_stream_free(o->s);
	weft_delta_free(o->d);
}

/* At most ten seconds. */
static void wait_failures(struct owner *o, unsigned int n)
{
	for (int i = 0; o->failures < n && i < 1000; i++)
		usleep(10000);
	assert_true(o->failures >= n);
}

static void addresses_are_checked(void **state)
{
	static const char *const bad[] = {"",	      "host",	       "host:",	 ":80",
					  "host:0",   "host:65536",    "::1:80", "host:80x",
					  "unix:///", "unix:relative", "a/b:80", "http://a:80",
					  "[::1:80"};
	static const char *const good[] = {"host:80", "10.0.0.1:15010", "[::1]:15010",
					   "unix:///run/x"};
	struct owner o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(owner_new(bad[i], &o), -EINVAL);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(owner_new(good[i], &o), 0);
		owner_free(&o);
	}
}

static void unreachable_server_is_tried_again_and_again(void **state)
{
	struct weft_xds_stream_stats stats;
	struct owner o;

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	assert_int_equal(weft_xds_stream_start(o.s), -EALREADY);
	wait_failures(&o, 20);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	assert_true(o.retry_max <= 8);
	assert_int_equal(o.stop_result, -EDEADLK);
	assert_int_equal(o.nested_result, 0);
	weft_xds_stream_stats(o.s, &stats);
	assert_true(stats.attempts >= 20);
	assert_int_equal(stats.attempts, stats.failures);
	assert_false(stats.connected);
	assert_int_equal(stats.received, 0);
	assert_true(stats.last_error[0]);
	owner_free(&o);
}

static void stopped_stream_can_start_again(void **state)
{
	struct owner o;

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	assert_int_equal(weft_xds_stream_stop(o.s, 1000), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(weft_xds_stream_start(o.s), 0);
		wait_failures(&o, i * 3);
		assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
		assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	}
	owner_free(&o);
}

static void calls_run_on_the_thread(void **state)
{
	unsigned int calls = 0;
	struct owner o;

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	assert_int_equal(weft_xds_stream_call(o.s, nothing, &calls), -ESHUTDOWN);
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(weft_xds_stream_call(o.s, nothing, &calls), 0);
	assert_int_equal(calls, 100);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	assert_int_equal(weft_xds_stream_call(o.s, nothing, &calls), -ESHUTDOWN);
	assert_int_equal(calls, 100);
	owner_free(&o);
}

static void *call_until_shutdown(void *arg)
{
	struct owner *o = arg;
	unsigned int calls = 0;

	while (!weft_xds_stream_call(o->s, nothing, &calls))
		;
	return NULL;
}

static void stop_releases_callers(void **state)
{
	pthread_t threads[3];
	struct owner o;

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_until_shutdown, &o), 0);
	usleep(50000);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	owner_free(&o);
}

static void attempt_without_credentials_fails(void **state)
{
	struct weft_xds_stream_stats stats;
	struct owner o;

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	o.no_credentials = true;
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	wait_failures(&o, 3);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	weft_xds_stream_stats(o.s, &stats);
	assert_string_equal(stats.last_error, "no credentials");
	owner_free(&o);
}

/* Each in turn, the next one at once; the delay comes after the last. */
static void servers_are_tried_in_order(void **state)
{
	static const char *const more[] = {"unix:///nonexistent/b.sock",
					   "unix:///nonexistent/c.sock"};
	struct weft_xds_stream_stats stats;
	struct owner o;

	(void)state;
	assert_int_equal(owner_new_more(NOBODY, more, 2, &o), 0);
	weft_xds_stream_stats(o.s, &stats);
	assert_string_equal(stats.address, NOBODY);
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	wait_failures(&o, 9);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	assert_true(o.at_once >= 6);
	for (int i = 0; i < 3; i++)
		assert_true(o.tried[i] >= 2);
	owner_free(&o);
	assert_int_equal(owner_new_more(NOBODY, (const char *const[]){"no address"}, 1, &o),
			 -EINVAL);
}

struct gate {
	pthread_mutex_t lock;
};

static void wait_at_gate(struct weft_delta *d, void *ctx)
{
	struct gate *g = ctx;

	(void)d;
	pthread_mutex_lock(&g->lock);
	pthread_mutex_unlock(&g->lock);
}

struct gate_call {
	struct owner *o;
	struct gate *gate;
};

static void *call_gate(void *arg)
{
	struct gate_call *c = arg;

	weft_xds_stream_call(c->o->s, wait_at_gate, c->gate);
	return NULL;
}

static void stop_is_bounded(void **state)
{
	struct gate gate = {PTHREAD_MUTEX_INITIALIZER};
	pthread_t thread;
	struct owner o;
	struct gate_call call = {&o, &gate};

	(void)state;
	assert_int_equal(owner_new(NOBODY, &o), 0);
	pthread_mutex_lock(&gate.lock);
	assert_int_equal(weft_xds_stream_start(o.s), 0);
	assert_int_equal(pthread_create(&thread, NULL, call_gate, &call), 0);
	usleep(50000);
	assert_int_equal(weft_xds_stream_stop(o.s, 100), -ETIMEDOUT);
	pthread_mutex_unlock(&gate.lock);
	assert_int_equal(weft_xds_stream_stop(o.s, 5000), 0);
	pthread_join(thread, NULL);
	owner_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_checked),
		cmocka_unit_test(unreachable_server_is_tried_again_and_again),
		cmocka_unit_test(stopped_stream_can_start_again),
		cmocka_unit_test(calls_run_on_the_thread),
		cmocka_unit_test(stop_releases_callers),
		cmocka_unit_test(attempt_without_credentials_fails),
		cmocka_unit_test(servers_are_tried_in_order),
		cmocka_unit_test(stop_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
