// SPDX-License-Identifier: Apache-2.0
/* internal_redirect_policy -> weft_img_follow. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/compile/parts.h"
#include "envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config.pb-c.h"
#include "xds/any.h"

#define PREDICATE "envoy.extensions.internal_redirect."

typedef Envoy__Config__Route__V3__InternalRedirectPolicy policy;
typedef Envoy__Extensions__InternalRedirect__AllowListedRoutes__V3__AllowListedRoutesConfig listed;

/* Codes that are no redirects are ignored, as by Envoy; none at all: 302. */
static uint32_t codes(const policy *p)
{
	static const uint32_t known[] = {301, 302, 303, 307, 308};
	uint32_t bits = p->n_redirect_response_codes ? 0 : 1u << (302 - 300);

	for (size_t i = 0; i < p->n_redirect_response_codes; i++) {
		for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++) {
			if (p->redirect_response_codes[i] == known[k])
				bits |= 1u << (known[k] - 300);
		}
	}
	return bits;
}

static void listed_fill(struct weft_build *b, const listed *l, const char *field,
			struct weft_img_follow *ret)
{
	if (ret->flags & WEFT_FOLLOW_LISTED)
		weft_build_fail(b, field, "unsupported: two lists of routes");
	for (size_t i = 0; i < l->n_allowed_route_names; i++) {
		if (!*l->allowed_route_names[i])
			weft_build_fail(b, field, "an empty name in allowed_route_names");
	}
	ret->flags |= WEFT_FOLLOW_LISTED;
	ret->n_listed = (uint32_t)l->n_allowed_route_names;
	ret->listed = weft_build_strs(b, l->allowed_route_names, l->n_allowed_route_names);
}

static void predicate_fill(struct weft_build *b, const Google__Protobuf__Any *any, const char *field,
			   struct weft_img_follow *ret)
{
	ProtobufCMessage *msg = NULL;
	char *type = any ? weft_any_type(any) : NULL;
	int r = type ? weft_any_unpack(any, b->resource, field, b->diag, &msg) : -ENOENT;

	if (r && r != -ENOENT)
		b->err = b->err ? b->err : r;
	else if (!r && !strcmp(type, PREDICATE "previous_routes.v3.PreviousRoutesConfig"))
		ret->flags |= WEFT_FOLLOW_PREVIOUS;
	else if (!r && !strcmp(type, PREDICATE "safe_cross_scheme.v3.SafeCrossSchemeConfig"))
		ret->flags |= WEFT_FOLLOW_SAFE;
	else if (!r && !strcmp(type, PREDICATE "allow_listed_routes.v3.AllowListedRoutesConfig"))
		listed_fill(b, (const listed *)msg, field, ret);
	else
		weft_build_fail(b, field, "unsupported: %s", type ? type : "no predicate");
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	free(type);
}

static void copied_fill(struct weft_build *b, const policy *p, const char *field,
			struct weft_img_follow *ret)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < p->n_response_headers_to_copy; i++) {
		char *name = p->response_headers_to_copy[i];

		if (!*name || *name == ':' || !strcasecmp(name, "host"))
			weft_build_fail(b, weft_field(at, field, "response_headers_to_copy[%zu]", i),
					"host and pseudo headers cannot be copied");
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
	}
	ret->n_copy = (uint32_t)p->n_response_headers_to_copy;
	ret->copy = weft_build_strs(b, p->response_headers_to_copy, p->n_response_headers_to_copy);
}

uint32_t weft_build_follow(struct weft_build *b, const policy *p, const char *field)
{
	struct weft_img_follow out = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	out.max = weft_u32(p->max_internal_redirects, 1);
	if (out.max > WEFT_FOLLOW_MAX)
		weft_build_fail(b, weft_field(at, field, "max_internal_redirects"), "more than %u",
				WEFT_FOLLOW_MAX);
	out.codes = codes(p);
	if (p->allow_cross_scheme_redirect)
		out.flags |= WEFT_FOLLOW_CROSS;
	for (size_t i = 0; i < p->n_predicates; i++)
		predicate_fill(b, p->predicates[i]->typed_config,
			       weft_field(at, field, "predicates[%zu]", i), &out);
	copied_fill(b, p, field, &out);
	return weft_build_put(b, &out, sizeof(out));
}
