// SPDX-License-Identifier: Apache-2.0
#include "delta_script.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/source.h"

/*
 * Nobody listens at the address: the stream's thread tries in vain, and the tests play the server
 * by handing the client its messages on that thread.
 */
struct fixture {
	struct weft_loop *loop;
	struct weft_source_xds *source;
	pthread_t main_thread, publish_thread;
	int published, verdict;
	size_t clusters;
	/* of the server */
	struct script script;
	const char *version;
	int received;
};

static int on_publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct fixture *f = ctx;

	f->publish_thread = pthread_self();
	f->published++;
	if (f->verdict < 0)
		return weft_diag_add(diag, f->verdict, "Cluster/c", "field", "not compiled");
	f->clusters = weft_snapshot_count(next, WEFT_XDS_CLUSTER);
	return 0;
}

static int setup(void **state)
{
	static struct fixture f;
	const struct weft_source_ops ops = {.publish = on_publish, .ctx = &f};
	const struct weft_source_xds_config cfg = {
		.address = "127.0.0.1:1",
		.node = {.id = "n", .cluster = "c", .metadata_json = "{\"LABELS\": {}}"},
	};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	memset(&f, 0, sizeof(f));
	*state = &f;
	weft_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	f.main_thread = pthread_self();
	if (weft_loop_new(&f.loop) < 0 ||
	    weft_source_xds_new(f.loop, &cfg, &ops, &diag, &f.source) < 0)
		return -1;
	return weft_source_xds_start(f.source);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weft_source_xds_free(f->source);
	weft_loop_free(f->loop);
	free(f->script.response.data);
	return 0;
}

/* On the stream's thread: one answer with one cluster. */
static void serve(struct weft_delta *d, void *ctx)
{
	struct fixture *f = ctx;
	uint8_t *request;
	size_t len;

	f->script.d = d;
	f->script.now++;
	weft_delta_connected(d, f->script.now);
	/* Answers count only once their question was sent. */
	while (weft_delta_next_request(d, &request, &len) == 0)
		free(request);
	begin(&f->script, CDS);
	add(&f->script, "c", f->version, static_cluster("c", (int)strlen(f->version)));
	f->received = send_response(&f->script, "n1");
}

static void status_of(void *ctx, const struct weft_delta_item *item)
{
	if (item->type == WEFT_XDS_CLUSTER && strcmp(item->name, "c") == 0)
		*(enum weft_delta_status *)ctx = item->status;
}

static void read_status(struct weft_delta *d, void *ctx)
{
	weft_delta_each(d, status_of, ctx);
}

/*
 * The call returns although the client, on its thread, needs this very thread for the verdict; and
 * the publish ran here.
 */
static void test_publish_runs_on_the_main_thread(void **state)
{
	struct fixture *f = *state;
	enum weft_delta_status status = WEFT_DELTA_REQUESTED;

	f->version = "1";
	assert_int_equal(weft_source_xds_call(f->source, serve, f), 0);
	assert_int_equal(f->received, 0);
	assert_int_equal(f->published, 1);
	assert_int_equal(f->clusters, 1);
	assert_true(pthread_equal(f->publish_thread, f->main_thread));
	assert_int_equal(weft_source_xds_call(f->source, read_status, &status), 0);
	assert_int_equal(status, WEFT_DELTA_ACKED);
}

/* The verdict is what the client answers. */
static void test_refusal_reaches_the_client(void **state)
{
	struct fixture *f = *state;
	enum weft_delta_status status = WEFT_DELTA_REQUESTED;

	f->version = "1";
	f->verdict = -EINVAL;
	assert_int_equal(weft_source_xds_call(f->source, serve, f), 0);
	assert_true(f->published >= 1);
	assert_int_equal(f->clusters, 0);
	assert_int_equal(weft_source_xds_call(f->source, read_status, &status), 0);
	assert_int_equal(status, WEFT_DELTA_NACKED);
}

static void test_node_metadata(void **state)
{
	static const char *const bad[] = {"[]", "1", "{", "{\"a\": 1, \"a\": 2}"};
	const struct weft_source_ops ops = {.publish = on_publish};
	struct weft_loop *loop;

	(void)state;
	assert_int_equal(weft_loop_new(&loop), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct weft_source_xds_config cfg = {
			.address = "127.0.0.1:1",
			.node = {.id = "n", .cluster = "", .metadata_json = bad[i]},
		};
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
		struct weft_source_xds *source = NULL;

		assert_int_equal(weft_source_xds_new(loop, &cfg, &ops, &diag, &source), -EINVAL);
		assert_string_equal(diag.entries[0].field, "metadata");
	}
	weft_loop_free(loop);
}

static void test_json(void **state)
{
	struct fixture *f = *state;
	json_t *j = weft_source_xds_json(f->source);

	assert_string_equal(json_string_value(json_object_get(j, "address")), "127.0.0.1:1");
	assert_true(json_is_false(json_object_get(j, "connected")));
	assert_non_null(json_object_get(j, "nacks"));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_publish_runs_on_the_main_thread, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_refusal_reaches_the_client, setup, teardown),
		cmocka_unit_test(test_node_metadata),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
