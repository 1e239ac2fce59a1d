// SPDX-License-Identifier: Apache-2.0
#include "xds/redact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/wire.h"

#define SHOWN "[redacted]" /* as Envoy */

/* Fields that the API marks as sensitive. */
static const struct {
	const char *message, *field, *json;
} sensitive[] = {
	{"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "private_key", "privateKey"},
	{"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "pkcs12", "pkcs12"},
	{"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "password", "password"},
	{"envoy.extensions.transport_sockets.tls.v3.PrivateKeyProvider", "typed_config", NULL},
	{"envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", "keys", "keys"},
	{"envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secret", "secret"},
	{"envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secrets", "secrets"},
	{"envoy.config.core.v3.GrpcService.GoogleGrpc.SslCredentials", "private_key", "privateKey"},
	{"envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials", "access_token",
	 "accessToken"},
	{"envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials", "google_refresh_token",
	 "googleRefreshToken"},
	{"envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials."
	 "ServiceAccountJWTAccessCredentials",
	 "json_key", "jsonKey"},
	{"envoy.config.core.v3.GrpcService.GoogleGrpc.CallCredentials.GoogleIAMCredentials",
	 "authorization_token", "authorizationToken"},
};
#define N_SENSITIVE (sizeof(sensitive) / sizeof(sensitive[0]))

static bool is_sensitive(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	for (size_t i = 0; i < N_SENSITIVE; i++) {
		if (!strcmp(sensitive[i].field, f->name) &&
		    !strcmp(sensitive[i].message, msg->descriptor->name))
			return true;
	}
	return false;
}

/* What a Struct calls such a field: which message it stands for is not known. */
static bool is_sensitive_key(const char *key)
{
	for (size_t i = 0; i < N_SENSITIVE; i++) {
		if (sensitive[i].json &&
		    (!strcmp(sensitive[i].field, key) || !strcmp(sensitive[i].json, key)))
			return true;
	}
	return false;
}

static int redact(ProtobufCMessage *msg, bool hide);

static int text_hide(char **at)
{
	char *text = strdup(SHOWN);

	if (!text)
		return -ENOMEM;
	if (*at && *at != protobuf_c_empty_string)
		free(*at);
	*at = text;
	return 0;
}

static int bytes_hide(ProtobufCBinaryData *at)
{
	uint8_t *data = (uint8_t *)strdup(SHOWN);

	if (!data)
		return -ENOMEM;
	free(at->data);
	at->data = data;
	at->len = strlen(SHOWN);
	return 0;
}

static int one_hide(const ProtobufCFieldDescriptor *f, void *at, bool hide)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return hide ? text_hide(at) : 0;
	case PROTOBUF_C_TYPE_BYTES:
		return hide ? bytes_hide(at) : 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage **)at ? redact(*(ProtobufCMessage **)at, hide) : 0;
	default:
		if (hide)
			memset(at, 0, weft_field_size(f));
		return 0;
	}
}

static void any_empty(Google__Protobuf__Any *any)
{
	free(any->value.data);
	any->value.data = NULL;
	any->value.len = 0;
}

/* What is inside, and back again. */
static int any_redact(Google__Protobuf__Any *any, bool hide)
{
	const char *slash = strrchr(any->type_url, '/');
	const ProtobufCMessageDescriptor *desc = slash ? weft_any_descriptor(slash + 1) : NULL;
	_xds_msg_ ProtobufCMessage *inner = NULL;
	uint8_t *data;
	int r;

	if (!hide && !desc && slash && weft_any_harmless(slash + 1))
		return 0;
	if (hide || !desc ||
	    weft_wire_unpack(desc, any->value.data, any->value.len, NULL, NULL, NULL, &inner)) {
		any_empty(any);
		return 0;
	}
	r = redact(inner, false);
	if (r)
		return r;
	data = malloc(protobuf_c_message_get_packed_size(inner) + 1);
	if (!data)
		return -ENOMEM;
	free(any->value.data);
	any->value.data = data;
	any->value.len = protobuf_c_message_pack(inner, data);
	return 0;
}

/* Of an entry of a map: the key stays, and in a Struct says what the value is. */
static int entry_redact(ProtobufCMessage *entry, bool hide)
{
	const Google__Protobuf__Struct__FieldsEntry *e = (const void *)entry;
	const ProtobufCFieldDescriptor *value = &entry->descriptor->fields[1];

	if (entry->descriptor == &google__protobuf__struct__fields_entry__descriptor)
		hide = hide || is_sensitive_key(e->key);
	return one_hide(value, weft_field_at(entry, value), hide);
}

static int field_redact(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f, bool hide)
{
	bool map = weft_field_is_map(msg->descriptor, f);
	char *at = weft_field_at(msg, f);
	int r = 0;

	if (f->label != PROTOBUF_C_LABEL_REPEATED)
		return one_hide(f, at, hide);
	at = *(char **)at;
	for (size_t i = 0; r == 0 && i < weft_field_count(msg, f); i++) {
		if (map)
			r = entry_redact(weft_field_msg(msg, f, i), hide);
		else
			r = one_hide(f, at + i * weft_field_size(f), hide);
	}
	return r;
}

static int redact(ProtobufCMessage *msg, bool hide)
{
	int r = 0;

	if (msg->descriptor == &google__protobuf__any__descriptor)
		return any_redact((Google__Protobuf__Any *)msg, hide);
	for (unsigned int i = 0; r == 0 && i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];

		if (weft_field_is_set(msg, f))
			r = field_redact(msg, f, hide || is_sensitive(msg, f));
	}
	return r;
}

int weft_redacted(const ProtobufCMessage *msg, ProtobufCMessage **ret)
{
	_xds_free_ uint8_t *data = malloc(protobuf_c_message_get_packed_size(msg) + 1);
	_xds_msg_ ProtobufCMessage *copy = NULL;
	size_t n;

	if (!data)
		return -ENOMEM;
	n = protobuf_c_message_pack(msg, data);
	copy = protobuf_c_message_unpack(msg->descriptor, NULL, n, data);
	/* What was unpacked once can be again. */
	if (!copy || redact(copy, false))
		return -ENOMEM;
	*ret = WEFT_XDS_TAKE(copy);
	return 0;
}
