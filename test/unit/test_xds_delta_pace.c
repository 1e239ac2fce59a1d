// SPDX-License-Identifier: Apache-2.0
/* Responses that come while a publish is not long ago: published together, answered one by one. */

#include "delta_script.h"

#define PAUSE 20

/* The client is complete, and its last publish is over. */
static struct script *paced_script(void)
{
	struct script *s = serving_script();

	s->pause = PAUSE;
	s->now += 1000;
	weft_delta_tick(s->d, s->now);
	assert_true(weft_delta_complete(s->d));
	return s;
}

static uint64_t joined(const struct script *s)
{
	struct weft_delta_stats stats;

	weft_delta_stats(s->d, &stats);
	return stats.joined;
}

static void endpoints(struct script *s, const char *version, unsigned int port, const char *nonce)
{
	begin(s, EDS);
	add(s, "a", version, cla("a", port));
	respond(s, nonce);
}

static void first_at_once_then_together(void **state)
{
	struct script *s = paced_script();
	unsigned int before = s->publishes;
	int64_t next;

	(void)state;
	endpoints(s, "e2", 2, "p1");
	expect_ack(s, EDS, "p1");
	assert_int_equal(s->publishes, before + 1);
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	s->now += 1;
	endpoints(s, "e3", 3, "p2");
	s->now += 1;
	begin(s, CDS);
	add(s, "b", "c1", static_cluster("b", 1));
	respond(s, "p3");
	endpoints(s, "e4", 4, "p4");
	expect_nothing(s);
	assert_int_equal(s->publishes, before + 1);
	/* what comes does not prolong it */
	assert_int_equal(weft_delta_tick(s->d, s->now), s->now - 2 + PAUSE);
	next = pass(s, PAUSE - 3);
	assert_int_equal(next, s->now + 1);
	expect_nothing(s);
	pass(s, 1);
	assert_int_equal(s->publishes, before + 2);
	expect_ack(s, EDS, "p2");
	expect_ack(s, CDS, "p3");
	expect_ack(s, EDS, "p4");
	expect_nothing(s);
	assert_string_equal(version_in_force(s, EDS, "a"), "e4");
	assert_true(in_force(s, CDS, "b"));
	assert_int_equal(joined(s), 2);
	/* a pause follows this one too; behind it the next is published at once */
	endpoints(s, "e5", 5, "p5");
	expect_nothing(s);
	pass(s, PAUSE);
	expect_ack(s, EDS, "p5");
	pass(s, PAUSE);
	endpoints(s, "e6", 6, "p6");
	expect_ack(s, EDS, "p6");
	assert_int_equal(s->publishes, before + 4);
	script_free(s);
}

/* What leads to no publish begins no pause. */
static void nothing_new_begins_no_pause(void **state)
{
	struct script *s = paced_script();

	(void)state;
	endpoints(s, "same", 1001, "p1");
	expect_ack(s, EDS, "p1");
	endpoints(s, "e2", 2, "p2");
	expect_ack(s, EDS, "p2");
	script_free(s);
}

/* A server that sends the same again as soon as it is refused is held back. */
static void refused_without_end(void **state)
{
	struct script *s = paced_script();

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		char nonce[16];

		snprintf(nonce, sizeof(nonce), "p%u", i);
		begin(s, EDS);
		add(s, "a", "e2", cla("other", 2));
		respond(s, nonce);
		if (i) {
			int64_t next = pass(s, PAUSE - 1);

			assert_int_equal(next, s->now + 1);
			expect_nothing(s);
			pass(s, 1);
		}
		expect_answer(s, EDS, nonce, "not the name it was sent under");
	}
	script_free(s);
}

static void no_pause_before_all_is_there(void **state)
{
	struct script *s = connected_script();

	(void)state;
	s->pause = PAUSE;
	begin(s, CDS);
	add(s, "a", "1", static_cluster("a", 1));
	respond(s, "n1");
	expect_ack(s, CDS, "n1");
	expect_change(s, LDS, "", "");
	begin(s, CDS);
	add(s, "b", "1", static_cluster("b", 1));
	respond(s, "n2");
	expect_ack(s, CDS, "n2");
	script_free(s);
}

/* One bad among many: only its own response is refused, and few publishes find it. */
static void bad_one_among_many(void **state)
{
	struct script *s = paced_script();
	unsigned int before;

	(void)state;
	s->refuse = "Cluster/bad";
	endpoints(s, "e2", 2, "p");
	expect_ack(s, EDS, "p");
	before = s->publishes;
	for (unsigned int i = 0; i < 64; i++) {
		char name[16], nonce[16];

		snprintf(name, sizeof(name), i == 37 ? "bad" : "s%02u", i);
		snprintf(nonce, sizeof(nonce), "q%u", i);
		begin(s, CDS);
		add(s, name, "1", static_cluster(name, 1));
		respond(s, nonce);
	}
	assert_int_equal(s->publishes, before);
	pass(s, PAUSE);
	/* halves: one refused and one accepted at each of six levels, then it is taken back alone
	 */
	assert_true(s->publishes <= before + 2 * 6 + 2);
	for (unsigned int i = 0; i < 64; i++) {
		char name[16], nonce[16];

		snprintf(name, sizeof(name), i == 37 ? "bad" : "s%02u", i);
		snprintf(nonce, sizeof(nonce), "q%u", i);
		expect_answer(s, CDS, nonce, i == 37 ? "cannot be represented" : NULL);
		assert_int_equal(in_force(s, CDS, name), i != 37);
	}
	expect_nothing(s);
	assert_int_equal(item_of(s, CDS, "bad").status, WEFT_DELTA_NACKED);
	script_free(s);
}

/* Undecodable resources and refused names are their response's alone too. */
static void refused_before_the_owner_sees_it(void **state)
{
	struct script *s = paced_script();

	(void)state;
	endpoints(s, "e2", 2, "p");
	expect_ack(s, EDS, "p");
	endpoints(s, "e3", 3, "p1");
	begin(s, EDS);
	add(s, "a", "e4", cla("other", 4));
	respond(s, "p2");
	begin(s, CDS);
	add(s, "b", "1", static_cluster("b", 1));
	remove_name(s, "b");
	respond(s, "p3");
	pass(s, PAUSE);
	expect_ack(s, EDS, "p1");
	expect_answer(s, EDS, "p2", "not the name it was sent under");
	expect_answer(s, CDS, "p3", "twice");
	assert_string_equal(version_in_force(s, EDS, "a"), "e3");
	assert_false(in_force(s, CDS, "b"));
	script_free(s);
}

/* Superseded before it was judged: the last word counts, all are accepted. */
static void last_word_counts(void **state)
{
	struct script *s = paced_script();
	unsigned int before;

	(void)state;
	endpoints(s, "e2", 2, "p");
	expect_ack(s, EDS, "p");
	before = s->publishes;
	for (unsigned int i = 0; i < 10; i++) {
		char version[16];

		begin(s, CDS);
		snprintf(version, sizeof(version), "c%u", i + 2);
		if (i % 2)
			remove_name(s, "b");
		else
			add(s, "b", version, static_cluster("b", (int)i + 1));
		respond(s, version);
	}
	pass(s, PAUSE);
	for (unsigned int i = 0; i < 10; i++) {
		char version[16];

		snprintf(version, sizeof(version), "c%u", i + 2);
		expect_ack(s, CDS, version);
	}
	assert_false(in_force(s, CDS, "b"));
	assert_int_equal(s->publishes, before); /* there and gone again: nothing to say */
	script_free(s);
}

/* A cluster that comes with its endpoints behind it, all within one pause. */
static void subscription_follows(void **state)
{
	struct script *s = paced_script();

	(void)state;
	endpoints(s, "e2", 2, "p");
	expect_ack(s, EDS, "p");
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "p1");
	endpoints(s, "e3", 3, "p2");
	pass(s, PAUSE);
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "p1");
	expect_ack(s, EDS, "p2");
	expect_nothing(s);
	assert_false(in_force(s, CDS, "b"));
	begin(s, EDS);
	add(s, "b", "1", cla("b", 1));
	respond(s, "p3");
	pass(s, PAUSE);
	expect_ack(s, EDS, "p3");
	assert_true(in_force(s, CDS, "b"));
	script_free(s);
}

static void bounded(void **state)
{
	struct script *s = paced_script();
	char *text = calloc(1, WEFT_DELTA_WAIT_BYTES / 4 + 2);
	unsigned int before;

	(void)state;
	endpoints(s, "e", 2, "p");
	expect_ack(s, EDS, "p");
	before = s->publishes;
	for (unsigned int i = 0; i < WEFT_DELTA_WAIT_RESPONSES; i++) {
		assert_int_equal(s->publishes, before);
		endpoints(s, "e", 3 + i, "p");
	}
	assert_int_equal(s->publishes, before + 1);
	for (unsigned int i = 0; i < WEFT_DELTA_WAIT_RESPONSES; i++)
		expect_ack(s, EDS, "p");
	/* and by bytes: of a server that talks much */
	assert_non_null(text);
	memset(text, 'x', WEFT_DELTA_WAIT_BYTES / 4 + 1);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(s->publishes, before + 1);
		begin(s, EDS);
		add(s, "a", text, cla("a", 5000 + i));
		respond(s, "b");
	}
	assert_int_equal(s->publishes, before + 2);
	free(text);
	script_free(s);
}

/* What came counts, though its answers have nowhere to go. */
static void stream_ends_in_a_pause(void **state)
{
	struct script *s = paced_script();

	(void)state;
	endpoints(s, "e2", 2, "p1");
	endpoints(s, "e3", 3, "p2");
	weft_delta_disconnected(s->d, s->now);
	assert_string_equal(version_in_force(s, EDS, "a"), "e3");
	script_free(s);

	/* nothing is lost or told when the client ends in one */
	s = paced_script();
	endpoints(s, "e2", 2, "p1");
	endpoints(s, "e3", 3, "p2");
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	script_free(s);
}

static uint32_t pick(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

/*
 * One response at random, to one client that pauses and one that does not. Clusters with endpoints
 * stay: whether one that comes back is subscribed anew depends on how long it was away.
 */
static void random_response(struct script *s, uint32_t *seed, unsigned int i)
{
	static const char *const names[] = {"b", "c", "d"};
	const char *name = names[pick(seed, 3)];
	uint32_t what = pick(seed, 6), n = 1 + pick(seed, 50);
	char version[16];

	snprintf(version, sizeof(version), "v%u", i);
	begin(s, what < 3 ? EDS : what == 5 ? LDS : CDS);
	if (what < 2)
		add(s, "a", version, cla("a", n));
	else if (what == 2)
		add(s, name, version, cla(name, n));
	else if (what == 3)
		add(s, name, version, eds_cluster(name, NULL, (int)n, DEFAULT_TIMEOUT));
	else if (what == 4 && n % 2)
		remove_name(s, "s");
	else if (what == 4)
		add(s, "s", version, static_cluster("s", (int)n));
	else
		add(s, "l", version, listener("l", 8000 + n, "r", DEFAULT_TIMEOUT));
	respond(s, version);
}

static void answers_drop(struct script *s)
{
	uint8_t *data;
	size_t len;

	while (!weft_delta_next_request(s->d, &data, &len))
		free(data);
}

/* Whatever the order, and wherever the pauses fall: what is in force in the end is the same. */
static void any_sequence(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 40; seed++) {
		struct script *a = paced_script(), *b = paced_script();
		struct weft_delta_stats sa, sb;
		uint32_t sa_seed = seed, sb_seed = seed, time = seed;

		b->pause = 0;
		for (unsigned int i = 0; i < 120; i++) {
			random_response(a, &sa_seed, i);
			random_response(b, &sb_seed, i);
			a->now += pick(&time, 9);
			b->now = a->now;
			weft_delta_tick(a->d, a->now);
			weft_delta_tick(b->d, b->now);
			if (i % 7 == 0) {
				answers_drop(a);
				answers_drop(b);
			}
		}
		pass(a, PAUSE);
		pass(b, PAUSE);
		answers_drop(a);
		answers_drop(b);
		weft_delta_stats(a->d, &sa);
		weft_delta_stats(b->d, &sb);
		assert_int_equal(sa.acks, sb.acks);
		assert_int_equal(sa.nacks, 0);
		assert_int_equal(sb.nacks, 0);
		assert_true(sa.joined > 0);
		assert_true(a->publishes < b->publishes);
		for (int t = 0; t < WEFT_XDS__MAX; t++) {
			size_t n = weft_snapshot_count(b->current, (enum weft_xds_type)t);

			assert_int_equal(weft_snapshot_count(a->current, (enum weft_xds_type)t), n);
			for (size_t i = 0; i < n; i++) {
				const struct weft_resource *x, *y;

				x = weft_snapshot_at(a->current, (enum weft_xds_type)t, i);
				y = weft_snapshot_at(b->current, (enum weft_xds_type)t, i);
				assert_string_equal(x->name, y->name);
				assert_true(x->hash == y->hash);
			}
		}
		script_free(a);
		script_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_at_once_then_together),
		cmocka_unit_test(nothing_new_begins_no_pause),
		cmocka_unit_test(refused_without_end),
		cmocka_unit_test(no_pause_before_all_is_there),
		cmocka_unit_test(bad_one_among_many),
		cmocka_unit_test(refused_before_the_owner_sees_it),
		cmocka_unit_test(last_word_counts),
		cmocka_unit_test(subscription_follows),
		cmocka_unit_test(bounded),
		cmocka_unit_test(stream_ends_in_a_pause),
		cmocka_unit_test(any_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
