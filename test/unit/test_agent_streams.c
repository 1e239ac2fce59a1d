// SPDX-License-Identifier: Apache-2.0
/* Streams of kinds of pods, to a server that is not there: how they come and go. What they are
 * served: test/e2e/test_views.py. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"
#include "agent/log.h"
#include "agent/xds/streams.h"
#include "agent/xds/sweep.h"

struct fixture {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_views *views;
	struct weft_loop *loop;
	struct weft_streams *streams;
};

static struct weft_streams_config config(const struct fixture *f)
{
	return (struct weft_streams_config){
		.loop = f->loop,
		.views = f->views,
		.xds = {.address = "127.0.0.1:1", .node = {.id = "n", .cluster = ""}},
		.per_pod = true,
		.grace_ms = 1,
	};
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	*state = &f;
	weft_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return weft_store_new_heap(1u << 20, 32u << 20, &f.store) < 0 ||
	       weft_compiler_new(f.store, &f.compiler) < 0 ||
	       weft_views_new(f.compiler, NULL, NULL, &f.views) < 0 || weft_loop_new(&f.loop) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weft_streams_free(f->streams);
	weft_loop_free(f->loop);
	weft_views_free(f->views);
	weft_compiler_free(f->compiler);
	weft_store_free(f->store);
	return 0;
}

static void start(struct fixture *f, const struct weft_streams_config *cfg)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	assert_int_equal(weft_streams_new(cfg, &diag, &f->streams), 0);
}

static uint32_t view_of(struct fixture *f, const char *ns)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_identity id = {.ns = ns, .service_account = "s"};
	uint32_t view = 0;

	assert_int_equal(weft_streams_view(f->streams, &id, "p", &diag, &view), 0);
	return view;
}

static void join(struct fixture *f, uint32_t view, uint32_t pod, const char *name)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_stream_pod p = {.id = pod, .name = name};

	assert_int_equal(weft_addr_parse("10.0.0.1", &p.addr4), 0);
	assert_int_equal(weft_streams_join(f->streams, view, &p, &diag), 0);
	assert_int_equal(weft_views_of_pod(f->views, pod), view);
}

struct seen {
	size_t n, pods;
	char text[512];
};

static void see(void *ctx, const struct weft_stream *stream)
{
	struct seen *seen = ctx;

	seen->n++;
	seen->pods += stream->n_pods;
	snprintf(seen->text + strlen(seen->text), sizeof(seen->text) - strlen(seen->text), "%s ",
		 stream->node_id ? stream->node_id : "-");
}

static struct seen look(const struct fixture *f)
{
	struct seen seen = {0};

	weft_streams_each(f->streams, see, &seen);
	return seen;
}

static void test_come_and_go(void **state)
{
	struct fixture *f = *state;
	const struct weft_streams_config cfg = config(f);
	struct seen seen;
	uint32_t one, two;

	start(f, &cfg);
	assert_true(weft_streams_ready(f->streams));
	one = view_of(f, "one");
	two = view_of(f, "two");
	assert_int_not_equal(one, WEFT_VIEW_DEFAULT);
	assert_int_not_equal(one, two);
	assert_int_equal(view_of(f, "one"), one);
	join(f, one, 1, "a");
	join(f, one, 2, "b");
	join(f, two, 3, "c");
	assert_false(weft_streams_ready(f->streams));
	assert_false(weft_streams_complete(f->streams, one));
	seen = look(f);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.pods, 3);
	assert_string_equal(seen.text, "sidecar~10.0.0.1~a.one~one.svc.cluster.local "
				       "sidecar~10.0.0.1~c.two~two.svc.cluster.local ");
	/* The one that stood for its kind goes: the next one does. */
	weft_streams_leave(f->streams, 1);
	assert_int_equal(weft_views_of_pod(f->views, 1), WEFT_VIEW_DEFAULT);
	seen = look(f);
	assert_string_equal(seen.text, "sidecar~10.0.0.1~b.one~one.svc.cluster.local "
				       "sidecar~10.0.0.1~c.two~two.svc.cluster.local ");
	weft_streams_leave(f->streams, 2);
	weft_streams_leave(f->streams, 2);
	weft_streams_leave(f->streams, 77);
	usleep(5000);
	weft_streams_tick(f->streams);
	seen = look(f);
	assert_string_equal(seen.text, "sidecar~10.0.0.1~c.two~two.svc.cluster.local ");
	/* Its number is another's then. */
	assert_int_equal(view_of(f, "three"), one);
}

/* A pod that could not be enrolled leaves nothing behind; a view that is asked for again in time
 * stays. */
static void test_view_without_pods_ends(void **state)
{
	struct fixture *f = *state;
	struct weft_streams_config cfg = config(f);

	cfg.grace_ms = 60000;
	start(f, &cfg);
	view_of(f, "one");
	usleep(5000);
	weft_streams_tick(f->streams);
	assert_int_equal(look(f).n, 1);
	assert_true(weft_streams_ready(f->streams));
	weft_streams_free(f->streams);
	f->streams = NULL;
}

static void test_one_for_all(void **state)
{
	struct fixture *f = *state;
	struct weft_streams_config cfg = config(f);
	struct seen seen;
	json_t *j;

	cfg.per_pod = false;
	start(f, &cfg);
	assert_int_equal(view_of(f, "one"), WEFT_VIEW_DEFAULT);
	join(f, WEFT_VIEW_DEFAULT, 1, "a");
	weft_streams_leave(f->streams, 1);
	usleep(5000);
	weft_streams_tick(f->streams);
	seen = look(f);
	assert_string_equal(seen.text, "n ");
	assert_false(weft_streams_ready(f->streams));
	j = weft_streams_json(f->streams);
	assert_string_equal(json_string_value(json_object_get(j, "address")), "127.0.0.1:1");
	assert_null(json_object_get(j, "streams"));
	json_decref(j);
}

static void test_numbers_are_summed(void **state)
{
	struct fixture *f = *state;
	const struct weft_streams_config cfg = config(f);
	const json_t *list;
	json_t *j;

	start(f, &cfg);
	join(f, view_of(f, "one"), 1, "a");
	join(f, view_of(f, "two"), 2, "b");
	j = weft_streams_json(f->streams);
	list = json_object_get(j, "streams");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "pods")), 1);
	assert_true(json_is_false(json_object_get(j, "connected")));
	assert_int_equal(
		json_integer_value(json_object_get(
			json_object_get(json_object_get(j, "types"), "cds"), "update_success")),
		0);
	assert_true(json_integer_value(json_object_get(j, "attempts")) >=
		    json_integer_value(json_object_get(json_array_get(list, 0), "attempts")));
	json_decref(j);
}

/* What every stream would fail with is said before the first pod comes. */
static void test_mistakes_are_told_at_the_start(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_streams_config cfg = config(f);

	cfg.xds.node.metadata_json = "[]";
	assert_int_equal(weft_streams_new(&cfg, &diag, &f->streams), -EINVAL);
	assert_string_equal(diag.entries[0].field, "metadata");
	weft_diag_clear(&diag);
	cfg.xds.node.metadata_json = NULL;
	cfg.xds.address = "nowhere";
	assert_int_equal(weft_streams_new(&cfg, &diag, &f->streams), -EINVAL);
}

static void test_names_that_are_refused(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	const struct weft_streams_config cfg = config(f);
	const struct weft_identity id = {.ns = "one", .service_account = "s"};
	uint32_t view;

	start(f, &cfg);
	assert_int_equal(weft_streams_view(f->streams, &id, "a~b", &diag, &view), -EINVAL);
	assert_string_equal(diag.entries[0].field, "name");
	assert_int_equal(look(f).n, 0);
}

/* There is a limit to views, and it is told. */
static void test_too_many(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_streams_config cfg = config(f);
	uint32_t view;
	char ns[32];

	cfg.grace_ms = 60000;
	start(f, &cfg);
	for (unsigned int i = 1; i < WEFT_VIEWS_MAX; i++) {
		snprintf(ns, sizeof(ns), "ns%u", i);
		view_of(f, ns);
	}
	assert_int_equal(
		weft_streams_view(f->streams,
				  &(struct weft_identity){.ns = "x", .service_account = "s"}, "p",
				  &diag, &view),
		-ENOSPC);
	assert_int_equal(diag.n, 1);
}

/* What a killed agent left of views goes; the one that has pods now stays. */
static void test_saved_views_that_nobody_has(void **state)
{
	struct fixture *f = *state;
	struct weft_streams_config cfg = config(f);
	const struct weft_identity id = {.ns = "one", .service_account = "s"};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char folder[] = "/tmp/weft-streams-XXXXXX", file[64], left[128];
	_auto_free_ char *mine = NULL;
	char *key;

	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/cache", folder);
	snprintf(left, sizeof(left), "%s.0123456789abcdef", file);
	assert_int_equal(weft_identity_key(&id, &diag, &key), 0);
	mine = weft_saved_view_path(file, key);
	free(key);
	assert_non_null(mine);
	close(open(left, O_WRONLY | O_CREAT, 0600));
	close(open(mine, O_WRONLY | O_CREAT, 0600));
	cfg.xds.saved = file;
	cfg.sweep_ms = 1;
	start(f, &cfg);
	join(f, view_of(f, "one"), 1, "a");
	for (int i = 0; i < 1000 && access(left, F_OK) == 0; i++) {
		usleep(1000);
		weft_streams_tick(f->streams);
	}
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(mine, F_OK), 0);
	/* Once only: what comes later is somebody's. */
	close(open(left, O_WRONLY | O_CREAT, 0600));
	weft_streams_tick(f->streams);
	assert_int_equal(access(left, F_OK), 0);
	unlink(left);
	unlink(mine);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_saved_views_that_nobody_has, setup, teardown),
		cmocka_unit_test_setup_teardown(test_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_view_without_pods_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers_are_summed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mistakes_are_told_at_the_start, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_names_that_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
