// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration in, image out: weft_golden [--update] CONFIG [EXPECTED]. EXPECTED is CONFIG with
 * .json in place of its suffix. Prints what differs and exits 1. --update writes EXPECTED instead;
 * look at the difference before it is committed.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "agent/compile/fields.h"
#include "xds/file.h"

#define IMAGE_SIZE (8u << 20)
#define STATE_SIZE (8u << 20)
#define SHOWN 40 /* lines of either side that are printed around the first difference */

static json_t *causes_json(const struct weft_diag *diag)
{
	json_t *list = json_array();

	for (size_t i = 0; i < diag->n; i++) {
		const struct weft_diag_entry *e = &diag->entries[i];

		json_array_append_new(list,
				      json_sprintf("%s: %s: %s", e->resource, e->field, e->reason));
	}
	return list;
}

static void field_seen(void *ctx, const ProtobufCMessageDescriptor *d,
		       const ProtobufCFieldDescriptor *f, enum weft_field_class c)
{
	json_t *refused = ctx;

	if (c == WEFT_FIELD_REFUSED)
		json_array_append_new(refused, json_sprintf("%s.%s", d->name, f->name));
}

/* {"refused": [...]} or {"not_applied": [...], "image": {...}}. */
static json_t *compile(const char *config)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *snapshot = NULL;
	struct weft_compiler *compiler = NULL;
	struct weft_store *store = NULL;
	struct weft_view_input view = {0};
	json_t *out = NULL;
	int r;

	if (weft_store_new_heap(IMAGE_SIZE, STATE_SIZE, &store) ||
	    weft_compiler_new(store, &compiler))
		abort();
	r = weft_file_load(config, 0, &diag, &snapshot);
	view.snapshot = snapshot;
	if (!r)
		r = weft_compiler_publish(compiler, &view, 1, &diag);
	if (r)
		out = json_pack("{s:o}", "refused", causes_json(&diag));
	else
		out = json_pack("{s:o, s:o}", "not_applied",
				causes_json(weft_compiler_not_applied(compiler)), "image",
				weft_image_json(store));
	if (!r) {
		json_t *refused = json_array();

		/* none: what is accepted has no field that the table refuses */
		weft_fields_walk_all(snapshot, &(struct weft_field_visitor){field_seen, refused});
		if (json_array_size(refused))
			json_object_set(out, "refused_by_the_table", refused);
		json_decref(refused);
	}
	weft_snapshot_free(snapshot);
	weft_compiler_free(compiler);
	weft_store_free(store);
	return out;
}

static char *file_read(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t cap = 0;

	if (!f)
		return NULL;
	if (getdelim(&text, &cap, EOF, f) < 0) {
		free(text);
		text = NULL;
	}
	fclose(f);
	return text;
}

static void lines_show(const char *mark, const char *text)
{
	for (int i = 0; i < SHOWN && *text; i++) {
		size_t n = strcspn(text, "\n");

		printf("%s%.*s\n", mark, (int)n, text);
		text += n + (text[n] != '\0');
	}
}

/* 0: equal. */
static int compare(const char *path, const char *got)
{
	char *want = file_read(path);
	size_t at = 0, line = 0;

	if (want && !strcmp(want, got)) {
		free(want);
		return 0;
	}
	for (size_t i = 0; want && want[i] && want[i] == got[i]; i++) {
		if (got[i] == '\n')
			at = i + 1, line++;
	}
	printf("%s:%zu: differs; --update writes it anew\n", path, line + 1);
	lines_show("-", want ? want + at : "");
	lines_show("+", got + at);
	free(want);
	return 1;
}

static int update(const char *path, const char *got)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(got, f) < 0 || fclose(f)) {
		perror(path);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int i = argc > 1 && !strcmp(argv[1], "--update"), r;
	char *text, *line, path[4096];
	json_t *out;

	if (argc - i != 2 && argc - i != 3) {
		fprintf(stderr, "usage: weft_golden [--update] CONFIG [EXPECTED]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s", argv[i + argc - i - 1]);
	if (argc - i == 2 && strrchr(path, '.'))
		snprintf(strrchr(path, '.'), sizeof(".json"), ".json");
	out = compile(argv[i + 1]);
	text = json_dumps(out, JSON_INDENT(1));
	if (!text || asprintf(&line, "%s\n", text) < 0)
		abort();
	r = i ? update(path, line) : compare(path, line);
	free(line);
	free(text);
	json_decref(out);
	return r;
}
