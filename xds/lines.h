/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Lines of members and elements of a JSON tree that was read from a file. */

#include <jansson.h>
#include <stddef.h>

struct weft_lines;

int weft_lines_new(struct weft_lines **ret);
void weft_lines_free(struct weft_lines *l);
/* -ENOMEM. `parent` is an object (key) or an array (index). */
int weft_lines_put_member(struct weft_lines *l, const json_t *parent, const char *key,
			  unsigned int line);
int weft_lines_put_element(struct weft_lines *l, const json_t *parent, size_t i, unsigned int line);
/* 0 when not known; l may be NULL. */
unsigned int weft_lines_member(const struct weft_lines *l, const json_t *parent, const char *key);
unsigned int weft_lines_element(const struct weft_lines *l, const json_t *parent, size_t i);
