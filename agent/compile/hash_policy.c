// SPDX-License-Identifier: Apache-2.0
/* RouteAction.hash_policy. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/compile/text.h"
#include "agent/regex/regex.h"
#include "bpf/engine/engine.h"

typedef Envoy__Config__Route__V3__RouteAction route_action;
typedef Envoy__Config__Route__V3__RouteAction__HashPolicy hash_policy;

#define CASE(x) ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_##x

/* Pseudo headers stand where the parser leaves them; `host` is another name of :authority,
 * as in Envoy. */
static uint32_t slot_of(const char *name)
{
	static const struct {
		const char *name;
		uint32_t slot;
	} slots[] = {{":method", WEFT_VALUE_METHOD},
		     {":path", WEFT_VALUE_PATH},
		     {":authority", WEFT_VALUE_HOST},
		     {"host", WEFT_VALUE_HOST},
		     {":scheme", WEFT_VALUE_SCHEME}};

	for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++) {
		if (!strcmp(name, slots[i].name))
			return slots[i].slot;
	}
	return WEFT_HASH_BY_NAME;
}

static void header_fill(struct weft_build *b,
			const Envoy__Config__Route__V3__RouteAction__HashPolicy__Header *h,
			const char *field, struct weft_img_hash *ret)
{
	char *lower = strdup(h->header_name);
	char at[WEFT_FIELD_MAX];

	if (!lower) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	ret->kind = WEFT_HASH_HEADER;
	ret->slot = slot_of(lower);
	ret->key.name_len = (uint32_t)strlen(lower);
	ret->key.name = weft_build_str(b, lower).off;
	free(lower);
	ret->rewrite = weft_build_rewrite(b, h->regex_rewrite, false,
					  weft_field(at, field, "regex_rewrite"));
	if (ret->rewrite)
		weft_rewrite = weft_regex_replace_nfa;
}

/* What stands behind the value of a cookie that is made, as Envoy's makeSetCookieValue() has it. */
static void cookie_make(struct weft_build *b,
			const Envoy__Config__Route__V3__RouteAction__HashPolicy__Cookie *c,
			const char *field, struct weft_img_hash *ret)
{
	char at[WEFT_FIELD_MAX];
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	if (c->ttl->seconds)
		fprintf(f, "; Max-Age=%lld", (long long)c->ttl->seconds);
	if (*c->path)
		fprintf(f, "; Path=%s", c->path);
	for (size_t i = 0; i < c->n_attributes; i++) {
		weft_build_fields(b, &c->attributes[i]->base,
				  weft_field(at, field, "attributes[%zu]", i));
		fprintf(f, "; %s%s%s", c->attributes[i]->name, *c->attributes[i]->value ? "=" : "",
			c->attributes[i]->value);
	}
	fputs("; HttpOnly", f);
	if (!weft_text_end(f, &text))
		b->err = b->err ? b->err : -ENOMEM;
	else
		ret->attributes = weft_build_str(b, text);
	free(text);
	ret->flags |= WEFT_HASH_MAKES;
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
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	ret->terminal = p->terminal != 0;
	switch (p->policy_specifier_case) {
	case CASE(HEADER):
		weft_field(at, field, "header");
		weft_build_fields(b, &p->header->base, at);
		header_fill(b, p->header, at, ret);
		break;
	case CASE(COOKIE):
		weft_field(at, field, "cookie");
		weft_build_fields(b, &p->cookie->base, at);
		key_fill(b, p->cookie->name, WEFT_HASH_COOKIE, ret);
		if (p->cookie->ttl)
			cookie_make(b, p->cookie, at, ret);
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

void weft_build_hash_policy(struct weft_build *b, const route_action *a, const char *field,
			    struct weft_img_forward *ret)
{
	struct weft_img_hash *list = calloc(a->n_hash_policy + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	if (a->n_hash_policy > WEFT_HASHES_MAX) {
		weft_build_fail(b, weft_field(at, field, "hash_policy"), "more than %u",
				WEFT_HASHES_MAX);
		free(list);
		return;
	}
	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < a->n_hash_policy; i++) {
		struct weft_img_hash *h = &list[ret->n_hash];

		one_fill(b, a->hash_policy[i], weft_field(at, field, "hash_policy[%zu]", i), h);
		/* source_ip: false finds nothing */
		ret->n_hash += h->kind != 0;
	}
	if (ret->n_hash)
		ret->hash = weft_build_put(b, list, ret->n_hash * sizeof(*list));
	free(list);
}
