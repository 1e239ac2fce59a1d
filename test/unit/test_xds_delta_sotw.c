// SPDX-License-Identifier: Apache-2.0
/* State of the world: what differs from delta. */

#include "delta_script.h"

static struct script *sotw_script(void)
{
	struct script *s = script_new();

	assert_int_equal(weft_delta_speak_sotw(s->d), 0);
	assert_true(weft_delta_is_sotw(s->d));
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	return s;
}

/* "TYPE NAMES version nonce", then " NACK" and whether there is a node; "" when nothing waits. */
static void expect(struct script *s, const char *want)
{
	Envoy__Service__Discovery__V3__DiscoveryRequest *r;
	char names[256], text[512];
	uint8_t *data;
	size_t len;
	int err = weft_delta_next_request(s->d, &data, &len);

	if (!*want) {
		assert_int_equal(err, -EAGAIN);
		return;
	}
	assert_int_equal(err, 0);
	r = envoy__service__discovery__v3__discovery_request__unpack(NULL, len, data);
	free(data);
	assert_non_null(r);
	names_text(r->resource_names, r->n_resource_names, names, sizeof(names));
	snprintf(text, sizeof(text), "%s [%s] v%s n%s%s%s",
		 weft_xds_type_name(weft_xds_type_from_url(r->type_url)), names, r->version_info,
		 r->response_nonce, r->error_detail ? " NACK" : "", r->node ? " node" : "");
	assert_string_equal(text, want);
	if (r->error_detail)
		assert_true(r->error_detail->code && *r->error_detail->message);
	envoy__service__discovery__v3__discovery_request__free_unpacked(r, NULL);
}

/* A response of some resources (their bytes are taken over), the last one marked by no data. */
static void respond_with(struct script *s, enum weft_xds_type type, const char *version,
			 const char *nonce, struct pb *bodies)
{
	const char *url = weft_xds_type_url(type);
	struct pb out = {0};

	pb_string(&out, 1, version);
	for (; bodies && bodies->data; bodies++)
		pb_any(&out, 2, url, bodies);
	pb_string(&out, 4, url);
	pb_string(&out, 5, nonce);
	assert_int_equal(weft_delta_receive(s->d, out.data, out.n, s->now), 0);
	free(out.data);
}

#define RESPOND(s, type, version, nonce, ...)                                                      \
	respond_with(s, type, version, nonce, (struct pb[]){__VA_ARGS__ __VA_OPT__(, ){0}})

static struct pb eds(const char *name)
{
	return eds_cluster(name, NULL, 1, DEFAULT_TIMEOUT);
}

static void versions_and_nonces_checks_1_to_9(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	expect(s, "");
	RESPOND(s, CDS, "1", "a", eds("x"), eds("y"));
	expect(s, "ClusterLoadAssignment [x y] v n");
	expect(s, "Cluster [] v1 na");
	RESPOND(s, EDS, "1", "b", cla("x", 1), cla("y", 1));
	expect(s, "ClusterLoadAssignment [x y] v1 nb");
	expect(s, "Listener [] v n");
	/* A refusal has the version before, and the next good answer the new one. */
	RESPOND(s, CDS, "2", "c", eds("x"), static_cluster("y", 1));
	expect(s, "ClusterLoadAssignment [x] v1 nb");
	expect(s, "Cluster [] v2 nc");
	s->refuse = "Cluster/bad";
	RESPOND(s, CDS, "3", "d", eds("x"), static_cluster("bad", 1), static_cluster("z", 1));
	expect(s, "Cluster [] v2 nd NACK");
	assert_true(in_force(s, CDS, "z") && !in_force(s, CDS, "y") && !in_force(s, CDS, "bad"));
	RESPOND(s, CDS, "4", "e", eds("x"));
	expect(s, "Cluster [] v4 ne");
	assert_false(in_force(s, CDS, "z"));
	assert_false(item_of(s, CDS, "bad").found);
	expect(s, "");
	script_free(s);
}

/* Who knows which cluster that was: none is taken for removed. */
static void unnamed_resource_removes_nothing_check_16(void **state)
{
	struct script *s = sotw_script();
	struct pb garbage = {0}, unnamed = {0};

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", static_cluster("x", 1), static_cluster("y", 1));
	expect(s, "Cluster [] v1 na");
	expect(s, "Listener [] v n");
	pb_raw(&garbage, "\x0a\x7f", 2);
	RESPOND(s, CDS, "2", "b", static_cluster("x", 2), garbage);
	expect(s, "Cluster [] v1 nb NACK");
	assert_true(in_force(s, CDS, "y"));
	pb_uint(&unnamed, 2, 3);
	RESPOND(s, CDS, "3", "c", unnamed);
	expect(s, "Cluster [] v1 nc NACK");
	assert_true(in_force(s, CDS, "x") && in_force(s, CDS, "y"));
	RESPOND(s, CDS, "4", "d");
	expect(s, "Cluster [] v4 nd");
	assert_false(in_force(s, CDS, "x") || in_force(s, CDS, "y"));
	script_free(s);
}

/* The name is the last field 1, however the bytes around it look; broken ones are refused. */
static void names_are_found_in_bytes(void **state)
{
	static const char *const broken[] = {
		"\x80",						    /* a key that does not end */
		"\x0a",						    /* no length */
		"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",	    /* a length beyond everything */
		"\x0b",						    /* a group */
		"\x11\x01",					    /* 8 bytes that are not there */
		"\x15\x01",					    /* 4 bytes that are not there */
		"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", /* a varint of 11 bytes */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct script *s = sotw_script();
		struct pb body = {0};

		expect(s, "Cluster [] v n node");
		pb_raw(&body, broken[i], strlen(broken[i]));
		RESPOND(s, CDS, "1", "a", body);
		expect(s, "Cluster [] v na NACK");
		script_free(s);
	}
}

static void eds_and_rds_remove_nothing_check_19(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", eds("x"), eds("y"));
	expect(s, "ClusterLoadAssignment [x y] v n");
	expect(s, "Cluster [] v1 na");
	RESPOND(s, EDS, "1", "b", cla("x", 1), cla("y", 1));
	expect(s, "ClusterLoadAssignment [x y] v1 nb");
	expect(s, "Listener [] v n");
	RESPOND(s, EDS, "2", "c", cla("y", 2), cla("nobody", 1));
	expect(s, "ClusterLoadAssignment [x y] v2 nc");
	RESPOND(s, EDS, "3", "d");
	expect(s, "ClusterLoadAssignment [x y] v3 nd");
	assert_true(in_force(s, EDS, "x") && in_force(s, EDS, "y"));
	assert_false(in_force(s, EDS, "nobody"));
	script_free(s);
}

/* go-control-plane sends all it has where no name is asked for, and not again to who accepted it.
 */
static void unwanted_gives_no_version_check_20(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", eds("x"));
	expect(s, "ClusterLoadAssignment [x] v n");
	expect(s, "Cluster [] v1 na");
	RESPOND(s, EDS, "1", "b", cla("x", 1));
	expect(s, "ClusterLoadAssignment [x] v1 nb");
	expect(s, "Listener [] v n");
	RESPOND(s, CDS, "2", "c");
	expect(s, "ClusterLoadAssignment [] v1 nb");
	expect(s, "Cluster [] v2 nc");
	RESPOND(s, EDS, "2", "d");
	expect(s, "ClusterLoadAssignment [] v2 nd");
	RESPOND(s, EDS, "3", "e", cla("y", 1));
	expect(s, "ClusterLoadAssignment [] v2 ne");
	RESPOND(s, CDS, "3", "f", eds("y"));
	expect(s, "ClusterLoadAssignment [y] v2 ne");
	expect(s, "Cluster [] v3 nf");
	RESPOND(s, EDS, "3", "g", cla("y", 1));
	expect(s, "ClusterLoadAssignment [y] v3 ng");
	assert_true(in_force(s, EDS, "y"));
	script_free(s);
}

static void reconnect_checks_23_42(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", eds("x"));
	expect(s, "ClusterLoadAssignment [x] v n");
	/* The answer that was never sent is void, what it accepted is not. */
	weft_delta_disconnected(s->d, s->now);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect(s, "Cluster [] v1 n node");
	expect(s, "ClusterLoadAssignment [x] v n");
	expect(s, "");
	RESPOND(s, EDS, "1", "b", cla("x", 1));
	expect(s, "ClusterLoadAssignment [x] v1 nb");
	expect(s, "Listener [] v n");
	script_free(s);
}

/* Several answers and a change of names on a slow connection: the last word is whole and newest. */
static void slow_connection_checks_21_22(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", eds("x"));
	RESPOND(s, CDS, "2", "b", eds("x"), eds("y"));
	expect(s, "ClusterLoadAssignment [x y] v n");
	expect(s, "Cluster [] v1 na");
	expect(s, "Cluster [] v2 nb");
	RESPOND(s, EDS, "1", "c", cla("x", 1));
	RESPOND(s, CDS, "3", "d", eds("x"), eds("y"), eds("z"));
	expect(s, "ClusterLoadAssignment [x y z] v1 nc");
	/* It said the new name already. */
	expect(s, "Cluster [] v3 nd");
	expect(s, "");
	script_free(s);
}

/* A change of names that waits when a response comes goes with its answer, not before it. */
static void no_nonce_before_its_answer_checks_6_21(void **state)
{
	struct script *s = sotw_script();

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, CDS, "1", "a", eds("x"));
	expect(s, "ClusterLoadAssignment [x] v n");
	expect(s, "Cluster [] v1 na");
	RESPOND(s, EDS, "1", "b", cla("x", 1));
	expect(s, "ClusterLoadAssignment [x] v1 nb");
	expect(s, "Listener [] v n");
	RESPOND(s, CDS, "2", "c", eds("x"), eds("y"));
	RESPOND(s, EDS, "2", "d", cla("x", 2), cla("x", 3));
	expect(s, "Cluster [] v2 nc");
	expect(s, "ClusterLoadAssignment [x y] v1 nd NACK");
	expect(s, "");
	script_free(s);
}

static void other_types_are_not_answered_check_15(void **state)
{
	struct script *s = sotw_script();
	struct pb out = {0};

	(void)state;
	expect(s, "Cluster [] v n node");
	RESPOND(s, RDS, "1", "a", route("r", "x"));
	pb_string(&out, 4, "type.googleapis.com/envoy.config.core.v3.Unknown");
	pb_string(&out, 5, "b");
	assert_int_equal(weft_delta_receive(s->d, out.data, out.n, s->now), 0);
	free(out.data);
	expect(s, "");
	/* The wrong type inside of the right one. */
	RESPOND(s, CDS, "1", "c");
	expect(s, "Cluster [] v1 nc");
	expect(s, "Listener [] v n");
	out = (struct pb){0};
	pb_string(&out, 1, "2");
	pb_any(&out, 2, weft_xds_type_url(LDS), &(struct pb){0});
	pb_string(&out, 4, weft_xds_type_url(CDS));
	pb_string(&out, 5, "d");
	assert_int_equal(weft_delta_receive(s->d, out.data, out.n, s->now), 0);
	free(out.data);
	expect(s, "Cluster [] v1 nd NACK");
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_and_nonces_checks_1_to_9),
		cmocka_unit_test(unnamed_resource_removes_nothing_check_16),
		cmocka_unit_test(names_are_found_in_bytes),
		cmocka_unit_test(eds_and_rds_remove_nothing_check_19),
		cmocka_unit_test(unwanted_gives_no_version_check_20),
		cmocka_unit_test(reconnect_checks_23_42),
		cmocka_unit_test(slow_connection_checks_21_22),
		cmocka_unit_test(no_nonce_before_its_answer_checks_6_21),
		cmocka_unit_test(other_types_are_not_answered_check_15),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
