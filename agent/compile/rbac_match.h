/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Single tests of RBAC policies: each function puts what one leaf of a permission or principal asks
 * behind the program (rbac.c). */

#include "agent/compile/rbac.h"
#include "envoy/config/core/v3/extension.pb-c.h"

/*
 * Tests in the reverse of their order: what a test goes on with is there before it. While building,
 * a place is a number in this order, or WEFT_RULES_END | result.
 */
struct weft_rbac_program {
	struct weft_build *b;
	bool network; /* of connections: nothing of a request is there */
	bool source;  /* some test looks at the app's address */
	struct weft_img_test *test;
	uint32_t n, cap;
	unsigned int depth;
};

/* Where a set begins when its members are asked from the first to the last. */
struct weft_rbac_way {
	uint32_t yes, no;
};

/*
 * Each puts the test that m says and gives its place, or w.yes or w.no where the answer is known;
 * what is not done is refused at `field`. Metadata that nothing sets, and what TLS would say, fit
 * nothing.
 */
uint32_t weft_rbac_emit_header(struct weft_rbac_program *p,
			       const Envoy__Config__Route__V3__HeaderMatcher *m, const char *field,
			       struct weft_rbac_way w);
uint32_t weft_rbac_emit_path(struct weft_rbac_program *p,
			     const Envoy__Type__Matcher__V3__PathMatcher *m, const char *field,
			     struct weft_rbac_way w);
uint32_t weft_rbac_emit_address(struct weft_rbac_program *p, enum weft_test_kind kind,
				const Envoy__Config__Core__V3__CidrRange *c, const char *field,
				struct weft_rbac_way w);
uint32_t weft_rbac_emit_port(struct weft_rbac_program *p, uint32_t start, uint32_t end,
			     struct weft_rbac_way w);
uint32_t weft_rbac_emit_range(struct weft_rbac_program *p, const Envoy__Type__V3__Int32Range *r,
			      const char *field, struct weft_rbac_way w);
uint32_t weft_rbac_emit_server_name(struct weft_rbac_program *p,
				    const Envoy__Type__Matcher__V3__StringMatcher *m,
				    const char *field, struct weft_rbac_way w);
uint32_t weft_rbac_emit_metadata(struct weft_rbac_program *p,
				 const Envoy__Type__Matcher__V3__MetadataMatcher *m,
				 const char *field, struct weft_rbac_way w);
uint32_t weft_rbac_emit_sourced(struct weft_rbac_program *p,
				const Envoy__Config__Rbac__V3__SourcedMetadata *m,
				const char *field, struct weft_rbac_way w);
uint32_t weft_rbac_emit_template(struct weft_rbac_program *p,
				 const Envoy__Config__Core__V3__TypedExtensionConfig *e,
				 const char *field, struct weft_rbac_way w);
uint32_t weft_rbac_emit_upstream(struct weft_rbac_program *p,
				 const Envoy__Config__Core__V3__TypedExtensionConfig *e,
				 const char *field, struct weft_rbac_way w);
