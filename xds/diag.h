/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Causes that errno cannot tell: which resource, which field, why. Parsers, validation, compile and
 * the file source return -errno and append one entry per cause here; they never log.
 */

#include <stddef.h>

struct weft_diag_entry {
	char *resource; /* "Listener/main", or "FILE" or "FILE:LINE" while no resource is known; owned */
	char *field;	/* proto field path, "filter_chains[0].filters[1].typed_config.stat_prefix"; owned */
	char *reason;	/* one line, no full stop; owned */
};

/* Causes in the order found. Zero-initialised is empty. Not thread safe. */
struct weft_diag {
	size_t n;
	size_t cap;
	struct weft_diag_entry *entries;
};

/*
 * Appends a cause; resource and field may be NULL (stored as ""). Allocation failure drops the entry but
 * keeps the caller's return code meaningful. Returns `err` (negative), so that a caller can
 * `return weft_diag_add(diag, -EINVAL, ...)`. diag may be NULL.
 */
int weft_diag_add(struct weft_diag *diag, int err, const char *resource, const char *field,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Frees all entries and leaves an empty diag. */
void weft_diag_clear(struct weft_diag *diag);

/*
 * All entries as "resource: field: reason" joined by "; ", as sent in a NACK. Caller frees. NULL when
 * empty or out of memory.
 */
char *weft_diag_text(const struct weft_diag *diag);

#define WEFT_DIAG_INIT {0}
#define _cleanup_diag_ __attribute__((cleanup(weft_diag_clear)))
