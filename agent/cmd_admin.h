/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "agent/options.h"

/*
 * Asks the daemon at --admin. WEFT_EXIT_OK with its answer in *ret, caller frees; else the error is
 * printed and its code returned.
 */
int weft_cmd_ask(const struct weft_args *args, const json_t *request, const int *fds, size_t n_fds,
		 json_t **ret);

/* One line per element of list, columns aligned; keys: NULL-terminated, "a.b" for nested ones. */
void weft_out_table(const json_t *list, const char *const *keys);
/* Nested objects as "a.b.c value" lines. */
void weft_out_tree(const json_t *j, const char *prefix);
