// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>

#include "agent/cleanup.h"

/* Where cgroup2 is mounted; false: nowhere. */
static bool mount_find(char path[PATH_MAX])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	if (!f)
		return false;
	while (!found && (m = getmntent(f))) {
		if (strcmp(m->mnt_type, "cgroup2") || strlen(m->mnt_dir) >= PATH_MAX)
			continue;
		snprintf(path, PATH_MAX, "%s", m->mnt_dir);
		found = true;
	}
	endmntent(f);
	return found;
}

int weft_cgroup_open(const char *path, struct weft_diag *diag, int *ret_fd)
{
	_auto_close_ int fd = -1;
	char mount[PATH_MAX];
	struct statfs fs;

	if (!path && !mount_find(mount))
		return weft_diag_add(diag, -ENOENT, "cgroup", "", "cgroup2 is not mounted");
	if (!path)
		path = mount;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return weft_diag_add(diag, -errno, "cgroup", path, "%s", strerror(errno));
	if (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC)
		return weft_diag_add(diag, -EINVAL, "cgroup", path, "not a cgroup2 folder");
	if (flock(fd, LOCK_EX | LOCK_NB))
		return weft_diag_add(diag, -EBUSY, "cgroup", path,
				     "another weft-agent governs this cgroup");
	*ret_fd = WEFT_TAKE_FD(fd);
	return 0;
}
