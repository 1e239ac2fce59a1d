// SPDX-License-Identifier: Apache-2.0
/* When a server has served: its own word for all that is asked first, not a timer's. */

#include "delta_script.h"

static void served_when_nothing_waits_any_more(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", eds_cluster("a", NULL, 1, DEFAULT_TIMEOUT));
	respond(s, "n1");
	begin(s, EDS);
	expect_change(s, EDS, "a", "");
	expect_ack(s, CDS, "n1");
	add(s, "a", "1", cla("a", 1));
	respond(s, "n2");
	expect_ack(s, EDS, "n2");
	expect_change(s, LDS, "", "");
	begin(s, LDS);
	add(s, "l", "1", listener("l", 1, "r", DEFAULT_TIMEOUT));
	respond(s, "n3");
	expect_change(s, RDS, "r", "");
	expect_ack(s, LDS, "n3");
	assert_int_equal(s->served, 0);
	begin(s, RDS);
	add(s, "r", "1", route("r", "a"));
	respond(s, "n4");
	expect_ack(s, RDS, "n4");
	assert_int_equal(s->served, 1);
	/* Once. */
	begin(s, CDS);
	remove_name(s, "a");
	respond(s, "n5");
	weft_delta_disconnected(s->d, s->now);
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	assert_int_equal(s->served, 1);
	script_free(s);
}

static void timers_alone_do_not_serve(void **state)
{
	struct script *s = script_new();

	(void)state;
	pass(s, 0);
	pass(s, 15000);
	pass(s, 15000);
	assert_true(weft_delta_complete(s->d));
	assert_int_equal(s->served, 0);
	/* That clusters were waited for in vain does not matter when they come after all. */
	assert_int_equal(weft_delta_connected(s->d, s->now), 0);
	expect_change(s, CDS, "", "");
	expect_change(s, LDS, "", "");
	begin(s, LDS);
	respond(s, "n1");
	expect_ack(s, LDS, "n1");
	assert_int_equal(s->served, 0);
	begin(s, CDS);
	respond(s, "n2");
	expect_ack(s, CDS, "n2");
	assert_int_equal(s->served, 1);
	script_free(s);
}

static void refused_answers_do_not_serve(void **state)
{
	struct script *s = connected_script();

	(void)state;
	begin(s, CDS);
	add(s, "a", "1", static_cluster("b", 1));
	respond(s, "n1");
	expect_answer(s, CDS, "n1", "Cluster/a");
	expect_change(s, LDS, "", "");
	s->refuse = "Listener/l";
	begin(s, LDS);
	add(s, "l", "1", listener("l", 1, "r", 0));
	respond(s, "n2");
	expect_change(s, RDS, "r", "");
	expect_ack(s, LDS, "n2");
	begin(s, RDS);
	add(s, "r", "1", route("r", "a"));
	respond(s, "n3");
	assert_int_equal(s->served, 0);
	/* One good among bad ones is a word. */
	begin(s, CDS);
	add(s, "a", "1", static_cluster("b", 1));
	add(s, "c", "1", static_cluster("c", 1));
	respond(s, "n4");
	assert_true(in_force(s, CDS, "c"));
	assert_int_equal(s->served, 1);
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(served_when_nothing_waits_any_more),
		cmocka_unit_test(timers_alone_do_not_serve),
		cmocka_unit_test(refused_answers_do_not_serve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
