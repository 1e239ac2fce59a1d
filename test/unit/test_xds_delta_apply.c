// SPDX-License-Identifier: Apache-2.0
/* Responses: what is applied, what is refused, and what the server is told. */

#include "delta_script.h"

static void same_version_again_is_acked_checks_6_7_28(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	begin(s, CDS);
	add(s, "a", "c1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_ack(s, CDS, "n5");
	begin(s, CDS);
	add(s, "a", "c9", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	expect_nothing(s);
	assert_int_equal(s->publishes, before);
	assert_string_equal(item_of(s, CDS, "a").version, "c9");
	script_free(s);
}

static void same_version_other_content_is_applied_check_38(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	begin(s, RDS);
	add(s, "r", "r1", route("r", "other"));
	respond(s, "n5");
	expect_ack(s, RDS, "n5");
	assert_int_equal(s->publishes, before + 1);
	script_free(s);
}

static void refused_cluster_does_not_stop_others_checks_8_11(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse = "Cluster/bad";
	begin(s, CDS);
	add(s, "good", "2", static_cluster("good", 1));
	add(s, "bad", "2", static_cluster("bad", 1));
	remove_name(s, "a");
	respond(s, "n5");
	expect_change(s, EDS, "", "a");
	expect_answer(s, CDS, "n5", "Cluster/bad: some.field: cannot be represented");
	assert_true(in_force(s, CDS, "good"));
	assert_false(in_force(s, CDS, "bad"));
	assert_false(in_force(s, CDS, "a"));
	assert_int_equal(item_of(s, CDS, "bad").status, WEFT_DELTA_NACKED);
	assert_string_equal(item_of(s, CDS, "bad").failed_version, "2");
	assert_string_equal(item_of(s, CDS, "bad").error, "some.field: cannot be represented");
	script_free(s);
}

static void good_response_after_nack_check_9(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse = "Cluster/bad";
	begin(s, CDS);
	add(s, "bad", "2", static_cluster("bad", 1));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Cluster/bad");
	s->refuse = NULL;
	begin(s, CDS);
	add(s, "bad", "3", static_cluster("bad", 2));
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	assert_int_equal(item_of(s, CDS, "bad").status, WEFT_DELTA_ACKED);
	assert_string_equal(item_of(s, CDS, "bad").error, "");
	script_free(s);
}

static void refused_update_keeps_the_old_check_10(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse = "Cluster/a";
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", NULL, 2, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Cluster/a");
	assert_string_equal(version_in_force(s, CDS, "a"), "c1");
	assert_string_equal(item_of(s, CDS, "a").version, "c1");
	assert_string_equal(item_of(s, CDS, "a").failed_version, "c2");
	script_free(s);
}

static void refused_listener_does_not_stop_others_check_12(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse = "Listener/bad";
	begin(s, LDS);
	add(s, "bad", "2", listener("bad", 1, "r", DEFAULT_TIMEOUT));
	add(s, "good", "2", listener("good", 2, "r", DEFAULT_TIMEOUT));
	remove_name(s, "l");
	respond(s, "n5");
	expect_answer(s, LDS, "n5", "Listener/bad");
	assert_true(in_force(s, LDS, "good"));
	assert_false(in_force(s, LDS, "bad"));
	assert_false(in_force(s, LDS, "l"));
	script_free(s);
}

static void undecodable_cluster_does_not_stop_others_checks_11_16(void **state)
{
	struct script *s = serving_script();
	struct pb garbage = {0};

	(void)state;
	pb_raw(&garbage, "\x0a\x7f garbage", 10);
	begin(s, CDS);
	add(s, "bad", "2", garbage);
	add(s, "good", "2", static_cluster("good", 1));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Cluster/bad");
	assert_true(in_force(s, CDS, "good"));
	assert_int_equal(item_of(s, CDS, "bad").status, WEFT_DELTA_NACKED);
	begin(s, CDS);
	remove_name(s, "bad");
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	assert_false(item_of(s, CDS, "bad").found);
	script_free(s);
}

static void invalid_route_refuses_all_of_rds_check_13(void **state)
{
	struct script *s = serving_script();
	struct pb bad = {0}, vhost = {0}, entry = {0};

	(void)state;
	begin(s, LDS);
	add(s, "l2", "1", listener("l2", 9090, "r2", DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, RDS, "r2", "");
	expect_ack(s, LDS, "n5");
	pb_string(&vhost, 1, "all");
	pb_string(&vhost, 2, "*");
	pb_sub(&vhost, 3, &entry); /* a route without match and action */
	pb_string(&bad, 1, "r2");
	pb_sub(&bad, 2, &vhost);
	begin(s, RDS);
	add(s, "r", "r2", route("r", "b"));
	add(s, "r2", "1", bad);
	respond(s, "n6");
	expect_answer(s, RDS, "n6", "RouteConfiguration/r2: virtual_hosts[0].routes[0]");
	assert_string_equal(version_in_force(s, RDS, "r"), "r1");
	assert_int_equal(item_of(s, RDS, "r2").status, WEFT_DELTA_NACKED);
	script_free(s);
}

static void duplicates_refuse_everything_checks_14_27(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "new", "2", static_cluster("new", 1));
	add(s, "b", "2", static_cluster("b", 1));
	add(s, "b", "2", static_cluster("b", 2));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Cluster/b: name: twice");
	begin(s, CDS);
	add(s, "new", "2", static_cluster("new", 1));
	remove_name(s, "new");
	respond(s, "n6");
	expect_answer(s, CDS, "n6", "Cluster/new: name: twice");
	begin(s, EDS);
	add(s, "a", "e2", cla("a", 2));
	remove_name(s, "a");
	respond(s, "n7");
	expect_answer(s, EDS, "n7", "ClusterLoadAssignment/a: name: twice");
	assert_false(in_force(s, CDS, "new"));
	assert_false(in_force(s, CDS, "b"));
	assert_string_equal(version_in_force(s, EDS, "a"), "e1");
	script_free(s);
}

static void wrong_type_inside_refuses_everything_check_15(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "good", "2", static_cluster("good", 1));
	add_full(s, "bad", "2", weft_xds_type_url(EDS), cla("bad", 1), NO_TTL);
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Cluster/bad: resource.type_url");
	assert_false(in_force(s, CDS, "good"));
	begin(s, CDS);
	add_heartbeat(s, "unheard", "1", NO_TTL); /* no body, and no version to prolong */
	respond(s, "n6");
	expect_answer(s, CDS, "n6", "Cluster/unheard: resource: missing");
	script_free(s);
}

static void other_types_are_not_answered_check_15(void **state)
{
	struct script *s = connected_script();
	struct pb r = {0};

	(void)state;
	pb_string(&r, 4, "type.googleapis.com/some.Thing");
	pb_string(&r, 5, "n1");
	assert_int_equal(weft_delta_receive(s->d, r.data, r.n, s->now), 0);
	free(r.data);
	expect_nothing(s);
	begin(s, RDS); /* known, but never asked for */
	add(s, "r", "1", route("r", "a"));
	respond(s, "n2");
	expect_nothing(s);
	script_free(s);
}

static void broken_message_resets_the_stream_check_16(void **state)
{
	struct script *s = connected_script();

	(void)state;
	assert_int_equal(weft_delta_receive(s->d, (const uint8_t *)"\x12\x7f", 2, s->now),
			 -EBADMSG);
	script_free(s);
}

static void name_in_and_outside_must_agree(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, EDS);
	add(s, "a", "e2", cla("b", 2));
	respond(s, "n5");
	expect_answer(s, EDS, "n5", "ClusterLoadAssignment/a: cluster_name");
	begin(s, RDS);
	add(s, "r", "r2", route("q", "a"));
	respond(s, "n6");
	expect_answer(s, RDS, "n6", "RouteConfiguration/r: name");
	begin(s, CDS);
	add(s, "x", "2", static_cluster("y", 1));
	respond(s, "n7");
	expect_answer(s, CDS, "n7", "Cluster/x: name");
	assert_string_equal(version_in_force(s, EDS, "a"), "e1");
	assert_string_equal(version_in_force(s, RDS, "r"), "r1");
	assert_false(in_force(s, CDS, "x") || in_force(s, CDS, "y"));
	script_free(s);
}

static void everything_can_be_removed_check_18(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, LDS);
	remove_name(s, "l");
	respond(s, "n5");
	expect_change(s, RDS, "", "r");
	expect_ack(s, LDS, "n5");
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n6");
	expect_change(s, EDS, "", "a");
	expect_ack(s, CDS, "n6");
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		assert_int_equal(weft_snapshot_count(s->current, (enum weft_xds_type)i), 0);
	script_free(s);
}

static void removal_in_eds_and_rds_changes_nothing_checks_19_26(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	begin(s, EDS);
	remove_name(s, "a");
	respond(s, "n5");
	expect_ack(s, EDS, "n5");
	begin(s, RDS);
	remove_name(s, "r");
	respond(s, "n6");
	expect_ack(s, RDS, "n6");
	begin(s, EDS);
	respond(s, "n7");
	expect_ack(s, EDS, "n7");
	assert_int_equal(s->publishes, before);
	assert_true(in_force(s, EDS, "a") && in_force(s, RDS, "r"));
	assert_int_equal(item_of(s, EDS, "a").status, WEFT_DELTA_DOES_NOT_EXIST);
	script_free(s);
}

static void unsubscribed_name_is_ignored_check_20(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n5");
	begin(s, EDS); /* crosses the unsubscription */
	add(s, "a", "e2", cla("a", 2));
	respond(s, "n6");
	expect_change(s, EDS, "", "a");
	expect_ack(s, CDS, "n5");
	expect_ack(s, EDS, "n6");
	assert_false(in_force(s, EDS, "a"));
	assert_false(item_of(s, EDS, "a").found);
	script_free(s);
}

static void refused_as_a_whole_changes_nothing(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse_all = true;
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", NULL, 9, DEFAULT_TIMEOUT));
	add(s, "b", "c2", static_cluster("b", 1));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "No space left");
	assert_string_equal(item_of(s, CDS, "a").version, "c1");
	assert_int_equal(item_of(s, CDS, "b").status, WEFT_DELTA_NACKED);
	assert_string_equal(item_of(s, CDS, "b").failed_version, "c2");
	s->refuse_all = false;
	begin(s, CDS);
	add(s, "c", "c3", static_cluster("c", 1));
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	assert_string_equal(version_in_force(s, CDS, "a"), "c1");
	assert_false(in_force(s, CDS, "b"));
	assert_true(in_force(s, CDS, "c"));
	script_free(s);
}

/* The cause names something that did not change: taking it back would not help. */
static void refused_for_another_resource_takes_all_back(void **state)
{
	struct script *s = serving_script();
	unsigned int before = s->publishes;

	(void)state;
	s->refuse = "Cluster/b";
	s->refuse_with = "Listener/l";
	begin(s, CDS);
	add(s, "b", "2", static_cluster("b", 1));
	respond(s, "n5");
	expect_answer(s, CDS, "n5", "Listener/l: some.field");
	assert_int_equal(s->publishes, before + 1);
	assert_false(in_force(s, CDS, "b"));
	assert_true(in_force(s, LDS, "l"));
	script_free(s);
}

/* Refuses the first cluster whose name begins with "bad", and names only that one. */
static int refuse_one_by_one(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	for (size_t i = 0; i < weft_snapshot_count(next, CDS); i++) {
		const char *name = weft_snapshot_at(next, CDS, i)->name;
		char resource[64];

		snprintf(resource, sizeof(resource), "Cluster/%s", name);
		if (!strncmp(name, "bad", 3))
			return weft_diag_add(diag, -EINVAL, resource, "name", "bad");
	}
	return script_publish(ctx, next, diag);
}

static void respond_with_bad_clusters(struct script *s, int n)
{
	begin(s, CDS);
	add(s, "good", "1", static_cluster("good", n));
	for (int i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "bad%d", i);
		add(s, name, "1", static_cluster(name, 1));
	}
	respond(s, "n");
	expect_answer(s, CDS, "n", "Cluster/bad0: name: bad");
}

static void owner_may_name_causes_bit_by_bit(void **state)
{
	static const struct weft_delta_ops ops = {.publish = refuse_one_by_one};
	static const struct weft_delta_node node = {.id = "x"};
	struct script *s = script_new();

	(void)state;
	weft_delta_free(s->d);
	assert_int_equal(weft_delta_new(&node, &ops, s, &s->d), 0);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_change(s, CDS, "", "");
	respond_with_bad_clusters(s, 8);
	assert_true(in_force(s, CDS, "good"));
	assert_int_equal(weft_snapshot_count(s->current, CDS), 1);
	expect_change(s, LDS, "", "");
	respond_with_bad_clusters(s, 9); /* one more than it is asked: nothing of it */
	assert_int_equal(item_of(s, CDS, "good").status, WEFT_DELTA_NACKED);
	assert_int_equal(weft_snapshot_count(s->current, CDS), 1);
	script_free(s);
}

static void refused_endpoints_are_taken_back(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	add(s, "b", "c1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n5");
	s->refuse = "ClusterLoadAssignment/b";
	begin(s, EDS);
	add(s, "a", "e2", cla("a", 2));
	add(s, "b", "e2", cla("b", 2));
	respond(s, "n6");
	expect_answer(s, EDS, "n6", "ClusterLoadAssignment/b");
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	assert_false(in_force(s, EDS, "b"));
	assert_true(in_force(s, CDS, "b")); /* refused counts as an answer: no hosts */
	script_free(s);
}

static void nack_text_is_cut_at_4096(void **state)
{
	struct script *s = connected_script();
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r;

	(void)state;
	begin(s, CDS);
	for (int i = 0; i < 500; i++) {
		char name[64];

		snprintf(name, sizeof(name), "a-rather-long-name-of-a-cluster-%d", i);
		add_full(s, name, "1", NULL, static_cluster("other", 1), NO_TTL);
	}
	respond(s, "n1");
	r = next_request(s);
	assert_non_null(r->error_detail);
	assert_int_equal(strlen(r->error_detail->message), 4096 + strlen("...(truncated)"));
	assert_non_null(strstr(r->error_detail->message, "...(truncated)"));
	request_free(r);
	script_free(s);
}

static void count_items(void *ctx, const struct weft_delta_item *item)
{
	(void)item;
	++*(size_t *)ctx;
}

static void refused_names_remembered_are_bounded(void **state)
{
	struct script *s = connected_script();
	size_t n = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		begin(s, CDS);
		for (int i = 0; i < 60; i++) {
			char name[64];

			snprintf(name, sizeof(name), "c%d-%d", round, i);
			add(s, name, "1", static_cluster("other", 1));
		}
		respond(s, "n1");
	}
	weft_delta_each(s->d, count_items, &n);
	assert_int_equal(n, 1000);
	script_free(s);
}

static void ten_thousand_resources_check_39(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	for (int i = 0; i < 10000; i++) {
		char name[64];

		snprintf(name, sizeof(name), "cluster-%d", i);
		add(s, name, "1", static_cluster(name, 1));
	}
	respond(s, "n1");
	expect_ack(s, CDS, "n1");
	assert_int_equal(weft_snapshot_count(s->current, CDS), 10000);
	assert_int_equal(s->publishes, 1);
	script_free(s);
}

static void unknown_fields_are_accepted_check_40(void **state)
{
	struct script *s = connected_script();
	struct pb body = static_cluster("d", 1);

	(void)state;
	pb_string(&body, 1999, "from the future");
	begin(s, CDS);
	add(s, "d", "1", body);
	respond(s, "n1");
	expect_ack(s, CDS, "n1");
	assert_true(in_force(s, CDS, "d"));
	script_free(s);
}

static void flapping_ends_right_check_41(void **state)
{
	struct script *s = serving_script();

	(void)state;
	for (int i = 0; i < 200; i++) {
		char nonce[32];

		snprintf(nonce, sizeof(nonce), "f%d", i);
		begin(s, CDS);
		if (i % 2)
			add(s, "a", nonce, eds_cluster("a", NULL, i, DEFAULT_TIMEOUT));
		else
			remove_name(s, "a");
		respond(s, nonce);
		expect_change(s, EDS, i % 2 ? "a" : "", i % 2 ? "" : "a");
		expect_ack(s, CDS, nonce);
	}
	begin(s, EDS);
	add(s, "a", "e9", cla("a", 9));
	respond(s, "last");
	expect_ack(s, EDS, "last");
	assert_string_equal(version_in_force(s, CDS, "a"), "f199");
	assert_string_equal(version_in_force(s, EDS, "a"), "e9");
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_version_again_is_acked_checks_6_7_28),
		cmocka_unit_test(same_version_other_content_is_applied_check_38),
		cmocka_unit_test(refused_cluster_does_not_stop_others_checks_8_11),
		cmocka_unit_test(good_response_after_nack_check_9),
		cmocka_unit_test(refused_update_keeps_the_old_check_10),
		cmocka_unit_test(refused_listener_does_not_stop_others_check_12),
		cmocka_unit_test(undecodable_cluster_does_not_stop_others_checks_11_16),
		cmocka_unit_test(invalid_route_refuses_all_of_rds_check_13),
		cmocka_unit_test(duplicates_refuse_everything_checks_14_27),
		cmocka_unit_test(wrong_type_inside_refuses_everything_check_15),
		cmocka_unit_test(other_types_are_not_answered_check_15),
		cmocka_unit_test(broken_message_resets_the_stream_check_16),
		cmocka_unit_test(name_in_and_outside_must_agree),
		cmocka_unit_test(everything_can_be_removed_check_18),
		cmocka_unit_test(removal_in_eds_and_rds_changes_nothing_checks_19_26),
		cmocka_unit_test(unsubscribed_name_is_ignored_check_20),
		cmocka_unit_test(refused_as_a_whole_changes_nothing),
		cmocka_unit_test(refused_for_another_resource_takes_all_back),
		cmocka_unit_test(owner_may_name_causes_bit_by_bit),
		cmocka_unit_test(refused_endpoints_are_taken_back),
		cmocka_unit_test(nack_text_is_cut_at_4096),
		cmocka_unit_test(refused_names_remembered_are_bounded),
		cmocka_unit_test(ten_thousand_resources_check_39),
		cmocka_unit_test(unknown_fields_are_accepted_check_40),
		cmocka_unit_test(flapping_ends_right_check_41),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
