/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Secrets and certificates as files. They are read anew for each use, because whoever mounts them
 * replaces them while the agent runs.
 */

#include <stddef.h>

#include "xds/diag.h"

/* A bundle of a system's roots is about 250 KiB; nothing that is a credential is larger. */
#define WEFT_CREDENTIAL_MAX (1u << 20)
/* A token travels as one header, and servers take 8 to 16 KiB of headers. */
#define WEFT_CREDENTIAL_TOKEN_MAX (16u << 10)

/*
 * The text of a file, with a NUL behind it; caller frees. The cause in diag names the file. -errno
 * of open and read; -EINVAL: no regular file, empty, or a NUL inside; -EFBIG: more than `max`
 * bytes.
 */
int weft_credential_read(const char *path, size_t max, struct weft_diag *diag, char **ret,
			 size_t *ret_len);

/*
 * A bearer token (RFC 6750 section 2.1) without the white space around it; caller frees.
 * Further -EINVAL: a character that no such token has.
 */
int weft_credential_token(const char *path, struct weft_diag *diag, char **ret);

/* Overwrites before it frees. NULL is fine. */
void weft_credential_free(char *text);
