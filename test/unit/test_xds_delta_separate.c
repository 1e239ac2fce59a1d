// SPDX-License-Identifier: Apache-2.0
/* A stream for each type: what differs from the one of ADS. */

#include "delta_script.h"

static struct script *separate_script(void)
{
	struct script *s = script_new();

	weft_delta_separate(s->d);
	assert_true(weft_delta_is_separate(s->d));
	assert_int_equal(weft_delta_streams(s->d), WEFT_XDS__MAX);
	weft_delta_tick(s->d, s->now);
	return s;
}

static struct script *separate_serving(void)
{
	struct script *s = separate_script();

	expect_change(s, CDS, "", "");
	serve_all(s);
	return s;
}

/* The types that are wanted, as letters; the second list: whose streams are up. */
static void expect_streams(const struct script *s, const char *wanted, const char *up)
{
	static const char letters[WEFT_XDS__MAX + 1] = {
		[CDS] = 'c', [EDS] = 'e', [LDS] = 'l', [RDS] = 'r'};
	char want[WEFT_XDS__MAX + 1] = "", is[WEFT_XDS__MAX + 1] = "";
	static const enum weft_xds_type order[] = {CDS, EDS, LDS, RDS};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const char letter[] = {letters[order[i]], '\0'};

		if (weft_delta_wants(s->d, order[i]))
			strcat(want, letter);
		if (s->up[order[i]])
			strcat(is, letter);
	}
	assert_string_equal(want, wanted);
	assert_string_equal(is, up);
}

static bool is_connected(const struct script *s)
{
	struct weft_delta_stats stats;

	weft_delta_stats(s->d, &stats);
	return stats.connected;
}

static void a_stream_begins_when_it_is_its_turn(void **state)
{
	struct script *s = separate_script();

	(void)state;
	expect_streams(s, "c", "");
	assert_false(is_connected(s));
	expect_change(s, CDS, "", "");
	expect_streams(s, "c", "c");
	assert_true(is_connected(s));
	begin(s, CDS);
	add(s, "a", "c1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	expect_streams(s, "ce", "c");
	assert_false(is_connected(s)); /* that of endpoints is due */
	expect_ack(s, CDS, "n1");
	expect_change(s, EDS, "a", "");
	begin(s, EDS);
	add(s, "a", "e1", cla("a", 1001));
	respond(s, "n1"); /* nonces are each stream's own */
	expect_ack(s, EDS, "n1");
	expect_streams(s, "cel", "ce");
	expect_change(s, LDS, "", "");
	begin(s, LDS);
	add(s, "l", "l1", listener("l", 8080, "r", DEFAULT_TIMEOUT));
	respond(s, "n1");
	expect_ack(s, LDS, "n1");
	assert_false(weft_delta_complete(s->d)); /* it waits for its routes */
	expect_change(s, RDS, "r", "");
	begin(s, RDS);
	add(s, "r", "r1", route("r", "a"));
	respond(s, "n1");
	expect_ack(s, RDS, "n1");
	expect_nothing(s);
	expect_streams(s, "celr", "celr");
	assert_true(weft_delta_complete(s->d));
	assert_true(is_connected(s));
	assert_int_equal(s->served, 1);
	script_free(s);
}

static void the_node_is_on_each(void **state)
{
	struct script *s = separate_script();

	(void)state;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		static const enum weft_xds_type order[] = {CDS, EDS, LDS, RDS};
		Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r =
			next_request_of(s, order[i]);

		assert_non_null(r);
		assert_non_null(r->node);
		assert_string_equal(r->node->cluster, "web");
		request_free(r);
		begin(s, order[i]);
		if (order[i] == CDS)
			add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
		else if (order[i] == EDS)
			add(s, "a", "1", cla("a", 1001));
		else if (order[i] == LDS)
			add(s, "l", "1", listener("l", 8080, "r", DEFAULT_TIMEOUT));
		else
			add(s, "r", "1", route("r", "a"));
		respond(s, "n");
		r = next_request_of(s, order[i]);
		assert_non_null(r);
		assert_null(r->node);
		assert_string_equal(r->response_nonce, "n");
		request_free(r);
	}
	script_free(s);
}

static void one_that_ends_leaves_the_others(void **state)
{
	struct script *s = separate_serving();
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r;

	(void)state;
	/* An answer of another stream waits meanwhile. */
	begin(s, RDS);
	add(s, "r", "r2", route("r", "b"));
	respond(s, "n5");
	stream_cut(s, EDS);
	assert_false(is_connected(s));
	expect_ack(s, RDS, "n5");
	begin(s, CDS);
	add(s, "a", "c2", eds_cluster("a", NULL, 2, DEFAULT_TIMEOUT));
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	assert_string_equal(version_in_force(s, CDS, "a"), "c2");
	assert_string_equal(version_in_force(s, EDS, "a"), "e1");
	/* Made anew, it says what is held of its own type, and who asks. */
	r = next_request_of(s, EDS);
	assert_non_null(r);
	assert_non_null(r->node);
	assert_string_equal(r->type_url, weft_xds_type_url(EDS));
	assert_int_equal(r->n_resource_names_subscribe, 1);
	assert_int_equal(r->n_initial_resource_versions, 1);
	assert_string_equal(r->initial_resource_versions[0]->key, "a");
	assert_string_equal(r->initial_resource_versions[0]->value, "e1");
	request_free(r);
	expect_nothing(s);
	assert_true(is_connected(s));
	script_free(s);
}

static void a_type_on_anothers_stream_is_ignored(void **state)
{
	struct script *s = separate_serving();

	(void)state;
	begin(s, RDS);
	add(s, "r", "r2", route("r", "b"));
	pb_string(&s->response, 5, "n5");
	assert_int_equal(weft_delta_receive_on(s->d, CDS, s->response.data, s->response.n, s->now),
			 0);
	expect_nothing(s);
	assert_string_equal(version_in_force(s, RDS, "r"), "r1");
	stream_cut(s, RDS);
	assert_int_equal(weft_delta_receive_on(s->d, RDS, s->response.data, s->response.n, s->now),
			 -ENOTCONN);
	script_free(s);
}

static void names_that_nobody_wants_end_the_need(void **state)
{
	struct script *s = separate_serving();

	(void)state;
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n5");
	expect_ack(s, CDS, "n5");
	expect_streams(s, "clr", "celr");
	expect_change(s, EDS, "", "a");
	/* Its end is no reason to make it anew; a name is. */
	stream_cut(s, EDS);
	expect_nothing(s);
	expect_streams(s, "clr", "clr");
	assert_true(is_connected(s));
	begin(s, CDS);
	add(s, "b", "c1", eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n6");
	expect_ack(s, CDS, "n6");
	expect_change(s, EDS, "b", "");
	script_free(s);
}

static void a_service_that_never_comes_times_out(void **state)
{
	struct script *s = separate_script();

	(void)state;
	expect_change(s, CDS, "", "");
	begin(s, CDS);
	add(s, "a", "c1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	expect_ack(s, CDS, "n1");
	weft_delta_disconnected_on(s->d, EDS, s->now); /* refused, as by UNIMPLEMENTED */
	assert_false(weft_delta_wants(s->d, LDS));
	assert_false(in_force(s, CDS, "a"));
	pass(s, 15000);
	assert_true(in_force(s, CDS, "a"));
	assert_true(weft_delta_wants(s->d, LDS));
	assert_int_equal(item_of(s, EDS, "a").status, WEFT_DELTA_TIMEOUT);
	script_free(s);
}

static void those_that_wait_for_a_pause_are_answered_each_on_its_own(void **state)
{
	struct script *s = separate_serving();
	unsigned int before;

	(void)state;
	s->pause = 100;
	begin(s, RDS);
	add(s, "r", "r2", route("r", "c"));
	respond(s, "n5");
	expect_ack(s, RDS, "n5");
	before = s->publishes;
	begin(s, RDS);
	add(s, "r", "r3", route("r", "b"));
	respond(s, "n6");
	begin(s, EDS);
	add(s, "a", "e2", cla("a", 1002));
	respond(s, "n6");
	expect_nothing(s);
	/* What came counts although its stream ends, and so does the other's. */
	stream_cut(s, EDS);
	assert_int_equal(s->publishes, before + 1);
	assert_string_equal(version_in_force(s, EDS, "a"), "e2");
	assert_string_equal(version_in_force(s, RDS, "r"), "r3");
	expect_ack(s, RDS, "n6");
	expect_change(s, EDS, "a", "");
	expect_nothing(s);
	script_free(s);
}

static void sotw_names_and_nonces_are_each_streams_own(void **state)
{
	struct script *s = script_new();
	Envoy__Service__Discovery__V3__DiscoveryRequest *r;
	struct pb out = {0}, body = static_cluster("a", 1);
	uint8_t *data;
	size_t len;

	(void)state;
	assert_int_equal(weft_delta_speak_sotw(s->d), 0);
	weft_delta_separate(s->d);
	weft_delta_tick(s->d, s->now);
	stream_of(s, CDS);
	assert_int_equal(weft_delta_next_request_on(s->d, CDS, &data, &len), 0);
	free(data);
	pb_string(&out, 1, "v1");
	pb_any(&out, 2, weft_xds_type_url(CDS), &body);
	pb_string(&out, 4, weft_xds_type_url(CDS));
	pb_string(&out, 5, "n1");
	assert_int_equal(weft_delta_receive_on(s->d, CDS, out.data, out.n, s->now), 0);
	free(out.data);
	assert_int_equal(weft_delta_next_request_on(s->d, LDS, &data, &len), -EAGAIN);
	stream_of(s, LDS);
	assert_int_equal(weft_delta_next_request_on(s->d, LDS, &data, &len), 0);
	r = envoy__service__discovery__v3__discovery_request__unpack(NULL, len, data);
	free(data);
	assert_non_null(r);
	assert_non_null(r->node);
	assert_string_equal(r->type_url, weft_xds_type_url(LDS));
	assert_string_equal(r->response_nonce, "");
	assert_string_equal(r->version_info, "");
	envoy__service__discovery__v3__discovery_request__free_unpacked(r, NULL);
	assert_int_equal(weft_delta_next_request_on(s->d, CDS, &data, &len), 0);
	r = envoy__service__discovery__v3__discovery_request__unpack(NULL, len, data);
	free(data);
	assert_non_null(r);
	assert_null(r->node);
	assert_string_equal(r->response_nonce, "n1");
	assert_string_equal(r->version_info, "v1");
	envoy__service__discovery__v3__discovery_request__free_unpacked(r, NULL);
	assert_int_equal(weft_delta_next_request_on(s->d, CDS, &data, &len), -EAGAIN);
	script_free(s);
}

/* ---- where a resource says that its endpoints come from ---- */

enum { REST = 1, GRPC = 2, DELTA_GRPC = 3, AGGREGATED_GRPC = 5 };

/* A cluster of type EDS; services: of envoy_grpc. */
static struct pb api_cluster(const char *name, int api_type, int services, bool google,
			     const char *authority)
{
	struct pb c = {0}, eds = {0}, source = {0}, api = {0};

	pb_string(&c, 1, name);
	pb_uint(&c, 2, 3);
	pb_uint(&api, 1, (uint64_t)api_type);
	for (int i = 0; i < services; i++) {
		struct pb service = {0}, target = {0};

		pb_string(&target, 1, "xds_cluster");
		if (google)
			pb_string(&target, 4, "xds"); /* stat_prefix */
		else if (authority)
			pb_string(&target, 2, authority);
		pb_sub(&service, google ? 2 : 1, &target);
		pb_sub(&api, 4, &service);
	}
	pb_uint(&api, 8, 2);
	pb_sub(&source, 2, &api);
	pb_sub(&eds, 1, &source);
	pb_sub(&c, 3, &eds);
	return c;
}

static void a_server_named_by_a_resource(void **state)
{
	static const struct {
		int api_type, services;
		bool google, sotw, separate;
		const char *refused, *authority;
	} cases[] = {
		{DELTA_GRPC, 1, false, false, true, NULL, NULL},
		{GRPC, 1, false, true, true, NULL, NULL},
		{GRPC, 1, false, false, true, "api_type is not DELTA_GRPC", NULL},
		{DELTA_GRPC, 1, false, true, true, "api_type is not GRPC", NULL},
		{REST, 1, false, true, true, "api_type is not GRPC", NULL},
		{AGGREGATED_GRPC, 1, false, true, true, "api_type is not GRPC", NULL},
		{DELTA_GRPC, 1, true, false, true, "grpc_services is not one envoy_grpc", NULL},
		{DELTA_GRPC, 2, false, false, true, "grpc_services is not one envoy_grpc", NULL},
		{DELTA_GRPC, 1, false, false, true, "authority and max_receive", "a"},
		{DELTA_GRPC, 1, false, false, false, "only ads or self is supported", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct script *s = script_new();
		struct pb out = {0}, body;
		struct item_copy item;
		uint8_t *data;
		size_t len;

		if (cases[i].sotw)
			assert_int_equal(weft_delta_speak_sotw(s->d), 0);
		if (cases[i].separate)
			weft_delta_separate(s->d);
		weft_delta_tick(s->d, s->now);
		if (!cases[i].separate)
			assert_int_equal(weft_delta_connected(s->d, s->now), 0);
		assert_int_equal(weft_delta_next_request_on(s->d, stream_of(s, CDS), &data, &len),
				 0);
		free(data);
		body = api_cluster("a", cases[i].api_type, cases[i].services, cases[i].google,
				   cases[i].authority);
		if (cases[i].sotw) {
			pb_string(&out, 1, "1");
			pb_any(&out, 2, weft_xds_type_url(CDS), &body);
			pb_string(&out, 4, weft_xds_type_url(CDS));
			pb_string(&out, 5, "n");
			assert_int_equal(weft_delta_receive_on(s->d, stream_of(s, CDS), out.data,
							       out.n, s->now),
					 0);
			free(out.data);
		} else {
			begin(s, CDS);
			add(s, "a", "1", body);
			assert_int_equal(send_response(s, "n"), 0);
		}
		item = item_of(s, CDS, "a");
		assert_true(item.found);
		if (cases[i].refused && !strstr(item.error, cases[i].refused))
			fail_msg("%zu: \"%s\"", i, item.error);
		if (!cases[i].refused && item.status != WEFT_DELTA_WARMING)
			fail_msg("%zu: \"%s\"", i, item.error);
		assert_int_equal(item_of(s, EDS, "a").found, !cases[i].refused);
		script_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_begins_when_it_is_its_turn),
		cmocka_unit_test(the_node_is_on_each),
		cmocka_unit_test(one_that_ends_leaves_the_others),
		cmocka_unit_test(a_type_on_anothers_stream_is_ignored),
		cmocka_unit_test(names_that_nobody_wants_end_the_need),
		cmocka_unit_test(a_service_that_never_comes_times_out),
		cmocka_unit_test(those_that_wait_for_a_pause_are_answered_each_on_its_own),
		cmocka_unit_test(sotw_names_and_nonces_are_each_streams_own),
		cmocka_unit_test(a_server_named_by_a_resource),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
