/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The last good configuration as one file, for a start while no control plane answers. The file is
 * input like any other: whatever is wrong with it is refused with the reason.
 */

#include <stddef.h>
#include <stdint.h>

#include "xds/resource.h"

/* As much as the largest response. */
#define WEFT_SAVED_MAX (256u << 20)
#define WEFT_SAVED_VERSION 1u

/* For whom and when a configuration was saved. */
struct weft_saved_head {
	/* Who asked for it: another node's configuration is not ours. Bytes, compared as such. */
	const char *identity;
	int64_t saved_ms; /* wall clock */
};

/*
 * The bytes of a file; caller frees. -EFBIG: larger than WEFT_SAVED_MAX; -ENOMEM. Any thread, as a
 * snapshot is not changed meanwhile.
 */
int weft_saved_encode(const struct weft_saved_head *head, const struct weft_snapshot *s,
		      struct weft_diag *diag, uint8_t **ret, size_t *ret_len);

/*
 * -EINVAL with causes in diag: no file of this kind, another version, cut short, damaged, saved for
 * another identity, a resource that is not valid or there twice. All or nothing.
 */
int weft_saved_decode(const uint8_t *data, size_t len, const char *identity, struct weft_diag *diag,
		      int64_t *ret_saved_ms, struct weft_snapshot **ret);

/*
 * Replaces the file as a whole: a new one of mode 0600 beside it (PATH.new) that is on the disk
 * before it is renamed. -errno with the cause.
 */
int weft_saved_write(const char *path, const struct weft_saved_head *head,
		     const struct weft_snapshot *s, struct weft_diag *diag);

/*
 * Further -errno of open and read, -ENOENT without a cause; -EPERM: it belongs to somebody else, or
 * others may write to it; -EFBIG.
 */
int weft_saved_read(const char *path, const char *identity, struct weft_diag *diag,
		    int64_t *ret_saved_ms, struct weft_snapshot **ret);
