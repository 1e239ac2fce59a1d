// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.h"

#include <errno.h>
#include <linux/magic.h>
#include <mntent.h>
#include <string.h>
#include <sys/vfs.h>

#include "agent/cleanup.h"

static int mounted(struct weft_diag *diag, char **ret)
{
	FILE *mounts = setmntent("/proc/mounts", "re");
	const struct mntent *m;
	char *path = NULL;

	if (!mounts)
		return weft_diag_add(diag, -errno, "cgroup", "/proc/mounts", "%s", strerror(errno));
	while (!path && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "cgroup2") == 0)
			path = strdup(m->mnt_dir);
	}
	endmntent(mounts);
	if (!path)
		return weft_diag_add(diag, -ENOENT, "cgroup", "",
				     "no cgroup v2 hierarchy is mounted");
	*ret = path;
	return 0;
}

int weft_cgroup_find(const char *path, struct weft_diag *diag, char **ret)
{
	struct statfs fs;

	if (!path)
		return mounted(diag, ret);
	if (statfs(path, &fs) < 0)
		return weft_diag_add(diag, -errno, "cgroup", path, "%s", strerror(errno));
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return weft_diag_add(diag, -EINVAL, "cgroup", path, "not in a cgroup v2 hierarchy");
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}
