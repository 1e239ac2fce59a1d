// SPDX-License-Identifier: Apache-2.0
#include "xds/path.h"

#include <stdio.h>
#include <string.h>

static void append(struct weft_path *p, const char *text, size_t n)
{
	size_t room = sizeof(p->text) - 1 - p->len;

	if (n > room)
		n = room;
	memcpy(p->text + p->len, text, n);
	p->len += n;
	p->text[p->len] = '\0';
}

void weft_path_init(struct weft_path *p, const char *start)
{
	p->len = 0;
	p->text[0] = '\0';
	if (start)
		append(p, start, strlen(start));
}

size_t weft_path_field(struct weft_path *p, const char *name)
{
	size_t before = p->len;

	if (p->len)
		append(p, ".", 1);
	append(p, name, strlen(name));
	return before;
}

size_t weft_path_index(struct weft_path *p, size_t i)
{
	size_t before = p->len;
	char text[32];
	int n = snprintf(text, sizeof(text), "[%zu]", i);

	append(p, text, (size_t)n);
	return before;
}

size_t weft_path_key(struct weft_path *p, const char *key)
{
	size_t before = p->len;

	append(p, "[\"", 2);
	for (; *key; key++)
		append(p, (unsigned char)*key < 0x20 || *key == 0x7f ? "?" : key, 1);
	append(p, "\"]", 2);
	return before;
}

void weft_path_cut(struct weft_path *p, size_t len)
{
	p->len = len;
	p->text[len] = '\0';
}
