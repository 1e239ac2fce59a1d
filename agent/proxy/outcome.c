// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/outcome.h"

#include <stdio.h>
#include <string.h>

#include "agent/proxy/local.h"
#include "agent/proxy/limiter.h"
#include "agent/proxy/log.h"
#include "agent/proxy/mutate.h"

/* ---- what it is filled with ---- */

void outcome_details(struct outcome *o, const char *details)
{
	o->details = details;
	o->n_details = (uint32_t)strlen(details);
}

void outcome_route(struct outcome *o, struct weft_img_str name)
{
	o->n_route = name.len < sizeof(o->text) ? name.len : (uint32_t)sizeof(o->text);
	o->route = o->text;
	if (o->n_route)
		memcpy(o->text, weft_img_at(name.off), o->n_route);
}

void outcome_image(struct outcome *o, struct weft_img_str details)
{
	o->details = details.len ? weft_img_at(details.off) : NULL;
	o->n_details = details.len;
}

void outcome_reset(struct outcome *o, bool started, const char *why, const char *failure)
{
	int n = snprintf(o->text, sizeof(o->text), "upstream_reset_%s_response_started{%s%s%s}",
			 started ? "after" : "before", why, *failure ? "|" : "", failure);

	o->n_failure = n < (int)sizeof(o->text) ? (uint32_t)strlen(failure) : 0;
	o->failure = o->n_failure ? o->text + n - 1 - o->n_failure : NULL;
	for (char *c = o->text; *c; c++)
		if (*c == ' ')
			*c = '_';
	o->details = o->text;
	o->n_details = n < (int)sizeof(o->text) ? (uint32_t)n : (uint32_t)sizeof(o->text) - 1;
}

struct outcome *outcome_of(struct down *d)
{
	return d->x ? &d->x->outcome : d->early;
}

void outcome_connected(struct exchange *x)
{
	struct outcome *o = &x->outcome;

	if (!outcome_is_logged(x))
		return;
	o->remote = x->up->addr;
	o->http2 = x->up->stream;
	if (!upstream_local(x->up, &o->local))
		o->local.family = 0;
}

bool outcome_is_logged(const struct exchange *x)
{
	return x && x->hcm->logs && !x->down->mirror;
}

int outcome_head(struct down *d, uint32_t status, const uint8_t *lines, size_t len)
{
	struct outcome *o = outcome_of(d);
	struct worker *w = d->worker;
	struct lines l = {.w = w, .b = o ? &o->head : NULL};
	int r;

	if (!o)
		return 0;
	o->code = status;
	if (d->x && !outcome_is_logged(d->x))
		return 0;
	buf_free(w, &o->head);
	r = buf_add(w, &o->head, lines, len);
	if (!r) {
		lines_lower(&l);
		lines_remove(&l, "transfer-encoding", 17);
	}
	return r;
}

int outcome_said(struct down *d, size_t from)
{
	const uint8_t *p = buf_at(&d->out) + from, *end = buf_at(&d->out) + buf_len(&d->out);
	const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
	const uint8_t *blank = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);
	struct outcome *o = outcome_of(d);

	if (!o || !lf || !blank || lf - p < 12)
		return 0;
	o->sent = (uint64_t)(end - blank - 4);
	/* one without lines ends where its first does */
	return outcome_head(d, (uint32_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0'),
			    lf + 1, blank > lf ? (size_t)(blank + 2 - lf - 1) : 0);
}

void outcome_trailers(struct exchange *x, const struct buf *trailers)
{
	struct outcome *o = &x->outcome;

	/* without memory a log does without them */
	if (buf_add(x->down->worker, &o->trailers, buf_at(trailers), buf_len(trailers)))
		buf_free(x->down->worker, &o->trailers);
}

/* ---- its end ---- */

/* Flags that Envoy's log knows, and what makes replies does not yet (local.c: flags_now()). */
static uint32_t flags_late(const struct exchange *x)
{
	static const uint32_t of_outcome[WEFT_OUTCOME__MAX] = {
		[WEFT_OUTCOME_RATE_LIMITED] = WEFT_FLAG_BIT(RL),
	};
	uint32_t outcome = x->dec.outcome;

	return outcome < WEFT_OUTCOME__MAX ? of_outcome[outcome] : 0;
}

/* Its client, or its connection, went away before the response was whole. */
static void cut(struct down *d, struct outcome *o)
{
	struct down *conn = down_conn(d);
	const struct down *by = d->why_end ? d : conn;

	if (by->why_end) {
		o->flags |= by->why_flags;
		outcome_details(o, by->why_end);
	} else {
		o->flags |= WEFT_FLAG_BIT(DC);
		outcome_details(o, "downstream_remote_disconnect");
	}
}

static void count(uint32_t stat, const struct outcome *o)
{
	struct weft_http_stat *s = &weft_state_head()->http[stat % WEFT_HTTP_STATS_MAX];
	uint32_t class = o->code / 100;

	COUNT(s->rq[class > 5 ? 0 : class], 1);
	if (o->flags & (WEFT_FLAG_BIT(DC) | WEFT_FLAG_BIT(DR)))
		COUNT(s->rq[WEFT_HTTP_STAT_RESET], 1);
}

void outcome_end(struct exchange *x)
{
	struct down *d = x->down;
	struct outcome *o = &x->outcome;

	if (!d->mirror && !o->passed && x->hcm) {
		if (!o->ended)
			cut(d, o);
		o->flags |= flags_now(d) | flags_late(x);
		count(x->stat, o);
		log_exchange(x, WEFT_LOG_DOWNSTREAM_END);
	}
	buf_free(d->worker, &o->head);
	buf_free(d->worker, &o->trailers);
}

void outcome_early(struct down *d, const struct weft_req *req, struct outcome *o)
{
	const struct weft_img_hcm *h;
	struct worker *w = d->worker;
	struct buf head = {0};

	if (!o->ended)
		cut(d, o);
	if (d->hold.over || (d->hold.waits && !limiter_asks(d->hold.limiter)))
		o->flags |= WEFT_FLAG_BIT(DI);
	if (w->proxy) { /* else it is a preview */
		image_enter(d);
		h = local_manager(d);
		if (h)
			count(h->stat, o);
		if (h && h->logs && w->proxy->access && (!req || !request_sent(w, req, &head)))
			log_early(d, &head, o);
		image_leave(d);
	}
	buf_free(w, &head);
	buf_free(w, &o->head);
}

static void log_over(struct worker *w, struct timer *t)
{
	struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, log));

	log_exchange(x, WEFT_LOG_DOWNSTREAM_PERIODIC);
	timer_set(w, &x->log, w->now_ms + x->log_ms);
}

void outcome_begin(struct exchange *x)
{
	struct worker *w = x->down->worker;
	const struct weft_img_logs *logs;

	if (!outcome_is_logged(x))
		return;
	logs = weft_img_at(x->hcm->logs);
	if (logs->flags & WEFT_LOGS_AT_START)
		log_exchange(x, WEFT_LOG_DOWNSTREAM_START);
	x->log_ms = logs->interval_ms;
	x->log.fire = log_over;
	if (x->log_ms)
		timer_set(w, &x->log, w->now_ms + x->log_ms);
}

void outcome_tunnel(struct exchange *x)
{
	const struct weft_img_logs *logs = outcome_is_logged(x) ? weft_img_at(x->hcm->logs) : NULL;

	if (logs && logs->flags & WEFT_LOGS_AT_TUNNEL)
		log_exchange(x, WEFT_LOG_TUNNEL_ESTABLISHED);
}
