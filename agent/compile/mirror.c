// SPDX-License-Identifier: Apache-2.0
/* request_mirror_policies of a route, a virtual host or a route configuration -> weft_img_mirror. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/changes.h"
#include "agent/compile/parts.h"

typedef Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy policy;

/* Without a fraction every request; of one, the same requests as runtime_fraction of a route takes. */
static void share_fill(const Envoy__Config__Core__V3__RuntimeFractionalPercent *f,
		       struct weft_img_mirror *ret)
{
	static const uint32_t per[] = {100, 10000, 1000000};
	const Envoy__Type__V3__FractionalPercent *p = f ? f->default_value : NULL;

	ret->denominator = p ? per[p->denominator] : 1;
	ret->numerator = p ? p->numerator : !f;
}

static void policy_fill(struct weft_build *b, const policy *p, const char *field,
			struct weft_img_mirror *ret)
{
	char *header, at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	if (!*p->cluster == !*p->cluster_header)
		weft_build_fail(b, field, "exactly one of cluster and cluster_header is needed");
	if (*p->cluster) {
		ret->name = weft_build_str(b, p->cluster);
		ret->cluster = weft_build_cluster_id(b, p->cluster);
	} else {
		header = strdup(p->cluster_header);
		if (!header)
			b->err = b->err ? b->err : -ENOMEM;
		for (char *c = header; c && *c; c++)
			*c = (char)tolower((unsigned char)*c);
		ret->header = weft_build_str(b, header ? header : "");
		free(header);
	}
	share_fill(p->runtime_fraction, ret);
	ret->host = weft_build_str(b, p->host_rewrite_literal);
	ret->changes = weft_build_mutations(b, p->n_request_headers_mutations,
					    p->request_headers_mutations,
					    weft_field(at, field, "request_headers_mutations"));
	if (!p->disable_shadow_host_suffix_append)
		ret->flags |= WEFT_MIRROR_SUFFIX;
}

struct weft_mirrors weft_build_mirrors(struct weft_build *b, size_t n, policy *const *list,
				       const char *field)
{
	struct weft_img_mirror out[WEFT_MIRRORS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	if (n > WEFT_MIRRORS_MAX) {
		weft_build_fail(b, weft_field(at, field, "request_mirror_policies"),
				"more than %u", WEFT_MIRRORS_MAX);
		return (struct weft_mirrors){0};
	}
	for (size_t i = 0; i < n; i++)
		policy_fill(b, list[i], weft_field(at, field, "request_mirror_policies[%zu]", i),
			    &out[i]);
	return (struct weft_mirrors){.n = (uint32_t)n,
				     .off = n ? weft_build_put(b, out, n * sizeof(*out)) : 0};
}
