// SPDX-License-Identifier: Apache-2.0
/* weft-fields: prints FIELDS.md from the table that the compiler refuses by. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/fields.h"

struct entry {
	const ProtobufCMessageDescriptor *d;
	bool upstream;
};

static int by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = strcmp(x->d->name, y->d->name);

	return c ? c : (int)x->upstream - (int)y->upstream;
}

static void row_print(const struct entry *e, enum weft_field_class c, const char *why)
{
	const char *mark = "";

	for (unsigned int i = 0; i < e->d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &e->d->fields[i];
		const char *its;

		if (weft_field_class(e->d, e->upstream, f, &its) != c || its != why)
			continue;
		if (!*mark)
			printf("| %s | ", weft_field_class_name(c));
		printf("%s`%s`", mark, f->name);
		mark = " ";
	}
	if (*mark)
		printf(" | %s |\n", why ? why : "");
}

static void message_print(const struct entry *e)
{
	printf("\n### %s%s\n| | fields | |\n|---|---|---|\n", e->d->name,
	       e->upstream ? " (in a cluster)" : "");
	if (e->d->n_fields == 0)
		printf("| kernel | that it is there | |\n");
	row_print(e, WEFT_FIELD_KERNEL, NULL);
	row_print(e, WEFT_FIELD_AGENT, NULL);
	for (unsigned int i = 0; i < e->d->n_fields; i++) {
		const char *why, *before = NULL;
		bool first = true;

		if (weft_field_class(e->d, e->upstream, &e->d->fields[i], &why) != WEFT_FIELD_QUIET)
			continue;
		for (unsigned int k = 0; k < i; k++) {
			weft_field_class(e->d, e->upstream, &e->d->fields[k], &before);
			first = first && before != why;
		}
		if (first)
			row_print(e, WEFT_FIELD_QUIET, why);
	}
	row_print(e, WEFT_FIELD_REFUSED, NULL);
}

int main(void)
{
	struct entry *list;
	size_t n = 0;
	bool upstream;

	while (weft_fields_message(n, &upstream))
		n++;
	list = calloc(n, sizeof(*list));
	if (!list)
		return 1;
	for (size_t i = 0; i < n; i++)
		list[i].d = weft_fields_message(i, &list[i].upstream);
	qsort(list, n, sizeof(*list), by_name);
	puts("# Fields\n"
	     "What weft does with each field of each message it reads. Printed by `weft-fields` "
	     "from the table that the\n"
	     "compiler refuses by (`agent/compile/fields_*.c`); a test holds them together. "
	     "`weft-agent check --fields` says it\n"
	     "of a configuration.\n\n"
	     "| | |\n|---|---|\n"
	     "| kernel | decides in the programs, and in the agent alike |\n"
	     "| agent | carried out by the agent |\n"
	     "| without_effect | accepted, listed by `check` and `dump`; the last column says why "
	     "that is harmless |\n"
	     "| refused | a resource that sets it is refused, with the field's name; values of "
	     "other fields may be too |\n\n"
	     "A message that is not here can only be in a field that is refused or without "
	     "effect, or in an\ninbound listener: those are kept whole without use, whatever is in "
	     "them.");
	for (size_t i = 0; i < n; i++)
		message_print(&list[i]);
	free(list);
	return 0;
}
