/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between file.c (paths, order, snapshot) and file_document.c (what is in a document). */

#include <jansson.h>

#include "xds/file.h"
#include "xds/lines.h"
#include "xds/runtime.h"

/* A decoded message that is not yet a resource: runtime values may still come. */
struct pending {
	enum weft_xds_type type;
	ProtobufCMessage *msg;
	char *file;
	char *place; /* FILE or FILE:LINE */
};

struct loader {
	struct weft_diag *diag;
	struct weft_runtime *runtime;
	char *bootstrap; /* the file with the one bootstrap, NULL none yet */
	char *node_id, *node_cluster; /* of the bootstrap, NULL: it says none */
	struct pending *pending;
	size_t n_pending, cap_pending;
	char **paths; /* looked at, in that order; canonical where the path exists */
	size_t n_paths, cap_paths;
};

/* A document and where it came from. */
struct document {
	const char *file;
	const struct weft_lines *lines; /* NULL for JSON */
	enum weft_xds_type want;	/* only these, WEFT_XDS__MAX: any */
};

/* file.c: reads a file once; `from` is the file that names it, for relative paths, or NULL. */
int file_load_path(struct loader *l, const char *path, const char *from, enum weft_xds_type want);
/* Takes over msg, also on failure. */
int file_add_pending(struct loader *l, enum weft_xds_type type, ProtobufCMessage *msg,
		     const char *file, unsigned int line);

/* file_document.c */
int file_load_document(struct loader *l, const struct document *doc, const json_t *json);
/* Files that a message names as sources (RDS, EDS) are loaded too. */
int file_follow(struct loader *l, const ProtobufCMessage *msg, const char *file);
