// SPDX-License-Identifier: Apache-2.0
/* First byte: the type of resource; the rest: its JSON. What is accepted must come back the same. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xds/any.h"
#include "xds/json.h"
#include "xds/resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static ProtobufCMessage *decode(const ProtobufCMessageDescriptor *desc, const json_t *json)
{
	const struct weft_json_source source = {.resource = "fuzz"};
	struct weft_diag diag = WEFT_DIAG_INIT;
	ProtobufCMessage *msg = NULL;

	if (weft_json_to_msg(desc, json, &source, &diag, &msg)) {
		if (!diag.n)
			abort(); /* refused without a cause */
		msg = NULL;
	}
	weft_diag_clear(&diag);
	return msg;
}

static uint8_t *pack(const ProtobufCMessage *msg, size_t *ret_len)
{
	uint8_t *buf = malloc(protobuf_c_message_get_packed_size(msg) + 1);

	*ret_len = protobuf_c_message_pack(msg, buf);
	return buf;
}

static void round_trip(const ProtobufCMessageDescriptor *desc, const ProtobufCMessage *msg)
{
	ProtobufCMessage *again;
	uint8_t *a, *b;
	size_t n, m;
	json_t *json;

	if (weft_json_from_msg(msg, &json))
		return;
	again = decode(desc, json);
	if (!again)
		abort();
	a = pack(msg, &n);
	b = pack(again, &m);
	if (n != m || memcmp(a, b, n))
		abort();
	free(a);
	free(b);
	protobuf_c_message_free_unpacked(again, NULL);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const ProtobufCMessageDescriptor *desc;
	ProtobufCMessage *msg;
	json_t *json;

	if (!len)
		return 0;
	desc = weft_any_descriptor(strrchr(weft_xds_type_url(data[0] % WEFT_XDS__MAX), '/') + 1);
	json = json_loadb((const char *)data + 1, len - 1, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
			  NULL);
	msg = json ? decode(desc, json) : NULL;
	if (msg) {
		round_trip(desc, msg);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	json_decref(json);
	return 0;
}
