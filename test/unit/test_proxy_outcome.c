// SPDX-License-Identifier: Apache-2.0
/* What is kept of how an exchange ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/internal.h"

/* The text of a failure is the worker's: the next connection that fails writes another one there.
 */
static void test_reset_copies(void **state)
{
	char failure[] = "delayed connect error: Connection refused";
	struct outcome o = {0};

	(void)state;
	outcome_reset(&o, false, "remote connection failure", failure);
	memset(failure, 'x', sizeof(failure) - 1);
	assert_int_equal(o.n_details, strlen(o.details));
	assert_string_equal(o.details, "upstream_reset_before_response_started{remote_connection_"
				       "failure|delayed_connect_error:_Connection_refused}");
	assert_int_equal(o.n_failure, sizeof(failure) - 1);
	assert_memory_equal(o.failure, "delayed_connect_error:_Connection_refused", o.n_failure);
	/* without one there is none of the one before either */
	outcome_reset(&o, true, "connection termination", "");
	assert_null(o.failure);
	assert_string_equal(o.details,
			    "upstream_reset_after_response_started{connection_termination}");
}

/* More than there is room for is cut, and then nothing is told apart in it. */
static void test_reset_is_bounded(void **state)
{
	char failure[OUTCOME_TEXT + 1];
	struct outcome o = {0};

	(void)state;
	memset(failure, 'a', OUTCOME_TEXT);
	failure[OUTCOME_TEXT] = '\0';
	outcome_reset(&o, false, "remote reset", failure);
	assert_int_equal(o.n_details, OUTCOME_TEXT - 1);
	assert_null(o.failure);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_copies),
		cmocka_unit_test(test_reset_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
