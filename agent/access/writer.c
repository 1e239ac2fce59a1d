// SPDX-License-Identifier: Apache-2.0
#include "agent/access/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/cleanup.h"

#define OUT_MAX 65536u
/* What a pipe that says it can be written takes without blocking. */
#define PIPE_CHUNK 4096u

/* In a ring before its path and its line; the whole is rounded up to eight bytes. */
struct entry {
	uint32_t n_path, len;
};

struct ring {
	uint64_t head;				    /* bytes put, by the worker */
	uint64_t lost;				    /* the same */
	uint64_t tail __attribute__((aligned(64))); /* bytes taken, by the writer */
	uint8_t *data;				    /* the worker's, made with its first line */
};

struct file {
	char *path;
	int fd; /* -1: cannot be had; tried again when it is reopened */
	bool pipe;
	int err; /* the last, 0: none */
	size_t len, n_line;
	uint8_t out[OUT_MAX];
};

struct weft_access {
	char *dir;
	unsigned int n, gen, gen_seen;
	int wake;
	bool stop;
	uint32_t asleep;
	pthread_t thread;
	uint64_t lines, lost, failed, n_file;
	struct file *file[WEFT_ACCESS_FILES_MAX];
	struct ring ring[];
};

#define READ(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define WRITE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)
#define COUNT(word, n) __atomic_fetch_add(&(word), (__typeof__(word))(n), __ATOMIC_RELAXED)

/* ---- the workers' side ---- */

static void ring_put(struct ring *r, uint64_t at, const void *bytes, size_t n)
{
	size_t from = at & (WEFT_ACCESS_RING - 1), first = WEFT_ACCESS_RING - from;

	if (first > n)
		first = n;
	memcpy(r->data + from, bytes, first);
	memcpy(r->data, (const uint8_t *)bytes + first, n - first);
}

static void wake(struct weft_access *a)
{
	uint64_t one = 1;

	if (__atomic_exchange_n(&a->asleep, 0, __ATOMIC_SEQ_CST) &&
	    write(a->wake, &one, sizeof(one)) != sizeof(one))
		return; /* it is awake already */
}

void weft_access_put(struct weft_access *a, unsigned int worker, const char *path, size_t n_path,
		     const void *line, size_t len)
{
	struct ring *r = &a->ring[worker];
	struct entry e = {(uint32_t)n_path, (uint32_t)len};
	uint64_t at = r->head, whole = (sizeof(e) + n_path + len + 7) & ~7ull;

	if (!r->data) {
		uint8_t *data = malloc(WEFT_ACCESS_RING);

		WRITE(r->data, data);
	}
	if (!r->data || n_path > UINT16_MAX || len > WEFT_ACCESS_RING ||
	    at - READ(r->tail) + whole > WEFT_ACCESS_RING) {
		COUNT(r->lost, 1);
		wake(a);
		return;
	}
	ring_put(r, at, &e, sizeof(e));
	ring_put(r, at + sizeof(e), path, n_path);
	ring_put(r, at + sizeof(e) + n_path, line, len);
	__atomic_store_n(&r->head, at + whole, __ATOMIC_SEQ_CST);
	wake(a);
}

/* ---- files ---- */

/* Below the folder, by no link, and a plain file: a control plane chose the name. */
static int open_below(const char *dir, const char *path)
{
	struct open_how how = {.flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK |
					O_NOFOLLOW,
			       .mode = 0644,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	size_t n = dir ? strlen(dir) : 0;
	_auto_close_ int base = -1, fd = -1;
	struct stat st;

	while (n && dir[n - 1] == '/')
		n--;
	if (!dir || strncmp(path, dir, n) || path[n] != '/')
		return -EACCES;
	while (path[n] == '/')
		n++;
	base = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, base, path + n, &how, sizeof(how));
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return -EACCES;
	return WEFT_TAKE_FD(fd);
}

static void file_open(struct weft_access *a, struct file *f)
{
	struct stat st;
	int fd;

	if (!strcmp(f->path, "/dev/stdout") || !strcmp(f->path, "/dev/stderr")) {
		fd = fcntl(strcmp(f->path, "/dev/stdout") ? 2 : 1, F_DUPFD_CLOEXEC, 3);
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = open_below(a->dir, f->path);
	}
	if (fd < 0) {
		COUNT(a->failed, 1);
		WRITE(f->err, -fd);
		f->fd = -1;
		return;
	}
	WRITE(f->err, 0);
	f->fd = fd;
	f->pipe = fstat(fd, &st) || !S_ISREG(st.st_mode);
	COUNT(a->n_file, 1);
}

static void file_close(struct weft_access *a, struct file *f)
{
	if (f->fd < 0)
		return;
	close(f->fd);
	f->fd = -1;
	COUNT(a->n_file, -1);
}

/* false: nobody takes it. */
static bool ready(const struct file *f)
{
	struct pollfd p = {.fd = f->fd, .events = POLLOUT};

	return !f->pipe || poll(&p, 1, WEFT_ACCESS_STUCK_MS) == 1;
}

static void file_flush(struct weft_access *a, struct file *f)
{
	size_t done = 0;
	int err = f->fd < 0 ? EBADF : 0;

	while (!err && done < f->len) {
		size_t n = f->len - done;
		ssize_t r;

		if (!ready(f)) {
			err = ETIMEDOUT;
			break;
		}
		r = write(f->fd, f->out + done, f->pipe && n > PIPE_CHUNK ? PIPE_CHUNK : n);
		if (r >= 0)
			done += (size_t)r;
		else if (errno != EINTR && errno != EAGAIN)
			err = errno;
	}
	if (!f->len)
		return;
	if (err && f->fd >= 0) {
		COUNT(a->failed, 1);
		WRITE(f->err, err);
	}
	COUNT(*(err ? &a->lost : &a->lines), f->n_line);
	f->len = f->n_line = 0;
}

static struct file *file_find(struct weft_access *a, const char *path, size_t n)
{
	for (size_t i = 0; i < WEFT_ACCESS_FILES_MAX; i++) {
		struct file *f = a->file[i];

		if (f && strlen(f->path) == n && !memcmp(f->path, path, n))
			return f;
		if (f)
			continue;
		f = malloc(sizeof(*f));
		if (!f)
			return NULL;
		*f = (struct file){.path = strndup(path, n), .fd = -1};
		if (!f->path) {
			free(f);
			return NULL;
		}
		file_open(a, f);
		WRITE(a->file[i], f);
		return f;
	}
	return NULL;
}

/* ---- the writer ---- */

static void ring_get(const struct ring *r, uint64_t at, void *to, size_t n)
{
	size_t from = at & (WEFT_ACCESS_RING - 1), first = WEFT_ACCESS_RING - from;

	if (first > n)
		first = n;
	memcpy(to, r->data + from, first);
	memcpy((uint8_t *)to + first, r->data, n - first);
}

static void line_take(struct weft_access *a, const struct ring *r, uint64_t at,
		      const struct entry *e)
{
	_auto_free_ char *path = malloc(e->n_path + 1u);
	struct file *f;
	size_t n = e->len;

	if (path) {
		ring_get(r, at, path, e->n_path);
		path[e->n_path] = '\0';
	}
	f = path ? file_find(a, path, e->n_path) : NULL;
	if (!f) {
		COUNT(a->lost, 1);
		return;
	}
	at += e->n_path;
	f->n_line++;
	/* a long line goes in pieces */
	while (n) {
		size_t part = OUT_MAX - f->len < n ? OUT_MAX - f->len : n;

		ring_get(r, at, f->out + f->len, part);
		f->len += part;
		at += part;
		n -= part;
		if (f->len == OUT_MAX)
			file_flush(a, f);
	}
}

/* false: there was nothing. */
static bool drain(struct weft_access *a)
{
	bool any = false;

	for (unsigned int i = 0; i < a->n; i++) {
		struct ring *r = &a->ring[i];
		uint64_t head = __atomic_load_n(&r->head, __ATOMIC_SEQ_CST), at = r->tail;

		while (at != head) {
			struct entry e;

			ring_get(r, at, &e, sizeof(e));
			line_take(a, r, at + sizeof(e), &e);
			at += (sizeof(e) + e.n_path + e.len + 7) & ~7ull;
			WRITE(r->tail, at);
			any = true;
		}
	}
	for (size_t i = 0; i < WEFT_ACCESS_FILES_MAX && a->file[i]; i++)
		file_flush(a, a->file[i]);
	return any;
}

static void reopen(struct weft_access *a)
{
	unsigned int gen = READ(a->gen);

	if (gen == a->gen_seen)
		return;
	a->gen_seen = gen;
	for (size_t i = 0; i < WEFT_ACCESS_FILES_MAX && a->file[i]; i++) {
		struct file *f = a->file[i];

		file_close(a, f);
		file_open(a, f);
	}
}

static void wait_for(struct weft_access *a, int ms)
{
	struct pollfd p = {.fd = a->wake, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, ms) == 1 && read(a->wake, &n, sizeof(n)) != sizeof(n))
		return;
}

static void *run(void *arg)
{
	struct weft_access *a = arg;

	for (;;) {
		bool last = READ(a->stop);

		reopen(a);
		if (drain(a)) {
			if (!last)
				wait_for(a, WEFT_ACCESS_GATHER_MS);
			continue;
		}
		if (last)
			return NULL;
		__atomic_store_n(&a->asleep, 1, __ATOMIC_SEQ_CST);
		/* what was put before it was seen to sleep */
		if (!drain(a))
			wait_for(a, -1);
		__atomic_store_n(&a->asleep, 0, __ATOMIC_SEQ_CST);
		if (!READ(a->stop))
			usleep(WEFT_ACCESS_GATHER_MS * 1000);
	}
}

/* ---- beginning and end ---- */

/* Signals are the main thread's. */
static int thread_start(struct weft_access *a)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&a->thread, NULL, run, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void give_back(struct weft_access *a)
{
	for (size_t i = 0; i < WEFT_ACCESS_FILES_MAX && a->file[i]; i++) {
		file_close(a, a->file[i]);
		free(a->file[i]->path);
		free(a->file[i]);
	}
	for (unsigned int i = 0; i < a->n; i++)
		free(a->ring[i].data);
	if (a->wake >= 0)
		close(a->wake);
	free(a->dir);
	free(a);
}

int weft_access_new(const char *dir, unsigned int n, struct weft_access **ret)
{
	size_t size = (sizeof(struct weft_access) + n * sizeof(struct ring) + 63) & ~63ul;
	struct weft_access *a = aligned_alloc(64, size);
	int r;

	if (!a)
		return -ENOMEM;
	memset(a, 0, size);
	a->n = n;
	a->dir = dir ? strdup(dir) : NULL;
	a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = a->wake < 0 ? -errno : dir && !a->dir ? -ENOMEM : thread_start(a);
	if (r) {
		give_back(a);
		return r;
	}
	*ret = a;
	return 0;
}

void weft_access_free(struct weft_access *a)
{
	if (!a)
		return;
	WRITE(a->stop, true);
	__atomic_store_n(&a->asleep, 1, __ATOMIC_SEQ_CST);
	wake(a);
	pthread_join(a->thread, NULL);
	give_back(a);
}

void weft_access_reopen(struct weft_access *a)
{
	COUNT(a->gen, 1);
	__atomic_store_n(&a->asleep, 1, __ATOMIC_SEQ_CST);
	wake(a);
}

json_t *weft_access_dump(const struct weft_access *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < WEFT_ACCESS_FILES_MAX; i++) {
		const struct file *f = READ(a->file[i]);
		int err = f ? READ(f->err) : 0;

		if (!f)
			break;
		json_array_append_new(list, json_pack("{s:s, s:s}", "path", f->path, "state",
						      err == EACCES ? "not below --access-log-dir"
						      : err	    ? strerror(err)
								    : "open"));
	}
	return list;
}

void weft_access_stats(const struct weft_access *a, struct weft_access_stats *ret)
{
	*ret = (struct weft_access_stats){.lines = READ(a->lines),
					  .lost = READ(a->lost),
					  .failed = READ(a->failed),
					  .files = READ(a->n_file)};
	for (unsigned int i = 0; i < a->n; i++)
		ret->lost += READ(a->ring[i].lost);
}
