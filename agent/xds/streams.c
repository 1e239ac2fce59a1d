// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "agent/xds/sweep.h"
#include "xds/clock.h"

struct stream {
	TAILQ_ENTRY(stream) link;
	struct weft_streams *all;
	uint32_t view;
	char *key; /* NULL: of every pod */
	char *ns, *service_account;
	json_t *labels;
	struct weft_source_xds *xds;
	struct weft_identity_node node;
	struct weft_stream_pod *pod; /* the first one's node is asked for */
	size_t n_pods;
	char *saved;	  /* path, NULL: nothing is saved */
	int64_t since_ms; /* without pods; CLOCK_MONOTONIC */
};

struct weft_streams {
	struct weft_streams_config cfg;
	TAILQ_HEAD(, stream) list; /* by view */
	int bell_fd;
	int64_t sweep_ms; /* CLOCK_MONOTONIC; 0: done */
};

static int on_publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct stream *t = ctx;

	return weft_views_set(t->all->cfg.views, t->view, WEFT_SOURCE_XDS, next, diag);
}

static int on_check(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct stream *t = ctx;

	return weft_views_check(t->all->cfg.views, t->view, WEFT_SOURCE_XDS, next, diag);
}

/* ---- offers ---- */

/* All that wait with one publish; when that is refused, each by itself. */
static void offers_serve(struct weft_streams *s)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_free_ struct weft_view_change *changes = NULL;
	size_t n = 0, cap = 0;
	bool joined = false;
	struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	cap++;
	changes = calloc(cap + 1, sizeof(*changes));
	TAILQ_FOREACH(t, &s->list, link)
	{
		const struct weft_snapshot *next = t->xds ? weft_source_xds_look(t->xds) : NULL;

		if (next && changes)
			changes[n++] = (struct weft_view_change){t->view, WEFT_SOURCE_XDS, next};
	}
	if (n > 1)
		joined = weft_views_apply(s->cfg.views, changes, n, &diag) == 0;
	TAILQ_FOREACH(t, &s->list, link)
	{
		bool mine = false;

		for (size_t i = 0; joined && i < n; i++)
			mine = mine || changes[i].view == t->view;
		if (mine)
			weft_source_xds_answer(t->xds);
		else if (t->xds)
			weft_source_xds_serve(t->xds);
	}
	if (s->cfg.served)
		s->cfg.served(s->cfg.ctx);
}

static void serve(void *ctx)
{
	struct weft_streams *s = ctx;
	uint64_t count;

	if (read(s->bell_fd, &count, sizeof(count)) == sizeof(count))
		offers_serve(s);
}

static void on_bell(void *ctx, uint32_t events)
{
	(void)events;
	serve(ctx);
}

/* ---- one stream ---- */

static void stream_free(struct stream *t)
{
	/* First: its thread may wait for a verdict. */
	weft_source_xds_free(t->xds);
	weft_identity_node_clear(&t->node);
	for (size_t i = 0; i < t->n_pods; i++)
		free((char *)(uintptr_t)t->pod[i].name);
	free(t->pod);
	free(t->key);
	free(t->ns);
	free(t->service_account);
	json_decref(t->labels);
	free(t->saved);
	free(t);
}

static int stream_start(struct stream *t, struct weft_diag *diag)
{
	const struct weft_source_ops ops = {.publish = on_publish, .check = on_check, .ctx = t};
	struct weft_source_xds_config cfg = t->all->cfg.xds;
	int r;

	cfg.serve = serve;
	cfg.serve_ctx = t->all;
	cfg.bell_fd = t->all->bell_fd;
	if (t->key) {
		cfg.node.id = t->node.id;
		cfg.node.cluster = t->node.cluster;
		cfg.node.metadata_json = t->node.metadata_json;
		cfg.identity = t->key;
		cfg.saved = t->saved;
	}
	r = weft_source_xds_new(t->all->cfg.loop, &cfg, &ops, diag, &t->xds);
	if (r == 0)
		r = weft_source_xds_start(t->xds);
	if (r < 0) {
		weft_source_xds_free(t->xds);
		t->xds = NULL;
	}
	return r;
}

/* The node of the pod that stands for the others. */
static int node_make(const struct stream *t, struct weft_identity_node *ret)
{
	const struct weft_identity id = {t->ns, t->service_account, t->labels};
	const struct weft_identity_pod pod = {
		.name = t->pod[0].name, .addr4 = t->pod[0].addr4, .addr6 = t->pod[0].addr6};

	return weft_identity_node(&id, &pod, &t->all->cfg.base, ret);
}

/* Its pod has gone: another one stands for the view, with another address. */
static void node_renew(struct stream *t)
{
	struct weft_identity_node node;
	int r = node_make(t, &node);

	if (r == 0) {
		const struct weft_delta_node next = {.id = node.id,
						     .cluster = node.cluster,
						     .metadata_json = node.metadata_json};

		r = weft_source_xds_node(t->xds, &next);
	}
	if (r < 0) {
		WEFT_LOG(WEFT_LOG_ERROR, "xds stream keeps the node of a pod that has gone",
			 WEFT_KV_S("node", t->node.id), WEFT_KV_S("reason", strerror(-r)));
		weft_identity_node_clear(&node);
		return;
	}
	weft_identity_node_clear(&t->node);
	t->node = node;
}

static void list_insert(struct weft_streams *s, struct stream *t)
{
	struct stream *other;

	TAILQ_FOREACH(other, &s->list, link)
	{
		if (other->view > t->view) {
			TAILQ_INSERT_BEFORE(other, t, link);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&s->list, t, link);
}

static struct stream *by_view(const struct weft_streams *s, uint32_t view)
{
	struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		if (t->view == view)
			return t;
	}
	return NULL;
}

static int stream_new(struct weft_streams *s, const struct weft_identity *id, char *key,
		      struct stream **ret)
{
	struct stream *t = calloc(1, sizeof(*t));
	int r = -ENOMEM;

	if (!t) {
		free(key);
		return -ENOMEM;
	}
	t->all = s;
	t->key = key;
	t->since_ms = weft_clock_ms(CLOCK_MONOTONIC);
	t->ns = strdup(id->ns);
	t->service_account = strdup(id->service_account);
	t->labels = id->labels ? json_deep_copy(id->labels) : json_object();
	if (s->cfg.xds.saved)
		t->saved = weft_saved_view_path(s->cfg.xds.saved, key);
	if (t->ns && t->service_account && t->labels && !t->saved == !s->cfg.xds.saved)
		r = weft_views_open(s->cfg.views, &t->view);
	if (r < 0) {
		stream_free(t);
		return r;
	}
	list_insert(s, t);
	*ret = t;
	return 0;
}

int weft_streams_view(struct weft_streams *s, const struct weft_identity *id, const char *pod_name,
		      struct weft_diag *diag, uint32_t *ret)
{
	struct stream *t;
	char *key;
	int r;

	*ret = WEFT_VIEW_DEFAULT;
	if (!s->cfg.per_pod)
		return 0;
	if (strchr(pod_name, '~'))
		return weft_diag_add(diag, -EINVAL, "pod", "name",
				     "has a '~', which the control plane takes for the end");
	r = weft_identity_key(id, diag, &key);
	if (r < 0)
		return r;
	TAILQ_FOREACH(t, &s->list, link)
	{
		if (strcmp(t->key, key) == 0)
			break;
	}
	if (t) {
		free(key);
		if (!t->n_pods)
			t->since_ms = weft_clock_ms(CLOCK_MONOTONIC);
		*ret = t->view;
		return 0;
	}
	r = stream_new(s, id, key, &t);
	if (r < 0)
		return weft_diag_add(diag, r, "pod", "", "no view can be made for it: %s",
				     strerror(-r));
	*ret = t->view;
	return 0;
}

int weft_streams_join(struct weft_streams *s, uint32_t view, const struct weft_stream_pod *pod,
		      struct weft_diag *diag)
{
	struct stream *t = s->cfg.per_pod ? by_view(s, view) : NULL;
	struct weft_stream_pod *more;
	int r = 0;

	if (!s->cfg.per_pod)
		return 0;
	if (!t)
		return -ENOENT;
	more = reallocarray(t->pod, t->n_pods + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->pod = more;
	more[t->n_pods] = *pod;
	more[t->n_pods].name = strdup(pod->name);
	if (!more[t->n_pods].name)
		return -ENOMEM;
	t->n_pods++;
	if (!t->xds)
		r = node_make(t, &t->node) ?: stream_start(t, diag);
	else if (t->n_pods == 1)
		node_renew(t);
	if (r < 0) {
		free((char *)(uintptr_t)more[--t->n_pods].name);
		weft_identity_node_clear(&t->node);
		return r;
	}
	weft_views_pod(s->cfg.views, pod->id, view);
	return 0;
}

void weft_streams_leave(struct weft_streams *s, uint32_t pod)
{
	struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		for (size_t i = 0; i < t->n_pods; i++) {
			if (t->pod[i].id != pod)
				continue;
			weft_views_pod(s->cfg.views, pod, WEFT_VIEW_DEFAULT);
			free((char *)(uintptr_t)t->pod[i].name);
			t->n_pods--;
			memmove(&t->pod[i], &t->pod[i + 1], (t->n_pods - i) * sizeof(*t->pod));
			if (!t->n_pods)
				t->since_ms = weft_clock_ms(CLOCK_MONOTONIC);
			else if (i == 0)
				node_renew(t);
			return;
		}
	}
}

static void stream_end(struct weft_streams *s, struct stream *t)
{
	WEFT_LOG(WEFT_LOG_INFO, "xds stream of a view without pods ends",
		 WEFT_KV_U("view", t->view), WEFT_KV_S("node", t->node.id ? t->node.id : ""));
	TAILQ_REMOVE(&s->list, t, link);
	weft_source_xds_free(t->xds);
	t->xds = NULL;
	weft_views_close(s->cfg.views, t->view);
	/* Nobody will ask for it. */
	if (t->saved && unlink(t->saved) < 0 && errno != ENOENT)
		WEFT_LOG(WEFT_LOG_WARN, "saved configuration of a view is not removed",
			 WEFT_KV_S("path", t->saved), WEFT_KV_S("reason", strerror(errno)));
	stream_free(t);
}

static bool is_saved(void *ctx, const char *path)
{
	const struct weft_streams *s = ctx;
	const struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		if (t->saved && !strcmp(t->saved, path))
			return true;
	}
	return false;
}

/* An agent that was killed did not take leave of its views. */
static void sweep(struct weft_streams *s)
{
	size_t n = weft_saved_sweep(s->cfg.xds.saved, is_saved, s);

	s->sweep_ms = 0;
	if (n)
		WEFT_LOG(WEFT_LOG_INFO, "saved configurations of views without pods are removed",
			 WEFT_KV_U("number", n));
}

void weft_streams_tick(struct weft_streams *s)
{
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC);
	struct stream *t = TAILQ_FIRST(&s->list), *next;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->key && !t->n_pods && now - t->since_ms >= s->cfg.grace_ms)
			stream_end(s, t);
	}
	if (s->sweep_ms && now >= s->sweep_ms)
		sweep(s);
}

/* ---- all ---- */

/* Before the first pod comes: what is wrong with every stream is said at the start. */
static int config_check(struct weft_streams *s, struct weft_diag *diag)
{
	const struct weft_source_ops ops = {0};
	struct weft_source_xds_config cfg = s->cfg.xds;
	struct weft_source_xds *x;
	int r;

	cfg.serve = serve;
	cfg.serve_ctx = s;
	cfg.bell_fd = s->bell_fd;
	cfg.saved = NULL;
	r = weft_source_xds_new(s->cfg.loop, &cfg, &ops, diag, &x);
	if (r == 0)
		weft_source_xds_free(x);
	return r;
}

int weft_streams_new(const struct weft_streams_config *cfg, struct weft_diag *diag,
		     struct weft_streams **ret)
{
	struct weft_streams *s = calloc(1, sizeof(*s));
	struct stream *t;
	int r;

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	if (!s->cfg.grace_ms)
		s->cfg.grace_ms = WEFT_STREAM_GRACE_MS;
	if (cfg->xds.saved)
		s->sweep_ms = weft_clock_ms(CLOCK_MONOTONIC) +
			      (cfg->sweep_ms ? cfg->sweep_ms : WEFT_STREAM_SWEEP_MS);
	TAILQ_INIT(&s->list);
	s->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = s->bell_fd < 0 ? -errno : weft_loop_add(cfg->loop, s->bell_fd, EPOLLIN, on_bell, s);
	if (r == 0 && cfg->per_pod) {
		r = config_check(s, diag);
	} else if (r == 0) {
		t = calloc(1, sizeof(*t));
		r = t ? 0 : -ENOMEM;
		if (t) {
			t->all = s;
			t->view = WEFT_VIEW_DEFAULT;
			list_insert(s, t);
			r = stream_start(t, diag);
		}
	}
	if (r < 0) {
		weft_streams_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void weft_streams_free(struct weft_streams *s)
{
	struct stream *t;

	if (!s)
		return;
	while ((t = TAILQ_FIRST(&s->list))) {
		TAILQ_REMOVE(&s->list, t, link);
		stream_free(t);
	}
	if (s->bell_fd >= 0) {
		weft_loop_remove(s->cfg.loop, s->bell_fd);
		close(s->bell_fd);
	}
	free(s);
}

bool weft_streams_complete(const struct weft_streams *s, uint32_t view)
{
	const struct stream *t = by_view(s, view);

	return t && t->xds && weft_source_xds_ready(t->xds);
}

bool weft_streams_ready(const struct weft_streams *s)
{
	const struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		if ((!t->key || t->n_pods) && !weft_streams_complete(s, t->view))
			return false;
	}
	return true;
}

void weft_streams_each(const struct weft_streams *s,
		       void (*fn)(void *ctx, const struct weft_stream *stream), void *ctx)
{
	const struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		const struct weft_stream stream = {.view = t->view,
						   .node_id =
							   t->key ? t->node.id : s->cfg.xds.node.id,
						   .xds = t->xds,
						   .n_pods = t->n_pods};

		fn(ctx, &stream);
	}
}

/* Numbers of `from` onto those of `to`, in objects too; staleness is not a sum. */
static void sums_add(json_t *to, const json_t *from)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		json_t *mine = json_object_get(to, key);
		json_int_t a = json_integer_value(mine), b = json_integer_value(value);

		if (!mine)
			json_object_set_new(to, key, json_deep_copy(value));
		else if (json_is_object(value))
			sums_add(mine, value);
		else if (!strcmp(key, "connected") || !strcmp(key, "stale"))
			json_object_set_new(
				to, key,
				json_boolean(*key == 'c'
						     ? json_is_true(mine) && json_is_true(value)
						     : json_is_true(mine) || json_is_true(value)));
		else if (!strcmp(key, "staleness_ms") || !strcmp(key, "since_ms"))
			json_object_set(to, key, json_is_integer(mine) && a >= b ? mine : value);
		else if (json_is_integer(value))
			json_object_set_new(to, key, json_integer(a + b));
	}
}

json_t *weft_streams_json(struct weft_streams *s)
{
	json_t *all = json_object(), *list = json_array();
	struct stream *t;

	TAILQ_FOREACH(t, &s->list, link)
	{
		json_t *j = t->xds ? weft_source_xds_json(t->xds) : NULL;

		if (!j)
			continue;
		sums_add(all, j);
		json_object_set_new(j, "view", json_integer(t->view));
		json_object_set_new(j, "node",
				    json_string(t->key ? t->node.id : s->cfg.xds.node.id));
		if (t->key)
			json_object_set_new(j, "pods", json_integer((json_int_t)t->n_pods));
		json_array_append_new(list, j);
	}
	if (s->cfg.per_pod)
		json_object_set_new(all, "streams", list);
	else
		json_decref(list);
	return all;
}
