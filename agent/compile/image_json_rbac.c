// SPDX-License-Identifier: Apache-2.0
/* RBAC in the image: tests by number, each with what it goes on with. */
#include <arpa/inet.h>

#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static uint32_t bits(const struct weft_addr *mask)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n += (uint32_t)__builtin_popcount(mask->w[i]);
	return n;
}

static json_t *range_json(const struct weft_img_test *t)
{
	char text[INET6_ADDRSTRLEN];
	const void *addr = t->v4 ? (const void *)&t->addr.w[3] : t->addr.w;

	if (!inet_ntop(t->v4 ? AF_INET : AF_INET6, addr, text, sizeof(text)))
		return json_null();
	return json_sprintf("%s/%u", text, bits(&t->mask) - (t->v4 ? 96 : 0));
}

/* A test's number, or the policy that has matched; null: none has. */
static json_t *place_json(const struct weft_img_policy *policy, uint32_t at)
{
	if (!(at & WEFT_RULES_END))
		return json_integer(at);
	at &= ~WEFT_RULES_END;
	return at ? weft_image_text(policy[at - 1].name) : json_null();
}

static json_t *test_json(const struct weft_img_policy *policy, const struct weft_img_test *t)
{
	static const char *const kinds[] = {
		"",	     "condition",	 "destination_ip", "source",
		"remote_ip", "destination_port", "route_metadata"};
	const char *kind = kinds[t->kind < sizeof(kinds) / sizeof(*kinds) ? t->kind : 0];
	json_t *what;

	if (t->kind == WEFT_TEST_METADATA)
		what = weft_image_metadata_match(t->cond);
	else if (t->kind == WEFT_TEST_COND)
		what = weft_image_cond(weft_img_at(t->cond));
	else if (t->kind == WEFT_TEST_PORT)
		what = json_pack("[I, I]", (json_int_t)t->start, (json_int_t)t->end);
	else
		what = range_json(t);
	return json_pack("{s:o, s:o, s:o}", kind, what, "yes", place_json(policy, t->yes), "no",
			 place_json(policy, t->no));
}

static json_t *rules_json(uint32_t off)
{
	static const char *const actions[] = {"ALLOW", "DENY", "LOG", ""};
	const struct weft_img_rules *r = weft_img_at(off);
	const struct weft_img_test *t = r->n ? weft_img_at(r->test) : NULL;
	const struct weft_img_policy *p = r->n_policy ? weft_img_at(r->policy) : NULL;
	json_t *tests = json_array(), *policies = json_array();

	for (uint32_t i = 0; i < r->n; i++)
		json_array_append_new(tests, test_json(p, &t[i]));
	for (uint32_t i = 0; i < r->n_policy; i++)
		json_array_append_new(policies, weft_image_text(p[i].name));
	return json_pack("{s:s, s:o, s:o, s:o}", "action", actions[r->action & 3], "policies",
			 policies, "start", place_json(p, r->start), "tests", tests);
}

json_t *weft_image_rbac(uint32_t off)
{
	const struct weft_img_rbac *r = weft_img_at(off);

	return json_pack("{s:o?, s:o?}", "rules", r->rules ? rules_json(r->rules) : NULL,
			 "shadow_rules", r->shadow ? rules_json(r->shadow) : NULL);
}
