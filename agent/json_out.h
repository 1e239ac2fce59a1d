/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What commands print: JSON, and errors in either form. */

#include <jansson.h>
#include <stdbool.h>

#include "agent/options.h"
#include "xds/diag.h"

/* A JSON string of these bytes; those that are not UTF-8 become \xNN. NULL only when out of memory.
 */
json_t *weft_json_bytes(const void *bytes, size_t len);
/* [{resource, field, reason}] */
json_t *weft_json_diag(const struct weft_diag *diag);
/* {"error": {"code": ..., "message": ..., "causes": [...]}}; causes only when diag has any (may be
 * NULL). */
json_t *weft_json_error(enum weft_exit code, const struct weft_diag *diag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints to standard output, indented, keys in the order in which they were set. */
void weft_out_json(const json_t *j);
/*
 * Says why a command ends: with json an error object on standard output, else one line on standard
 * error and one "resource: field: reason" per cause on standard output. Returns code.
 */
int weft_out_error(bool json, enum weft_exit code, const struct weft_diag *diag, const char *fmt,
		   ...) __attribute__((format(printf, 4, 5)));
/* An error object that a daemon answered. Returns its code. */
int weft_out_error_object(bool json, const json_t *error);
