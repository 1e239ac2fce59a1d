// SPDX-License-Identifier: Apache-2.0
/* Requests: what is asked for, in which order, and again after a reconnect. */

#include "delta_script.h"

static void first_request_has_node_and_wildcard_checks_1_2(void **state)
{
	struct script *s = script_new();
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r;

	(void)state;
	expect_nothing(s);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	r = next_request(s);
	assert_non_null(r);
	assert_string_equal(r->type_url, weft_xds_type_url(CDS));
	assert_string_equal(r->node->id, "sidecar~10.1.0.5~web.shop~shop.svc.cluster.local");
	assert_string_equal(r->node->cluster, "web");
	assert_string_equal(r->node->user_agent_name, "weft");
	assert_string_equal(r->node->locality->region, "r");
	assert_int_equal(r->node->metadata->n_fields, 3);
	assert_int_equal(r->n_resource_names_subscribe, 0);
	assert_int_equal(r->n_initial_resource_versions, 0);
	assert_string_equal(r->response_nonce, "");
	request_free(r);
	expect_nothing(s);
	script_free(s);
}

static void node_refuses_metadata_that_is_no_object(void **state)
{
	static const struct weft_delta_ops ops = {.publish = script_publish};
	struct weft_delta_node node = {.id = "x", .metadata_json = "[1]"};
	struct weft_delta *d = NULL;

	(void)state;
	assert_int_equal(weft_delta_new(&node, &ops, NULL, &d), -EINVAL);
	node.metadata_json = "{\"a\": ";
	assert_int_equal(weft_delta_new(&node, &ops, NULL, &d), -EINVAL);
	assert_null(d);
}

static void order_at_start_checks_3_5(void **state)
{
	struct script *s = serving_script(); /* asserts the order itself */

	(void)state;
	assert_true(weft_delta_complete(s->d));
	script_free(s);
}

static void lds_waits_for_all_clusters_check_3(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	expect_change(s, EDS, "a b", "");
	expect_ack(s, CDS, "n1");
	begin(s, EDS);
	add(s, "a", "1", cla("a", 1));
	respond(s, "n2");
	expect_ack(s, EDS, "n2");
	expect_nothing(s);
	assert_false(weft_delta_complete(s->d));
	pass(s, 15000);
	expect_change(s, LDS, "", "");
	script_free(s);
}

static void eds_names_are_service_names_check_4(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", "svc/one", 1, DEFAULT_TIMEOUT));
	add(s, "b", "1", eds_cluster("b", "svc/one", 1, DEFAULT_TIMEOUT));
	add(s, "c", "1", eds_cluster("c", NULL, 1, DEFAULT_TIMEOUT));
	add(s, "d", "1", static_cluster("d", 1));
	respond(s, "n1");
	expect_change(s, EDS, "c svc/one", "");
	expect_ack(s, CDS, "n1");
	script_free(s);
}

static void no_eds_request_without_eds_clusters_check_4(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "d", "1", static_cluster("d", 1));
	respond(s, "n1");
	expect_ack(s, CDS, "n1");
	expect_change(s, LDS, "", "");
	expect_nothing(s);
	script_free(s);
}

static void removed_cluster_unsubscribes_check_17(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n5");
	expect_change(s, EDS, "", "a");
	expect_ack(s, CDS, "n5");
	expect_nothing(s);
	assert_false(in_force(s, EDS, "a"));
	script_free(s);
}

static void changes_before_the_request_leaves_merge(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	begin(s, CDS);
	add(s, "b", "1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	remove_name(s, "a");
	respond(s, "n2");
	expect_change(s, EDS, "b", "");
	expect_ack(s, CDS, "n1");
	expect_ack(s, CDS, "n2");
	expect_nothing(s);
	script_free(s);
}

/*
 * A name dropped and wanted again before the server heard of it must be sent again by the server.
 */
static void dropped_and_wanted_again_is_subscribed_anew_check_41(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n5");
	begin(s, CDS);
	add(s, "a", "2", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n6");
	expect_change(s, EDS, "a", "");
	expect_ack(s, CDS, "n5");
	expect_ack(s, CDS, "n6");
	expect_nothing(s);
	assert_false(in_force(s, CDS, "a"));
	begin(s, EDS);
	add(s, "a", "e1", cla("a", 1001));
	respond(s, "n7");
	assert_true(in_force(s, CDS, "a"));
	script_free(s);
}

static char *versions_text(Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r, char *text,
			   size_t size)
{
	char *pairs[16];
	size_t n = r->n_initial_resource_versions;

	assert_true(n <= 16);
	for (size_t i = 0; i < n; i++)
		assert_true(asprintf(&pairs[i], "%s=%s", r->initial_resource_versions[i]->key,
				     r->initial_resource_versions[i]->value) > 0);
	names_text(pairs, n, text, size);
	for (size_t i = 0; i < n; i++)
		free(pairs[i]);
	return text;
}

/* First request of a type on a new stream; node only on the very first. */
static void expect_again(struct script *s, enum weft_xds_type type, bool node,
			 const char *subscribe, const char *versions)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r = next_request(s);
	char text[512];

	assert_non_null(r);
	assert_string_equal(r->type_url, weft_xds_type_url(type));
	assert_int_equal(!!r->node, node);
	assert_string_equal(r->response_nonce, "");
	names_text(r->resource_names_subscribe, r->n_resource_names_subscribe, text, sizeof(text));
	assert_string_equal(text, subscribe);
	assert_string_equal(versions_text(r, text, sizeof(text)), versions);
	request_free(r);
}

static void reconnect_says_what_is_held_checks_23_24_42(void **state)
{
	struct script *s = serving_script();

	(void)state;
	weft_delta_disconnected(s->d, s->now);
	expect_nothing(s);
	assert_true(in_force(s, LDS, "l"));
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_again(s, CDS, true, "", "a=c1");
	expect_again(s, EDS, false, "a", "a=e1");
	expect_again(s, LDS, false, "", "l=l1");
	expect_again(s, RDS, false, "r", "r=r1");
	expect_nothing(s);
	assert_int_equal(s->publishes, 2); /* none since the start */
	script_free(s);
}

static void reconnect_leaves_out_refused_and_removed_check_24(void **state)
{
	struct script *s = serving_script();

	(void)state;
	s->refuse = "Cluster/bad";
	begin(s, CDS);
	add(s, "bad", "7", static_cluster("bad", 1));
	add(s, "b", "2", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n5");
	expect_change(s, EDS, "b", "");
	expect_answer(s, CDS, "n5", "Cluster/bad");
	begin(s, RDS);
	remove_name(s, "r");
	respond(s, "n6");
	expect_ack(s, RDS, "n6");
	weft_delta_disconnected(s->d, s->now);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_again(s, CDS, true, "", "a=c1 b=2");
	expect_again(s, EDS, false, "a b", "a=e1");
	expect_again(s, LDS, false, "", "l=l1");
	expect_again(s, RDS, false, "r", "");
	assert_true(in_force(s, RDS, "r")); /* gone at the server, still serving */
	script_free(s);
}

static void unsolicited_is_not_in_versions_checks_20_29(void **state)
{
	struct script *s = serving_script();

	(void)state;
	begin(s, EDS);
	add(s, "stranger", "1", cla("stranger", 1));
	respond(s, "n5");
	expect_ack(s, EDS, "n5");
	assert_false(in_force(s, EDS, "stranger"));
	assert_false(item_of(s, EDS, "stranger").found);
	weft_delta_disconnected(s->d, s->now);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_again(s, CDS, true, "", "a=c1");
	expect_again(s, EDS, false, "a", "a=e1");
	script_free(s);
}

static void unanswered_responses_are_forgotten_with_the_stream(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	respond(s, "n1"); /* its ACK is not taken */
	weft_delta_disconnected(s->d, s->now);
	expect_nothing(s);
	assert_int_equal(send_response(s, "n2"), -ENOTCONN);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_again(s, CDS, true, "", "");
	expect_again(s, LDS, false, "", "");
	expect_nothing(s);
	script_free(s);
}

static void each_response_is_answered_in_order_checks_22_25(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "d", "1", static_cluster("d", 1));
	respond(s, "n1");
	begin(s, CDS);
	add(s, "d", "2", static_cluster("d", 2));
	respond(s, "n2");
	expect_ack(s, CDS, "n1");
	expect_change(s, LDS, "", "");
	expect_ack(s, CDS, "n2");
	expect_nothing(s);
	assert_string_equal(version_in_force(s, CDS, "d"), "2");
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_request_has_node_and_wildcard_checks_1_2),
		cmocka_unit_test(node_refuses_metadata_that_is_no_object),
		cmocka_unit_test(order_at_start_checks_3_5),
		cmocka_unit_test(lds_waits_for_all_clusters_check_3),
		cmocka_unit_test(eds_names_are_service_names_check_4),
		cmocka_unit_test(no_eds_request_without_eds_clusters_check_4),
		cmocka_unit_test(removed_cluster_unsubscribes_check_17),
		cmocka_unit_test(changes_before_the_request_leaves_merge),
		cmocka_unit_test(dropped_and_wanted_again_is_subscribed_anew_check_41),
		cmocka_unit_test(reconnect_says_what_is_held_checks_23_24_42),
		cmocka_unit_test(reconnect_leaves_out_refused_and_removed_check_24),
		cmocka_unit_test(unsolicited_is_not_in_versions_checks_20_29),
		cmocka_unit_test(unanswered_responses_are_forgotten_with_the_stream),
		cmocka_unit_test(each_response_is_answered_in_order_checks_22_25),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
