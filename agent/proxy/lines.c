// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "agent/proxy/mutate.h"

bool lines_find(const struct lines *l, const char *name, size_t n, size_t after, struct line *ret)
{
	const uint8_t *p = buf_at(l->b);
	size_t end = buf_len(l->b), at = after > l->from ? after : l->from;

	while (at < end) {
		const uint8_t *lf = memchr(p + at, '\n', end - at);
		size_t next = lf ? (size_t)(lf - p) + 1 : end;

		if (next - at >= n + 4 && p[at + n] == ':' && !memcmp(p + at, name, n)) {
			*ret = (struct line){at, next, at + n + 2, next - at - n - 4};
			return true;
		}
		at = next;
	}
	return false;
}

void lines_capitalize(uint8_t *head, size_t n)
{
	uint8_t *p = memchr(head, '\n', n), *end = head + n;

	while (p && ++p < end && *p != '\r' && *p != '\n') {
		bool begins = true;

		for (; p < end && *p != ':' && *p != '\n'; p++) {
			bool letter = *p >= 'a' && *p <= 'z';

			if (begins && letter)
				*p = (uint8_t)(*p - 'a' + 'A');
			begins = !letter && (*p < '0' || *p > '9') && (*p < 'A' || *p > 'Z');
		}
		p = memchr(p, '\n', (size_t)(end - p));
	}
}

void lines_lower(struct lines *l)
{
	uint8_t *p = buf_at(l->b) + l->from, *end = buf_at(l->b) + buf_len(l->b);

	while (p && p < end) {
		for (; p < end && *p != ':' && *p != '\n'; p++)
			*p = (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
		p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
		p += p != NULL;
	}
}

int buf_replace(struct worker *w, struct buf *b, size_t at, size_t old, const void *bytes, size_t n)
{
	int r = n > old ? buf_room(w, b, n - old) : 0;
	uint8_t *p;

	if (r)
		return r;
	p = buf_at(b) + at;
	memmove(p + n, p + old, buf_len(b) - at - old);
	if (n)
		memcpy(p, bytes, n);
	b->end = b->end + n - old;
	return 0;
}

void lines_remove(struct lines *l, const char *name, size_t n)
{
	struct line line;
	size_t at = l->from;

	while (lines_find(l, name, n, at, &line)) {
		buf_replace(l->w, l->b, line.at, line.end - line.at, NULL, 0); /* shrinks: cannot fail */
		at = line.at;
	}
}

int lines_add(struct lines *l, const char *name, size_t n, const void *value, size_t len,
	      const char *between)
{
	struct line line;
	size_t gap;
	int r;

	if (!between || !lines_find(l, name, n, l->from, &line))
		return line_add(l->w, l->b, name, n, value, len);
	if (!len)
		return 0;
	/* nothing to join to: an empty value is replaced */
	gap = line.value_len ? strlen(between) : 0;
	r = buf_replace(l->w, l->b, line.value + line.value_len, 0, between, gap);
	return r ? r : buf_replace(l->w, l->b, line.value + line.value_len + gap, 0, value, len);
}

int lines_set(struct lines *l, const char *name, size_t n, const void *value, size_t len)
{
	lines_remove(l, name, n);
	return line_add(l->w, l->b, name, n, value, len);
}
