// SPDX-License-Identifier: Apache-2.0
/* One route: its match, its action, what it overrides. */
#include <errno.h>
#include <string.h>

#include "agent/compile/filter.h"
#include "agent/compile/metadata.h"
#include "agent/compile/parts.h"
#include "agent/compile/reply.h"
#include "agent/compile/reply_body.h"
#include "agent/regex/regex.h"

typedef Envoy__Config__Route__V3__Route route;
typedef Envoy__Config__Route__V3__RouteMatch route_match;

static void match_check(struct weft_build *b, const route_match *m, const char *field)
{
	weft_build_fields(b, &m->base, field);
}

/*
 * What every path that fits begins with leads to the route; the expression is a condition. Nearly every path begins with
 * a slash: who has no more than that stands with those that have nothing, to be one table.
 */
static char *regex_prefix(const struct weft_regex *re)
{
	uint32_t len = 0;
	const uint8_t *prefix = re ? weft_regex_prefix(re, &len) : NULL;

	return prefix && len > 1 ? strndup((const char *)prefix, len) : strdup("");
}

static void path_fill(struct weft_build *b, const route_match *m, const struct weft_regex *re,
		      struct weft_route_built *ret)
{
	const char *path = NULL;

	ret->any_case = !weft_bool(m->case_sensitive, true);
	switch (m->path_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX:
		ret->kind = WEFT_PATH_PREFIX;
		path = m->prefix;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH:
		ret->kind = WEFT_PATH_EXACT;
		path = m->path;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
		ret->kind = WEFT_PATH_SEPARATED;
		path = m->path_separated_prefix;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER:
		ret->kind = WEFT_PATH_CONNECT;
		break;
	default: /* safe_regex; others were refused by match_check() */
		ret->kind = WEFT_PATH_REGEX;
		ret->any_case = false;
		break;
	}
	ret->path = path ? strdup(path) : regex_prefix(re);
	if (!ret->path)
		b->err = b->err ? b->err : -ENOMEM;
}

static uint32_t direct_build(struct weft_build *b,
			     const Envoy__Config__Route__V3__DirectResponseAction *d,
			     const char *field)
{
	struct weft_reply_text text = {.status = d->status, .details = "direct_response"};
	char at[WEFT_FIELD_MAX];

	struct weft_format_local local;
	struct weft_img_body body;
	const struct weft_img_header *h;

	weft_build_fields(b, &d->base, field);
	if (!weft_build_source(b, d->body, weft_field(at, field, "body"), &local))
		return 0;
	text.body = local.text;
	text.body_len = local.len;
	if (text.body_len > WEFT_BODY_MAX)
		weft_build_fail(b, weft_field(at, field, "body"), "more than %u bytes",
				WEFT_BODY_MAX);
	else if (text.body_len > b->max_body)
		weft_build_fail(b, weft_field(at, field, "body"),
				"response body size is %zu bytes; maximum is %u", text.body_len,
				b->max_body);
	if (d->body_format) {
		text.format = weft_build_body(b, d->body_format, &local,
					      weft_field(at, field, "body_format"), &body);
		text.content_type = body.content_type;
		h = !b->err && body.format ? weft_store_at(b->store, body.format) : NULL;
		if (h && !h->n_piece) { /* the same for all requests */
			text.format = 0;
			text.body = h->value.len ? weft_store_at(b->store, h->value.off) : "";
			text.body_len = h->value.len;
		}
	}
	return b->err ? 0 : weft_build_reply(b, &text);
}

/* The agent works out its path. */
static bool redirect_formed(const Envoy__Config__Route__V3__RedirectAction *r)
{
	return r->path_rewrite_specifier_case ==
		       ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_REGEX_REWRITE ||
	       (r->path_rewrite_specifier_case ==
			ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REWRITE &&
		*r->path_rewrite);
}

/* The agent makes its body. */
static bool direct_formed(const struct weft_build *b, uint32_t action)
{
	const struct weft_img_reply *r = action ? weft_store_at(b->store, action) : NULL;

	return r && r->body;
}

static void action_fill(struct weft_build *b, const route *r, const struct weft_route_scope *scope,
			const struct weft_route_built *built, const char *field,
			struct weft_img_route *out)
{
	char at[WEFT_FIELD_MAX];

	switch (r->action_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE:
		out->action_kind = WEFT_ACTION_FORWARD;
		out->action =
			weft_build_forward(b, r->route, scope, weft_matched_len(built),
					   weft_field(at, field, "route"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_NON_FORWARDING_ACTION:
		out->action_kind = WEFT_ACTION_FORWARD;
		out->action = weft_build_no_forward(b, scope);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE:
		out->action_kind = WEFT_ACTION_DIRECT;
		out->action = direct_build(b, r->direct_response,
					   weft_field(at, field, "direct_response"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_REDIRECT:
		out->action_kind = WEFT_ACTION_REDIRECT;
		out->action = weft_build_redirect(b, r->redirect, weft_matched_len(built),
						  weft_field(at, field, "redirect"));
		break;
	default: /* refused by weft_build_fields() */
		break;
	}
}

static void changes_fill(struct weft_build *b, const route *r, const char *field,
			 struct weft_change_scope *ret)
{
	const struct weft_change_lists lists[2] = {
		{.n_add = r->n_request_headers_to_add,
		 .add = r->request_headers_to_add,
		 .n_remove = r->n_request_headers_to_remove,
		 .remove = r->request_headers_to_remove},
		{.n_add = r->n_response_headers_to_add,
		 .add = r->response_headers_to_add,
		 .n_remove = r->n_response_headers_to_remove,
		 .remove = r->response_headers_to_remove,
		 .response = true}};

	for (int i = 0; i < 2; i++)
		ret->route[i] = weft_build_change(b, WEFT_LEVEL_ROUTE, &lists[i], field);
}

void weft_build_route(struct weft_build *b, const route *r, uint32_t index,
		      struct weft_route_scope *scope, const char *field,
		      struct weft_route_built *ret)
{
	struct weft_regex *re = NULL;
	struct weft_img_route out = {.index = index};
	char at[WEFT_FIELD_MAX], sub[WEFT_FIELD_MAX];

	weft_build_fields(b, &r->base, field);
	weft_field(at, field, "match");
	match_check(b, r->match, at);
	if (r->match->path_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX)
		re = weft_build_regex(b, r->match->safe_regex, weft_field(sub, at, "safe_regex"));
	ret->re = re;
	ret->pattern = re ? r->match->safe_regex->regex : NULL;
	path_fill(b, r->match, re, ret);
	out.name = weft_build_str(b, r->name);
	out.cond = weft_build_conds(b, r->match, re, scope->headers, at, &out.n_cond);
	out.override = weft_build_overrides(
		b, WEFT_LEVEL_ROUTE, r->n_typed_per_filter_config, r->typed_per_filter_config,
		r->action_case == ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE ? r->route->cors
										: NULL,
		field, &out.n_override);
	changes_fill(b, r, field, &scope->changes);
	action_fill(b, r, scope, ret, field, &out);
	if (out.action_kind != WEFT_ACTION_FORWARD)
		out.response = weft_build_response(b, &scope->changes, NULL);
	if ((out.action_kind == WEFT_ACTION_REDIRECT && redirect_formed(r->redirect)) ||
	    (out.action_kind == WEFT_ACTION_DIRECT && direct_formed(b, out.action)))
		out.response.flags |= WEFT_RESPONSE_FORMED;
	if (b->route_metadata)
		out.metadata = weft_build_metadata(b, r->metadata, field);
	ret->conditional = out.n_cond != 0;
	ret->off = weft_build_put(b, &out, sizeof(out));
}
