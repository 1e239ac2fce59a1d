// SPDX-License-Identifier: Apache-2.0
/* RouteAction.hash_policy. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"

typedef Envoy__Config__Route__V3__RouteAction route_action;
typedef Envoy__Config__Route__V3__RouteAction__HashPolicy hash_policy;

#define CASE(x) ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_##x

/* Envoy hashes what goes upstream; the engine has what came in. */
static bool headers_change(const route_action *a, const struct weft_route_scope *scope)
{
	const struct weft_change_scope *s = &scope->changes;
	const Envoy__Config__Route__V3__WeightedCluster *w =
		a->cluster_specifier_case ==
				ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS
			? a->weighted_clusters
			: NULL;

	if (s->table[0].n_add || s->table[0].n_remove || s->vhost[0].n_add ||
	    s->vhost[0].n_remove || s->route[0].n_add || s->route[0].n_remove)
		return true;
	for (size_t i = 0; w && i < w->n_clusters; i++) {
		if (w->clusters[i]->n_request_headers_to_add ||
		    w->clusters[i]->n_request_headers_to_remove)
			return true;
	}
	return false;
}

/* Pseudo headers stand where the parser leaves them. */
static void header_fill(struct weft_build *b, const char *name, const char *field,
			struct weft_img_hash *ret)
{
	char *lower = strdup(name);

	if (!lower) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	ret->kind = WEFT_HASH_HEADER;
	ret->slot = WEFT_HASH_BY_NAME;
	if (!strcmp(lower, ":method"))
		ret->slot = WEFT_VALUE_METHOD;
	else if (*lower == ':' || !strcmp(lower, "host"))
		/* rewrites and normalisation change them on their way */
		weft_build_fail(b, field, "unsupported: %s", name);
	ret->key.name_len = (uint32_t)strlen(lower);
	ret->key.name = weft_build_str(b, lower).off;
	free(lower);
}

static void key_fill(struct weft_build *b, const char *name, uint32_t kind,
		     struct weft_img_hash *ret)
{
	struct weft_img_str s = weft_build_str(b, name);

	ret->kind = kind;
	ret->key.name = s.off;
	ret->key.name_len = s.len;
}

static void one_fill(struct weft_build *b, const hash_policy *p, const char *field,
		     struct weft_img_hash *ret)
{
	/* they are of the cookie that is made when ttl is set */
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	ret->terminal = p->terminal != 0;
	switch (p->policy_specifier_case) {
	case CASE(HEADER):
		weft_field(at, field, "header");
		weft_build_fields(b, &p->header->base, at);
		header_fill(b, p->header->header_name, at, ret);
		break;
	case CASE(COOKIE):
		weft_build_fields(b, &p->cookie->base, weft_field(at, field, "cookie"));
		key_fill(b, p->cookie->name, WEFT_HASH_COOKIE, ret);
		break;
	case CASE(QUERY_PARAMETER):
		key_fill(b, p->query_parameter->name, WEFT_HASH_QUERY, ret);
		break;
	case CASE(CONNECTION_PROPERTIES):
		ret->kind = p->connection_properties->source_ip ? WEFT_HASH_SOURCE_IP : 0;
		break;
	default: /* refused by weft_build_fields() */
		break;
	}
}

void weft_build_hash_policy(struct weft_build *b, const route_action *a,
			    const struct weft_route_scope *scope, const char *field,
			    struct weft_img_forward *ret)
{
	struct weft_img_hash *list = calloc(a->n_hash_policy + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];
	bool reads = false;

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < a->n_hash_policy; i++) {
		struct weft_img_hash *h = &list[ret->n_hash];

		one_fill(b, a->hash_policy[i], weft_field(at, field, "hash_policy[%zu]", i), h);
		reads = reads || h->kind == WEFT_HASH_HEADER || h->kind == WEFT_HASH_COOKIE;
		/* source_ip: false finds nothing */
		ret->n_hash += h->kind != 0;
	}
	if (reads && headers_change(a, scope))
		weft_build_fail(b, weft_field(at, field, "hash_policy"),
				"unsupported: of headers, where request headers are changed");
	if (ret->n_hash)
		ret->hash = weft_build_put(b, list, ret->n_hash * sizeof(*list));
	free(list);
}
