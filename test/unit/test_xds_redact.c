// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "xds/json.h"
#include "xds/redact.h"

#define CLUSTER &envoy__config__cluster__v3__cluster__descriptor
#define SECRET &envoy__extensions__transport_sockets__tls__v3__secret__descriptor
#define TLS "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
#define STRUCT "type.googleapis.com/udpa.type.v1.TypedStruct"

/* text with ' for " */
static json_t *json_of(const char *text)
{
	char *copy = strdup(text);
	json_t *j;

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	j = json_loads(copy, 0, NULL);
	free(copy);
	assert_non_null(j);
	return j;
}

static void shows(const ProtobufCMessageDescriptor *desc, const char *text, const char *want_text)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_json_source source = {0};
	json_t *in = json_of(text), *want = json_of(want_text), *out = NULL;
	ProtobufCMessage *msg = NULL, *copy = NULL;
	size_t before;

	assert_int_equal(weft_json_to_msg(desc, in, &source, &diag, &msg), 0);
	before = protobuf_c_message_get_packed_size(msg);
	assert_int_equal(weft_redacted(msg, &copy), 0);
	assert_int_equal(protobuf_c_message_get_packed_size(msg), before); /* the original stays */
	assert_int_equal(weft_json_from_msg(copy, &out), 0);
	if (!json_equal(out, want))
		fail_msg("%s", json_dumps(out, 0));
	json_decref(in);
	json_decref(out);
	json_decref(want);
	protobuf_c_message_free_unpacked(msg, NULL);
	protobuf_c_message_free_unpacked(copy, NULL);
}

/* Envoy 1.40 shows the same of this cluster. */
static void test_in_an_any(void **state)
{
	(void)state;
	shows(CLUSTER,
	      "{'name': 'a', 'transport_socket': {'name': 't', 'typed_config': {'@type': '" TLS
	      "', 'common_tls_context': {'tls_certificates': [{'certificate_chain': "
	      "{'inline_string': "
	      "'PUBLIC'}, 'private_key': {'inline_string': 'KEY'}, 'password': {'inline_bytes': "
	      "'YWJj'}}]}}}}",
	      "{'name': 'a', 'transport_socket': {'name': 't', 'typed_config': {'@type': '" TLS
	      "', 'common_tls_context': {'tls_certificates': [{'certificate_chain': "
	      "{'inline_string': "
	      "'PUBLIC'}, 'private_key': {'inline_string': '[redacted]'}, 'password': "
	      "{'inline_bytes': "
	      "'W3JlZGFjdGVkXQ=='}}]}}}}");
}

static void test_secrets(void **state)
{
	(void)state;
	/* Keys of a map stay: they are names. */
	shows(SECRET,
	      "{'name': 's', 'generic_secret': {'secret': {'filename': '/f'}, 'secrets': {'k': "
	      "{'inline_string': 'X'}}}}",
	      "{'name': 's', 'generic_secret': {'secret': {'filename': '[redacted]'}, 'secrets': "
	      "{'k': "
	      "{'inline_string': '[redacted]'}}}}");
	shows(SECRET,
	      "{'name': 's', 'session_ticket_keys': {'keys': [{'inline_string': 'a'}, "
	      "{'inline_string': 'b'}]}}",
	      "{'name': 's', 'session_ticket_keys': {'keys': [{'inline_string': '[redacted]'}, "
	      "{'inline_string': '[redacted]'}]}}");
}

/* A Struct says by its keys what it holds. */
static void test_typed_struct(void **state)
{
	(void)state;
	shows(CLUSTER,
	      "{'name': 'a', 'transport_socket': {'name': 't', 'typed_config': {'@type': '" STRUCT
	      "', 'value': {'type_url': 'x/some.Type', 'value': {'privateKey': {'inlineString': "
	      "'KEY'}, 'password': 12, 'shown': ['yes']}}}}}",
	      "{'name': 'a', 'transport_socket': {'name': 't', 'typed_config': {'@type': '" STRUCT
	      "', 'value': {'type_url': 'x/some.Type', 'value': {'privateKey': {'inlineString': "
	      "'[redacted]'}, 'password': 0.0, 'shown': ['yes']}}}}}");
}

/* Nobody can tell what an unknown type holds; Istio's own filters hold no secrets. */
static void test_unknown_types(void **state)
{
	static uint8_t bytes[] = "secret";
	Envoy__Config__Core__V3__TransportSocket in =
		ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Envoy__Config__Core__V3__TransportSocket *out;
	ProtobufCMessage *copy;

	(void)state;
	any.value = (ProtobufCBinaryData){sizeof(bytes), bytes};
	in.config_type_case = ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
	in.typed_config = &any;
	any.type_url = (char *)(uintptr_t) "type.googleapis.com/nobody.knows.This";
	assert_int_equal(weft_redacted(&in.base, &copy), 0);
	out = (void *)copy;
	assert_string_equal(out->typed_config->type_url, any.type_url);
	assert_int_equal(out->typed_config->value.len, 0);
	protobuf_c_message_free_unpacked(copy, NULL);
	any.type_url = (char *)(uintptr_t) "type.googleapis.com/"
					   "envoy.tcp.metadataexchange.config.MetadataExchange";
	assert_int_equal(weft_redacted(&in.base, &copy), 0);
	out = (void *)copy;
	assert_int_equal(out->typed_config->value.len, sizeof(bytes));
	protobuf_c_message_free_unpacked(copy, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_an_any),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_typed_struct),
		cmocka_unit_test(test_unknown_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
