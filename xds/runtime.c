// SPDX-License-Identifier: Apache-2.0
#include "xds/runtime.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/config/accesslog/v3/accesslog.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/json.h"
#include "xds/wire.h"

struct weft_runtime {
	json_t *values; /* "a.b" -> number, truth, or fraction as an object */
	json_t *used;	/* keys that something referred to */
};

struct applier {
	struct weft_runtime *rt;
	const char *resource;
	struct weft_diag *diag;
	bool changed;
};

static bool is_fraction(const json_t *v)
{
	return json_is_object(v) && json_object_get(v, "numerator");
}

/* Nested mappings name their values with dots; a later layer goes over an earlier one. */
static int flatten(struct weft_runtime *rt, const char *prefix, json_t *layer, const char *file,
		   struct weft_diag *diag)
{
	const char *key;
	json_t *v;
	int r = 0;

	json_object_foreach(layer, key, v) {
		_xds_free_ char *name = NULL;

		if (asprintf(&name, "%s%s%s", prefix, *prefix ? "." : "", key) < 0) {
			name = NULL;
			return -ENOMEM;
		}
		if (json_is_object(v) && !is_fraction(v))
			r = flatten(rt, name, v, file, diag);
		else if (!json_is_number(v) && !json_is_boolean(v) && !is_fraction(v))
			r = weft_diag_add(diag, -EINVAL, file, "layered_runtime",
					  "%s: must be a number, true, false or a fraction", name);
		else
			r = json_object_set(rt->values, name, v) ? -ENOMEM : 0;
		if (r)
			return r;
	}
	return r;
}

static int add_layer(struct weft_runtime *rt, const Envoy__Config__Bootstrap__V3__RuntimeLayer *l,
		     const char *file, struct weft_diag *diag)
{
	_xds_json_ json_t *layer = NULL;
	int r;

	/* The admin layer is where an operator writes later; there is nothing in it at start. */
	if (l->layer_specifier_case ==
	    ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_ADMIN_LAYER)
		return 0;
	if (l->layer_specifier_case !=
	    ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_STATIC_LAYER)
		return weft_diag_add(diag, -EINVAL, file, "layered_runtime",
				     "layer \"%s\": only static layers are supported", l->name);
	r = weft_json_from_msg(&l->static_layer->base, &layer);
	return r ? r : flatten(rt, "", layer, file, diag);
}

int weft_runtime_new(const Envoy__Config__Bootstrap__V3__LayeredRuntime *layers, const char *file,
		     struct weft_diag *diag, struct weft_runtime **ret)
{
	struct weft_runtime *rt = calloc(1, sizeof(*rt));
	int r = rt ? 0 : -ENOMEM;

	if (!r) {
		rt->values = json_object();
		rt->used = json_object();
		r = rt->values && rt->used ? 0 : -ENOMEM;
	}
	for (size_t i = 0; !r && layers && i < layers->n_layers; i++)
		r = add_layer(rt, layers->layers[i], file, diag);
	if (r || !json_object_size(rt->values)) {
		weft_runtime_free(rt);
		rt = NULL;
	}
	if (!r)
		*ret = rt;
	return r;
}

void weft_runtime_free(struct weft_runtime *rt)
{
	if (!rt)
		return;
	json_decref(rt->values);
	json_decref(rt->used);
	free(rt);
}

static json_t *look_up(struct applier *a, const char *key)
{
	json_t *v = *key ? json_object_get(a->rt->values, key) : NULL;

	if (v)
		json_object_set_new(a->rt->used, key, json_true());
	return v;
}

static int misfit(struct applier *a, const char *key, const char *want)
{
	return weft_diag_add(a->diag, -EINVAL, a->resource, NULL, "runtime value of %s must be %s",
			     key, want);
}

static int set_fraction(Envoy__Type__V3__FractionalPercent *p, const json_t *v)
{
	const struct weft_json_source source = {0};
	ProtobufCMessage *msg;
	int r = weft_json_to_msg(p->base.descriptor, v, &source, NULL, &msg);

	if (r)
		return r;
	p->numerator = ((Envoy__Type__V3__FractionalPercent *)msg)->numerator;
	p->denominator = ((Envoy__Type__V3__FractionalPercent *)msg)->denominator;
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}

/* A bare number is a percentage, whatever the denominator of the default; above 100 it is always. */
static int apply_fraction(struct applier *a, Envoy__Config__Core__V3__RuntimeFractionalPercent *m)
{
	const json_t *v = look_up(a, m->runtime_key);
	double number = json_number_value(v);

	if (!v || !m->default_value)
		return 0;
	if (is_fraction(v)) {
		if (set_fraction(m->default_value, v))
			return misfit(a, m->runtime_key, "a fraction");
	} else if (json_is_number(v) && number >= 0) {
		m->default_value->numerator = number > 100 ? 100 : (uint32_t)number;
		m->default_value->denominator =
			ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__HUNDRED;
	} else {
		return misfit(a, m->runtime_key, "a number or a fraction");
	}
	a->changed = true;
	return 0;
}

static int apply_uint(struct applier *a, Envoy__Config__Core__V3__RuntimeUInt32 *m)
{
	const json_t *v = look_up(a, m->runtime_key);
	double number = json_number_value(v);

	if (!v)
		return 0;
	if (!json_is_number(v) || number < 0 || number > UINT32_MAX || number != trunc(number))
		return misfit(a, m->runtime_key, "a whole number");
	m->default_value = (uint32_t)number;
	a->changed = true;
	return 0;
}

static int apply_real(struct applier *a, const char *key, double *at)
{
	const json_t *v = look_up(a, key);

	if (!v)
		return 0;
	if (!json_is_number(v))
		return misfit(a, key, "a number");
	*at = json_number_value(v);
	a->changed = true;
	return 0;
}

static int apply_flag(struct applier *a, Envoy__Config__Core__V3__RuntimeFeatureFlag *m)
{
	const json_t *v = look_up(a, m->runtime_key);

	if (!v || !m->default_value)
		return 0;
	if (!json_is_boolean(v))
		return misfit(a, m->runtime_key, "true or false");
	m->default_value->value = json_is_true(v);
	a->changed = true;
	return 0;
}

/* A filter's key says how many of its share's parts are in it. */
static int apply_share(struct applier *a, Envoy__Config__Accesslog__V3__RuntimeFilter *m)
{
	const json_t *v = look_up(a, m->runtime_key);
	double number = json_number_value(v);

	if (!v)
		return 0;
	if (!m->percent_sampled || !json_is_number(v) || number < 0 || number > UINT32_MAX ||
	    number != trunc(number))
		return misfit(a, m->runtime_key, "a whole number, and there a percent_sampled");
	m->percent_sampled->numerator = (uint32_t)number;
	a->changed = true;
	return 0;
}

static int apply_self(struct applier *a, ProtobufCMessage *msg)
{
	const ProtobufCMessageDescriptor *d = msg->descriptor;

	if (d == &envoy__config__core__v3__runtime_fractional_percent__descriptor)
		return apply_fraction(a, (Envoy__Config__Core__V3__RuntimeFractionalPercent *)msg);
	if (d == &envoy__config__core__v3__runtime_uint32__descriptor)
		return apply_uint(a, (Envoy__Config__Core__V3__RuntimeUInt32 *)msg);
	if (d == &envoy__config__core__v3__runtime_double__descriptor)
		return apply_real(a, ((Envoy__Config__Core__V3__RuntimeDouble *)msg)->runtime_key,
				  &((Envoy__Config__Core__V3__RuntimeDouble *)msg)->default_value);
	if (d == &envoy__config__core__v3__runtime_percent__descriptor &&
	    ((Envoy__Config__Core__V3__RuntimePercent *)msg)->default_value)
		return apply_real(
			a, ((Envoy__Config__Core__V3__RuntimePercent *)msg)->runtime_key,
			&((Envoy__Config__Core__V3__RuntimePercent *)msg)->default_value->value);
	if (d == &envoy__config__core__v3__runtime_feature_flag__descriptor)
		return apply_flag(a, (Envoy__Config__Core__V3__RuntimeFeatureFlag *)msg);
	if (d == &envoy__config__accesslog__v3__runtime_filter__descriptor)
		return apply_share(a, (Envoy__Config__Accesslog__V3__RuntimeFilter *)msg);
	return 0;
}

static int apply(struct applier *a, ProtobufCMessage *msg);

/* The bytes of an Any are written anew only if something in them changed. */
static int apply_any(struct applier *a, Google__Protobuf__Any *any)
{
	bool outer = a->changed;
	_xds_msg_ ProtobufCMessage *inner = NULL;
	_xds_free_ char *url = NULL, *type = weft_any_type(any);
	uint8_t *data;
	size_t len;
	int r;

	if (!type || !weft_any_descriptor(type) ||
	    weft_any_unpack(any, NULL, NULL, NULL, &inner))
		return 0; /* not ours to report: validation will */
	a->changed = false;
	r = apply(a, inner);
	if (!r && a->changed) {
		len = protobuf_c_message_get_packed_size(inner);
		data = malloc(len ? len : 1);
		if (!data || asprintf(&url, "type.googleapis.com/%s", type) < 0) {
			free(data);
			return -ENOMEM;
		}
		protobuf_c_message_pack(inner, data);
		free(any->value.data);
		any->value = (ProtobufCBinaryData){len, data};
		if (any->type_url != (char *)protobuf_c_empty_string)
			free(any->type_url);
		any->type_url = WEFT_XDS_TAKE(url);
	}
	a->changed |= outer;
	return r;
}

static int apply(struct applier *a, ProtobufCMessage *msg)
{
	int r = apply_self(a, msg);

	if (msg->descriptor == &google__protobuf__any__descriptor)
		return apply_any(a, (Google__Protobuf__Any *)msg);
	for (unsigned int i = 0; !r && i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		bool many = f->label == PROTOBUF_C_LABEL_REPEATED;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE || !weft_field_is_set(msg, f))
			continue;
		for (size_t j = 0; !r && j < (many ? weft_field_count(msg, f) : 1); j++)
			r = apply(a, weft_field_msg(msg, f, j));
	}
	return r;
}

int weft_runtime_apply(struct weft_runtime *rt, ProtobufCMessage *msg, const char *resource,
		       struct weft_diag *diag)
{
	struct applier a = {.rt = rt, .resource = resource, .diag = diag};

	return rt ? apply(&a, msg) : 0;
}

int weft_runtime_check_used(const struct weft_runtime *rt, const char *file,
			    struct weft_diag *diag)
{
	const char *key;
	json_t *v;
	int r = 0;

	if (!rt)
		return 0;
	json_object_foreach(rt->values, key, v) {
		(void)v;
		if (!json_object_get(rt->used, key))
			r = weft_diag_add(diag, -EINVAL, file, "layered_runtime",
					  "%s: no resource refers to it", key);
	}
	return r;
}
