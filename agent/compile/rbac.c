// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/rbac.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/compile/rbac_match.h"
#include "agent/compile/reply.h"

typedef Envoy__Config__Rbac__V3__RBAC rbac;
typedef Envoy__Config__Rbac__V3__Policy policy;
typedef Envoy__Config__Rbac__V3__Permission permission;
typedef Envoy__Config__Rbac__V3__Principal principal;

#define RULE(x) ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_##x
#define IDENTIFIER(x) ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_##x

static uint32_t refuse(struct weft_rbac_program *p, const char *field, const char *name,
		       struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fail(p->b, weft_field(at, field, "%s", name), "unsupported");
	return w.no;
}

static bool too_deep(struct weft_rbac_program *p, const char *field)
{
	if (p->depth < WEFT_RULES_DEPTH_MAX)
		return false;
	weft_build_fail(p->b, field, "nested more than %u deep", WEFT_RULES_DEPTH_MAX);
	return true;
}

/* ---- permissions ---- */

static uint32_t permission_emit(struct weft_rbac_program *p, const permission *m, const char *field,
				struct weft_rbac_way w);

/* all: and, else or. Members are asked in order, and only as many as decide. */
static uint32_t permissions_emit(struct weft_rbac_program *p, size_t n, permission **list, bool all,
				 const char *field, struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = all ? w.yes : w.no;

	for (size_t i = n; i-- > 0;) {
		struct weft_rbac_way one = all ? (struct weft_rbac_way){next, w.no}
					       : (struct weft_rbac_way){w.yes, next};

		next = permission_emit(p, list[i], weft_field(at, "", "%s[%zu]", field, i), one);
	}
	return next;
}

static uint32_t permission_leaf(struct weft_rbac_program *p, const permission *m, const char *field,
				struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];

	switch (m->rule_case) {
	case RULE(ANY):
		return w.yes;
	case RULE(HEADER):
		return weft_rbac_emit_header(p, m->header, weft_field(at, field, "header"), w);
	case RULE(URL_PATH):
		return weft_rbac_emit_path(p, m->url_path, weft_field(at, field, "url_path"), w);
	case RULE(DESTINATION_IP):
		return weft_rbac_emit_address(p, WEFT_TEST_DESTINATION, m->destination_ip,
					      weft_field(at, field, "destination_ip"), w);
	case RULE(DESTINATION_PORT):
		return weft_rbac_emit_port(p, m->destination_port, m->destination_port + 1, w);
	case RULE(DESTINATION_PORT_RANGE):
		return weft_rbac_emit_range(p, m->destination_port_range,
					    weft_field(at, field, "destination_port_range"), w);
	case RULE(METADATA):
		return weft_rbac_emit_metadata(p, m->metadata, weft_field(at, field, "metadata"),
					       w);
	case RULE(REQUESTED_SERVER_NAME):
		return weft_rbac_emit_server_name(p, m->requested_server_name,
						  weft_field(at, field, "requested_server_name"),
						  w);
	case RULE(MATCHER):
		return weft_rbac_emit_upstream(p, m->matcher, weft_field(at, field, "matcher"), w);
	case RULE(URI_TEMPLATE):
		return weft_rbac_emit_template(p, m->uri_template,
					       weft_field(at, field, "uri_template"), w);
	case RULE(SOURCED_METADATA):
		return weft_rbac_emit_sourced(p, m->sourced_metadata,
					      weft_field(at, field, "sourced_metadata"), w);
	default:
		return refuse(p, field, "rule", w);
	}
}

static uint32_t permission_emit(struct weft_rbac_program *p, const permission *m, const char *field,
				struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t r;

	if (too_deep(p, field))
		return w.no;
	p->depth++;
	if (m->rule_case == RULE(AND_RULES))
		r = permissions_emit(p, m->and_rules->n_rules, m->and_rules->rules, true,
				     weft_field(at, field, "and_rules.rules"), w);
	else if (m->rule_case == RULE(OR_RULES))
		r = permissions_emit(p, m->or_rules->n_rules, m->or_rules->rules, false,
				     weft_field(at, field, "or_rules.rules"), w);
	else if (m->rule_case == RULE(NOT_RULE))
		r = permission_emit(p, m->not_rule, weft_field(at, field, "not_rule"),
				    (struct weft_rbac_way){w.no, w.yes});
	else
		r = permission_leaf(p, m, field, w);
	p->depth--;
	return r;
}

/* ---- principals ---- */

static uint32_t principal_emit(struct weft_rbac_program *p, const principal *m, const char *field,
			       struct weft_rbac_way w);

static uint32_t principals_emit(struct weft_rbac_program *p, size_t n, principal **list, bool all,
				const char *field, struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = all ? w.yes : w.no;

	for (size_t i = n; i-- > 0;) {
		struct weft_rbac_way one = all ? (struct weft_rbac_way){next, w.no}
					       : (struct weft_rbac_way){w.yes, next};

		next = principal_emit(p, list[i], weft_field(at, "", "%s[%zu]", field, i), one);
	}
	return next;
}

static uint32_t principal_leaf(struct weft_rbac_program *p, const principal *m, const char *field,
			       struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];

	switch (m->identifier_case) {
	case IDENTIFIER(ANY):
		return w.yes;
	case IDENTIFIER(AUTHENTICATED):
		return w.no; /* clear text: nobody is (Envoy, a connection without TLS) */
	case IDENTIFIER(SOURCE_IP):
		return weft_rbac_emit_address(p, WEFT_TEST_SOURCE, m->source_ip,
					      weft_field(at, field, "source_ip"), w);
	case IDENTIFIER(DIRECT_REMOTE_IP):
		return weft_rbac_emit_address(p, WEFT_TEST_SOURCE, m->direct_remote_ip,
					      weft_field(at, field, "direct_remote_ip"), w);
	case IDENTIFIER(REMOTE_IP):
		return weft_rbac_emit_address(p, WEFT_TEST_REMOTE, m->remote_ip,
					      weft_field(at, field, "remote_ip"), w);
	case IDENTIFIER(HEADER):
		return weft_rbac_emit_header(p, m->header, weft_field(at, field, "header"), w);
	case IDENTIFIER(URL_PATH):
		return weft_rbac_emit_path(p, m->url_path, weft_field(at, field, "url_path"), w);
	case IDENTIFIER(METADATA):
		return weft_rbac_emit_metadata(p, m->metadata, weft_field(at, field, "metadata"),
					       w);
	case IDENTIFIER(FILTER_STATE):
		return weft_build_unset_state(p->b, m->filter_state,
					      weft_field(at, field, "filter_state"))
			       ? w.yes
			       : w.no;
	case IDENTIFIER(SOURCED_METADATA):
		return weft_rbac_emit_sourced(p, m->sourced_metadata,
					      weft_field(at, field, "sourced_metadata"), w);
	case IDENTIFIER(CUSTOM):
		return refuse(p, field, "custom", w);
	default:
		return refuse(p, field, "identifier", w);
	}
}

static uint32_t principal_emit(struct weft_rbac_program *p, const principal *m, const char *field,
			       struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t r;

	if (too_deep(p, field))
		return w.no;
	p->depth++;
	if (m->identifier_case == IDENTIFIER(AND_IDS))
		r = principals_emit(p, m->and_ids->n_ids, m->and_ids->ids, true,
				    weft_field(at, field, "and_ids.ids"), w);
	else if (m->identifier_case == IDENTIFIER(OR_IDS))
		r = principals_emit(p, m->or_ids->n_ids, m->or_ids->ids, false,
				    weft_field(at, field, "or_ids.ids"), w);
	else if (m->identifier_case == IDENTIFIER(NOT_ID))
		r = principal_emit(p, m->not_id, weft_field(at, field, "not_id"),
				   (struct weft_rbac_way){w.no, w.yes});
	else
		r = principal_leaf(p, m, field, w);
	p->depth--;
	return r;
}

/* ---- policies ---- */

/* A policy matches when one of its permissions and one of its principals do. */
static uint32_t policy_emit(struct weft_rbac_program *p, const policy *m, const char *field,
			    struct weft_rbac_way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t who;

	weft_build_fields(p->b, &m->base, field);
	who = principals_emit(p, m->n_principals, m->principals, false,
			      weft_field(at, field, "principals"), w);
	return permissions_emit(p, m->n_permissions, m->permissions, false,
				weft_field(at, field, "permissions"),
				(struct weft_rbac_way){who, w.no});
}

typedef Envoy__Config__Rbac__V3__RBAC__PoliciesEntry entry;

static int by_name(const void *a, const void *b)
{
	return strcmp((*(entry *const *)a)->key, (*(entry *const *)b)->key);
}

/* Local reply of a refusal; in the details blanks of a name are '_' (Envoy). */
static uint32_t reply_build(struct weft_build *b, const char *name)
{
	static const char body[] = "RBAC: access denied";
	char *details = NULL;
	uint32_t off = 0;

	if (asprintf(&details, "rbac_access_denied_matched_policy[%s]", name) < 0) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	for (char *c = details; *c; c++)
		*c = isspace((unsigned char)*c) ? '_' : *c;
	off = weft_build_reply(b, &(struct weft_reply_text){.status = 403,
							    .body = body,
							    .body_len = sizeof(body) - 1,
							    .details = details});
	free(details);
	return off;
}

static uint32_t place(const struct weft_rbac_program *p, uint32_t at)
{
	return at & WEFT_RULES_END ? at : p->n - 1 - at;
}

/* The tests in their order, first one first. */
static uint32_t tests_put(struct weft_rbac_program *p)
{
	struct weft_img_test *out = calloc(p->n + 1u, sizeof(*out));
	uint32_t off = 0;

	for (uint32_t i = 0; out && i < p->n; i++) {
		out[i] = p->test[p->n - 1 - i];
		out[i].yes = place(p, out[i].yes);
		out[i].no = place(p, out[i].no);
	}
	if (!out)
		p->b->err = p->b->err ? p->b->err : -ENOMEM;
	else if (p->n)
		off = weft_build_put(p->b, out, p->n * sizeof(*out));
	free(out);
	return off;
}

/* The last policy first: each goes on with the one behind it. sorted: room for all. */
static uint32_t policies_emit(struct weft_rbac_program *p, const rbac *r, entry **sorted,
			      const char *field, struct weft_img_policy *ret)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = WEFT_RULES_END;

	for (size_t i = 0; i < r->n_policies; i++)
		sorted[i] = r->policies[i];
	qsort(sorted, r->n_policies, sizeof(*sorted), by_name);
	for (size_t i = r->n_policies; i-- > 0;) {
		const char *name = sorted[i]->key;
		struct weft_rbac_way w = {WEFT_RULES_END | (uint32_t)(i + 1), next};

		weft_field(at, field, "policies[\"%s\"]", name);
		if (i && !strcmp(sorted[i - 1]->key, name))
			weft_build_fail(p->b, at, "more than one of this name");
		ret[i].name = weft_build_str(p->b, name);
		if (!p->network && r->action == ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__DENY)
			ret[i].reply = reply_build(p->b, name);
		if (sorted[i]->value)
			next = policy_emit(p, sorted[i]->value, at, w);
		else
			weft_build_fail(p->b, at, "missing");
	}
	return next;
}

/* weft_img_rules. */
static uint32_t rules_build(struct weft_rbac_program *p, const rbac *r, const char *field)
{
	entry **sorted = calloc(r->n_policies + 1, sizeof(*sorted));
	struct weft_img_policy *named = calloc(r->n_policies + 1, sizeof(*named));
	struct weft_img_rules out = {.action = (uint32_t)r->action,
				     .n_policy = (uint32_t)r->n_policies};
	uint32_t off = 0;

	weft_build_fields(p->b, &r->base, field);
	if (sorted && named) {
		p->n = 0;
		out.start = policies_emit(p, r, sorted, field, named);
		out.start = place(p, out.start);
		out.n = p->n;
		out.test = tests_put(p);
		if (r->n_policies)
			out.policy = weft_build_put(p->b, named, r->n_policies * sizeof(*named));
		if (!p->network)
			out.reply = reply_build(p->b, "none");
		off = weft_build_put(p->b, &out, sizeof(out));
	} else {
		p->b->err = p->b->err ? p->b->err : -ENOMEM;
	}
	free(sorted);
	free(named);
	return off;
}

uint32_t weft_build_rbac(struct weft_build *b,
			 const Envoy__Extensions__Filters__Http__Rbac__V3__RBAC *r,
			 const char *field)
{
	struct weft_rbac_program p = {.b = b};
	struct weft_img_rbac out = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &r->base, field);
	if (r->rules)
		out.rules = rules_build(&p, r->rules, weft_field(at, field, "rules"));
	if (r->shadow_rules)
		out.shadow =
			rules_build(&p, r->shadow_rules, weft_field(at, field, "shadow_rules"));
	free(p.test);
	if (!r->rules && !r->shadow_rules)
		return 0; /* nothing is judged, nothing counted */
	out.stat_prefix = weft_build_str(b, r->rules_stat_prefix);
	out.cell = weft_build_state(b, WEFT_CELL_FILTER, b->hash, "rbac %s %s", b->resource, field);
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_conn_rbac(struct weft_build *b,
			      const Envoy__Extensions__Filters__Network__Rbac__V3__RBAC *r,
			      const char *field, uint32_t *flags)
{
	/* the answer is the same for every byte of a connection: enforcement_type changes nothing
	 */
	struct weft_rbac_program p = {.b = b, .network = true};
	struct weft_img_rbac out = {0};
	char at[WEFT_FIELD_MAX];
	uint32_t n = 0;

	weft_build_fields(b, &r->base, field);
	if (r->rules) {
		out.rules = rules_build(&p, r->rules, weft_field(at, field, "rules"));
		n = p.n;
	}
	if (r->shadow_rules) {
		out.shadow =
			rules_build(&p, r->shadow_rules, weft_field(at, field, "shadow_rules"));
		n = p.n > n ? p.n : n;
	}
	free(p.test);
	if (!r->rules && !r->shadow_rules)
		return 0;
	if (p.source || n > WEFT_CONN_TESTS_MAX)
		*flags |= WEFT_CHAIN_RBAC_AGENT;
	out.stat_prefix = weft_build_str(b, r->stat_prefix);
	out.cell = weft_build_state(b, WEFT_CELL_FILTER, b->hash, "rbac network %s %s", b->resource,
				    field);
	return weft_build_put(b, &out, sizeof(out));
}
