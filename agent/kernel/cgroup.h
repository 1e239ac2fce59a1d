/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The cgroup whose sockets are governed. */

#include "xds/diag.h"

/*
 * Opens and locks a cgroup2 folder; NULL: the root of the first cgroup2 mount. The lock ends with
 * the file. -ENOENT, -EBUSY (another agent has it, or one above or below it), -EINVAL (not
 * cgroup2), with a cause.
 */
int weft_cgroup_open(const char *path, struct weft_diag *diag, int *ret_fd);
