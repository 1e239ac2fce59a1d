// SPDX-License-Identifier: Apache-2.0
/*
 * Stable numbers for names. A number is never given again to another name, so that an old image, a
 * cell or a pool that still carries it cannot be taken for something else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "agent/compile/build.h"

struct entry {
	char *name;
	uint32_t id;
	size_t next; /* index + 1 in the chain */
};

struct weft_names {
	struct entry *entry;
	size_t n, cap;
	size_t *bucket; /* index + 1 */
	size_t n_bucket;
};

int weft_names_new(struct weft_names **ret)
{
	struct weft_names *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	*ret = n;
	return 0;
}

void weft_names_free(struct weft_names *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		free(n->entry[i].name);
	free(n->entry);
	free(n->bucket);
	free(n);
}

static size_t slot(const struct weft_names *n, const char *name)
{
	return XXH64(name, strlen(name), 0) & (n->n_bucket - 1);
}

static int grow(struct weft_names *n)
{
	size_t cap = n->cap ? n->cap * 2 : 64;
	struct entry *entry = reallocarray(n->entry, cap, sizeof(*entry));
	size_t *bucket;

	if (!entry)
		return -ENOMEM;
	n->entry = entry;
	bucket = calloc(cap, sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	free(n->bucket);
	n->bucket = bucket;
	n->n_bucket = cap;
	n->cap = cap;
	for (size_t i = 0; i < n->n; i++) {
		size_t *p = &bucket[slot(n, entry[i].name)];

		entry[i].next = *p;
		*p = i + 1;
	}
	return 0;
}

int weft_names_get(struct weft_names *n, const char *name, uint32_t high_bits, uint32_t *ret)
{
	char *copy;
	size_t *p;

	if (n->n_bucket) {
		for (size_t i = n->bucket[slot(n, name)]; i; i = n->entry[i - 1].next) {
			if (!strcmp(n->entry[i - 1].name, name)) {
				*ret = n->entry[i - 1].id;
				return 0;
			}
		}
	}
	if (n->n == n->cap && grow(n))
		return -ENOMEM;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	p = &n->bucket[slot(n, name)];
	/* from 1: 0 is "none" */
	n->entry[n->n] =
		(struct entry){.name = copy, .id = high_bits | (uint32_t)(n->n + 1), .next = *p};
	*p = ++n->n;
	*ret = n->entry[n->n - 1].id;
	return 0;
}

const char *weft_names_text(const struct weft_names *n, uint32_t id)
{
	size_t i = id & ((1u << WEFT_ID_KIND_SHIFT) - 1);

	return i && i <= n->n && n->entry[i - 1].id == id ? n->entry[i - 1].name : NULL;
}

uint32_t weft_names_count(const struct weft_names *n)
{
	return (uint32_t)n->n + 1;
}
