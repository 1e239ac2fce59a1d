/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is left of views that nobody has any more. Main thread. */

#include <stdbool.h>
#include <stddef.h>

/* "FILE.0123456789abcdef": where a view is saved. Caller frees; NULL: out of memory. */
char *weft_saved_view_path(const char *file, const char *key);

/*
 * Removes the saved views beside `file`, and what a write that never ended left of one, unless
 * `used` says of the view's path that it is one. Nothing but regular files of just such names.
 * Returns how many; what cannot be removed is logged.
 */
size_t weft_saved_sweep(const char *file, bool (*used)(void *ctx, const char *path), void *ctx);
