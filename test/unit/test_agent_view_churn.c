// SPDX-License-Identifier: Apache-2.0
/*
 * Views that change without end, each with a stream of its own: what is allocated when all is as it
 * was is what was allocated then.
 */
#include "delta_script.h"

#include "agent/compile/compile.h"
#include "agent/view.h"
#include "test/unit/alloc_fault.h"

#define VIEWS 3u
#define SERVICES 70u
#define TURNS 120u
#define EXTRAS 5u
/*
 * The image is in other pieces each time, and lists that grow by doubling were doubled for more or
 * less. Whatever is left of each turn of a view, even of each fourth, is more.
 */
#define ROOM 48
#define SLACK 4096

struct world {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_views *views;
	struct stream {
		struct script script;
		struct world *world;
		uint32_t view;
	} stream[VIEWS];
	unsigned int sent, published, refused;
};

static int publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct stream *s = ctx;
	int r = weft_views_set(s->world->views, s->view, WEFT_SOURCE_XDS, next, diag);

	s->world->published += r == 0;
	s->world->refused += r != 0;
	return r;
}

/* All versions and nonces have one length. */
static const char *number(const struct world *w)
{
	static char text[16];

	snprintf(text, sizeof(text), "%08u", w->sent);
	return text;
}

static void answers_drop(struct script *s)
{
	uint8_t *data;
	size_t len;

	while (!weft_delta_next_request(s->d, &data, &len))
		free(data);
}

static void deliver(struct world *w, struct stream *s)
{
	respond(&s->script, number(w));
	w->sent++;
	answers_drop(&s->script);
	free(s->script.response.data);
	s->script.response = (struct pb){0};
}

static const char *service(unsigned int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "s%03u", i);
	return name;
}

static const char *extra(unsigned int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "extra-%u", i % EXTRAS);
	return name;
}

static void serve_first(struct world *w, struct stream *s)
{
	begin(&s->script, CDS);
	for (unsigned int i = 0; i < SERVICES; i++)
		add(&s->script, service(i), number(w),
		    eds_cluster(service(i), NULL, 1, DEFAULT_TIMEOUT));
	deliver(w, s);
	begin(&s->script, EDS);
	for (unsigned int i = 0; i < SERVICES; i++)
		add(&s->script, service(i), number(w), cla(service(i), 1000 + s->view));
	deliver(w, s);
	begin(&s->script, LDS);
	add(&s->script, "l", number(w), listener("l", 80, "r", DEFAULT_TIMEOUT));
	deliver(w, s);
	begin(&s->script, RDS);
	add(&s->script, "r", number(w), route("r", service(0)));
	deliver(w, s);
}

/* Routes that are valid and not done here. */
static struct pb hedged(const char *name)
{
	struct pb r = {0}, vhost = {0}, hedge = {0};

	pb_string(&vhost, 1, "all");
	pb_string(&vhost, 2, "*");
	pb_sub(&vhost, 17, &hedge);
	pb_string(&r, 1, name);
	pb_sub(&r, 2, &vhost);
	return r;
}

/* Clusters come, go and change; endpoints and routes change; some of it is refused. */
static void turn(struct world *w, struct stream *s, unsigned int n)
{
	begin(&s->script, CDS);
	add(&s->script, extra(n), number(w), static_cluster(extra(n), 1 + (int)(n % 7)));
	remove_name(&s->script, extra(n + 2));
	deliver(w, s);
	begin(&s->script, EDS);
	add(&s->script, service(n % SERVICES), number(w),
	    cla(service(n % SERVICES), 2000 + n % 1000));
	deliver(w, s);
	begin(&s->script, RDS);
	add(&s->script, "r", number(w), route("r", service(n % SERVICES)));
	deliver(w, s);
	if (n % 4)
		return;
	begin(&s->script, RDS);
	add(&s->script, "r", number(w), hedged("r"));
	deliver(w, s);
}

/* All as serve_first() left it. */
static void rest(struct world *w, struct stream *s)
{
	begin(&s->script, CDS);
	for (unsigned int i = 0; i < EXTRAS; i++)
		remove_name(&s->script, extra(i));
	deliver(w, s);
	begin(&s->script, EDS);
	for (unsigned int i = 0; i < SERVICES; i++)
		add(&s->script, service(i), number(w), cla(service(i), 1000 + s->view));
	deliver(w, s);
	begin(&s->script, RDS);
	add(&s->script, "r", number(w), route("r", service(0)));
	deliver(w, s);
}

static void world_open(struct world *w)
{
	static const struct weft_delta_ops ops = {.publish = publish};
	static const struct weft_delta_node node = {.id = "x", .cluster = ""};

	*w = (struct world){0};
	assert_int_equal(weft_store_new_heap(8u << 20, 4u << 20, &w->store), 0);
	assert_int_equal(weft_compiler_new(w->store, &w->compiler), 0);
	assert_int_equal(weft_views_new(w->compiler, NULL, NULL, &w->views), 0);
	for (unsigned int i = 0; i < VIEWS; i++) {
		struct stream *s = &w->stream[i];

		s->world = w;
		s->script.now = 1;
		assert_int_equal(weft_views_open(w->views, &s->view), 0);
		assert_int_equal(weft_delta_new(&node, &ops, s, &s->script.d), 0);
		assert_int_equal(weft_delta_connected(s->script.d, s->script.now), 0);
		answers_drop(&s->script);
		serve_first(w, s);
	}
}

static void world_close(struct world *w)
{
	for (unsigned int i = 0; i < VIEWS; i++) {
		weft_delta_free(w->stream[i].script.d);
		free(w->stream[i].script.response.data);
	}
	weft_views_free(w->views);
	weft_compiler_free(w->compiler);
	weft_store_free(w->store);
}

/* TURNS of them, and back. */
static void churn(struct world *w, unsigned int from)
{
	for (unsigned int n = from; n < from + TURNS; n++) {
		for (unsigned int i = 0; i < VIEWS; i++)
			turn(w, &w->stream[i], n);
		if (n % 16 == 0)
			weft_compiler_reclaim(w->compiler);
	}
	for (unsigned int i = 0; i < VIEWS; i++)
		rest(w, &w->stream[i]);
	/* the second one gives out what the first one freed of the names' owners */
	weft_compiler_reclaim(w->compiler);
	weft_compiler_reclaim(w->compiler);
}

static void test_nothing_is_left(void **state)
{
	struct weft_store_stats first, last;
	long live, bytes;
	struct world w;

	(void)state;
	world_open(&w);
	churn(&w, 0); /* containers find their size */
	weft_store_stats(w.store, &first);
	live = alloc_live;
	bytes = alloc_bytes;
	for (unsigned int round = 1; round < 4; round++) {
		churn(&w, round * TURNS);
		weft_store_stats(w.store, &last);
		print_message("round %u: %ld more allocations, %ld more bytes\n", round,
			      alloc_live - live, alloc_bytes - bytes);
		assert_int_equal(last.objects, first.objects);
		assert_int_equal(last.img_used, first.img_used);
	}
	assert_true(w.refused >= VIEWS * TURNS / 4);
	assert_true(w.published > VIEWS * TURNS * 4);
#if ALLOC_COUNTS
	assert_in_range(alloc_live - live + ROOM, 0, 2 * ROOM);
	assert_in_range(alloc_bytes - bytes + SLACK, 0, 2 * SLACK);
#endif
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_left)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
