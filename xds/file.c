// SPDX-License-Identifier: Apache-2.0
#include "xds/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xds/cleanup.h"
#include "xds/file_internal.h"
#include "xds/read.h"
#include "xds/yaml.h"

/* Of one file: a mesh of 10,000 services has some 20 MiB; the tree in memory is ten times the text. */
#define WEFT_FILE_MAX (64U << 20)

static int read_fd(int fd, size_t size, char **ret, size_t *ret_len)
{
	_xds_free_ char *buf = malloc(size + 1);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	/* One byte more than there was: a file that grows meanwhile is seen to. */
	n = weft_fd_read(fd, buf, size + 1);
	if (n < 0)
		return (int)n;
	if ((size_t)n > size)
		return -EAGAIN;
	buf[n] = '\0';
	*ret = WEFT_XDS_TAKE(buf);
	*ret_len = (size_t)n;
	return 0;
}

static int read_file(const char *path, struct weft_diag *diag, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return weft_diag_add(diag, -errno, path, NULL, "%m");
	if (fstat(fd, &st))
		r = weft_diag_add(diag, -errno, path, NULL, "%m");
	else if (!S_ISREG(st.st_mode))
		r = weft_diag_add(diag, -EINVAL, path, NULL, "is no regular file");
	else if (st.st_size > (off_t)WEFT_FILE_MAX)
		r = weft_diag_add(diag, -EFBIG, path, NULL, "is larger than %u bytes", WEFT_FILE_MAX);
	else {
		r = read_fd(fd, (size_t)st.st_size, ret, ret_len);
		if (r)
			weft_diag_add(diag, r, path, NULL, "%s", strerror(-r));
	}
	close(fd);
	return r;
}

static int add_path(struct loader *l, const char *path)
{
	char **paths;

	if (l->n_paths == l->cap_paths) {
		size_t cap = l->cap_paths ? l->cap_paths * 2 : 16;

		paths = realloc(l->paths, cap * sizeof(char *));
		if (!paths)
			return -ENOMEM;
		l->paths = paths;
		l->cap_paths = cap;
	}
	l->paths[l->n_paths] = strdup(path);
	if (!l->paths[l->n_paths])
		return -ENOMEM;
	l->n_paths++;
	return 0;
}

static bool seen(const struct loader *l, const char *path)
{
	for (size_t i = 0; i < l->n_paths; i++)
		if (!strcmp(l->paths[i], path))
			return true;
	return false;
}

int file_add_pending(struct loader *l, enum weft_xds_type type, ProtobufCMessage *msg,
		     const char *file, unsigned int line)
{
	struct pending p = {.type = type, .msg = msg};

	if (l->n_pending == l->cap_pending) {
		size_t cap = l->cap_pending ? l->cap_pending * 2 : 64;
		struct pending *v = realloc(l->pending, cap * sizeof(*v));

		if (!v) {
			protobuf_c_message_free_unpacked(msg, NULL);
			return -ENOMEM;
		}
		l->pending = v;
		l->cap_pending = cap;
	}
	p.file = strdup(file);
	if (!p.file || (line ? asprintf(&p.place, "%s:%u", file, line)
			     : asprintf(&p.place, "%s", file)) < 0) {
		free(p.file);
		protobuf_c_message_free_unpacked(msg, NULL);
		return -ENOMEM;
	}
	l->pending[l->n_pending++] = p;
	return 0;
}

static bool is_json(const char *path)
{
	size_t n = strlen(path);

	return n >= 5 && !strcmp(path + n - 5, ".json");
}

static int load_json(struct loader *l, struct document *doc, const char *text, size_t len)
{
	_xds_json_ json_t *json = NULL;
	_xds_free_ char *place = NULL;
	json_error_t error;

	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (json)
		return file_load_document(l, doc, json);
	if (asprintf(&place, "%s:%d", doc->file, error.line) < 0)
		place = NULL;
	return weft_diag_add(l->diag, -EINVAL, place ? place : doc->file, NULL, "%s", error.text);
}

static int load_yaml(struct loader *l, struct document *doc, const char *text, size_t len)
{
	_xds_json_ json_t *docs = NULL;
	struct weft_lines *lines;
	int r, err = 0;

	r = weft_yaml_parse(text, len, doc->file, l->diag, &docs, &lines);
	if (r)
		return r;
	doc->lines = lines;
	for (size_t i = 0; i < json_array_size(docs); i++) {
		r = file_load_document(l, doc, json_array_get(docs, i));
		err = r ? r : err;
	}
	weft_lines_free(lines);
	return err;
}

static char *beside(const char *path, const char *from)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *joined;

	if (*path == '/' || !slash)
		return strdup(path);
	return asprintf(&joined, "%.*s/%s", (int)(slash - from), from, path) < 0 ? NULL : joined;
}

int file_load_path(struct loader *l, const char *path, const char *from, enum weft_xds_type want)
{
	_xds_free_ char *full = beside(path, from), *canonical = NULL, *text = NULL;
	struct document doc = {.want = want};
	size_t len = 0;
	int r;

	if (!full)
		return -ENOMEM;
	canonical = realpath(full, NULL);
	doc.file = canonical ? canonical : full;
	if (seen(l, doc.file))
		return 0;
	r = add_path(l, doc.file);
	if (!r)
		r = read_file(doc.file, l->diag, &text, &len);
	if (r)
		return r;
	return is_json(doc.file) ? load_json(l, &doc, text, len) : load_yaml(l, &doc, text, len);
}

static int is_source(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return *e->d_name != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_folder(struct loader *l, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, is_source, by_bytes);
	int r, err;

	if (n < 0)
		return weft_diag_add(l->diag, -errno, path, NULL, "%m");
	err = add_path(l, path);
	for (int i = 0; i < n; i++) {
		_xds_free_ char *file = NULL;

		if (err != -ENOMEM) {
			r = asprintf(&file, "%s/%s", path, names[i]->d_name) < 0
				    ? -ENOMEM
				    : file_load_path(l, file, NULL, WEFT_XDS__MAX);
			err = r ? r : err;
		}
		free(names[i]);
	}
	free(names);
	return err;
}

/* Everything into l->pending, files named by what was found included. */
static int load_all(struct loader *l, const char *path)
{
	struct stat st;
	int r, err;

	if (stat(path, &st)) {
		err = weft_diag_add(l->diag, -errno, path, NULL, "%m");
		return add_path(l, path) ? -ENOMEM : err;
	}
	err = S_ISDIR(st.st_mode) ? load_folder(l, path)
				  : file_load_path(l, path, NULL, WEFT_XDS__MAX);
	for (size_t i = 0; err != -ENOMEM && i < l->n_pending; i++) {
		r = file_follow(l, l->pending[i].msg, l->pending[i].file);
		err = r ? r : err;
	}
	return err;
}

static int set_version(struct weft_resource *r)
{
	char *version;

	if (asprintf(&version, "%016" PRIx64, r->hash) < 0)
		return -ENOMEM;
	free(r->version);
	r->version = version;
	return 0;
}

static int put_new(struct loader *l, struct weft_snapshot *s, struct weft_resource *res,
		   const char *place)
{
	if (weft_snapshot_get(s, res->type, res->name))
		return weft_diag_add(l->diag, -EINVAL, place, NULL, "%s/%s is there twice",
				     weft_xds_type_name(res->type), res->name);
	return weft_snapshot_put(s, res);
}

static int make_resource(struct loader *l, struct pending *p, int64_t now_ms,
			 struct weft_snapshot *s)
{
	struct weft_resource *res;
	int r = weft_runtime_apply(l->runtime, p->msg, p->place, l->diag);

	if (r)
		return r;
	r = weft_resource_from_msg(p->type, WEFT_XDS_TAKE(p->msg), NULL, now_ms, l->diag, &res);
	if (r)
		return r;
	r = set_version(res);
	if (!r)
		r = put_new(l, s, res, p->place);
	weft_resource_unref(res);
	return r;
}

static void clear(struct loader *l)
{
	for (size_t i = 0; i < l->n_pending; i++) {
		if (l->pending[i].msg)
			protobuf_c_message_free_unpacked(l->pending[i].msg, NULL);
		free(l->pending[i].file);
		free(l->pending[i].place);
	}
	for (size_t i = 0; i < l->n_paths; i++)
		free(l->paths[i]);
	free(l->pending);
	free(l->paths);
	free(l->bootstrap);
	free(l->node_id);
	free(l->node_cluster);
	weft_runtime_free(l->runtime);
}

int weft_file_load(const char *path, int64_t now_ms, struct weft_diag *diag,
		   struct weft_snapshot **ret)
{
	struct loader l = {.diag = diag};
	struct weft_snapshot *s = NULL;
	int err, r = weft_snapshot_new(&s);

	if (r)
		return r;
	err = load_all(&l, path);
	for (size_t i = 0; err != -ENOMEM && i < l.n_pending; i++) {
		r = make_resource(&l, &l.pending[i], now_ms, s);
		err = r ? r : err;
	}
	if (!err && l.node_id && l.node_cluster)
		err = weft_snapshot_set_node(s, l.node_id, l.node_cluster);
	if (!err)
		err = weft_runtime_check_used(l.runtime, l.bootstrap, diag);
	clear(&l);
	if (err) {
		weft_snapshot_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

int weft_file_watch_list(const char *path, char ***ret)
{
	struct loader l = {0};
	int r;

	/* What cannot be loaded now is watched too: its repair is the event waited for. */
	r = load_all(&l, path) == -ENOMEM ? -ENOMEM : 0;
	if (!r) {
		char **list = realloc(l.paths, (l.n_paths + 1) * sizeof(char *));

		if (list) {
			list[l.n_paths] = NULL;
			*ret = list;
			l.paths = NULL;
			l.n_paths = 0;
		} else {
			r = -ENOMEM;
		}
	}
	clear(&l);
	return r;
}
