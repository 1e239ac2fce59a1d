// SPDX-License-Identifier: Apache-2.0
/* A stream's state for dump and metrics. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/xds/internal.h"
#include "xds/clock.h"

static void copy_stats(struct weft_delta *d, void *ctx)
{
	struct weft_delta_stats *stats = ctx;

	weft_delta_stats(d, stats);
	/* The text belongs to the stream's thread. */
	stats->control_plane = stats->control_plane ? strdup(stats->control_plane) : NULL;
}

static json_t *types_json(const struct weft_delta_stats *stats)
{
	static const char *const names[WEFT_XDS__MAX] = {[WEFT_XDS_CLUSTER] = "cds",
							 [WEFT_XDS_ENDPOINT] = "eds",
							 [WEFT_XDS_LISTENER] = "lds",
							 [WEFT_XDS_ROUTE] = "rds"};
	json_t *j = json_object();

	for (int i = 0; i < WEFT_XDS__MAX; i++)
		json_object_set_new(j, names[i],
				    json_pack("{s:I, s:I}", "update_success",
					      (json_int_t)stats->accepted[i], "update_rejected",
					      (json_int_t)stats->refused[i]));
	return j;
}

/* How long no server has vouched for what is in force; null when nothing is. */
static json_t *staleness_json(struct weft_source_xds *x, const struct weft_xds_stream_stats *stream)
{
	int64_t now = weft_clock_ms(CLOCK_REALTIME), since = stream->since_ms;

	if (x->saved.stale)
		since = x->saved.saved_ms;
	else if (!stream->received)
		return json_null();
	else if (stream->connected)
		since = now;
	return json_integer(now > since ? now - since : 0);
}

json_t *weft_source_xds_json(struct weft_source_xds *x)
{
	struct weft_xds_stream_stats stream;
	struct weft_delta_stats delta = {0};
	json_t *j;

	weft_xds_stream_stats(x->stream, &stream);
	if (weft_source_xds_call(x, copy_stats, &delta) < 0)
		memset(&delta, 0, sizeof(delta));
	j = json_pack("{s:s, s:b, s:b, s:I, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		      "address", stream.address, "tls", x->tls, "connected",
		      stream.connected ? 1 : 0, "since_ms", (json_int_t)stream.since_ms,
		      "last_error", stream.last_error, "control_plane", delta.control_plane,
		      "attempts", (json_int_t)stream.attempts, "received",
		      (json_int_t)stream.received, "responses", (json_int_t)delta.responses, "acks",
		      (json_int_t)delta.acks, "nacks", (json_int_t)delta.nacks, "requests",
		      (json_int_t)delta.requests, "init_fetch_timeout",
		      (json_int_t)delta.init_fetch_timeout);
	free((char *)(uintptr_t)delta.control_plane);
	json_object_set_new(j, "received_bytes", json_integer((json_int_t)stream.received_bytes));
	json_object_set_new(j, "sent", json_integer((json_int_t)stream.sent));
	json_object_set_new(j, "sent_bytes", json_integer((json_int_t)stream.sent_bytes));
	json_object_set_new(j, "resets", json_integer((json_int_t)stream.resets));
	json_object_set_new(j, "types", types_json(&delta));
	json_object_set_new(j, "pending", json_integer((json_int_t)delta.pending));
	json_object_set_new(j, "joined", json_integer((json_int_t)delta.joined));
	json_object_set_new(j, "variant",
			    json_string(weft_delta_is_sotw(x->delta) ? "sotw" : "delta"));
	json_object_set_new(j, "separate", json_boolean(weft_delta_is_separate(x->delta)));
	json_object_set_new(j, "stale", json_boolean(x->saved.stale));
	json_object_set_new(j, "staleness_ms", staleness_json(x, &stream));
	if (x->saved.keeper)
		json_object_set_new(j, "saved", weft_keeper_json(x->saved.keeper));
	return j;
}
