// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/rbac_match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/compile/metadata.h"
#include "agent/compile/parts.h"
#include "agent/compile/uri_template.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb-c.h"
#include "envoy/extensions/rbac/matchers/upstream_ip_port/v3/upstream_ip_port_matcher.pb-c.h"
#include "xds/any.h"

typedef Envoy__Config__Core__V3__CidrRange cidr;
typedef Envoy__Extensions__Path__Match__UriTemplate__V3__UriTemplateMatchConfig uri_template;
typedef Envoy__Extensions__Rbac__Matchers__UpstreamIpPort__V3__UpstreamIpPortMatcher
	upstream_matcher;

#define URI_TEMPLATE "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
#define UPSTREAM_IP_PORT "envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"

static uint32_t emit(struct weft_rbac_program *p, struct weft_img_test t, struct weft_rbac_way w)
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

static uint32_t emit_cond(struct weft_rbac_program *p, const struct weft_img_cond *c,
			  struct weft_rbac_way w)
{
	struct weft_img_test t = {.kind = WEFT_TEST_COND,
				  .cond = weft_build_put(p->b, c, sizeof(*c))};

	return emit(p, t, w);
}

uint32_t weft_rbac_emit_header(struct weft_rbac_program *p,
			       const Envoy__Config__Route__V3__HeaderMatcher *m, const char *field,
			       struct weft_rbac_way w)
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
uint32_t weft_rbac_emit_path(struct weft_rbac_program *p,
			     const Envoy__Type__Matcher__V3__PathMatcher *m, const char *field,
			     struct weft_rbac_way w)
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

uint32_t weft_rbac_emit_address(struct weft_rbac_program *p, enum weft_test_kind kind,
				const cidr *c, const char *field, struct weft_rbac_way w)
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

uint32_t weft_rbac_emit_port(struct weft_rbac_program *p, uint32_t start, uint32_t end,
			     struct weft_rbac_way w)
{
	return emit(p, (struct weft_img_test){.kind = WEFT_TEST_PORT, .start = start, .end = end},
		    w);
}

uint32_t weft_rbac_emit_range(struct weft_rbac_program *p, const Envoy__Type__V3__Int32Range *r,
			      const char *field, struct weft_rbac_way w)
{
	/* Envoy's own checks */
	if (r->start < 0 || r->start > 65535 || r->end < 0 || r->end > 65536 ||
	    r->start >= r->end) {
		weft_build_fail(
			p->b, field,
			"start must be between 0 and 65535, end between 0 and 65536 and above it");
		return w.no;
	}
	return weft_rbac_emit_port(p, (uint32_t)r->start, (uint32_t)r->end, w);
}

/* The server name that a client's TLS would say: here there is none. */
uint32_t weft_rbac_emit_server_name(struct weft_rbac_program *p,
				    const Envoy__Type__Matcher__V3__StringMatcher *m,
				    const char *field, struct weft_rbac_way w)
{
	struct weft_img_cond c = {0};

	if (p->network) { /* a listener filter may have seen TLS go by */
		weft_build_fail(p->b, field, "unsupported in a network filter");
		return w.no;
	}
	weft_build_empty_cond(p->b, m, p->b->names, field, &c);
	return emit_cond(p, &c, w);
}

uint32_t weft_rbac_emit_metadata(struct weft_rbac_program *p,
				 const Envoy__Type__Matcher__V3__MetadataMatcher *m,
				 const char *field, struct weft_rbac_way w)
{
	return weft_build_unset_metadata(p->b, m, field) ? w.yes : w.no;
}

uint32_t weft_rbac_emit_sourced(struct weft_rbac_program *p,
				const Envoy__Config__Rbac__V3__SourcedMetadata *m,
				const char *field, struct weft_rbac_way w)
{
	struct weft_img_test t = {.kind = WEFT_TEST_METADATA};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(p->b, &m->base, field);
	if (m->metadata_source == ENVOY__CONFIG__RBAC__V3__METADATA_SOURCE__DYNAMIC)
		return weft_rbac_emit_metadata(p, m->metadata_matcher,
					       weft_field(at, field, "metadata_matcher"), w);
	t.cond = weft_build_metadata_match(p->b, m->metadata_matcher,
					   weft_field(at, field, "metadata_matcher"));
	/* a connection has no route, and nothing fits */
	return p->network ? w.no : emit(p, t, w);
}

/* ---- extensions ---- */

/* NULL: told. */
static ProtobufCMessage *extension(struct weft_rbac_program *p,
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

uint32_t weft_rbac_emit_template(struct weft_rbac_program *p,
				 const Envoy__Config__Core__V3__TypedExtensionConfig *e,
				 const char *field, struct weft_rbac_way w)
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
uint32_t weft_rbac_emit_upstream(struct weft_rbac_program *p,
				 const Envoy__Config__Core__V3__TypedExtensionConfig *e,
				 const char *field, struct weft_rbac_way w)
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
