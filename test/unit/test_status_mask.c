// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/status/mask.h"
#include "envoy/admin/v3/config_dump_shared.pb-c.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

#define DYNAMIC &envoy__admin__v3__clusters_config_dump__dynamic_cluster__descriptor
#define SECTION &envoy__admin__v3__clusters_config_dump__descriptor
#define CLUSTER &envoy__config__cluster__v3__cluster__descriptor

static void parses(const char *text, const char *want)
{
	json_t *mask = weft_mask_parse(text), *other = want ? json_loads(want, 0, NULL) : NULL;

	if (!want)
		assert_null(mask);
	else
		assert_true(json_equal(mask, other));
	json_decref(mask);
	json_decref(other);
}

static void test_parse(void **state)
{
	char deep[400];

	(void)state;
	parses("a", "{\"a\": true}");
	parses("a.b,c,a.d", "{\"a\": {\"b\": true, \"d\": true}, \"c\": true}");
	/* The whole is more than a part, whichever comes first. */
	parses("a.b,a", "{\"a\": true}");
	parses("a,a.b", "{\"a\": true}");
	parses("a,,b,", "{\"a\": true, \"b\": true}");
	parses("a..b", NULL);
	parses(".a", NULL);
	parses("a.", NULL);
	for (size_t i = 0; i < sizeof(deep) - 1; i++)
		deep[i] = i % 2 ? '.' : 'a';
	deep[sizeof(deep) - 2] = 'a';
	deep[sizeof(deep) - 1] = '\0';
	parses(deep, NULL);
}

static bool fits(const char *text, const ProtobufCMessageDescriptor *desc,
		 const ProtobufCMessageDescriptor *any)
{
	json_t *mask = weft_mask_parse(text);
	bool r;

	assert_non_null(mask);
	r = weft_mask_fits(mask, desc, any);
	json_decref(mask);
	return r;
}

/* Envoy 1.40 takes and refuses the same. */
static void test_fits(void **state)
{
	(void)state;
	assert_true(fits("cluster.name,version_info", DYNAMIC, CLUSTER));
	assert_true(fits("cluster.load_assignment.endpoints", DYNAMIC, CLUSTER));
	assert_false(fits("cluster.load_assignment.endpoints.locality", DYNAMIC, CLUSTER));
	assert_false(fits("cluster.nope", DYNAMIC, CLUSTER));
	assert_true(fits("cluster.nope", DYNAMIC, NULL));
	assert_true(fits("cluster.transport_socket.typed_config.sni", DYNAMIC, CLUSTER));
	assert_false(fits("nope", DYNAMIC, CLUSTER));
	assert_false(fits("version_info.x", DYNAMIC, CLUSTER));
	assert_true(fits("static_clusters,version_info", SECTION, NULL));
	assert_false(fits("static_clusters.cluster", SECTION, NULL));
	assert_false(fits("static_clusters,bootstrap", SECTION, NULL));
}

static void test_apply(void **state)
{
	json_t *mask = weft_mask_parse("a.b,c,gone.x,text.x");
	json_t *json =
		json_loads("{\"@type\": \"t\", \"a\": {\"@type\": \"u\", \"b\": 1, \"d\": 2}, "
			   "\"c\": {\"e\": []}, \"f\": 3, \"text\": \"x\"}",
			   0, NULL);
	json_t *want = json_loads("{\"@type\": \"t\", \"a\": {\"@type\": \"u\", \"b\": 1}, "
				  "\"c\": {\"e\": []}}",
				  0, NULL);
	json_t *got = weft_mask_apply(mask, json);

	(void)state;
	assert_true(json_equal(got, want));
	json_decref(mask);
	json_decref(json);
	json_decref(want);
	json_decref(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_apply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
