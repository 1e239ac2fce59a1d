// SPDX-License-Identifier: Apache-2.0
/* The expression as a whole: compiled, measured, put into the image. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

/* Plain text at the begin of every match. */
static void prefix_find(struct weft_regex *r, const struct regex_node *re)
{
	uint32_t i = 0;

	while (re->op == RE_CAPTURE || (re->op == RE_CONCAT && i < re->n)) {
		const struct regex_node *in = re->sub[i];

		if (in->op == RE_BEGIN_TEXT && re->op == RE_CONCAT) {
			i++;
			continue;
		}
		re = in;
		i = 0;
	}
	if (re->op != RE_LITERAL || re->flags & RE_FOLD)
		return;
	r->prefix_len = re->n < 255 ? re->n : 255;
	memcpy(r->prefix, re->text, r->prefix_len);
}

static int build(struct weft_regex *r, struct regex_pool *p, struct regex_node *re, uint32_t program_max,
		 struct weft_regex_error *error)
{
	r->size = regex_re2_size(p, re);
	if (p->full || !r->size)
		return -ENOMEM;
	if (r->size > program_max && r->size != UINT32_MAX) {
		snprintf(error->text, sizeof(error->text), "program size of %u > max program size of %u",
			 r->size, program_max);
		return -EINVAL;
	}
	re = regex_simplify(p, re);
	regex_emit(&r->program, re);
	if (p->full || r->program.no_memory)
		return -ENOMEM;
	if (r->program.full || r->size == UINT32_MAX) {
		snprintf(error->text, sizeof(error->text), "more than %u instructions",
			 REGEX_INSTS_MAX);
		return -EINVAL;
	}
	prefix_find(r, re);
	return 0;
}

int weft_regex_new(const char *pattern, uint32_t program_max, struct weft_regex **ret,
		   struct weft_regex_error *error)
{
	struct weft_regex *r = calloc(1, sizeof(*r));
	struct regex_pool pool = {0};
	struct regex_node *re;
	int e = -ENOMEM;

	if (!r)
		return -ENOMEM;
	re = regex_parse(&pool, pattern, &r->groups, error);
	if (re)
		e = build(r, &pool, re, program_max, error);
	else if (!pool.full)
		e = -EINVAL;
	regex_pool_free(&pool);
	if (e) {
		weft_regex_free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void weft_regex_free(struct weft_regex *re)
{
	if (!re)
		return;
	free(re->program.inst);
	free(re);
}

uint32_t weft_regex_program_size(const struct weft_regex *re)
{
	return re->size;
}

uint32_t weft_regex_groups(const struct weft_regex *re)
{
	return re->groups;
}

const uint8_t *weft_regex_prefix(const struct weft_regex *re, uint32_t *ret_len)
{
	*ret_len = re->prefix_len;
	return re->prefix;
}

int weft_regex_nfa(const struct weft_regex *re, void **ret, size_t *ret_len)
{
	const struct weft_img_nfa head = {.n = re->program.n, .start = re->program.start};
	size_t len = re->program.n * sizeof(*re->program.inst);
	uint8_t *out = malloc(sizeof(head) + len);

	if (!out)
		return -ENOMEM;
	memcpy(out, &head, sizeof(head));
	memcpy(out + sizeof(head), re->program.inst, len);
	*ret = out;
	*ret_len = sizeof(head) + len;
	return 0;
}
