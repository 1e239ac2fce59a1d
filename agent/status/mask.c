// SPDX-License-Identifier: Apache-2.0
#include "agent/status/mask.h"

#include <string.h>

#include "agent/cleanup.h"
#include "google/protobuf/any.pb-c.h"

/* A deeper path than any message has. */
#define DEPTH_MAX 64

/* One path, of len bytes, into the tree. */
static bool path_add(json_t *tree, const char *path, size_t len)
{
	for (unsigned int depth = 0; depth < DEPTH_MAX; depth++) {
		const char *dot = memchr(path, '.', len);
		size_t n = dot ? (size_t)(dot - path) : len;
		_auto_free_ char *name = n ? strndup(path, n) : NULL;
		json_t *deeper;

		if (!name)
			return false;
		deeper = json_object_get(tree, name);
		if (!dot)
			return json_object_set_new(tree, name, json_true()) == 0;
		if (json_is_true(deeper)) /* all of it is named already */
			return true;
		if (!deeper) {
			deeper = json_object();
			if (json_object_set_new(tree, name, deeper))
				return false;
		}
		tree = deeper;
		path += n + 1;
		len -= n + 1;
	}
	return false;
}

json_t *weft_mask_parse(const char *text)
{
	_auto_json_ json_t *tree = json_object();

	while (tree) {
		size_t n = strcspn(text, ",");

		if (n && !path_add(tree, text, n))
			return NULL;
		if (!text[n])
			return WEFT_TAKE_PTR(tree);
		text += n + 1;
	}
	return NULL;
}

bool weft_mask_fits(const json_t *mask, const ProtobufCMessageDescriptor *desc,
		    const ProtobufCMessageDescriptor *any)
{
	const char *name;
	json_t *deeper;

	json_object_foreach((json_t *)(uintptr_t)mask, name, deeper)
	{
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(desc, name);

		if (!f)
			return false;
		if (json_is_true(deeper))
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
			return false;
		if (f->descriptor != &google__protobuf__any__descriptor) {
			if (!weft_mask_fits(deeper, f->descriptor, any))
				return false;
		} else if (any && !weft_mask_fits(deeper, any, NULL)) {
			return false;
		}
	}
	return true;
}

json_t *weft_mask_apply(const json_t *mask, const json_t *json)
{
	_auto_json_ json_t *out = json_object();
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)json, name, value)
	{
		const json_t *deeper = json_object_get(mask, name);
		json_t *part = NULL;

		if (!strcmp(name, "@type") || json_is_true(deeper))
			part = json_incref(value);
		else if (deeper && json_is_object(value))
			part = weft_mask_apply(deeper, value);
		else
			continue;
		if (!out || !part || json_object_set_new_nocheck(out, name, part))
			return NULL;
	}
	return WEFT_TAKE_PTR(out);
}
