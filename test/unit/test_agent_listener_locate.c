// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/enroll/pod.h"
#include "agent/explain.h"
#include "agent/offline.h"
#include "bpf/engine/engine.h"

static struct weft_offline offline;
static struct weft_ctx ctx;

static int setup(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	(void)state;
	if (weft_offline_open(WEFT_TEST_DATA "/cli/data/good.yaml", 4u << 20, true, &diag,
			      &offline) < 0)
		return -1;
	return weft_ctx_begin(&ctx);
}

static int teardown(void **state)
{
	(void)state;
	weft_offline_close(&offline);
	return 0;
}

static void test_by_name(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_listener_ref ref = {0};
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_int_equal(weft_listener_locate(ctx.view_off, "tcp", &diag, &ref), 0);
	assert_int_not_equal(ref.off, 0);
	assert_string_equal(weft_addr_text(&ref.dst.addr, text), "10.96.0.11");
	assert_int_equal(ref.dst.port, 3306);
	assert_int_equal(ref.dst.family, AF_INET);
}

static void test_by_address(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_listener_ref ref = {0};

	(void)state;
	assert_int_equal(weft_listener_locate(ctx.view_off, "192.0.2.1:80", &diag, &ref), 0);
	assert_int_equal(ref.off, 0);
	assert_int_equal(ref.dst.port, 80);
	assert_int_equal(weft_listener_locate(ctx.view_off, "[fd00::1]:443", &diag, &ref), 0);
	assert_int_equal(ref.dst.family, AF_INET6);
	assert_int_equal(ref.dst.port, 443);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"none",      "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536",
					  "fd00::1:x", ":80",	  ""};
	struct weft_listener_ref ref = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

		assert_int_equal(weft_listener_locate(ctx.view_off, bad[i], &diag, &ref), -EINVAL);
		assert_int_equal(diag.n, 1);
	}
}

/* "The only one" is asked of three. */
static void test_name_one(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_listener_ref ref = {0};

	(void)state;
	assert_int_equal(weft_listener_locate(ctx.view_off, NULL, &diag, &ref), -EINVAL);
	assert_string_equal(diag.entries[0].reason, "there are 3 listeners, name one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_by_address),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_name_one),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
