// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/any.h"
#include "xds/base64.h"
#include "xds/json.h"

static const struct weft_json_source source = {.resource = "test"};

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_DECODE_ANY, &error);

	if (!json)
		fail_msg("test data: %s in %s", error.text, text);
	return json;
}

/* There and back; `want` is what comes out, NULL: the same. */
static void round_trip(const char *type, const char *text, const char *want)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *json = parse(text), *out, *expected = parse(want ? want : text);
	ProtobufCMessage *msg;

	if (weft_json_to_msg(weft_any_descriptor(type), json, &source, &diag, &msg))
		fail_msg("%s: %s", text, diag.entries[0].reason);
	assert_int_equal(weft_json_from_msg(msg, &out), 0);
	if (!json_equal(out, expected))
		fail_msg("%s became %s", text, json_dumps(out, JSON_ENCODE_ANY));
	protobuf_c_message_free_unpacked(msg, NULL);
	json_decref(json);
	json_decref(out);
	json_decref(expected);
}

static void refuse(const char *type, const char *text, const char *field, const char *reason)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *json = parse(text);
	ProtobufCMessage *msg = NULL;

	if (weft_json_to_msg(weft_any_descriptor(type), json, &source, &diag, &msg) != -EINVAL)
		fail_msg("accepted: %s", text);
	assert_null(msg);
	assert_int_equal(diag.n, 1);
	assert_string_equal(diag.entries[0].field, field);
	if (!strstr(diag.entries[0].reason, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, diag.entries[0].reason);
	weft_diag_clear(&diag);
	json_decref(json);
}

#define CLUSTER "envoy.config.cluster.v3.Cluster"
#define BUCKET "envoy.type.v3.TokenBucket"
#define MATCH "envoy.type.matcher.v3.StringMatcher"
#define DATA_SOURCE "envoy.config.core.v3.DataSource"
#define METADATA "envoy.config.core.v3.Metadata"
#define FILTER "envoy.config.listener.v3.Filter"
#define RANGE "envoy.type.v3.Int64Range"

static void names_in_both_forms(void **state)
{
	(void)state;
	round_trip(CLUSTER, "{\"altStatName\":\"x\",\"connect_timeout\":\"1s\"}",
		   "{\"alt_stat_name\":\"x\",\"connect_timeout\":\"1s\"}");
	round_trip(CLUSTER, "{\"outlierDetection\":{\"consecutive5xx\":3}}",
		   "{\"outlier_detection\":{\"consecutive_5xx\":3}}");
	refuse(CLUSTER, "{\"altStatName\":\"x\",\"alt_stat_name\":\"y\"}", "alt_stat_name",
	       "is there twice");
	refuse(CLUSTER, "{\"AltStatName\":\"x\"}", "AltStatName", "no such field in " CLUSTER);
	refuse(CLUSTER, "{\"load_assignment\":{\"endpoints\":[{},{\"lb_endpoints\":[{\"x\":1}]}]}}",
	       "load_assignment.endpoints[1].lb_endpoints[0].x", "no such field");
}

static void durations(void **state)
{
	static const char *const bad[] = {"\"1\"", "\"s\"", "\"1.s\"", "\"+1s\"", "\"1.0000000001s\"",
					  "\"1ms\"", "5", "\"\"", "\" 1s\"", "\"--1s\""};

	(void)state;
	round_trip(BUCKET, "{\"fill_interval\":\"1.5s\"}", "{\"fill_interval\":\"1.500s\"}");
	round_trip(BUCKET, "{\"fill_interval\":\"-0.000001s\"}", NULL);
	round_trip(BUCKET, "{\"fill_interval\":\"0.123456789s\"}", NULL);
	round_trip(BUCKET, "{\"fill_interval\":\"315576000000s\"}", NULL);
	refuse(BUCKET, "{\"fill_interval\":\"315576000001s\"}", "fill_interval", "out of range");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char text[64];

		snprintf(text, sizeof(text), "{\"fill_interval\":%s}", bad[i]);
		refuse(BUCKET, text, "fill_interval", "must be a duration");
	}
}

static void numbers(void **state)
{
	(void)state;
	round_trip(BUCKET, "{\"max_tokens\":4.0,\"tokens_per_fill\":\"5\"}",
		   "{\"max_tokens\":4,\"tokens_per_fill\":5}");
	round_trip(RANGE, "{\"start\":\"-9223372036854775808\",\"end\":\"9223372036854775807\"}", NULL);
	round_trip(RANGE, "{\"start\":7,\"end\":\"1e3\"}", "{\"start\":\"7\",\"end\":\"1000\"}");
	round_trip("envoy.config.cluster.v3.Cluster.MaglevLbConfig",
		   "{\"table_size\":\"18446744073709551615\"}", NULL);
	refuse(RANGE, "{\"start\":\"9223372036854775808\"}", "start", "out of range");
	refuse(RANGE, "{\"start\":\"1e19\"}", "start", "must be a whole number");
	refuse(BUCKET, "{\"max_tokens\":4294967296}", "max_tokens", "out of range");
	refuse(BUCKET, "{\"max_tokens\":-1}", "max_tokens", "out of range");
	refuse(BUCKET, "{\"max_tokens\":1.5}", "max_tokens", "must be a whole number");
	refuse(BUCKET, "{\"max_tokens\":\" 1\"}", "max_tokens", "must be a whole number");
	refuse(BUCKET, "{\"max_tokens\":true}", "max_tokens", "must be a whole number");
	round_trip("envoy.type.v3.Percent", "{\"value\":\"12.5\"}", "{\"value\":12.5}");
	round_trip("envoy.type.v3.Percent", "{\"value\":\"NaN\"}", NULL);
	refuse("envoy.type.v3.Percent", "{\"value\":\"0x10\"}", "value", "must be a number");
}

static void enums_and_choices(void **state)
{
	(void)state;
	round_trip(CLUSTER, "{\"lb_policy\":5,\"type\":\"EDS\"}", "{\"lb_policy\":\"MAGLEV\",\"type\":\"EDS\"}");
	round_trip(CLUSTER, "{\"lb_policy\":99}", NULL); /* open: validation decides */
	refuse(CLUSTER, "{\"lb_policy\":\"maglev\"}", "lb_policy", "\"maglev\" is no value of");
	refuse(MATCH, "{\"exact\":\"a\",\"prefix\":\"b\"}", "prefix", "excludes exact");
	round_trip(MATCH, "{\"exact\":\"\",\"prefix\":null}", "{\"exact\":\"\"}");
}

static void bytes_in_base64(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	round_trip(DATA_SOURCE, "{\"inline_bytes\":\"-_-_\"}", "{\"inline_bytes\":\"+/+/\"}");
	round_trip(DATA_SOURCE, "{\"inline_bytes\":\"YQ\"}", "{\"inline_bytes\":\"YQ==\"}");
	round_trip(DATA_SOURCE, "{\"inline_bytes\":\"\"}", NULL);
	refuse(DATA_SOURCE, "{\"inline_bytes\":\"Y\"}", "inline_bytes", "not base64");
	refuse(DATA_SOURCE, "{\"inline_bytes\":\"Y*==\"}", "inline_bytes", "not base64");
	assert_int_equal(weft_base64_decode("YQ=", 3, &data, &len), -EINVAL);
}

static void maps_structs_and_null(void **state)
{
	(void)state;
	round_trip(METADATA,
		   "{\"filter_metadata\":{\"a\":{\"n\":null,\"t\":true,\"r\":1.5,\"s\":\"x\",\"l\":[1.0,[]],"
		   "\"o\":{}}}}",
		   NULL);
	refuse(METADATA, "{\"filter_metadata\":[]}", "filter_metadata", "must be a mapping");
	refuse(METADATA, "{\"filter_metadata\":{\"a\":5}}", "filter_metadata[\"a\"]", "must be a mapping");
	refuse(CLUSTER, "{\"health_checks\":{}}", "health_checks", "must be a list");
	refuse(CLUSTER, "{\"name\":[]}", "name", "must be a string");
	refuse(CLUSTER, "5", "", "must be a mapping");
}

static void any(void **state)
{
	(void)state;
	round_trip(FILTER,
		   "{\"name\":\"f\",\"typed_config\":{\"@type\":\"t/" BUCKET "\",\"max_tokens\":1}}", NULL);
	round_trip(FILTER, "{\"typed_config\":{\"@type\":\"t/google.protobuf.Duration\",\"value\":\"1s\"}}",
		   NULL);
	round_trip(FILTER, "{\"typed_config\":{\"@type\":\"t/acme.X\",\"a\":\"b\"}}",
		   "{\"typed_config\":{\"@type\":\"type.googleapis.com/udpa.type.v1.TypedStruct\","
		   "\"type_url\":\"t/acme.X\",\"value\":{\"a\":\"b\"}}}");
	refuse(FILTER, "{\"typed_config\":{\"@type\":\"t/" BUCKET "\",\"x\":1}}", "typed_config.x",
	       "no such field");
	refuse(FILTER, "{\"typed_config\":{\"x\":1}}", "typed_config", "\"@type\" must be there");
	refuse(FILTER, "{\"typed_config\":{\"@type\":\"t/google.protobuf.Duration\",\"value\":\"1s\",\"x\":1}}",
	       "typed_config", "takes \"value\" and nothing else");
}

/* -E2BIG never: what can be read can be written; one level more cannot be read. */
static void depth_is_bounded(void **state)
{
	json_t *json = json_object(), *inner = json;

	(void)state;
	for (int i = 0; i < 300; i++) {
		json_t *next = json_object();

		json_object_set_new(inner, "not_rule", next);
		inner = next;
	}
	struct weft_diag diag = WEFT_DIAG_INIT;
	ProtobufCMessage *msg;

	assert_int_equal(weft_json_to_msg(weft_any_descriptor("envoy.config.rbac.v3.Permission"), json,
					  &source, &diag, &msg),
			 -EINVAL);
	assert_string_equal(diag.entries[0].reason, "nested too deep");
	weft_diag_clear(&diag);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_both_forms), cmocka_unit_test(durations),
		cmocka_unit_test(numbers),	       cmocka_unit_test(enums_and_choices),
		cmocka_unit_test(bytes_in_base64),     cmocka_unit_test(maps_structs_and_null),
		cmocka_unit_test(any),		       cmocka_unit_test(depth_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
