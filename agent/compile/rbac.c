// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/rbac.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/compile/metadata.h"
#include "agent/compile/parts.h"
#include "agent/compile/reply.h"
#include "agent/compile/uri_template.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb-c.h"
#include "envoy/extensions/rbac/matchers/upstream_ip_port/v3/upstream_ip_port_matcher.pb-c.h"
#include "xds/any.h"

typedef Envoy__Config__Rbac__V3__RBAC rbac;
typedef Envoy__Config__Rbac__V3__Policy policy;
typedef Envoy__Config__Rbac__V3__Permission permission;
typedef Envoy__Config__Rbac__V3__Principal principal;
typedef Envoy__Config__Core__V3__CidrRange cidr;
typedef Envoy__Extensions__Path__Match__UriTemplate__V3__UriTemplateMatchConfig uri_template;
typedef Envoy__Extensions__Rbac__Matchers__UpstreamIpPort__V3__UpstreamIpPortMatcher
	upstream_matcher;

#define URI_TEMPLATE "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
#define UPSTREAM_IP_PORT "envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"

#define RULE(x) ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_##x
#define IDENTIFIER(x) ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_##x

/*
 * Tests in the reverse of their order: what a test goes on with is there before it. While building,
 * a place is a number in this order, or WEFT_RULES_END | result.
 */
struct program {
	struct weft_build *b;
	bool network; /* of connections: nothing of a request is there */
	bool source;  /* some test looks at the app's address */
	struct weft_img_test *test;
	uint32_t n, cap;
	unsigned int depth;
};

/* Where a set begins when its members are asked from the first to the last. */
struct way {
	uint32_t yes, no;
};

static uint32_t emit(struct program *p, struct weft_img_test t, struct way w)
{
	if (p->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 16;
		struct weft_img_test *more = reallocarray(p->test, cap, sizeof(*more));

		if (!more) {
			p->b->err = p->b->err ? p->b->err : -ENOMEM;
			return w.no;
		}
		p->test = more;
		p->cap = cap;
	}
	t.yes = w.yes;
	t.no = w.no;
	p->test[p->n] = t;
	return p->n++;
}

/* ---- single tests ---- */

static uint32_t emit_cond(struct program *p, const struct weft_img_cond *c, struct way w)
{
	struct weft_img_test t = {.kind = WEFT_TEST_COND,
				  .cond = weft_build_put(p->b, c, sizeof(*c))};

	return emit(p, t, w);
}

static uint32_t emit_header(struct program *p, const Envoy__Config__Route__V3__HeaderMatcher *m,
			    const char *field, struct way w)
{
	struct weft_img_cond c = {0};

	if (p->network) { /* as Envoy */
		weft_build_fail(p->b, field, "a network filter has no headers");
		return w.no;
	}
	weft_build_header_cond(p->b, m, p->b->names, field, &c);
	return emit_cond(p, &c, w);
}

/* Without a request there is no path, and nothing fits. */
static uint32_t emit_path(struct program *p, const Envoy__Type__Matcher__V3__PathMatcher *m,
			  const char *field, struct way w)
{
	struct weft_img_cond c = {0};
	char at[WEFT_FIELD_MAX];

	if (!m->path) {
		weft_build_fail(p->b, weft_field(at, field, "path"), "missing");
		return w.no;
	}
	weft_build_path_cond(p->b, m->path, weft_field(at, field, "path"), &c);
	return p->network ? w.no : emit_cond(p, &c, w);
}

/* Bits of the prefix that count; more than the family has are all of them (Envoy). */
static void mask_fill(struct weft_img_test *t, uint32_t bits)
{
	uint8_t *m = (uint8_t *)t->mask.w;

	if (t->v4)
		bits = bits > 32 ? 128 : 96 + bits;
	for (uint32_t i = 0; i < 16 && bits; i++) {
		uint32_t n = bits < 8 ? bits : 8;

		m[i] = (uint8_t)(0xff00u >> n);
		bits -= n;
	}
}

bool weft_build_range(struct weft_build *b, const char *address, uint32_t prefix_len,
		      const char *field, struct weft_img_test *ret)
{
	struct weft_sockaddr a;
	char at[WEFT_FIELD_MAX];

	if (!weft_ip_parse(address, 0, &a)) {
		weft_build_fail(b, weft_field(at, field, "address_prefix"), "not an IP address");
		return false;
	}
	ret->v4 = a.family == AF_INET;
	ret->addr = a.addr;
	mask_fill(ret, prefix_len);
	return true;
}

static uint32_t emit_address(struct program *p, enum weft_test_kind kind, const cidr *c,
			     const char *field, struct way w)
{
	struct weft_img_test t = {.kind = (uint8_t)kind};

	if (!weft_build_range(p->b, c->address_prefix, weft_u32(c->prefix_len, 0), field, &t))
		return w.no;
	/* x-forwarded-for is a request's, and says nothing to an edge without trusted hops */
	if (kind == WEFT_TEST_REMOTE && (p->network || p->b->hcm_flags & WEFT_HCM_OWN_PROTO))
		t.kind = WEFT_TEST_SOURCE;
	else if (kind == WEFT_TEST_REMOTE)
		t.slot = weft_build_slot(p->b, "x-forwarded-for", p->b->names, field);
	p->source = p->source || kind != WEFT_TEST_DESTINATION;
	return emit(p, t, w);
}

static uint32_t emit_port(struct program *p, uint32_t start, uint32_t end, struct way w)
{
	return emit(p, (struct weft_img_test){.kind = WEFT_TEST_PORT, .start = start, .end = end},
		    w);
}

static uint32_t emit_range(struct program *p, const Envoy__Type__V3__Int32Range *r,
			   const char *field, struct way w)
{
	/* Envoy's own checks */
	if (r->start < 0 || r->start > 65535 || r->end < 0 || r->end > 65536 ||
	    r->start >= r->end) {
		weft_build_fail(
			p->b, field,
			"start must be between 0 and 65535, end between 0 and 65536 and above it");
		return w.no;
	}
	return emit_port(p, (uint32_t)r->start, (uint32_t)r->end, w);
}

static uint32_t refuse(struct program *p, const char *field, const char *name, struct way w)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fail(p->b, weft_field(at, field, "%s", name), "unsupported");
	return w.no;
}

static bool too_deep(struct program *p, const char *field)
{
	if (p->depth < WEFT_RULES_DEPTH_MAX)
		return false;
	weft_build_fail(p->b, field, "nested more than %u deep", WEFT_RULES_DEPTH_MAX);
	return true;
}

/* The server name that a client's TLS would say: here there is none. */
static uint32_t emit_server_name(struct program *p,
				 const Envoy__Type__Matcher__V3__StringMatcher *m,
				 const char *field, struct way w)
{
	struct weft_img_cond c = {0};

	if (p->network) { /* a listener filter may have seen TLS go by */
		weft_build_fail(p->b, field, "unsupported in a network filter");
		return w.no;
	}
	weft_build_empty_cond(p->b, m, p->b->names, field, &c);
	return emit_cond(p, &c, w);
}

static uint32_t emit_metadata(struct program *p, const Envoy__Type__Matcher__V3__MetadataMatcher *m,
			      const char *field, struct way w)
{
	return weft_build_unset_metadata(p->b, m, field) ? w.yes : w.no;
}

static uint32_t emit_sourced(struct program *p, const Envoy__Config__Rbac__V3__SourcedMetadata *m,
			     const char *field, struct way w)
{
	struct weft_img_test t = {.kind = WEFT_TEST_METADATA};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(p->b, &m->base, field);
	if (m->metadata_source == ENVOY__CONFIG__RBAC__V3__METADATA_SOURCE__DYNAMIC)
		return emit_metadata(p, m->metadata_matcher,
				     weft_field(at, field, "metadata_matcher"), w);
	t.cond = weft_build_metadata_match(p->b, m->metadata_matcher,
					   weft_field(at, field, "metadata_matcher"));
	/* a connection has no route, and nothing fits */
	return p->network ? w.no : emit(p, t, w);
}

/* ---- extensions ---- */

/* NULL: told. */
static ProtobufCMessage *extension(struct program *p,
				   const Envoy__Config__Core__V3__TypedExtensionConfig *e,
				   const char *want, const char *field)
{
	char *type = e->typed_config ? weft_any_type(e->typed_config) : NULL;
	ProtobufCMessage *msg = NULL;
	int r = 0;

	if (!type || strcmp(type, want) != 0)
		weft_build_fail(p->b, field, "unsupported: %s", type ? type : e->name);
	else
		r = weft_any_unpack(e->typed_config, p->b->resource, field, p->b->diag, &msg);
	if (r)
		p->b->err = p->b->err ? p->b->err : r;
	free(type);
	return msg;
}

static uint32_t emit_template(struct program *p,
			      const Envoy__Config__Core__V3__TypedExtensionConfig *e,
			      const char *field, struct way w)
{
	struct weft_img_cond c = {0};
	char at[WEFT_FIELD_MAX];
	uri_template *t = (void *)extension(p, e, URI_TEMPLATE, field);
	bool made;

	if (!t)
		return w.no;
	weft_build_fields(p->b, &t->base, field);
	made = weft_build_template_cond(p->b, t->path_template,
					weft_field(at, field, "path_template"), &c);
	protobuf_c_message_free_unpacked(&t->base, NULL);
	return p->network || !made ? w.no : emit_cond(p, &c, w);
}

/* The endpoint's address is not known yet: only a filter that there is not would have set it. */
static uint32_t emit_upstream(struct program *p,
			      const Envoy__Config__Core__V3__TypedExtensionConfig *e,
			      const char *field, struct way w)
{
	upstream_matcher *m = (void *)extension(p, e, UPSTREAM_IP_PORT, field);
	struct weft_img_test ignored;
	char at[WEFT_FIELD_MAX];

	if (!m)
		return w.no;
	weft_build_fields(p->b, &m->base, field);
	if (p->network)
		weft_build_fail(p->b, field, "unsupported in a network filter");
	if (!m->upstream_ip && !m->upstream_port_range)
		weft_build_fail(p->b, field, "neither upstream_ip nor upstream_port_range");
	if (m->upstream_ip)
		weft_build_range(p->b, m->upstream_ip->address_prefix,
				 weft_u32(m->upstream_ip->prefix_len, 0),
				 weft_field(at, field, "upstream_ip"), &ignored);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return w.no;
}

/* ---- permissions ---- */

static uint32_t permission_emit(struct program *p, const permission *m, const char *field,
				struct way w);

/* all: and, else or. Members are asked in order, and only as many as decide. */
static uint32_t permissions_emit(struct program *p, size_t n, permission **list, bool all,
				 const char *field, struct way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = all ? w.yes : w.no;

	for (size_t i = n; i-- > 0;) {
		struct way one = all ? (struct way){next, w.no} : (struct way){w.yes, next};

		next = permission_emit(p, list[i], weft_field(at, "", "%s[%zu]", field, i), one);
	}
	return next;
}

static uint32_t permission_leaf(struct program *p, const permission *m, const char *field,
				struct way w)
{
	char at[WEFT_FIELD_MAX];

	switch (m->rule_case) {
	case RULE(ANY):
		return w.yes;
	case RULE(HEADER):
		return emit_header(p, m->header, weft_field(at, field, "header"), w);
	case RULE(URL_PATH):
		return emit_path(p, m->url_path, weft_field(at, field, "url_path"), w);
	case RULE(DESTINATION_IP):
		return emit_address(p, WEFT_TEST_DESTINATION, m->destination_ip,
				    weft_field(at, field, "destination_ip"), w);
	case RULE(DESTINATION_PORT):
		return emit_port(p, m->destination_port, m->destination_port + 1, w);
	case RULE(DESTINATION_PORT_RANGE):
		return emit_range(p, m->destination_port_range,
				  weft_field(at, field, "destination_port_range"), w);
	case RULE(METADATA):
		return emit_metadata(p, m->metadata, weft_field(at, field, "metadata"), w);
	case RULE(REQUESTED_SERVER_NAME):
		return emit_server_name(p, m->requested_server_name,
					weft_field(at, field, "requested_server_name"), w);
	case RULE(MATCHER):
		return emit_upstream(p, m->matcher, weft_field(at, field, "matcher"), w);
	case RULE(URI_TEMPLATE):
		return emit_template(p, m->uri_template, weft_field(at, field, "uri_template"), w);
	case RULE(SOURCED_METADATA):
		return emit_sourced(p, m->sourced_metadata,
				    weft_field(at, field, "sourced_metadata"), w);
	default:
		return refuse(p, field, "rule", w);
	}
}

static uint32_t permission_emit(struct program *p, const permission *m, const char *field,
				struct way w)
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
				    (struct way){w.no, w.yes});
	else
		r = permission_leaf(p, m, field, w);
	p->depth--;
	return r;
}

/* ---- principals ---- */

static uint32_t principal_emit(struct program *p, const principal *m, const char *field,
			       struct way w);

static uint32_t principals_emit(struct program *p, size_t n, principal **list, bool all,
				const char *field, struct way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = all ? w.yes : w.no;

	for (size_t i = n; i-- > 0;) {
		struct way one = all ? (struct way){next, w.no} : (struct way){w.yes, next};

		next = principal_emit(p, list[i], weft_field(at, "", "%s[%zu]", field, i), one);
	}
	return next;
}

static uint32_t principal_leaf(struct program *p, const principal *m, const char *field,
			       struct way w)
{
	char at[WEFT_FIELD_MAX];

	switch (m->identifier_case) {
	case IDENTIFIER(ANY):
		return w.yes;
	case IDENTIFIER(AUTHENTICATED):
		return w.no; /* clear text: nobody is (Envoy, a connection without TLS) */
	case IDENTIFIER(SOURCE_IP):
		return emit_address(p, WEFT_TEST_SOURCE, m->source_ip,
				    weft_field(at, field, "source_ip"), w);
	case IDENTIFIER(DIRECT_REMOTE_IP):
		return emit_address(p, WEFT_TEST_SOURCE, m->direct_remote_ip,
				    weft_field(at, field, "direct_remote_ip"), w);
	case IDENTIFIER(REMOTE_IP):
		return emit_address(p, WEFT_TEST_REMOTE, m->remote_ip,
				    weft_field(at, field, "remote_ip"), w);
	case IDENTIFIER(HEADER):
		return emit_header(p, m->header, weft_field(at, field, "header"), w);
	case IDENTIFIER(URL_PATH):
		return emit_path(p, m->url_path, weft_field(at, field, "url_path"), w);
	case IDENTIFIER(METADATA):
		return emit_metadata(p, m->metadata, weft_field(at, field, "metadata"), w);
	case IDENTIFIER(FILTER_STATE):
		return weft_build_unset_state(p->b, m->filter_state,
					      weft_field(at, field, "filter_state"))
			       ? w.yes
			       : w.no;
	case IDENTIFIER(SOURCED_METADATA):
		return emit_sourced(p, m->sourced_metadata,
				    weft_field(at, field, "sourced_metadata"), w);
	case IDENTIFIER(CUSTOM):
		return refuse(p, field, "custom", w);
	default:
		return refuse(p, field, "identifier", w);
	}
}

static uint32_t principal_emit(struct program *p, const principal *m, const char *field,
			       struct way w)
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
				   (struct way){w.no, w.yes});
	else
		r = principal_leaf(p, m, field, w);
	p->depth--;
	return r;
}

/* ---- policies ---- */

/* A policy matches when one of its permissions and one of its principals do. */
static uint32_t policy_emit(struct program *p, const policy *m, const char *field, struct way w)
{
	char at[WEFT_FIELD_MAX];
	uint32_t who;

	weft_build_fields(p->b, &m->base, field);
	who = principals_emit(p, m->n_principals, m->principals, false,
			      weft_field(at, field, "principals"), w);
	return permissions_emit(p, m->n_permissions, m->permissions, false,
				weft_field(at, field, "permissions"), (struct way){who, w.no});
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

static uint32_t place(const struct program *p, uint32_t at)
{
	return at & WEFT_RULES_END ? at : p->n - 1 - at;
}

/* The tests in their order, first one first. */
static uint32_t tests_put(struct program *p)
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
static uint32_t policies_emit(struct program *p, const rbac *r, entry **sorted, const char *field,
			      struct weft_img_policy *ret)
{
	char at[WEFT_FIELD_MAX];
	uint32_t next = WEFT_RULES_END;

	for (size_t i = 0; i < r->n_policies; i++)
		sorted[i] = r->policies[i];
	qsort(sorted, r->n_policies, sizeof(*sorted), by_name);
	for (size_t i = r->n_policies; i-- > 0;) {
		const char *name = sorted[i]->key;
		struct way w = {WEFT_RULES_END | (uint32_t)(i + 1), next};

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
static uint32_t rules_build(struct program *p, const rbac *r, const char *field)
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
	struct program p = {.b = b};
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
	struct program p = {.b = b, .network = true};
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
