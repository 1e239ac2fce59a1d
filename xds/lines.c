// SPDX-License-Identifier: Apache-2.0
/*
 * A hash table from the hash of (parent, key) to a line. Two members with one 64-bit hash would make an
 * error message name the wrong line; nothing else depends on it, so keys are not kept.
 */

#include "xds/lines.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct slot {
	uint64_t hash;
	unsigned int line; /* 0: free */
};

struct weft_lines {
	struct slot *slots;
	size_t n, size; /* size: power of two */
};

int weft_lines_new(struct weft_lines **ret)
{
	struct weft_lines *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*ret = l;
	return 0;
}

void weft_lines_free(struct weft_lines *l)
{
	if (!l)
		return;
	free(l->slots);
	free(l);
}

static struct slot *find(const struct weft_lines *l, uint64_t hash)
{
	size_t i = hash & (l->size - 1);

	while (l->slots[i].line && l->slots[i].hash != hash)
		i = (i + 1) & (l->size - 1);
	return &l->slots[i];
}

static int grow(struct weft_lines *l)
{
	struct weft_lines bigger = {.size = l->size ? l->size * 2 : 256};

	if (l->n * 2 < l->size)
		return 0;
	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < l->size; i++)
		if (l->slots[i].line)
			*find(&bigger, l->slots[i].hash) = l->slots[i];
	bigger.n = l->n;
	free(l->slots);
	*l = bigger;
	return 0;
}

static int put(struct weft_lines *l, uint64_t hash, unsigned int line)
{
	struct slot *s;

	if (grow(l))
		return -ENOMEM;
	s = find(l, hash);
	l->n += !s->line;
	*s = (struct slot){hash, line};
	return 0;
}

static uint64_t hash_member(const json_t *parent, const char *key)
{
	return XXH64(key, strlen(key), (uintptr_t)parent);
}

static uint64_t hash_element(const json_t *parent, size_t i)
{
	return XXH64(&i, sizeof(i), (uintptr_t)parent);
}

int weft_lines_put_member(struct weft_lines *l, const json_t *parent, const char *key,
			  unsigned int line)
{
	return put(l, hash_member(parent, key), line);
}

int weft_lines_put_element(struct weft_lines *l, const json_t *parent, size_t i, unsigned int line)
{
	return put(l, hash_element(parent, i), line);
}

unsigned int weft_lines_member(const struct weft_lines *l, const json_t *parent, const char *key)
{
	return l && l->size ? find(l, hash_member(parent, key))->line : 0;
}

unsigned int weft_lines_element(const struct weft_lines *l, const json_t *parent, size_t i)
{
	return l && l->size ? find(l, hash_element(parent, i))->line : 0;
}
