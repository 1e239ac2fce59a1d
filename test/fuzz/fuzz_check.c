// SPDX-License-Identifier: Apache-2.0
/*
 * What hosts answer to health checks: the first byte says by which protocol, the second where the
 * bytes are cut. A check ends at most once, HTTP/1.1 the same however its bytes are cut, and
 * nothing of it stays.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/health/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int ends;
static struct weft_probe_result last;

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void done(void *ctx, const struct weft_probe_result *r)
{
	(void)ctx;
	ends++;
	last = *r;
}

static struct weft_health_range all[] = {{200, 300}}, again[] = {{500, 600}};
static uint8_t ab[] = "ab";
static struct weft_health_bytes piece[] = {{ab, 1}, {ab + 1, 1}};
static const struct weft_probe_ops ops = {.done = done};
static const struct weft_sockaddr nowhere;

static void feed(struct weft_probe *p, const uint8_t *v, size_t n, bool eof)
{
	need(probe_bytes_add(&p->in, v, n) == 0);
	if (p->conf->http2)
		probe_h2_read(p, eof);
	else
		probe_http1_read(p, eof);
}

/* How it ends, -1: it does not. */
static int run(const struct weft_health_conf *conf, const uint8_t *v, size_t n, size_t cut,
	       bool eof)
{
	struct weft_probe p;
	int r;

	weft_probe_init(&p, conf, &ops, NULL, &nowhere, "host");
	p.running = true;
	p.reuse = true;
	ends = 0;
	r = conf->http2 ? probe_h2_request(&p) : 0;
	need(r == 0);
	if (conf->http2)
		need(probe_h2_take(&p) == 0);
	cut = cut < n ? cut : n;
	feed(&p, v, cut, false);
	if (p.running)
		feed(&p, v + cut, n - cut, eof);
	need(ends <= 1 && p.running == !ends);
	weft_probe_clear(&p);
	return ends ? (int)last.end : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weft_health_conf conf = {.method = "GET",
					.path = (char *)(uintptr_t) "/",
					.service = (char *)(uintptr_t) "",
					.body_max = 64,
					.expected = all,
					.n_expected = 1,
					.retriable = again,
					.n_retriable = 1,
					.receive = piece,
					.n_receive = 2};

	if (size < 2)
		return 0;
	switch (data[0] & 3) {
	case 0:
		need(run(&conf, data + 2, size - 2, data[1], data[0] & 4) ==
		     run(&conf, data + 2, size - 2, 0, data[0] & 4));
		break;
	case 1:
		conf.http2 = true;
		run(&conf, data + 2, size - 2, data[1], data[0] & 4);
		break;
	case 2:
		conf.http2 = true;
		conf.kind = WEFT_HEALTH_GRPC;
		conf.n_receive = 0;
		run(&conf, data + 2, size - 2, data[1], data[0] & 4);
		break;
	default:
		probe_grpc_serving(data + 2, size - 2);
		probe_payload_found(piece, 2, data + 2, size - 2);
	}
	return 0;
}
