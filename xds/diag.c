// SPDX-License-Identifier: Apache-2.0
#include "xds/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A resource with thousands of faults is told about the first of them: a NACK is read by people, and
 * the text may not grow with what an attacker sends.
 */
#define ENTRIES_MAX 64

static void free_entry(struct weft_diag_entry *e)
{
	free(e->resource);
	free(e->field);
	free(e->reason);
}

static int reserve(struct weft_diag *diag)
{
	struct weft_diag_entry *entries;
	size_t cap = diag->cap ? diag->cap * 2 : 4;

	if (diag->n < diag->cap)
		return 0;
	entries = realloc(diag->entries, cap * sizeof(*entries));
	if (!entries)
		return -1;
	diag->entries = entries;
	diag->cap = cap;
	return 0;
}

/* What a peer sent may be in the text; it goes into logs and gRPC messages. */
static void one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int weft_diag_add(struct weft_diag *diag, int err, const char *resource, const char *field,
		  const char *fmt, ...)
{
	struct weft_diag_entry e = {0};
	va_list args;
	int n;

	if (!diag || diag->n >= ENTRIES_MAX || reserve(diag))
		return err;
	va_start(args, fmt);
	n = vasprintf(&e.reason, fmt, args);
	va_end(args);
	if (n < 0)
		e.reason = NULL;
	e.resource = strdup(resource ? resource : "");
	e.field = strdup(field ? field : "");
	if (!e.reason || !e.resource || !e.field) {
		free_entry(&e);
		return err;
	}
	one_line(e.reason);
	one_line(e.resource);
	one_line(e.field);
	diag->entries[diag->n++] = e;
	return err;
}

void weft_diag_clear(struct weft_diag *diag)
{
	for (size_t i = 0; i < diag->n; i++)
		free_entry(&diag->entries[i]);
	free(diag->entries);
	*diag = (struct weft_diag)WEFT_DIAG_INIT;
}

char *weft_diag_text(const struct weft_diag *diag)
{
	char *text = NULL;
	size_t size;
	FILE *f;
	int bad;

	if (!diag->n)
		return NULL;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	for (size_t i = 0; i < diag->n; i++) {
		const struct weft_diag_entry *e = &diag->entries[i];

		fprintf(f, "%s%s%s%s%s%s", i ? "; " : "", e->resource, *e->resource ? ": " : "",
			e->field, *e->field ? ": " : "", e->reason);
	}
	bad = ferror(f);
	if (fclose(f) || bad) {
		free(text);
		return NULL;
	}
	return text;
}
