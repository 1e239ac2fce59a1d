// SPDX-License-Identifier: Apache-2.0
/* What is counted of each subscription, as Envoy does, and what is shown of what was refused. */

#include "delta_script.h"

struct shown {
	const char *name;
	enum weft_xds_type type;
	struct weft_delta_counts counts;
	enum weft_delta_status status;
	int64_t updated_ms, failed_ms;
	char active[32], warming[32], failed[32]; /* their versions */
	bool found;
};

static void version_copy(char to[32], const struct weft_resource *r)
{
	snprintf(to, 32, "%s", r ? r->version : "");
}

static void look(void *ctx, const struct weft_delta_item *item)
{
	struct shown *s = ctx;

	if (item->type != s->type || strcmp(item->name, s->name))
		return;
	s->found = true;
	if (item->counts)
		s->counts = *item->counts;
	s->status = item->status;
	s->updated_ms = item->updated_ms;
	s->failed_ms = item->failed_ms;
	version_copy(s->active, item->active);
	version_copy(s->warming, item->warming);
	version_copy(s->failed, item->failed);
}

static struct shown shown(struct script *s, enum weft_xds_type type, const char *name)
{
	struct shown out = {.name = name, .type = type};

	weft_delta_each(s->d, look, &out);
	assert_true(out.found);
	return out;
}

static void assert_counts(const struct weft_delta_counts *c, unsigned int attempt,
			  unsigned int success, unsigned int failure, unsigned int rejected,
			  unsigned int timeout)
{
	assert_int_equal(c->attempt, attempt);
	assert_int_equal(c->success, success);
	assert_int_equal(c->failure, failure);
	assert_int_equal(c->rejected, rejected);
	assert_int_equal(c->timeout, timeout);
}

static struct weft_delta_counts of_type(struct script *s, enum weft_xds_type type)
{
	struct weft_delta_stats stats;

	weft_delta_stats(s->d, &stats);
	return stats.types[type];
}

/* The requests are of no interest, but a type counts only once it was asked for. */
static void heard(struct script *s, const char *nonce)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *r;

	respond(s, nonce);
	while ((r = next_request(s)))
		request_free(r);
}

/* An EDS cluster with endpoints, a listener with routes. */
static void fill(struct script *s)
{
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	pb_string(&s->response, 1, "");
	heard(s, "n1");
	begin(s, EDS);
	add(s, "a", "1", cla("a", 1));
	pb_string(&s->response, 1, "v9");
	heard(s, "n2");
	begin(s, LDS);
	add(s, "l", "1", listener("l", 1, "r", DEFAULT_TIMEOUT));
	heard(s, "n3");
	begin(s, RDS);
	add(s, "r", "1", route("r", "a"));
	heard(s, "n4");
}

static void accepted(void **state)
{
	struct script *s = connected_script();
	struct weft_delta_counts c = of_type(s, CDS);
	struct shown e;

	(void)state;
	assert_counts(&c, 1, 0, 0, 0, 0);
	assert_int_equal(c.version, 0);
	c = of_type(s, LDS);
	assert_counts(&c, 0, 0, 0, 0, 0);
	fill(s);
	c = of_type(s, CDS);
	assert_counts(&c, 2, 1, 0, 0, 0);
	assert_int_equal(c.reload, 1);
	assert_int_equal(c.success_ms, s->now);
	/* xxh64 of nothing: what Envoy shows when a server says no version */
	assert_true(c.version == 17241709254077376921ull);
	assert_string_equal(c.version_text, "");
	e = shown(s, EDS, "a");
	assert_counts(&e.counts, 2, 1, 0, 0, 0);
	assert_string_equal(e.counts.version_text, "v9");
	assert_int_equal(e.counts.reload, 1);
	e = shown(s, RDS, "r");
	assert_counts(&e.counts, 2, 1, 0, 0, 0);
	/* Again: the same content, a name taken back, other content. */
	begin(s, EDS);
	add(s, "a", "2", cla("a", 1));
	heard(s, "n5");
	begin(s, EDS);
	remove_name(s, "a");
	heard(s, "n6");
	begin(s, EDS);
	add(s, "a", "3", cla("a", 2));
	heard(s, "n7");
	e = shown(s, EDS, "a");
	assert_counts(&e.counts, 5, 4, 0, 0, 0);
	assert_int_equal(e.counts.same, 1);
	assert_int_equal(e.counts.empty, 1);
	assert_int_equal(e.counts.reload, 2);
	/* A removal reloads, an answer without news does not. */
	begin(s, CDS);
	heard(s, "n8");
	assert_int_equal(of_type(s, CDS).reload, 1);
	begin(s, CDS);
	remove_name(s, "a");
	heard(s, "n9");
	assert_int_equal(of_type(s, CDS).reload, 2);
	script_free(s);
}

static void refused(void **state)
{
	struct script *s = connected_script();
	struct weft_delta_counts c;
	struct shown e;

	(void)state;
	fill(s);
	/* One bad resource of EDS or RDS is a refusal of every name of the type. */
	begin(s, EDS);
	add(s, "a", "2", cla("b", 1));
	heard(s, "n5");
	e = shown(s, EDS, "a");
	assert_counts(&e.counts, 3, 1, 0, 1, 0);
	assert_int_equal(e.status, WEFT_DELTA_NACKED);
	s->now += 5000;
	s->refuse = "Cluster/a";
	begin(s, CDS);
	add(s, "a", "2", static_cluster("a", 2));
	heard(s, "n6");
	c = of_type(s, CDS);
	assert_counts(&c, 3, 1, 0, 1, 0);
	e = shown(s, CDS, "a");
	assert_int_equal(e.status, WEFT_DELTA_NACKED);
	assert_int_equal(e.failed_ms, s->now);
	assert_int_equal(e.updated_ms, s->now - 5000);
	assert_string_equal(e.active, "1");
	assert_string_equal(e.failed, "2");
	/* A good one, and nothing is left of it. */
	s->refuse = NULL;
	begin(s, CDS);
	add(s, "a", "3", static_cluster("a", 3));
	heard(s, "n7");
	e = shown(s, CDS, "a");
	assert_int_equal(e.failed_ms, 0);
	assert_string_equal(e.failed, "");
	assert_string_equal(e.active, "3");
	script_free(s);
}

static void without_a_server(void **state)
{
	struct script *s = script_new();
	struct weft_delta_counts c;
	struct shown e;

	(void)state;
	pass(s, 0);
	weft_delta_disconnected(s->d, s->now); /* never was one */
	weft_delta_disconnected(s->d, s->now);
	c = of_type(s, CDS);
	assert_counts(&c, 3, 0, 2, 0, 0);
	pass(s, 15000);
	c = of_type(s, CDS);
	assert_counts(&c, 4, 0, 2, 0, 1);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	request_free(next_request(s));
	fill(s);
	weft_delta_disconnected(s->d, s->now);
	e = shown(s, EDS, "a");
	assert_counts(&e.counts, 3, 1, 1, 0, 0);
	script_free(s);
}

static void timeout_of_a_name(void **state)
{
	struct script *s = connected_script();
	struct shown e;

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	heard(s, "n1");
	e = shown(s, CDS, "a");
	assert_int_equal(e.status, WEFT_DELTA_WARMING);
	assert_string_equal(e.active, "");
	assert_string_equal(e.warming, "1");
	pass(s, 15000);
	e = shown(s, EDS, "a");
	assert_counts(&e.counts, 2, 0, 0, 0, 1);
	assert_int_equal(e.status, WEFT_DELTA_TIMEOUT);
	script_free(s);
}

static void responses_and_answers(void **state)
{
	struct script *s = serving_script();
	struct weft_delta_stats stats;
	struct pb control_plane = {0};

	(void)state;
	begin(s, CDS);
	pb_string(&control_plane, 1, "istiod-1");
	pb_sub(&s->response, 7, &control_plane);
	add(s, "x", "1", static_cluster("y", 1));
	respond(s, "n5");
	weft_delta_stats(s->d, &stats);
	assert_int_equal(stats.responses, 5);
	assert_int_equal(stats.acks, 4);
	assert_int_equal(stats.nacks, 1);
	assert_int_equal(stats.connects, 1);
	assert_true(stats.connected);
	assert_string_equal(stats.control_plane, "istiod-1");
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(responses_and_answers),
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(without_a_server),
		cmocka_unit_test(timeout_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
