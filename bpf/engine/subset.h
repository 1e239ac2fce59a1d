/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Which hosts of a cluster a request may have by the metadata it asks for; natively only, the agent looks it up. */

#include "bpf/engine/mem.h"

#ifndef __bpf__

/* The criteria of `mask` that have one of these n keys. */
static __u64 weft_criteria_keep(const struct weft_img_criteria *want, __u64 mask, const __u32 *key, __u32 n)
{
	const struct weft_img_criterion *c = (const void *)(want + 1);
	__u64 keep = 0;

	for (__u32 i = 0; i < want->n; i++)
		for (__u32 k = 0; k < n; k++)
			if (mask >> i & 1 && c[i].key == key[k])
				keep |= 1ull << i;
	return keep;
}

/* Both are in the order of their keys. */
static bool weft_subset_is(const struct weft_img_subset *s, const struct weft_img_criteria *want, __u64 mask)
{
	const struct weft_img_criterion *c = (const void *)(want + 1);
	const __u32 *pair = weft_img_at(s->pair);
	__u32 k = 0;

	for (__u32 i = 0; i < want->n; i++) {
		if (!(mask >> i & 1))
			continue;
		if (k == s->n || pair[k] != c[i].pair)
			return false;
		k++;
	}
	return k && k == s->n;
}

static const struct weft_img_subset *weft_subset_at(const struct weft_img_subsets *u,
						    const struct weft_img_criteria *want, __u64 mask)
{
	const struct weft_img_criterion *c = (const void *)(want + 1);
	const struct weft_img_subset *s = u->n ? weft_img_at(u->subset) : NULL;
	__u32 lo = 0, hi = u->n;
	__u64 hash = 0;

	for (__u32 i = 0; i < want->n; i++)
		hash += mask >> i & 1 ? c[i].hash : 0;
	while (lo < hi) {
		__u32 mid = lo + (hi - lo) / 2;

		if (s[mid].hash < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < u->n && s[lo].hash == hash; lo++)
		if (weft_subset_is(&s[lo], want, mask))
			return &s[lo];
	return NULL;
}

/* The selector of exactly the keys of these criteria, when it has a fallback of its own. */
static const struct weft_img_selector *weft_selector_at(const struct weft_img_subsets *u,
							const struct weft_img_criteria *want, __u64 mask)
{
	const struct weft_img_selector *s = u->n_selector ? weft_img_at(u->selector) : NULL;

	for (__u32 i = 0; i < u->n_selector; i++)
		if (s[i].n == (__u32)__builtin_popcountll(mask) &&
		    weft_criteria_keep(want, mask, weft_img_at(s[i].key), s[i].n) == mask)
			return &s[i];
	return NULL;
}

/* The endpoints for these criteria as they stand; 0: none. */
static __u32 weft_subset_look(__u32 endpoints, const struct weft_img_subsets *u,
			      const struct weft_img_criteria *want)
{
	__u64 mask;

	if (!want->n)
		return endpoints;
	/* each fallback to fewer keys leaves fewer */
	for (mask = ~0ull >> (64 - want->n); mask;) {
		const struct weft_img_subset *s = weft_subset_at(u, want, mask);
		const struct weft_img_selector *f = s ? NULL : weft_selector_at(u, want, mask);

		if (s)
			return s->endpoints;
		if (!f)
			return endpoints;
		if (!f->n_keep)
			return f->endpoints;
		__u64 keep = weft_criteria_keep(want, mask, weft_img_at(f->keep), f->n_keep);

		if (keep == mask)
			break;
		mask = keep;
	}
	return 0;
}

static bool weft_subset_has_host(__u32 endpoints)
{
	const struct weft_img_endpoints *e = endpoints ? weft_img_at(endpoints) : NULL;
	const struct weft_img_host_set *s = e && e->n_set ? weft_img_at(e->set) : NULL;

	for (__u32 i = 0; s && i < e->n_set; i++)
		if (s[i].n_host)
			return true;
	return false;
}

__u32 weft_subset_find(__u32 endpoints, __u32 criteria)
{
	const struct weft_img_endpoints *e = endpoints ? weft_img_at(endpoints) : NULL;
	const struct weft_img_criteria *want = criteria ? weft_img_at(criteria) : NULL;
	const struct weft_img_subsets *u;
	const __u32 *list;

	if (!e || !e->subsets || !want || !want->n)
		return endpoints;
	u = weft_img_at(e->subsets);
	if (!(u->flags & WEFT_SUBSETS_LIST) || !want->n_list)
		return weft_subset_look(endpoints, u, want);
	list = weft_img_at(want->list);
	for (__u32 i = 0; i < want->n_list; i++) {
		__u32 found = weft_subset_look(endpoints, u, weft_img_at(list[i]));

		if (weft_subset_has_host(found))
			return found;
	}
	return 0;
}

#endif
