// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/cleanup.h"
#include "agent/log.h"

#define DIGITS 16
/* What weft_saved_write() writes to before it takes the place of the old. */
#define FRESH ".new"

char *weft_saved_view_path(const char *file, const char *key)
{
	char *path;

	if (asprintf(&path, "%s.%0*llx", file, DIGITS,
		     (unsigned long long)XXH64(key, strlen(key), 0)) < 0)
		return NULL;
	return path;
}

/* The length of "NAME.0123456789abcdef" at the start of an entry that is it, or it and FRESH. */
static size_t view_name(const char *entry, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(entry, name, n) || entry[n] != '.')
		return 0;
	n++;
	if (strspn(entry + n, "0123456789abcdef") != DIGITS)
		return 0;
	n += DIGITS;
	return !entry[n] || !strcmp(entry + n, FRESH) ? n : 0;
}

static bool sweep_one(DIR *folder, const char *entry)
{
	struct stat st;

	if (fstatat(dirfd(folder), entry, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (unlinkat(dirfd(folder), entry, 0) == 0)
		return true;
	WEFT_LOG(WEFT_LOG_WARN, "saved configuration of a view is not removed",
		 WEFT_KV_S("path", entry), WEFT_KV_S("reason", strerror(errno)));
	return false;
}

size_t weft_saved_sweep(const char *file, bool (*used)(void *ctx, const char *path), void *ctx)
{
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
	_auto_free_ char *where = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
	DIR *folder = where ? opendir(where) : NULL;
	const struct dirent *e;
	size_t removed = 0;

	while (folder && (e = readdir(folder))) {
		size_t n = view_name(e->d_name, name);
		_auto_free_ char *path = NULL;

		if (!n)
			continue;
		if (asprintf(&path, "%.*s%.*s", (int)(name - file), file, (int)n, e->d_name) < 0) {
			path = NULL;
			break;
		}
		if (!used(ctx, path))
			removed += sweep_one(folder, e->d_name);
	}
	if (folder)
		closedir(folder);
	return removed;
}
