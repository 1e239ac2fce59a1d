/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "xds/diag.h"

/*
 * The cgroup v2 folder to attach to: path when given, else where /proc/mounts has cgroup2. -ENOENT,
 * -ENOTDIR, -EINVAL with a cause in diag. Caller frees *ret.
 */
int weft_cgroup_find(const char *path, struct weft_diag *diag, char **ret);
