// SPDX-License-Identifier: Apache-2.0
#include "agent/cmd_admin.h"

#include <errno.h>
#include <string.h>

#include "agent/admin.h"
#include "agent/cleanup.h"
#include "agent/json_out.h"

/* A table has no more columns than a screen. */
#define COLUMNS_MAX 12

int weft_cmd_ask(const struct weft_args *args, const json_t *request, const int *fds, size_t n_fds,
		 json_t **ret)
{
	const char *path = weft_args_string(args, "admin");
	json_t *answer;
	int r = weft_admin_call(path, request, fds, n_fds, &answer);

	if (r == -EACCES)
		return weft_out_error(args->json, WEFT_EXIT_UNREACHABLE, NULL,
				      "no access to %s: must be run as root", path);
	if (r < 0)
		return weft_out_error(args->json, WEFT_EXIT_UNREACHABLE, NULL,
				      "no daemon answers at %s: %s", path, strerror(-r));
	if (json_object_get(answer, "error")) {
		r = weft_out_error_object(args->json, answer);
		json_decref(answer);
		return r;
	}
	*ret = answer;
	return WEFT_EXIT_OK;
}

static const json_t *member(const json_t *j, const char *key, size_t len)
{
	_auto_free_ char *name = strndup(key, len);

	return name ? json_object_get(j, name) : NULL;
}

static const json_t *lookup(const json_t *j, const char *key)
{
	const char *dot;

	while ((dot = strchr(key, '.'))) {
		j = member(j, key, (size_t)(dot - key));
		key = dot + 1;
	}
	return json_object_get(j, key);
}

/* One value in a few words; caller frees. */
static char *cell_text(const json_t *j)
{
	char *text = NULL;

	if (!j || json_is_null(j))
		return strdup("-");
	if (json_is_string(j))
		return strdup(json_string_length(j) ? json_string_value(j) : "-");
	if (json_is_boolean(j))
		return strdup(json_is_true(j) ? "yes" : "no");
	if (json_is_integer(j))
		return asprintf(&text, "%lld", (long long)json_integer_value(j)) < 0 ? NULL : text;
	return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void row_print(char *const *cells, const size_t *width, size_t n)
{
	for (size_t c = 0; c < n; c++) {
		if (c + 1 < n)
			printf("%-*s  ", (int)width[c], cells[c]);
		else
			printf("%s\n", cells[c]);
	}
}

void weft_out_table(const json_t *list, const char *const *keys)
{
	size_t width[COLUMNS_MAX] = {0}, n = 0, i;
	char *head[COLUMNS_MAX], *cells[COLUMNS_MAX];
	const json_t *item;

	for (; keys[n] && n < COLUMNS_MAX; n++) {
		const char *dot = strrchr(keys[n], '.');

		head[n] = (char *)(uintptr_t)(dot ? dot + 1 : keys[n]);
		width[n] = strlen(head[n]);
	}
	for (int pass = 0; pass < 2; pass++) {
		if (pass == 1)
			row_print(head, width, n);
		json_array_foreach(list, i, item)
		{
			for (size_t c = 0; c < n; c++) {
				cells[c] = cell_text(lookup(item, keys[c]));
				if (!cells[c])
					cells[c] = strdup("?");
				if (strlen(cells[c]) > width[c])
					width[c] = strlen(cells[c]);
			}
			if (pass == 1)
				row_print(cells, width, n);
			for (size_t c = 0; c < n; c++)
				free(cells[c]);
		}
	}
}

void weft_out_tree(const json_t *j, const char *prefix)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)j, key, value)
	{
		_auto_free_ char *name = NULL, *text = NULL;

		if (asprintf(&name, "%s%s%s", prefix, *prefix ? "." : "", key) < 0) {
			name = NULL;
			return;
		}
		if (json_is_object(value)) {
			weft_out_tree(value, name);
			continue;
		}
		text = cell_text(value);
		printf("%s %s\n", name, text ? text : "?");
	}
}
