// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xds/cleanup.h"
#include "xds/read.h"
#include "xds/saved.h"

static int failed(struct weft_diag *diag, const char *path, const char *what, int err)
{
	return weft_diag_add(diag, err, path, NULL, "%s: %s", what, strerror(-err));
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* The rename itself is on the disk when its folder is. */
static void folder_sync(const char *path)
{
	char copy[PATH_MAX];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static int replace(const char *path, const uint8_t *data, size_t len, struct weft_diag *diag)
{
	_xds_free_ char *fresh = NULL;
	int fd, err;

	if (asprintf(&fresh, "%s.new", path) < 0) {
		fresh = NULL;
		return -ENOMEM;
	}
	/* What an earlier attempt left; never written through a link that somebody put there. */
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(diag, fresh, "open", -errno);
	err = write_all(fd, data, len);
	close(fd);
	if (!err && rename(fresh, path) < 0)
		err = -errno;
	if (err) {
		unlink(fresh);
		return failed(diag, path, "write", err);
	}
	folder_sync(path);
	return 0;
}

int weft_saved_write(const char *path, const struct weft_saved_head *head,
		     const struct weft_snapshot *s, struct weft_diag *diag)
{
	_xds_free_ uint8_t *data = NULL;
	size_t len;
	int err = weft_saved_encode(head, s, diag, &data, &len);

	return err ? err : replace(path, data, len, diag);
}

static int file_check(const char *path, const struct stat *st, struct weft_diag *diag)
{
	if (!S_ISREG(st->st_mode))
		return weft_diag_add(diag, -EINVAL, path, NULL, "is no regular file");
	/* Who can write to it could say where the pods' requests go. */
	if (st->st_uid != geteuid())
		return weft_diag_add(diag, -EPERM, path, NULL, "belongs to another user");
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return weft_diag_add(diag, -EPERM, path, NULL, "others may write to it");
	if (st->st_size > (off_t)WEFT_SAVED_MAX)
		return weft_diag_add(diag, -EFBIG, path, NULL, "is larger than %u bytes",
				     WEFT_SAVED_MAX);
	return 0;
}

int weft_saved_read(const char *path, const char *identity, struct weft_diag *diag,
		    int64_t *ret_saved_ms, struct weft_snapshot **ret)
{
	_xds_free_ uint8_t *data = NULL;
	struct stat st;
	ssize_t len = 0;
	int err, fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : failed(diag, path, "open", -errno);
	err = fstat(fd, &st) < 0 ? -errno : file_check(path, &st, diag);
	if (!err) {
		data = malloc((size_t)st.st_size + 1);
		len = data ? weft_fd_read(fd, data, (size_t)st.st_size) : -ENOMEM;
		err = len < 0 ? failed(diag, path, "read", (int)len) : 0;
	}
	close(fd);
	return err ? err : weft_saved_decode(data, (size_t)len, identity, diag, ret_saved_ms, ret);
}
