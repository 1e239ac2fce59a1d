// SPDX-License-Identifier: Apache-2.0
/*
 * Every allocation of a client's life fails once: nothing crashes, nothing leaks, and after
 * a reset of the stream the client arrives where it would have been.
 */

#include "delta_script.h"

#include "test/unit/alloc_fault.h"

#if ALLOC_FAILS
#define RESPONSES 7

static void make_responses(struct script *s, struct pb *out)
{
	for (int i = 0; i < RESPONSES; i++) {
		static const enum weft_xds_type types[RESPONSES] = {CDS, EDS, LDS, RDS,
								    CDS, CDS, LDS};

		begin(s, types[i]);
		if (i == 0 || i == 4)
			add(s, "a", "1", eds_cluster("a", i ? "a2" : NULL, 1, DEFAULT_TIMEOUT));
		else if (i == 1)
			add_full(s, "a", "1", NULL, cla("a", 1), 5);
		else if (i == 3)
			add(s, "r", "1", route("r", "a"));
		else if (i == 5)
			add(s, "bad", "1", static_cluster("other", 1));
		else
			add(s, "l", "1", listener("l", (unsigned int)i, "r", DEFAULT_TIMEOUT));
		pb_string(&s->response, 5, "n");
		out[i] = s->response;
		s->response = (struct pb){0};
	}
}

/* The same without delta; what CDS and LDS leave out is removed. */
static void make_sotw_responses(struct pb *out)
{
	static const enum weft_xds_type types[RESPONSES] = {CDS, EDS, LDS, RDS, CDS, CDS, LDS};

	for (int i = 0; i < RESPONSES; i++) {
		const char *url = weft_xds_type_url(types[i]);
		struct pb body = {0}, wrap = {0};

		out[i] = (struct pb){0};
		pb_string(&out[i], 1, "1");
		if (i == 0 || i == 4 || i == 5)
			body = eds_cluster(i == 5 ? "" : "a", i == 4 ? "a2" : NULL, 1,
					   DEFAULT_TIMEOUT);
		else if (i == 1)
			body = cla("a", 1);
		else if (i == 3)
			body = route("r", "a");
		else
			body = listener("l", (unsigned int)i, "r", DEFAULT_TIMEOUT);
		if (i == 2) {
			pb_string(&wrap, 3, "l");
			pb_any(&wrap, 2, url, &body);
			pb_any(&out[i], 2, "x/envoy.service.discovery.v3.Resource", &wrap);
		} else {
			pb_any(&out[i], 2, url, &body);
		}
		pb_string(&out[i], 4, url);
		pb_string(&out[i], 5, "n");
	}
}

static int drain(struct script *s)
{
	uint8_t *data;
	size_t len;
	int err;

	while (!(err = weft_delta_next_request(s->d, &data, &len)))
		free(data);
	return err == -EAGAIN ? 0 : err;
}

static int accept_all(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct script *s = ctx;
	struct weft_snapshot *copy;

	(void)diag;
	s->publishes++;
	if (weft_snapshot_clone(next, &copy))
		return -ENOMEM;
	weft_snapshot_free(s->current);
	s->current = copy;
	return 0;
}

/* The whole life; on the first failure the stream is reset once, as its owner would. */
static int life(struct script *s, const struct pb *responses, bool sotw)
{
	static const struct weft_delta_ops ops = {.publish = accept_all, .pause = script_pause};
	static const struct weft_delta_node node = {.id = "x", .metadata_json = "{\"a\": [\"b\"]}"};
	int err = weft_delta_new(&node, &ops, s, &s->d);

	if (!err && sotw) {
		err = weft_delta_speak_sotw(s->d);
		if (err) {
			weft_delta_free(s->d);
			s->d = NULL;
		}
	}
	if (err)
		return err;
	for (int attempt = 0; attempt < 3; attempt++) {
		weft_delta_disconnected(s->d, s->now);
		err = weft_delta_connected(s->d, s->now);
		for (int i = 0; !err && i < RESPONSES; i++) {
			err = drain(s);
			if (!err)
				err = weft_delta_receive(s->d, responses[i].data, responses[i].n,
							 s->now);
		}
		/* the pause is over, and what came in it is applied */
		s->now += s->pause;
		weft_delta_tick(s->d, s->now);
		if (!err)
			err = drain(s);
		if (!err)
			return 0;
	}
	return err;
}

static void life_end(struct script *s)
{
	weft_delta_free(s->d);
	s->d = NULL;
	weft_snapshot_free(s->current);
	s->current = NULL;
}

/* Response 5 is refused in any case; a second NACK says that memory was short for another one. */
static bool is_served_or_refused(const struct script *s)
{
	struct weft_delta_stats stats;

	weft_delta_stats(s->d, &stats);
	return in_force(s, LDS, "l") || stats.nacks > 1;
}

static void check_every_allocation(bool sotw, int64_t pause)
{
	struct pb responses[RESPONSES];
	struct script *s = script_new();
	bool failed = true;
	long before;

	s->pause = pause;
	if (sotw)
		make_sotw_responses(responses);
	else
		make_responses(s, responses);
	life_end(s);
	assert_int_equal(life(s, responses, sotw), 0); /* tables that libraries keep */
	life_end(s);
	before = alloc_live;
	for (long n = 0; failed && n < 20000; n++) {
		int err;

		alloc_fail_at = n;
		err = life(s, responses, sotw);
		failed = alloc_fail_at < 0;
		alloc_fail_at = -1;
		/* Only making it may fail for good; jansson does not always say why. */
		assert_true(!err || err == -ENOMEM || err == -EINVAL);
		assert_int_equal(!!err, !s->d);
		/* A refusal for want of memory is a NACK; the server's next word repairs it. */
		assert_true(err || is_served_or_refused(s));
		life_end(s);
		if (ALLOC_COUNTS)
			assert_int_equal(alloc_live, before);
	}
	assert_false(failed); /* a run without a failure was reached */
	for (int i = 0; i < RESPONSES; i++)
		free(responses[i].data);
	script_free(s);
}

static void every_allocation_fails_once(void **state)
{
	(void)state;
	check_every_allocation(false, 0);
}

static void every_allocation_of_sotw_fails_once(void **state)
{
	(void)state;
	check_every_allocation(true, 0);
}

static void every_allocation_after_a_pause_fails_once(void **state)
{
	(void)state;
	check_every_allocation(false, 20);
	check_every_allocation(true, 20);
}
#else
static void every_allocation_fails_once(void **state)
{
	(void)state;
	skip();
}

static void every_allocation_of_sotw_fails_once(void **state)
{
	(void)state;
	skip();
}

static void every_allocation_after_a_pause_fails_once(void **state)
{
	(void)state;
	skip();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
		cmocka_unit_test(every_allocation_of_sotw_fails_once),
		cmocka_unit_test(every_allocation_after_a_pause_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
