// SPDX-License-Identifier: Apache-2.0
/*
 * A sequence of events for the delta client: each step is one byte that says what happens, two for
 * the length of the response that follows, and the response. The owner refuses what is called
 * "bad". After each step the client must be settled: no time passes, so nothing new may be
 * published. Bit 3 of the first byte: the client speaks state of the world; bit 5: it pauses after
 * a publish; bit 7: it has a stream for each type, and a response comes on all of them.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xds/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Enough for the longest scripts; the fuzzer gains nothing from longer ones. */
#define STEPS_MAX 64

struct owner {
	unsigned int publishes;
	int64_t pause; /* ms */
};

static int64_t pause_of(void *ctx)
{
	const struct owner *o = ctx;

	return o->pause;
}

static int publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct owner *o = ctx;

	o->publishes++;
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		for (size_t i = 0; i < weft_snapshot_count(next, (enum weft_xds_type)t); i++) {
			const struct weft_resource *r =
				weft_snapshot_at(next, (enum weft_xds_type)t, i);

			if (strstr(r->name, "bad"))
				return weft_diag_add(diag, -1, i % 2 ? "Cluster/bad" : r->name, "",
						     "bad");
		}
	}
	return 0;
}

static void drain(struct weft_delta *d)
{
	uint8_t *request;
	size_t len;

	for (unsigned int i = 0; i < weft_delta_streams(d); i++) {
		while (!weft_delta_next_request_on(d, i, &request, &len))
			free(request);
	}
}

static void renew(struct weft_delta *d, int64_t now)
{
	for (unsigned int i = 0; i < weft_delta_streams(d); i++) {
		weft_delta_disconnected_on(d, i, now);
		if (weft_delta_wants(d, i))
			weft_delta_connected_on(d, i, now);
	}
}

static void receive(struct weft_delta *d, const uint8_t *data, size_t len, int64_t now)
{
	for (unsigned int i = 0; i < weft_delta_streams(d); i++) {
		int err = weft_delta_receive_on(d, i, data, len, now);

		if (err == -ENOTCONN && weft_delta_is_separate(d) && weft_delta_wants(d, i))
			weft_delta_connected_on(d, i, now);
		else if (err < 0)
			weft_delta_disconnected_on(d, i, now);
	}
}

static void look(void *ctx, const struct weft_delta_item *item)
{
	*(size_t *)ctx += strlen(item->name) + strlen(item->version);
}

/* Bytes used. */
static size_t step(struct weft_delta *d, const uint8_t *data, size_t len, int64_t *now,
		   const struct owner *o)
{
	unsigned int before;
	size_t n = len < 3 ? 0 : (size_t)data[1] | (size_t)data[2] << 8;
	size_t seen = 0;

	if (len < 3)
		return len;
	if (n > len - 3)
		n = len - 3;
	*now += (data[0] >> 4) * 1000;
	switch (data[0] & 3) {
	case 0:
		weft_delta_tick(d, *now);
		weft_delta_each(d, look, &seen);
		break;
	case 1:
		renew(d, *now);
		break;
	default:
		receive(d, data + 3, n, *now);
	}
	weft_delta_tick(d, *now);
	before = o->publishes;
	weft_delta_tick(d, *now);
	if (o->publishes != before)
		abort();
	/* Bit 2: the requests wait, as on a slow connection. */
	if (!(data[0] & 4))
		drain(d);
	return 3 + n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct weft_delta_ops ops = {.publish = publish, .pause = pause_of};
	static const struct weft_delta_node node = {.id = "fuzz"};
	struct weft_delta *d;
	struct owner owner = {.pause = len && data[0] & 32 ? 1500 : 0};
	int64_t now = 1000;

	if (weft_delta_new(&node, &ops, &owner, &d))
		return 0;
	if (len && data[0] & 8 && weft_delta_speak_sotw(d)) {
		weft_delta_free(d);
		return 0;
	}
	if (len && data[0] & 128)
		weft_delta_separate(d);
	weft_delta_tick(d, now);
	renew(d, now);
	drain(d);
	for (int i = 0; len && i < STEPS_MAX; i++) {
		size_t used = step(d, data, len, &now, &owner);

		data += used;
		len -= used;
	}
	weft_delta_free(d);
	return 0;
}
