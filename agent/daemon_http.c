// SPDX-License-Identifier: Apache-2.0
/* What the HTTP admin listener answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/daemon.h"
#include "agent/metrics.h"
#include "agent/status/status_http.h"

bool weft_daemon_ready(const struct weft_daemon *d)
{
	return d->ready && (!d->streams || weft_streams_ready(d->streams));
}

static void say(struct weft_http_answer *a, unsigned int status, const char *text)
{
	a->status = status;
	a->body = strdup(text);
	a->len = a->body ? strlen(text) : 0;
}

struct stats {
	json_t *stats;
	struct weft_status *status;
	enum weft_metrics_form form;
};

/* On the answer's thread: a large mesh has a hundred thousand numbers. */
static int stats_write(void *job, FILE *out)
{
	struct stats *s = job;
	_auto_free_ char *text = NULL;
	size_t len;

	json_object_set_new(s->stats, "subscriptions", weft_subscriptions_json(s->status));
	text = weft_metrics_write(s->stats, s->form, &len);
	return text && fwrite(text, 1, len, out) == len ? 0 : -ENOMEM;
}

static void stats_free(void *job)
{
	struct stats *s = job;

	json_decref(s->stats);
	weft_status_free(s->status);
	free(s);
}

static void stats(struct weft_daemon *d, enum weft_metrics_form form, struct weft_http_answer *a)
{
	struct stats *s = calloc(1, sizeof(*s));

	a->status = 500;
	if (!s)
		return;
	s->form = form;
	s->stats = weft_dump(d, "stats");
	if (!s->stats || weft_status_collect(d, &s->status) < 0) {
		stats_free(s);
		return;
	}
	a->status = 200;
	a->stream = (struct weft_client_stream){stats_write, stats_free, s};
	if (form == WEFT_METRICS_PROMETHEUS)
		a->type = "text/plain; version=0.0.4; charset=UTF-8";
}

/* As Envoy's: /stats?format=prometheus is /stats/prometheus. */
static void stats_ask(struct weft_daemon *d, const char *query, struct weft_http_answer *a)
{
	char format[32] = "text";

	if (*query && !weft_http_query_get(query, "format", format, sizeof(format)))
		say(a, 400, "the only parameter is format\n");
	else if (!strcmp(format, "prometheus"))
		stats(d, WEFT_METRICS_PROMETHEUS, a);
	else if (!strcmp(format, "text"))
		stats(d, WEFT_METRICS_TEXT, a);
	else
		say(a, 400, "format is text or prometheus\n");
}

static bool is_shown(const char *path)
{
	static const char *const paths[] = {"/config_dump", "/clusters", "/listeners",
					    "/server_info"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (!strcmp(path, paths[i]))
			return true;
	}
	return false;
}

void weft_daemon_http(void *ctx, const struct weft_http_request *request,
		      struct weft_http_answer *ret)
{
	struct weft_daemon *d = ctx;

	if (!strcmp(request->path, "/ready")) {
		if (weft_daemon_ready(d))
			say(ret, 200, "LIVE\n");
		else
			say(ret, 503, "INITIALIZING\n");
	} else if (!strcmp(request->path, "/stats/prometheus")) {
		stats(d, WEFT_METRICS_PROMETHEUS, ret);
	} else if (!strcmp(request->path, "/stats")) {
		stats_ask(d, request->query, ret);
	} else if (!d->ready) {
		/* Not everything that is shown is there yet. */
		if (is_shown(request->path))
			say(ret, 503, "the agent is starting\n");
	} else if (!strcmp(request->path, "/config_dump")) {
		weft_http_config_dump(d, request->query, ret);
	} else if (!strcmp(request->path, "/clusters")) {
		weft_http_clusters(d, request->query, ret);
	} else if (!strcmp(request->path, "/listeners")) {
		weft_http_listeners(d, request->query, ret);
	} else if (!strcmp(request->path, "/server_info")) {
		weft_http_server_info(d, ret);
	}
}
