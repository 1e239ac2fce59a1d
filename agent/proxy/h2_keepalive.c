// SPDX-License-Identifier: Apache-2.0
/* PINGs of HTTP/2 connections (Http2ProtocolOptions.connection_keepalive). */
#include "agent/proxy/h2_keepalive.h"

#include <time.h>

#include "agent/proxy/internal.h"

/* One at a time. Its 8 bytes are the time in ms, as in Envoy: for who looks at them. */
static void ping(struct h2_keepalive *k)
{
	struct timespec now;
	uint8_t text[8];
	uint64_t ms;

	if (k->answer.at)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 0; i < 8; i++)
		text[i] = (uint8_t)(ms >> (56 - 8 * i));
	/* fails where the session has ended, or without memory: then nothing is waited for */
	if (nghttp2_submit_ping(k->session, NGHTTP2_FLAG_NONE, text))
		return;
	timer_set(k->worker, &k->answer, k->worker->now_ms + k->opt->ping_timeout_ms);
	k->due(k);
}

static void ping_over(struct worker *w, struct timer *t)
{
	(void)w;
	ping((struct h2_keepalive *)((char *)t - offsetof(struct h2_keepalive, send)));
}

static void answer_over(struct worker *w, struct timer *t)
{
	struct h2_keepalive *k =
		(struct h2_keepalive *)((char *)t - offsetof(struct h2_keepalive, answer));

	(void)w;
	k->over(k);
}

static void send_later(struct h2_keepalive *k)
{
	uint64_t ms = k->opt->ping_ms;

	if (!ms)
		return;
	if (k->opt->ping_jitter_ms)
		ms += worker_random(k->worker) % k->opt->ping_jitter_ms;
	timer_set(k->worker, &k->send, k->worker->now_ms + ms);
}

void h2_keepalive_start(struct h2_keepalive *k, struct worker *w, nghttp2_session *session,
			const struct weft_img_h2 *opt)
{
	k->worker = w;
	k->session = session;
	k->opt = opt;
	k->heard_ms = w->now_ms;
	k->send.fire = ping_over;
	k->answer.fire = answer_over;
	if (opt->ping_timeout_ms)
		send_later(k);
}

void h2_keepalive_heard(struct h2_keepalive *k)
{
	k->heard_ms = k->worker->now_ms;
}

void h2_keepalive_frame(struct h2_keepalive *k, const nghttp2_frame_hd *hd)
{
	bool is = hd->type == NGHTTP2_PING && hd->flags & NGHTTP2_FLAG_ACK;

	if (k->answer.at && !is)
		timer_set(k->worker, &k->answer, k->worker->now_ms + k->opt->ping_timeout_ms);
}

void h2_keepalive_answered(struct h2_keepalive *k)
{
	if (!k->opt->ping_timeout_ms)
		return;
	timer_clear(&k->answer);
	send_later(k);
}

void h2_keepalive_request(struct h2_keepalive *k)
{
	if (k->opt->ping_idle_ms && k->worker->now_ms - k->heard_ms > k->opt->ping_idle_ms)
		ping(k);
}

void h2_keepalive_end(struct h2_keepalive *k)
{
	timer_remove(&k->send);
	timer_remove(&k->answer);
}
