// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "envoy/type/v3/token_bucket.pb-c.h"
#include "xds/any.h"
#include "xds/json.h"

#define BUCKET "envoy.type.v3.TokenBucket"

static Google__Protobuf__Any *make(const char *text)
{
	const struct weft_json_source source = {0};
	json_t *json = json_loads(text, 0, NULL);
	ProtobufCMessage *msg;

	assert_non_null(json);
	assert_int_equal(weft_json_to_msg(&google__protobuf__any__descriptor, json, &source, NULL, &msg), 0);
	json_decref(json);
	return (Google__Protobuf__Any *)msg;
}

static int unpack(const char *text, char **ret_type, ProtobufCMessage **ret, struct weft_diag *diag)
{
	Google__Protobuf__Any *any = make(text);
	int r = weft_any_unpack(any, "Listener/x", "f.typed_config", diag, ret);

	*ret_type = weft_any_type(any);
	protobuf_c_message_free_unpacked(&any->base, NULL);
	return r;
}

static void typed_structs_of_both_packages(void **state)
{
	static const char *const kinds[] = {"udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char text[300], *type;
		ProtobufCMessage *msg;

		snprintf(text, sizeof(text),
			 "{\"@type\":\"t/%s\",\"type_url\":\"t/" BUCKET
			 "\",\"value\":{\"maxTokens\":4,\"fill_interval\":\"60s\"}}",
			 kinds[i]);
		assert_int_equal(unpack(text, &type, &msg, NULL), 0);
		assert_string_equal(type, BUCKET);
		assert_int_equal(((Envoy__Type__V3__TokenBucket *)msg)->max_tokens, 4);
		assert_int_equal(((Envoy__Type__V3__TokenBucket *)msg)->fill_interval->seconds, 60);
		protobuf_c_message_free_unpacked(msg, NULL);
		free(type);
	}
}

static void faults_are_told_apart(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	ProtobufCMessage *msg;
	char *type;

	(void)state;
	assert_int_equal(unpack("{\"@type\":\"t/acme.X\"}", &type, &msg, &diag), -ENOENT);
	assert_string_equal(type, "acme.X");
	assert_int_equal(diag.n, 0);
	free(type);
	assert_int_equal(unpack("{\"@type\":\"t/udpa.type.v1.TypedStruct\",\"type_url\":\"t/" BUCKET
				"\",\"value\":{\"no_such\":1}}",
				&type, &msg, &diag),
			 -EINVAL);
	assert_string_equal(diag.entries[0].resource, "Listener/x");
	assert_string_equal(diag.entries[0].field, "f.typed_config.no_such");
	free(type);
	weft_diag_clear(&diag);
	assert_int_equal(unpack("{\"@type\":\"t/udpa.type.v1.TypedStruct\",\"type_url\":\"t/"
				"xds.type.v3.TypedStruct\"}",
				&type, &msg, NULL),
			 -EINVAL);
	assert_null(type);
}

static void harmless_types(void **state)
{
	(void)state;
	assert_true(weft_any_harmless("io.istio.http.peer_metadata.Config"));
	assert_false(weft_any_harmless("acme.X"));
	assert_null(weft_any_descriptor("acme.X"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(typed_structs_of_both_packages),
					   cmocka_unit_test(faults_are_told_apart),
					   cmocka_unit_test(harmless_types)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
