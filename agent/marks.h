/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What outlier detection and active checks say of hosts, together. */

#include "agent/compile/compile.h"

struct weft_marks {
	struct weft_ejected *v; /* as weft_view_input.ejected */
	size_t n;
	uint32_t *host;
	uint8_t *mark;
};

/*
 * Of a host that is in both lists the worse mark counts; both are sorted as weft_view_input.ejected is. -ENOMEM: *ret is
 * empty. weft_marks_clear() afterwards.
 */
int weft_marks_merge(const struct weft_ejected *a, size_t n_a, const struct weft_ejected *b,
		     size_t n_b, struct weft_marks *ret);
void weft_marks_clear(struct weft_marks *m);
#define _cleanup_marks_ __attribute__((cleanup(weft_marks_clear)))
