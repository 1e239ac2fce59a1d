// SPDX-License-Identifier: Apache-2.0
/* Who the client says it is: the Node message, built once. */

#include "xds/delta_state.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int value_from_json(const json_t *json, Google__Protobuf__Value *v);

/* An empty string keeps protobuf-c's own constant, which its free function knows. */
static int set_string(char **field, const char *text)
{
	if (!text || !*text)
		return 0;
	*field = strdup(text);
	return *field ? 0 : -ENOMEM;
}

static int struct_from_json(json_t *json, Google__Protobuf__Struct *s)
{
	const char *key;
	json_t *value;

	s->fields = calloc(json_object_size(json) + 1, sizeof(*s->fields));
	if (!s->fields)
		return -ENOMEM;
	json_object_foreach(json, key, value)
	{
		Google__Protobuf__Struct__FieldsEntry *e = malloc(sizeof(*e));
		int err;

		if (!e)
			return -ENOMEM;
		google__protobuf__struct__fields_entry__init(e);
		s->fields[s->n_fields++] = e;
		e->value = malloc(sizeof(*e->value));
		if (!e->value)
			return -ENOMEM;
		google__protobuf__value__init(e->value);
		if (set_string(&e->key, key))
			return -ENOMEM;
		err = value_from_json(value, e->value);
		if (err)
			return err;
	}
	return 0;
}

static int list_from_json(const json_t *json, Google__Protobuf__ListValue *l)
{
	l->values = calloc(json_array_size(json) + 1, sizeof(*l->values));
	if (!l->values)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		Google__Protobuf__Value *v = malloc(sizeof(*v));
		int err;

		if (!v)
			return -ENOMEM;
		google__protobuf__value__init(v);
		l->values[l->n_values++] = v;
		err = value_from_json(json_array_get(json, i), v);
		if (err)
			return err;
	}
	return 0;
}

static int string_from_json(const json_t *json, Google__Protobuf__Value *v)
{
	v->string_value = strdup(json_string_value(json));
	if (!v->string_value)
		return -ENOMEM;
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	return 0;
}

static int object_from_json(const json_t *json, Google__Protobuf__Value *v)
{
	v->struct_value = malloc(sizeof(*v->struct_value));
	if (!v->struct_value)
		return -ENOMEM;
	google__protobuf__struct__init(v->struct_value);
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
	return struct_from_json((json_t *)json, v->struct_value);
}

static int array_from_json(const json_t *json, Google__Protobuf__Value *v)
{
	v->list_value = malloc(sizeof(*v->list_value));
	if (!v->list_value)
		return -ENOMEM;
	google__protobuf__list_value__init(v->list_value);
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
	return list_from_json(json, v->list_value);
}

static int value_from_json(const json_t *json, Google__Protobuf__Value *v)
{
	switch (json_typeof(json)) {
	case JSON_STRING:
		return string_from_json(json, v);
	case JSON_OBJECT:
		return object_from_json(json, v);
	case JSON_ARRAY:
		return array_from_json(json, v);
	case JSON_INTEGER:
	case JSON_REAL:
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
		v->number_value = json_number_value(json);
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
		v->bool_value = json_is_true(json);
		return 0;
	case JSON_NULL:
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
		return 0;
	}
	return -EINVAL;
}

static int set_metadata(Envoy__Config__Core__V3__Node *node, const char *text)
{
	json_error_t error;
	json_t *json;
	int err;

	if (!text)
		return 0;
	json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!json && json_error_code(&error) == json_error_out_of_memory)
		return -ENOMEM;
	if (!json_is_object(json)) {
		json_decref(json);
		return -EINVAL;
	}
	node->metadata = malloc(sizeof(*node->metadata));
	if (node->metadata) {
		google__protobuf__struct__init(node->metadata);
		err = struct_from_json(json, node->metadata);
	} else {
		err = -ENOMEM;
	}
	json_decref(json);
	return err;
}

static int set_locality(Envoy__Config__Core__V3__Node *node, const struct weft_delta_node *from)
{
	Envoy__Config__Core__V3__Locality *l;

	if (!from->region && !from->zone && !from->sub_zone)
		return 0;
	l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	envoy__config__core__v3__locality__init(l);
	node->locality = l;
	if (set_string(&l->region, from->region) || set_string(&l->zone, from->zone))
		return -ENOMEM;
	return set_string(&l->sub_zone, from->sub_zone);
}

static int set_client(Envoy__Config__Core__V3__Node *node)
{
	node->user_agent_version = strdup(WEFT_VERSION);
	if (!node->user_agent_version)
		return -ENOMEM;
	node->user_agent_version_type_case =
		ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION;
	node->client_features = calloc(1, sizeof(*node->client_features));
	if (!node->client_features)
		return -ENOMEM;
	node->client_features[0] = strdup("xds.config.supports-resource-ttl");
	if (!node->client_features[0])
		return -ENOMEM;
	node->n_client_features = 1;
	return set_string(&node->user_agent_name, "weft");
}

int delta_node_new(const struct weft_delta_node *from, Envoy__Config__Core__V3__Node **ret)
{
	Envoy__Config__Core__V3__Node *node = malloc(sizeof(*node));
	int err;

	if (!node)
		return -ENOMEM;
	envoy__config__core__v3__node__init(node);
	err = set_string(&node->id, from->id);
	if (!err)
		err = set_string(&node->cluster, from->cluster);
	if (!err)
		err = set_metadata(node, from->metadata_json);
	if (!err)
		err = set_locality(node, from);
	if (!err)
		err = set_client(node);
	if (err) {
		envoy__config__core__v3__node__free_unpacked(node, NULL);
		return err;
	}
	*ret = node;
	return 0;
}
