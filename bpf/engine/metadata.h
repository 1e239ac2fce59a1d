/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Metadata of a request's route (MetadataMatcher). A program knows where there is none of a name;
 * what a value is the agent looks at.
 */

#include "bpf/abi/metadata.h"
#include "bpf/engine/cond.h"

#ifndef __bpf__
#include <string.h>

static bool weft_name_is(struct weft_img_str a, struct weft_img_str b)
{
	return a.len == b.len && !memcmp(weft_img_at(a.off), weft_img_at(b.off), a.len);
}

/* NULL: no member has that name, or it is no struct. */
static const struct weft_img_value *weft_metadata_member(const struct weft_img_value *v,
							 struct weft_img_str name)
{
	const struct weft_img_member *m =
		v->kind == WEFT_METADATA_STRUCT ? weft_img_at(v->list) : NULL;

	for (__u32 i = 0; m && i < v->n; i++)
		if (weft_name_is(m[i].name, name))
			return &m[i].value;
	return NULL;
}

/* metadata: weft_img_metadata, 0: none. NULL: nothing stands there. */
static const struct weft_img_value *weft_metadata_find(__u32 metadata,
						       const struct weft_img_metadata_path *p)
{
	const struct weft_img_metadata *m = weft_img_at(metadata);
	const struct weft_img_str *step = weft_img_at(p->step);
	const struct weft_img_value *v;

	if (!metadata || !(m->bloom >> (p->bit & 63) & 1))
		return NULL;
	v = weft_metadata_member(&m->all, p->name);
	for (__u32 i = 0; v && i < p->n; i++)
		v = weft_metadata_member(v, step[i]);
	return v;
}

static double weft_double(__u64 bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

static bool weft_value_text(struct weft_req *req, __u32 cond, struct weft_img_str text)
{
	__u8 *head = req->head;
	bool fits;

	req->head = weft_bound.img; /* texts of the image stand in the head's place */
	fits = weft_cond_value(req, cond, text.off, text.len);
	req->head = head;
	return fits;
}

/* As deep as the compiler lets matchers be nested. */
static bool weft_value_fits_match(struct weft_req *req, const struct weft_img_value *v,
				  const struct weft_img_value_match *m)
{
	const struct weft_img_value_match *sub = weft_img_at(m->list);
	const struct weft_img_value *element = weft_img_at(v->list);
	double n = weft_double(v->number);

	switch (m->kind) {
	case WEFT_VALUE_MATCH_NULL:
		return v->kind == WEFT_METADATA_NULL;
	case WEFT_VALUE_MATCH_BOOL:
		return v->kind == WEFT_METADATA_BOOL && v->number == m->from;
	case WEFT_VALUE_MATCH_NUMBER:
		return v->kind == WEFT_METADATA_NUMBER && n == weft_double(m->from);
	case WEFT_VALUE_MATCH_RANGE:
		return v->kind == WEFT_METADATA_NUMBER && n >= weft_double(m->from) &&
		       n < weft_double(m->to);
	case WEFT_VALUE_MATCH_TEXT:
		return v->kind == WEFT_METADATA_TEXT && weft_value_text(req, m->list, v->text);
	case WEFT_VALUE_MATCH_PRESENT:
		return true;
	case WEFT_VALUE_MATCH_LIST:
		for (__u32 i = 0; v->kind == WEFT_METADATA_LIST && i < v->n; i++)
			if (weft_value_fits_match(req, &element[i], sub))
				return true;
		return false;
	case WEFT_VALUE_MATCH_OR:
		for (__u32 i = 0; i < m->n; i++)
			if (weft_value_fits_match(req, v, &sub[i]))
				return true;
		return false;
	default:
		return false;
	}
}
#endif

/* A matcher of the route's metadata; without a route nothing fits, inverted or not (Envoy 1.40). */
WEFT_GLOBAL int weft_metadata_holds(struct weft_req *req, __u32 match)
{
	if (!req || !req->dec.route)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_metadata_match *m = WEFT_IMG(struct weft_img_metadata_match, match);
	__u32 metadata = WEFT_IMG(struct weft_img_route, req->dec.route)->metadata;
	__u32 invert = m->invert;

	/* no matcher fits what is not there */
	if (!metadata ||
	    !(WEFT_IMG(struct weft_img_metadata, metadata)->bloom >> (m->path.bit & 63) & 1))
		return (int)invert;
	weft_hand(req, WEFT_HANDED_METADATA);
#ifndef __bpf__
	const struct weft_img_value *v = weft_metadata_find(metadata, &m->path);

	return (v && weft_value_fits_match(req, v, &m->value)) != (bool)invert;
#else
	return 0;
#endif
}
