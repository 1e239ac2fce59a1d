// SPDX-License-Identifier: Apache-2.0
/* Lists of headers to add and to remove: the same rules wherever a message has them. */

#include <string.h>
#include <strings.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "xds/descriptor.h"
#include "xds/validate_internal.h"

/* The pseudo headers and Host are changed by rewrites only. */
static bool is_fixed(const char *name)
{
	return *name == ':' || !strcasecmp(name, "host");
}

static void check_added(struct validator *v, const char *field, size_t i,
			const Envoy__Config__Core__V3__HeaderValueOption *option)
{
	if (option->append && option->append_action)
		validate_refuse_at(v, field, i, "append and append_action are both set");
	if (option->header && is_fixed(option->header->key))
		validate_refuse_at(v, field, i, "header %s must not be changed this way",
				   option->header->key);
	if (option->header && *option->header->value && option->header->raw_value.len)
		validate_refuse_at(v, field, i, "value and raw_value are both set");
}

static bool is_removal(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_STRING && f->label == PROTOBUF_C_LABEL_REPEATED &&
	       (!strcmp(f->name, "request_headers_to_remove") ||
		!strcmp(f->name, "response_headers_to_remove"));
}

void validate_headers(struct validator *v, const ProtobufCMessage *msg)
{
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];

		if (f->label != PROTOBUF_C_LABEL_REPEATED)
			continue;
		if (f->descriptor == &envoy__config__core__v3__header_value_option__descriptor)
			for (size_t j = 0; j < weft_field_count(msg, f); j++)
				check_added(v, f->name, j,
					    (const Envoy__Config__Core__V3__HeaderValueOption *)
						    weft_field_msg(msg, f, j));
		else if (is_removal(f))
			for (size_t j = 0; j < weft_field_count(msg, f); j++)
				if (is_fixed((*(char ***)weft_field_at(msg, f))[j]))
					validate_refuse_at(v, f->name, j,
							   "this header must not be removed");
	}
}
