// SPDX-License-Identifier: Apache-2.0
/* Warming, make before break, timers. */

#include "delta_script.h"

static void new_cluster_waits_for_its_endpoints_check_30(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	assert_int_equal(s->publishes, before);
	assert_false(in_force(s, CDS, "b"));
	assert_int_equal(item_of(s, CDS, "b").status, WEFT_DELTA_WARMING);
	assert_int_equal(item_of(s, EDS, "b").status, WEFT_DELTA_REQUESTED);
	begin(s, EDS);
	add(s, "b", "1", cla("b", 1));
	respond(s, "n6");
	expect_ack(s, EDS, "n6");
	assert_int_equal(s->publishes, before + 1);
	assert_true(in_force(s, CDS, "b") && in_force(s, EDS, "b"));
	assert_int_equal(item_of(s, CDS, "b").status, WEFT_DELTA_ACKED);
	script_free(s);
}

/* The server is not asked again and need not send again: the assignment held is used at once. */
static void changed_cluster_uses_the_endpoints_held(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", NULL, 2, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_ack(s, CDS, "n5");
	expect_nothing(s);
	assert_string_equal(version_in_force(s, CDS, "a"), "c2");
	assert_string_equal(version_in_force(s, EDS, "a"), "e1");
	script_free(s);
}

static void changed_cluster_warms_beside_the_old_check_31(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", "a2", 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "a2", "");
	expect_ack(s, CDS, "n5");
	assert_string_equal(version_in_force(s, CDS, "a"), "c1");
	begin(s, EDS); /* the old one serves, so its endpoints are still kept current */
	add(s, "a", "e2", cla("a", 2));
	respond(s, "n6");
	expect_ack(s, EDS, "n6");
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	begin(s, CDS); /* a newer change replaces the one that warms */
	add(s, "a", "c3", eds_cluster("a", "a3", 1, DEFAULT_TIMEOUT));
	respond(s, "n7");
	expect_change(s, EDS, "a3", "a2");
	expect_ack(s, CDS, "n7");
	begin(s, EDS);
	add(s, "a3", "1", cla("a3", 3));
	respond(s, "n8");
	expect_ack(s, EDS, "n8");
	expect_change(s, EDS, "", "a");
	assert_string_equal(version_in_force(s, CDS, "a"), "c3");
	assert_true(in_force(s, EDS, "a3"));
	assert_false(in_force(s, EDS, "a"));
	script_free(s);
}

static void warming_cluster_can_be_removed(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	begin(s, CDS);
	remove_name(s, "b");
	respond(s, "n6");
	expect_change(s, EDS, "", "b");
	expect_ack(s, CDS, "n6");
	assert_int_equal(s->publishes, before);
	assert_false(item_of(s, CDS, "b").found);
	script_free(s);
}

static void listener_waits_for_its_routes_check_32(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, LDS);
	add(s, "new", "1", listener("new", 9090, "r2", DEFAULT_TIMEOUT));
	add(s, "l", "l2", listener("l", 8080, "r2", DEFAULT_TIMEOUT));
	add(s, "same", "1", listener("same", 7070, "r", DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, RDS, "r2", "");
	expect_ack(s, LDS, "n5");
	assert_false(in_force(s, LDS, "new"));
	assert_true(in_force(s, LDS, "same")); /* its table is held */
	assert_string_equal(version_in_force(s, LDS, "l"), "l1");
	begin(s, RDS);
	add(s, "r2", "1", route("r2", "a"));
	respond(s, "n6");
	expect_ack(s, RDS, "n6");
	assert_true(in_force(s, LDS, "new"));
	assert_string_equal(version_in_force(s, LDS, "l"), "l2");
	script_free(s);
}

static void routes_swap_at_once_check_33(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, RDS);
	add(s, "r", "r2", route("r", "nowhere"));
	respond(s, "n5");
	expect_ack(s, RDS, "n5");
	assert_string_equal(version_in_force(s, RDS, "r"), "r2");
	script_free(s);
}

/* Whatever the owner sees in between has the cluster that its route names. */
static void make_before_break_check_34(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	begin(s, EDS);
	add(s, "b", "1", cla("b", 2));
	/* Crosses the subscription on the wire: not asked for yet is not known yet. */
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	respond(s, "n6");
	assert_true(in_force(s, CDS, "a") && in_force(s, CDS, "b"));
	begin(s, RDS);
	add(s, "r", "r2", route("r", "b"));
	respond(s, "n7");
	assert_true(in_force(s, CDS, "a") && in_force(s, CDS, "b"));
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n8");
	assert_false(in_force(s, CDS, "a"));
	assert_true(in_force(s, CDS, "b"));
	script_free(s);
}

static void control_plane_away_keeps_everything_check_35(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	weft_delta_disconnected(s->d, s->now);
	assert_int_equal(pass(s, 3600 * 1000), -1);
	assert_int_equal(s->publishes, before);
	assert_true(in_force(s, CDS, "a") && in_force(s, LDS, "l"));
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	begin(s, CDS);
	while (true) {
		Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r = next_request(s);

		if (!r)
			break;
		request_free(r);
	}
	add(s, "a", "c1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "m1");
	expect_ack(s, CDS, "m1");
	assert_int_equal(s->publishes, before);
	script_free(s);
}

static void fetch_timeout_of_a_cluster_check_36(void **state)
{
	struct script *s = serving_script();
	struct weft_delta_stats stats;
	int64_t start = s->now;

	(void)state;
	begin(s, CDS);
	add(s, "d", "1", eds_cluster("d", NULL, 1, DEFAULT_TIMEOUT));
	add(s, "t", "1", eds_cluster("t", NULL, 1, 3));
	add(s, "z", "1", eds_cluster("z", NULL, 1, 0));
	respond(s, "n5");
	assert_int_equal(weft_delta_tick(s->d, s->now), start + 3000);
	pass(s, 2999);
	assert_false(in_force(s, CDS, "t"));
	assert_int_equal(pass(s, 1), start + 15000);
	assert_true(in_force(s, CDS, "t"));
	assert_false(in_force(s, EDS, "t"));
	assert_int_equal(item_of(s, EDS, "t").status, WEFT_DELTA_TIMEOUT);
	assert_false(in_force(s, CDS, "d"));
	assert_int_equal(pass(s, 12000), -1);
	assert_true(in_force(s, CDS, "d"));
	pass(s, 24LL * 3600 * 1000);
	assert_false(in_force(s, CDS, "z"));
	weft_delta_stats(s->d, &stats);
	assert_int_equal(stats.init_fetch_timeout, 2);
	begin(s, EDS); /* late is better than never */
	add(s, "t", "1", cla("t", 1));
	respond(s, "n6");
	assert_true(in_force(s, EDS, "t"));
	assert_int_equal(item_of(s, EDS, "t").status, WEFT_DELTA_ACKED);
	script_free(s);
}

static void fetch_timeout_of_a_listener_checks_32_36(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, LDS);
	add(s, "new", "1", listener("new", 9090, "r2", 2));
	respond(s, "n5");
	pass(s, 1000);
	begin(s, RDS); /* "does not exist" does not end the wait of a listener */
	remove_name(s, "r2");
	respond(s, "n6");
	assert_false(in_force(s, LDS, "new"));
	pass(s, 1000);
	assert_true(in_force(s, LDS, "new"));
	assert_false(in_force(s, RDS, "r2"));
	script_free(s);
}

static void nobody_answers_check_36(void **state)
{
	struct script *s = script_new();

	(void)state;
	assert_int_equal(weft_delta_tick(s->d, s->now), s->now + 15000);
	pass(s, 15000);
	assert_false(weft_delta_complete(s->d));
	pass(s, 15000);
	assert_true(weft_delta_complete(s->d));
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_change(s, CDS, "", "");
	expect_change(s, LDS, "", "");
	script_free(s);
}

static void endpoints_that_do_not_exist_end_the_wait(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, 0));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	begin(s, EDS);
	remove_name(s, "b");
	respond(s, "n6");
	expect_ack(s, EDS, "n6");
	assert_true(in_force(s, CDS, "b"));
	assert_false(in_force(s, EDS, "b"));
	assert_int_equal(item_of(s, EDS, "b").status, WEFT_DELTA_DOES_NOT_EXIST);
	script_free(s);
}

/* NACK of the first answer ends the wait, as a failed fetch does. */
static void refused_first_answers_end_the_wait(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, 0));
	respond(s, "n1");
	begin(s, EDS);
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n1");
	add(s, "b", "1", cla("not-b", 1));
	respond(s, "n2");
	expect_answer(s, EDS, "n2", "ClusterLoadAssignment/b");
	expect_change(s, LDS, "", "");
	assert_true(in_force(s, CDS, "b"));
	begin(s, LDS);
	add(s, "l", "1", listener("l", 1, "r", 0));
	respond(s, "n3");
	expect_change(s, RDS, "r", "");
	expect_ack(s, LDS, "n3");
	assert_false(weft_delta_complete(s->d));
	begin(s, RDS);
	add(s, "r", "1", route("not-r", "b"));
	respond(s, "n4");
	expect_answer(s, RDS, "n4", "RouteConfiguration/r");
	assert_true(in_force(s, LDS, "l"));
	assert_true(weft_delta_complete(s->d));
	script_free(s);
}

/* What was accepted while it warmed can still be refused when it is to come into force. */
static void warmed_and_then_refused(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", "a2", 1, DEFAULT_TIMEOUT));
	add(s, "b", "c2", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "a2 b", "");
	expect_ack(s, CDS, "n5");
	s->refuse = "ClusterLoadAssignment/a2";
	s->refuse_with = "Cluster/a";
	begin(s, EDS);
	add(s, "a2", "1", cla("a2", 1));
	add(s, "b", "1", cla("b", 1));
	respond(s, "n6");
	expect_answer(s, EDS, "n6", "Cluster/a: some.field");
	expect_change(s, EDS, "", "a2");
	assert_string_equal(version_in_force(s, CDS, "a"), "c1");
	assert_string_equal(item_of(s, CDS, "a").version, "c1");
	assert_int_equal(item_of(s, CDS, "a").status, WEFT_DELTA_NACKED);
	assert_true(in_force(s, CDS, "b"));
	script_free(s);
}

static void refused_on_a_timer_is_shown(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, 1));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	s->refuse = "Cluster/b";
	pass(s, 1000);
	assert_false(in_force(s, CDS, "b"));
	assert_int_equal(item_of(s, CDS, "b").status, WEFT_DELTA_NACKED);
	expect_change(s, EDS, "", "b");
	expect_nothing(s);
	script_free(s);
}

static void ttl_check_37(void **state)
{
	struct script *s = serving_script();
	int64_t start = s->now;

	(void)state;
	begin(s, CDS);
	add_full(s, "t", "1", NULL, static_cluster("t", 1), 10);
	add_full(s, "u", "1", NULL, static_cluster("u", 1), 10);
	add_full(s, "v", "1", NULL, static_cluster("v", 1), 10);
	respond(s, "n5");
	expect_ack(s, CDS, "n5");
	assert_int_equal(pass(s, 6000), start + 10000);
	begin(s, CDS);
	add_heartbeat(s, "t", "1", 10);
	add(s, "v", "2", static_cluster("v", 1)); /* without TTL: it ends */
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	pass(s, 4000);
	assert_true(in_force(s, CDS, "t"));
	assert_false(in_force(s, CDS, "u"));
	assert_false(item_of(s, CDS, "u").found);
	pass(s, 6000);
	assert_false(in_force(s, CDS, "t"));
	assert_true(in_force(s, CDS, "v"));
	assert_int_equal(pass(s, 100000), -1);
	assert_true(in_force(s, CDS, "v"));
	script_free(s);
}

static void ttl_of_endpoints_and_routes_keeps_them_check_37(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, EDS);
	add_full(s, "a", "e2", NULL, cla("a", 2), 1);
	respond(s, "n5");
	begin(s, RDS);
	add_full(s, "r", "r2", NULL, route("r", "b"), 1);
	respond(s, "n6");
	pass(s, 2000);
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	assert_string_equal(version_in_force(s, RDS, "r"), "r2");
	script_free(s);
}

static void ttl_in_a_refused_response_counts_nothing(void **state)
{
	struct script *s = serving_script();
	struct pb r = {0}, duration = {0};

	(void)state;
	begin(s, CDS);
	add_full(s, "t", "1", NULL, static_cluster("t", 1), 10);
	respond(s, "n5");
	pass(s, 5000);
	begin(s, CDS);
	add_heartbeat(s, "t", "1", 100);
	add(s, "x", "1", static_cluster("x", 1));
	add(s, "x", "1", static_cluster("x", 1));
	respond(s, "n6");
	pass(s, 5000);
	assert_false(in_force(s, CDS, "t"));
	begin(s, CDS);
	pb_string(&r, 3, "t");
	pb_uint(&duration, 1, UINT64_MAX); /* -1 s */
	pb_sub(&r, 6, &duration);
	pb_sub(&s->response, 2, &r);
	respond(s, "n7");
	expect_ack(s, CDS, "n5");
	expect_answer(s, CDS, "n6", "twice");
	expect_answer(s, CDS, "n7", "Cluster/t: ttl: out of range");
	script_free(s);
}

static void sources_other_than_ads_are_refused(void **state)
{
	struct script *s = connected_script();
	struct pb c = {0}, eds = {0}, source = {0}, path = {0};

	(void)state;
	pb_string(&path, 1, "/etc/eds.yaml");
	pb_sub(&source, 8, &path);
	pb_sub(&eds, 1, &source);
	pb_string(&c, 1, "c");
	pb_uint(&c, 2, 3);
	pb_sub(&c, 3, &eds);
	begin(s, CDS);
	add(s, "c", "1", c);
	add(s, "d", "1", static_cluster("d", 1));
	respond(s, "n1");
	expect_answer(s, CDS, "n1", "Cluster/c: eds_cluster_config.eds_config");
	assert_true(in_force(s, CDS, "d"));
	script_free(s);
}

/* Changed endpoints go the short way: what waits meanwhile waits no shorter and no longer. */
static void content_leaves_what_waits(void **state)
{
	struct script *s = serving_script();
	int64_t deadline;

	(void)state;
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, 7));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	deadline = weft_delta_tick(s->d, s->now);
	assert_int_equal(deadline, s->now + 7000);
	for (unsigned int i = 2; i < 5; i++) {
		unsigned int before = s->publishes;

		s->now += 1000;
		begin(s, EDS);
		add(s, "a", "e2", cla("a", i));
		respond(s, "n6");
		expect_ack(s, EDS, "n6");
		expect_nothing(s);
		assert_int_equal(s->publishes, before + 1);
		assert_string_equal(version_in_force(s, EDS, "a"), "e2");
		assert_int_equal(weft_delta_tick(s->d, s->now), deadline);
		assert_false(in_force(s, CDS, "b"));
	}
	s->now = deadline;
	weft_delta_tick(s->d, s->now);
	assert_true(in_force(s, CDS, "b"));
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	script_free(s);
}

/* A clone that was handed out is not changed by what comes after. */
static void content_leaves_snapshots_alone(void **state)
{
	struct script *s = serving_script();
	struct weft_snapshot *kept;

	(void)state;
	assert_int_equal(weft_snapshot_clone(s->current, &kept), 0);
	begin(s, EDS);
	add(s, "a", "e2", cla("a", 7));
	respond(s, "n5");
	expect_ack(s, EDS, "n5");
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	assert_string_equal(weft_snapshot_get(kept, EDS, "a")->version, "e1");
	assert_true(weft_snapshot_same(kept, s->current, CDS));
	assert_false(weft_snapshot_same(kept, s->current, EDS));
	weft_snapshot_free(kept);
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_leaves_what_waits),
		cmocka_unit_test(content_leaves_snapshots_alone),
		cmocka_unit_test(new_cluster_waits_for_its_endpoints_check_30),
		cmocka_unit_test(changed_cluster_uses_the_endpoints_held),
		cmocka_unit_test(changed_cluster_warms_beside_the_old_check_31),
		cmocka_unit_test(warming_cluster_can_be_removed),
		cmocka_unit_test(listener_waits_for_its_routes_check_32),
		cmocka_unit_test(routes_swap_at_once_check_33),
		cmocka_unit_test(make_before_break_check_34),
		cmocka_unit_test(control_plane_away_keeps_everything_check_35),
		cmocka_unit_test(fetch_timeout_of_a_cluster_check_36),
		cmocka_unit_test(fetch_timeout_of_a_listener_checks_32_36),
		cmocka_unit_test(nobody_answers_check_36),
		cmocka_unit_test(endpoints_that_do_not_exist_end_the_wait),
		cmocka_unit_test(refused_first_answers_end_the_wait),
		cmocka_unit_test(warmed_and_then_refused),
		cmocka_unit_test(refused_on_a_timer_is_shown),
		cmocka_unit_test(ttl_check_37),
		cmocka_unit_test(ttl_of_endpoints_and_routes_keeps_them_check_37),
		cmocka_unit_test(ttl_in_a_refused_response_counts_nothing),
		cmocka_unit_test(sources_other_than_ads_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
