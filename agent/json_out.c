// SPDX-License-Identifier: Apache-2.0
#include "agent/json_out.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"

static const char *const code_name[] = {
	[WEFT_EXIT_OK] = "ok",
	[WEFT_EXIT_FAILED] = "failed",
	[WEFT_EXIT_USAGE] = "usage",
	[WEFT_EXIT_UNREACHABLE] = "unreachable",
};

json_t *weft_json_bytes(const void *bytes, size_t len)
{
	const unsigned char *in = bytes;
	json_t *j = json_stringn(bytes, len);
	_auto_free_ char *out = NULL;
	size_t n = 0;

	if (j)
		return j;
	out = malloc(len * 4 + 1);
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (in[i] < 0x80)
			out[n++] = (char)in[i];
		else
			n += (size_t)sprintf(out + n, "\\x%02x", in[i]);
	}
	return json_stringn(out, n);
}

json_t *weft_json_diag(const struct weft_diag *diag)
{
	json_t *list = json_array();

	for (size_t i = 0; i < diag->n; i++) {
		const struct weft_diag_entry *e = &diag->entries[i];
		json_t *j = json_object();

		json_object_set_new(j, "resource",
				    weft_json_bytes(e->resource, strlen(e->resource)));
		json_object_set_new(j, "field", weft_json_bytes(e->field, strlen(e->field)));
		json_object_set_new(j, "reason", weft_json_bytes(e->reason, strlen(e->reason)));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *error_new(enum weft_exit code, const struct weft_diag *diag, const char *fmt,
			 va_list ap) __attribute__((format(printf, 3, 0)));

static json_t *error_new(enum weft_exit code, const struct weft_diag *diag, const char *fmt,
			 va_list ap)
{
	_auto_free_ char *message = NULL;
	json_t *e = json_object(), *j = json_object();

	if (vasprintf(&message, fmt, ap) < 0)
		message = NULL;
	json_object_set_new(e, "code", json_string(code_name[code]));
	json_object_set_new(e, "message",
			    message ? weft_json_bytes(message, strlen(message)) : json_string(""));
	if (diag && diag->n > 0)
		json_object_set_new(e, "causes", weft_json_diag(diag));
	json_object_set_new(j, "error", e);
	return j;
}

json_t *weft_json_error(enum weft_exit code, const struct weft_diag *diag, const char *fmt, ...)
{
	va_list ap;
	json_t *j;

	va_start(ap, fmt);
	j = error_new(code, diag, fmt, ap);
	va_end(ap);
	return j;
}

void weft_out_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
}

int weft_out_error_object(bool json, const json_t *error)
{
	const json_t *e = json_object_get(error, "error"), *cause;
	const char *code = json_string_value(json_object_get(e, "code"));
	const char *message = json_string_value(json_object_get(e, "message"));
	size_t i;

	if (json) {
		weft_out_json(error);
	} else {
		fprintf(stderr, "weft-agent: %s\n", message ? message : "no reason given");
		json_array_foreach(json_object_get(e, "causes"), i, cause) printf(
			"%s: %s: %s\n", json_string_value(json_object_get(cause, "resource")),
			json_string_value(json_object_get(cause, "field")),
			json_string_value(json_object_get(cause, "reason")));
	}
	for (i = 0; code && i < sizeof(code_name) / sizeof(code_name[0]); i++) {
		if (strcmp(code, code_name[i]) == 0)
			return (int)i;
	}
	return WEFT_EXIT_FAILED;
}

int weft_out_error(bool json, enum weft_exit code, const struct weft_diag *diag, const char *fmt,
		   ...)
{
	_auto_json_ json_t *j = NULL;
	va_list ap;

	va_start(ap, fmt);
	j = error_new(code, diag, fmt, ap);
	va_end(ap);
	return weft_out_error_object(json, j);
}
