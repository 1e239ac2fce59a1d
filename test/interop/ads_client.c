// SPDX-License-Identifier: Apache-2.0
/*
 * A client built on xds/ for tests against control planes: accepts what it is served and prints one
 * JSON object per line: connected, disconnected, publish, and dump on request.
 *
 *   ads_client ADDRESS [--node ID] [--metadata JSON] [--refuse TYPE/NAME]
 *              [--header KEY=VALUE] [--backoff BASE,MAX] [--ca FILE] [--crl FILE] [--sni NAME]
 *              [--san NAME]
 *              [--cert FILE] [--key FILE] [--token FILE] [--token-plaintext FILE]
 *              [--variant sotw] [--streams separate] [--more ADDRESS]
 *
 * Reads commands from standard input: "dump", "quit" (as end of file).
 */

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xds/grpc.h"

/* A publish event lists names up to here; beyond, counts say enough. */
#define LIST_MAX 1000
#define STOP_TIMEOUT_MS 5000

struct client {
	const char *refuse; /* "Cluster/x" */
	const char *header; /* "key=value" */
	struct weft_xds_tls tls; /* used when it names authorities */
	const char *san;
	bool sotw, separate;
	const char *more;
	unsigned int publishes;
};

/* One line at once: the stream's thread and the main thread both print. */
static void print_event(const char *event, json_t *fields)
{
	char *text;

	json_object_set_new(fields, "event", json_string(event));
	text = json_dumps(fields, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(fields);
	if (!text)
		return;
	flockfile(stdout);
	puts(text);
	fflush(stdout);
	funlockfile(stdout);
	free(text);
}

static void on_connected(void *ctx, const char *service)
{
	(void)ctx;
	print_event("connected", json_pack("{s:s}", "service", service));
}

static void on_disconnected(void *ctx, const char *why, int64_t retry_ms)
{
	(void)ctx;
	print_event("disconnected",
		    json_pack("{s:s, s:I}", "why", why, "retry_ms", (json_int_t)retry_ms));
}

static int on_metadata(void *ctx, struct weft_xds_metadata *md)
{
	const struct client *c = ctx;
	const char *equals = c->header ? strchr(c->header, '=') : NULL;
	char key[128];

	if (!equals)
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)(equals - c->header), c->header);
	return weft_xds_metadata_add(md, key, equals + 1);
}

static void on_log(enum weft_xds_log_level level, const char *message)
{
	if (level == WEFT_XDS_LOG_ERROR)
		fprintf(stderr, "grpc: %s\n", message);
}

static json_t *snapshot_json(const struct weft_snapshot *s)
{
	json_t *counts = json_object(), *resources = json_object();

	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		enum weft_xds_type type = (enum weft_xds_type)i;
		size_t n = weft_snapshot_count(s, type);
		json_t *list = json_object();

		json_object_set_new(counts, weft_xds_type_name(type), json_integer((json_int_t)n));
		for (size_t k = 0; k < n && n <= LIST_MAX; k++) {
			const struct weft_resource *r = weft_snapshot_at(s, type, k);

			char hash[17];

			snprintf(hash, sizeof(hash), "%016" PRIx64, r->hash);
			json_object_set_new(
				list, r->name,
				json_pack("{s:s, s:s}", "version", r->version, "hash", hash));
		}
		json_object_set_new(resources, weft_xds_type_name(type), list);
	}
	return json_pack("{s:o, s:o}", "counts", counts, "resources", resources);
}

static bool is_refused(const struct client *c, const struct weft_snapshot *s)
{
	const char *slash = c->refuse ? strchr(c->refuse, '/') : NULL;

	for (int i = 0; slash && i < WEFT_XDS__MAX; i++) {
		const char *type = weft_xds_type_name((enum weft_xds_type)i);

		if (strlen(type) == (size_t)(slash - c->refuse) &&
		    !strncmp(type, c->refuse, strlen(type)))
			return weft_snapshot_get(s, (enum weft_xds_type)i, slash + 1);
	}
	return false;
}

static int on_publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct client *c = ctx;
	json_t *event;

	if (is_refused(c, next))
		return weft_diag_add(diag, -EINVAL, c->refuse, "name", "refused by --refuse");
	event = snapshot_json(next);
	json_object_set_new(event, "n", json_integer(++c->publishes));
	print_event("publish", event);
	return 0;
}

static void add_item(void *ctx, const struct weft_delta_item *item)
{
	static const char *const status[] = {
		[WEFT_DELTA_REQUESTED] = "REQUESTED",
		[WEFT_DELTA_DOES_NOT_EXIST] = "DOES_NOT_EXIST",
		[WEFT_DELTA_ACKED] = "ACKED",
		[WEFT_DELTA_NACKED] = "NACKED",
		[WEFT_DELTA_TIMEOUT] = "TIMEOUT",
		[WEFT_DELTA_WARMING] = "WARMING",
	};

	json_array_append_new(ctx, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "type",
					     weft_xds_type_name(item->type), "name", item->name,
					     "version", item->version, "status",
					     status[item->status], "error", item->error));
}

static void dump(struct weft_delta *d, void *ctx)
{
	struct weft_delta_stats st;
	json_t *items = json_array();

	(void)ctx;
	weft_delta_each(d, add_item, items);
	weft_delta_stats(d, &st);
	print_event("dump",
		    json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:s?}", "items", items,
			      "complete", weft_delta_complete(d), "responses",
			      (json_int_t)st.responses, "acks", (json_int_t)st.acks, "nacks",
			      (json_int_t)st.nacks, "connects", (json_int_t)st.connects, "timeouts",
			      (json_int_t)st.init_fetch_timeout, "connected", st.connected,
			      "control_plane", st.control_plane));
}

/* One option about credentials. False: it is none. */
static bool parse_credential(const char *name, const char *value, struct client *c,
			     struct weft_xds_stream_conf *conf)
{
	if (!strcmp(name, "--ca")) {
		c->tls.ca_file = value;
		conf->tls = &c->tls;
	} else if (!strcmp(name, "--crl")) {
		c->tls.crl_file = value;
	} else if (!strcmp(name, "--sni")) {
		c->tls.sni = value;
	} else if (!strcmp(name, "--san")) {
		c->san = value;
		c->tls.sans = &c->san;
		c->tls.n_sans = 1;
	} else if (!strcmp(name, "--cert")) {
		c->tls.cert_file = value;
	} else if (!strcmp(name, "--key")) {
		c->tls.key_file = value;
	} else if (!strcmp(name, "--token") || !strcmp(name, "--token-plaintext")) {
		conf->token_file = value;
		conf->token_plaintext = !strcmp(name, "--token-plaintext");
	} else {
		return false;
	}
	return true;
}

static int parse_arguments(int argc, char **argv, struct client *c, struct weft_delta_node *node,
			   struct weft_xds_stream_conf *conf)
{
	if (argc < 2 || argc % 2)
		return -EINVAL;
	conf->address = argv[1];
	for (int i = 2; i < argc; i += 2) {
		if (parse_credential(argv[i], argv[i + 1], c, conf))
			continue;
		if (!strcmp(argv[i], "--more")) {
			c->more = argv[i + 1];
			conf->more = &c->more;
			conf->n_more = 1;
			continue;
		}
		if (!strcmp(argv[i], "--variant") && !strcmp(argv[i + 1], "sotw")) {
			c->sotw = true;
			continue;
		}
		if (!strcmp(argv[i], "--streams") && !strcmp(argv[i + 1], "separate")) {
			c->separate = true;
			continue;
		}
		if (!strcmp(argv[i], "--node"))
			node->id = argv[i + 1];
		else if (!strcmp(argv[i], "--metadata"))
			node->metadata_json = argv[i + 1];
		else if (!strcmp(argv[i], "--refuse"))
			c->refuse = argv[i + 1];
		else if (!strcmp(argv[i], "--header"))
			c->header = argv[i + 1];
		else if (strcmp(argv[i], "--backoff") ||
			 sscanf(argv[i + 1], "%u,%u", &conf->backoff_base_ms,
				&conf->backoff_max_ms) != 2)
			return -EINVAL;
	}
	return 0;
}

static int run(struct weft_xds_stream *s)
{
	char line[64];
	int err = weft_xds_stream_start(s);

	if (err)
		return err;
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n")) {
		if (!strcmp(line, "dump\n"))
			weft_xds_stream_call(s, dump, NULL);
	}
	return weft_xds_stream_stop(s, STOP_TIMEOUT_MS);
}

int main(int argc, char **argv)
{
	static const struct weft_delta_ops ops = {.publish = on_publish};
	struct weft_delta_node node = {.id = "ads-client"};
	struct client c = {0};
	struct weft_xds_stream_conf conf = {
		.metadata = on_metadata,
		.connected = on_connected,
		.disconnected = on_disconnected,
		.ctx = &c,
	};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_xds_stream *stream = NULL;
	int err = parse_arguments(argc, argv, &c, &node, &conf);

	if (err) {
		fprintf(stderr,
			"usage: %s ADDRESS [--node ID] [--metadata JSON] "
			"[--refuse TYPE/NAME] [--header KEY=VALUE] [--backoff BASE,MAX] [--ca "
			"FILE] "
			"[--crl FILE] [--sni NAME] [--san NAME] [--cert FILE] [--key FILE] "
			"[--token FILE] "
			"[--token-plaintext FILE] [--variant sotw] [--streams separate] [--more "
			"ADDRESS]\n",
			argv[0]);
		return 2;
	}
	weft_xds_log_sink(on_log);
	err = weft_delta_new(&node, &ops, &c, &conf.delta);
	if (!err && c.sotw)
		err = weft_delta_speak_sotw(conf.delta);
	if (!err && c.separate)
		weft_delta_separate(conf.delta);
	if (!err)
		err = weft_xds_stream_new(&conf, &diag, &stream);
	if (!err)
		err = run(stream);
	if (err) {
		char *text = weft_diag_text(&diag);

		fprintf(stderr, "%s\n", text ? text : strerror(-err));
		free(text);
	}
	if (err == -ETIMEDOUT)
		return 1; /* its thread still uses the rest */
	weft_xds_stream_free(stream);
	weft_delta_free(conf.delta);
	return err ? 1 : 0;
}
