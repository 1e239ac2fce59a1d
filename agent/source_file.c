// SPDX-License-Identifier: Apache-2.0
#include "agent/source.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/log.h"
#include "xds/clock.h"
#include "xds/file.h"

/*
 * Folders are watched, not files: an editor or a ConfigMap replaces a file by a rename, and a watch
 * on the old one would see nothing more.
 */
#define WATCH_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct watch {
	int wd;
	char *name; /* in the folder; NULL: every name counts */
};

struct weft_source_file {
	struct weft_loop *loop;
	char *path;
	struct weft_source_ops ops;
	int inotify_fd, timer_fd;
	struct watch *watch;
	size_t n_watch;
	int64_t changed_ms; /* first change not yet loaded, 0: none */
	bool is_folder;	    /* as of the last look */
	bool replaced;	    /* a whole new file waits to be loaded: the timer stays as it is */
	uint64_t loads, failures;
	int64_t loaded_ms;
	struct weft_diag last; /* causes of the last load, empty when it was good */
};

static int watch_add(struct weft_source_file *f, const char *folder, const char *name)
{
	int wd = inotify_add_watch(f->inotify_fd, folder, WATCH_EVENTS);
	struct watch *w;

	if (wd < 0)
		return -errno;
	w = reallocarray(f->watch, f->n_watch + 1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	f->watch = w;
	w[f->n_watch].wd = wd;
	w[f->n_watch].name = NULL;
	if (name) {
		w[f->n_watch].name = strdup(name);
		if (!w[f->n_watch].name)
			return -ENOMEM;
	}
	f->n_watch++;
	return 0;
}

/* One path that the load looked at: its name in its folder, and all of it when it is a folder. */
static int watch_path(struct weft_source_file *f, const char *path)
{
	_auto_free_ char *a = strdup(path), *b = strdup(path);
	struct stat st;
	int r;

	if (!a || !b)
		return -ENOMEM;
	r = watch_add(f, dirname(a), basename(b));
	if (r < 0)
		return r;
	/* A mounted ConfigMap changes its files by a rename of the link "..data" beside them. */
	r = watch_add(f, a, "..data");
	if (r >= 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		r = watch_add(f, path, NULL);
	return r;
}

static void watches_clear(struct weft_source_file *f)
{
	for (size_t i = 0; i < f->n_watch; i++) {
		inotify_rm_watch(f->inotify_fd, f->watch[i].wd);
		free(f->watch[i].name);
	}
	free(f->watch);
	f->watch = NULL;
	f->n_watch = 0;
}

/* Also where links lead to: the file behind a link may be written in place. */
static void watches_set(struct weft_source_file *f)
{
	char **list = NULL;
	struct stat st;

	watches_clear(f);
	f->is_folder = stat(f->path, &st) == 0 && S_ISDIR(st.st_mode);
	if (watch_path(f, f->path) < 0)
		WEFT_LOG(WEFT_LOG_WARN, "configuration is not watched, only SIGHUP reloads it",
			 WEFT_KV_S("path", f->path));
	if (weft_file_watch_list(f->path, &list) < 0)
		return;
	for (size_t i = 0; list[i]; i++) {
		char *real = realpath(list[i], NULL);

		if (strcmp(list[i], f->path) != 0)
			watch_path(f, list[i]);
		if (real && strcmp(real, list[i]) != 0)
			watch_path(f, real);
		free(real);
		free(list[i]);
	}
	free(list);
}

static bool is_watched(const struct weft_source_file *f, const struct inotify_event *ev)
{
	for (size_t i = 0; i < f->n_watch; i++) {
		if (f->watch[i].wd != ev->wd)
			continue;
		if (!f->watch[i].name || (ev->len > 0 && strcmp(ev->name, f->watch[i].name) == 0))
			return true;
	}
	return false;
}

/*
 * Of a folder, and of a file written in place, nobody knows whether more is to come: the last change
 * counts. A file that a rename put there is whole.
 */
static void changed(struct weft_source_file *f, bool moved_in)
{
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC), wait = WEFT_FILE_DEBOUNCE_MS, left;

	if (f->replaced)
		return;
	if (f->changed_ms == 0)
		f->changed_ms = now;
	f->replaced = moved_in && !f->is_folder;
	if (f->replaced)
		wait = WEFT_FILE_REPLACED_MS;
	left = f->changed_ms + WEFT_FILE_DEBOUNCE_MAX_MS - now;
	if (left > wait)
		left = wait;
	weft_timer_set(f->timer_fd, left > 0 ? (uint32_t)left : 1, 0);
}

static void on_inotify(void *ctx, uint32_t events)
{
	struct weft_source_file *f = ctx;
	char buf[4096] __attribute__((aligned(8)));
	bool relevant = false, moved_in = false;
	ssize_t n;

	(void)events;
	while ((n = read(f->inotify_fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *ev = (const void *)p;
			bool watched = is_watched(f, ev);

			/* A queue that overflowed may have lost the event that matters. */
			relevant |= watched || (ev->mask & IN_Q_OVERFLOW);
			moved_in |= watched && (ev->mask & IN_MOVED_TO);
			p += sizeof(*ev) + ev->len;
		}
	}
	if (relevant)
		changed(f, moved_in);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct weft_source_file *f = ctx;

	(void)events;
	weft_timer_ack(f->timer_fd);
	weft_source_file_load(f, NULL);
}

int weft_source_file_new(struct weft_loop *loop, const char *path,
			 const struct weft_source_ops *ops, struct weft_source_file **ret)
{
	struct weft_source_file *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (!f)
		return r;
	f->loop = loop;
	f->ops = *ops;
	f->timer_fd = -1;
	f->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (f->inotify_fd < 0) {
		r = -errno;
		goto fail;
	}
	f->path = strdup(path);
	if (!f->path)
		goto fail;
	r = weft_timer_new(&f->timer_fd);
	if (r < 0)
		goto fail;
	r = weft_loop_add(loop, f->inotify_fd, EPOLLIN, on_inotify, f);
	if (r >= 0)
		r = weft_loop_add(loop, f->timer_fd, EPOLLIN, on_timer, f);
	if (r < 0)
		goto fail;
	watches_set(f);
	*ret = f;
	return 0;
fail:
	weft_source_file_free(f);
	return r;
}

void weft_source_file_free(struct weft_source_file *f)
{
	if (!f)
		return;
	if (f->inotify_fd >= 0) {
		weft_loop_remove(f->loop, f->inotify_fd);
		watches_clear(f);
		close(f->inotify_fd);
	}
	if (f->timer_fd >= 0) {
		weft_loop_remove(f->loop, f->timer_fd);
		close(f->timer_fd);
	}
	weft_diag_clear(&f->last);
	free(f->path);
	free(f);
}

static void log_refused(const struct weft_source_file *f, int err)
{
	if (f->last.n == 0)
		WEFT_LOG(WEFT_LOG_ERROR, "configuration refused, the old one stays",
			 WEFT_KV_S("path", f->path), WEFT_KV_S("reason", strerror(-err)));
	for (size_t i = 0; i < f->last.n; i++)
		WEFT_LOG(WEFT_LOG_ERROR, "configuration refused, the old one stays",
			 WEFT_KV_S("path", f->path),
			 WEFT_KV_S("resource", f->last.entries[i].resource),
			 WEFT_KV_S("field", f->last.entries[i].field),
			 WEFT_KV_S("reason", f->last.entries[i].reason));
}

int weft_source_file_load(struct weft_source_file *f, struct weft_diag *diag)
{
	struct weft_snapshot *next = NULL;
	int r;

	weft_timer_set(f->timer_fd, 0, 0);
	f->changed_ms = 0;
	f->replaced = false;
	weft_diag_clear(&f->last);
	/* Before the read: a change between the two is loaded once more, never missed. */
	watches_set(f);
	r = weft_file_load(f->path, weft_clock_ms(CLOCK_REALTIME), &f->last, &next);
	if (r >= 0) {
		r = f->ops.publish(f->ops.ctx, next, &f->last);
		weft_snapshot_free(next);
	}
	f->loads++;
	if (r >= 0) {
		f->loaded_ms = weft_clock_ms(CLOCK_REALTIME);
		WEFT_LOG(WEFT_LOG_INFO, "configuration loaded", WEFT_KV_S("path", f->path));
		return 0;
	}
	f->failures++;
	if (!diag)
		log_refused(f, r);
	for (size_t i = 0; diag && i < f->last.n; i++)
		weft_diag_add(diag, r, f->last.entries[i].resource, f->last.entries[i].field, "%s",
			      f->last.entries[i].reason);
	return r;
}

json_t *weft_source_file_json(const struct weft_source_file *f)
{
	json_t *j = json_object();

	json_object_set_new(j, "path", weft_json_bytes(f->path, strlen(f->path)));
	json_object_set_new(j, "loads", json_integer((json_int_t)f->loads));
	json_object_set_new(j, "failures", json_integer((json_int_t)f->failures));
	json_object_set_new(j, "loaded_ms", json_integer(f->loaded_ms));
	json_object_set_new(j, "causes", weft_json_diag(&f->last));
	return j;
}
