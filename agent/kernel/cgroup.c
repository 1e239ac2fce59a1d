// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

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

/* An agent holds a lock on the folder it governs. */
static bool is_governed(int fd)
{
	if (!flock(fd, LOCK_SH | LOCK_NB)) {
		flock(fd, LOCK_UN);
		return false;
	}
	return errno == EWOULDBLOCK;
}

static int nested(struct weft_diag *diag, const char *path, const char *other)
{
	return weft_diag_add(
		diag, -EBUSY, "cgroup", path,
		"another weft-agent governs %s: connections of both would be its and ours", other);
}

/* Programs of a cgroup judge what is in the cgroups below it, too: of two agents one would undo
 * what the other does. */
static int above_check(int cgroup, const char *path, struct weft_diag *diag)
{
	_auto_close_ int fd = openat(cgroup, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	while (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC) {
		char link[64], name[PATH_MAX];
		ssize_t n;
		int up;

		if (is_governed(fd)) {
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
			n = readlink(link, name, sizeof(name) - 1);
			name[n > 0 ? n : 0] = '\0';
			return nested(diag, path, name);
		}
		up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	return 0;
}

static int below_check(const char *path, struct weft_diag *diag)
{
	char *roots[] = {(char *)path, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	FTSENT *e;
	int err = 0;

	if (!tree)
		return weft_diag_add(diag, -errno, "cgroup", path, "%s", strerror(errno));
	while (!err && (e = fts_read(tree))) {
		if (e->fts_info != FTS_D || e->fts_level == FTS_ROOTLEVEL)
			continue;
		_auto_close_ int fd = open(e->fts_accpath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && is_governed(fd)) /* one that is gone by now is nobody's */
			err = nested(diag, path, e->fts_path);
	}
	fts_close(tree);
	return err;
}

int weft_cgroup_open(const char *path, struct weft_diag *diag, int *ret_fd)
{
	_auto_close_ int fd = -1;
	char mount[PATH_MAX];
	struct statfs fs;
	int err;

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
	/* with our own lock held: of two that start at once one at least sees the other */
	err = above_check(fd, path, diag);
	if (!err)
		err = below_check(path, diag);
	if (err)
		return err;
	*ret_fd = WEFT_TAKE_FD(fd);
	return 0;
}
