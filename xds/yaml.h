/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML to JSON trees, with the scalars of the YAML 1.2 core schema: quoted is a string; unquoted null,
 * true, false, whole numbers (decimal, 0o, 0x) and reals are what they look like; all else is a string.
 * No merge keys, no tags but !!str, no .inf or .nan; each refused by name.
 */

#include <jansson.h>
#include <stddef.h>

#include "xds/diag.h"
#include "xds/lines.h"

/* Collections in collections: more than any message has (WEFT_WIRE_DEPTH_MAX), little enough stack. */
#define WEFT_YAML_DEPTH_MAX 200
/* Nodes that aliases repeat: a few lines of aliases of aliases stand for billions otherwise. */
#define WEFT_YAML_ALIAS_NODES_MAX 1000000

/*
 * All documents of a text as a JSON array in *ret; lines of members and elements in *ret_lines. Both
 * are the caller's. -EINVAL with "FILE:LINE" in diag. Nodes under an alias are shared: read only.
 */
int weft_yaml_parse(const char *text, size_t len, const char *file, struct weft_diag *diag,
		    json_t **ret, struct weft_lines **ret_lines);
