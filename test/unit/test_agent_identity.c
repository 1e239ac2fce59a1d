// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"
#include "agent/xds/identity.h"

static char *key_of(const char *ns, const char *account, const char *labels)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_json_ json_t *j = labels ? json_loads(labels, 0, NULL) : NULL;
	const struct weft_identity id = {ns, account, j};
	char *key = NULL;

	assert_int_equal(weft_identity_key(&id, &diag, &key), 0);
	return key;
}

static void check_keys(const char *ns, const char *account, const char *labels, bool equal)
{
	char *a = key_of("one", "sa", "{\"app\": \"shop\", \"v\": \"1\"}"),
	     *b = key_of(ns, account, labels);

	assert_int_equal(strcmp(a, b) == 0, equal);
	free(a);
	free(b);
}

/* The order of labels says nothing; all else does. */
static void test_key(void **state)
{
	(void)state;
	check_keys("one", "sa", "{\"v\": \"1\", \"app\": \"shop\"}", true);
	check_keys("two", "sa", "{\"v\": \"1\", \"app\": \"shop\"}", false);
	check_keys("one", "sb", "{\"v\": \"1\", \"app\": \"shop\"}", false);
	check_keys("one", "sa", "{\"v\": \"2\", \"app\": \"shop\"}", false);
	check_keys("one", "sa", "{\"app\": \"shop\"}", false);
	check_keys("one", "sa", NULL, false);
	check_keys("one\",\"sa", "", "{\"v\": \"1\", \"app\": \"shop\"}", false);
}

static void test_names_that_no_id_takes(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_identity tilde = {.ns = "a~b", .service_account = "s"};
	const struct weft_identity bytes = {.ns = "a", .service_account = "\xff"};
	char *key;

	(void)state;
	assert_int_equal(weft_identity_key(&tilde, &diag, &key), -EINVAL);
	assert_string_equal(diag.entries[0].field, "namespace");
	assert_int_equal(weft_identity_key(&bytes, &diag, &key), -EINVAL);
}

static const char *said(const json_t *metadata, const char *key)
{
	const char *text = json_string_value(json_object_get(metadata, key));

	return text ? text : "";
}

static void test_node(void **state)
{
	_auto_json_ json_t *labels = json_loads("{\"app\": \"shop\"}", 0, NULL), *m = NULL;
	const struct weft_identity id = {"one", "robot", labels};
	const struct weft_identity_base none = {0};
	const struct weft_identity_base base = {
		.metadata_json =
			"{\"MESH_ID\": \"m\", \"ISTIO_VERSION\": \"1.25.0\", \"NAMESPACE\": \"x\"}",
		.cluster = "c",
		.domain = "example.test",
		.host = "node-1",
		.cluster_id = "east"};
	struct weft_identity_pod pod = {.name = "pod-a"};
	struct weft_identity_node node;

	(void)state;
	assert_int_equal(weft_addr_parse("10.1.2.3", &pod.addr4), 0);
	assert_int_equal(weft_addr_parse("fd00::1", &pod.addr6), 0);
	assert_int_equal(weft_identity_node(&id, &pod, &none, &node), 0);
	assert_string_equal(node.id, "sidecar~10.1.2.3~pod-a.one~one.svc.cluster.local");
	assert_string_equal(node.cluster, "shop.one");
	m = json_loads(node.metadata_json, 0, NULL);
	assert_string_equal(said(m, "INSTANCE_IPS"), "10.1.2.3,fd00::1");
	assert_string_equal(said(m, "CLUSTER_ID"), "Kubernetes");
	assert_string_equal(said(m, "ISTIO_VERSION"), WEFT_ISTIO_VERSION);
	assert_string_equal(said(m, "SERVICE_ACCOUNT"), "robot");
	assert_string_equal(said(json_object_get(m, "LABELS"), "app"), "shop");
	assert_null(json_object_get(m, "NODE_NAME"));
	weft_identity_node_clear(&node);
	json_decref(m);
	/* IPv6 alone; and what the node says of all, but not of whom it is. */
	memset(&pod.addr4, 0, sizeof(pod.addr4));
	assert_int_equal(weft_identity_node(&id, &pod, &base, &node), 0);
	assert_string_equal(node.id, "sidecar~fd00::1~pod-a.one~one.svc.example.test");
	assert_string_equal(node.cluster, "c");
	m = json_loads(node.metadata_json, 0, NULL);
	assert_string_equal(said(m, "MESH_ID"), "m");
	assert_string_equal(said(m, "ISTIO_VERSION"), "1.25.0");
	assert_string_equal(said(m, "NAMESPACE"), "one");
	assert_string_equal(said(m, "CLUSTER_ID"), "east");
	assert_string_equal(said(m, "NODE_NAME"), "node-1");
	weft_identity_node_clear(&node);
}

static void test_metadata_that_is_no_object(void **state)
{
	const struct weft_identity id = {.ns = "one", .service_account = "s"};
	const struct weft_identity_base base = {.metadata_json = "[]"};
	const struct weft_identity_pod pod = {.name = "p"};
	struct weft_identity_node node;

	(void)state;
	assert_int_equal(weft_identity_node(&id, &pod, &base, &node), -EINVAL);
	assert_null(node.id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_names_that_no_id_takes),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_metadata_that_is_no_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
