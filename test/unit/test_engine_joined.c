// SPDX-License-Identifier: Apache-2.0

/* Headers of which Envoy 1.40 keeps one line. */

#include "bpf/engine/joined.h"
#include "test/unit/image_fixture.h"

static const char *const requests[] = {
	"accept", "accept-encoding", "access-control-request-headers", "access-control-request-method",
	"authorization", "cache-control", "content-encoding", "content-type", "expect",
	"grpc-accept-encoding", "grpc-timeout", "if-match", "if-modified-since", "if-none-match", "origin",
	"pragma", "proxy-status", "referer", "te", "user-agent", "via", "x-client-trace-id",
	"x-envoy-attempt-count", "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster",
	"x-envoy-downstream-service-node", "x-envoy-expected-rq-timeout-ms", "x-envoy-external-address",
	"x-envoy-original-host", "x-envoy-original-path", "x-forwarded-for", "x-forwarded-host",
	"x-forwarded-port", "x-forwarded-proto", "x-request-id",
};
#define N_REQUESTS (sizeof(requests) / sizeof(*requests))

/* What programs know by hash is what the agent knows by name. */
static void hashes(void **state)
{
	struct weft_req *req = calloc(1, sizeof(*req));
	__u32 used = 0;

	(void)state;
	for (size_t i = 0; i < N_REQUESTS; i++) {
		__u32 len = (__u32)strlen(requests[i]), hash = weft_hash_name(requests[i], len);

		assert_true(weft_header_joins(requests[i], len, false));
		assert_false(weft_joined_again(req, hash));
		assert_true(weft_joined_again(req, hash));
	}
	for (size_t i = 0; i < sizeof(weft_joined) / sizeof(*weft_joined); i++)
		used += weft_joined[i] != 0;
	assert_int_equal(used, N_REQUESTS);
	free(req);
}

static void others(void **state)
{
	static const char *const apart[] = {"cookie", "forwarded", "accept-language", "x-a", "via1", "vi"};
	struct weft_req *req = calloc(1, sizeof(*req));

	(void)state;
	for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++) {
		__u32 len = (__u32)strlen(apart[i]), hash = weft_hash_name(apart[i], len);

		assert_false(weft_header_joins(apart[i], len, false));
		assert_false(weft_header_joins(apart[i], len, true));
		assert_false(weft_joined_again(req, hash) || weft_joined_again(req, hash));
	}
	assert_true(weft_header_joins("vary", 4, true));
	assert_false(weft_header_joins("vary", 4, false));
	assert_false(weft_header_joins("accept", 6, true));
	free(req);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(hashes), cmocka_unit_test(others)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
