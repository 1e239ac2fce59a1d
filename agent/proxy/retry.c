// SPDX-License-Identifier: Apache-2.0
/* Whether a failed attempt is tried again, and when (RetryPolicy). */
#include <string.h>

#include "agent/proxy/breaker.h"
#include "agent/proxy/internal.h"

/* gRPC statuses that stand in the response's head. */
static bool grpc_retriable(uint32_t on, const struct response *r)
{
	static const struct {
		uint32_t bit, status;
	} kinds[] = {{WEFT_RETRY_CANCELLED, 1},
		     {WEFT_RETRY_DEADLINE_EXCEEDED, 4},
		     {WEFT_RETRY_RESOURCE_EXHAUSTED, 8},
		     {WEFT_RETRY_INTERNAL, 13},
		     {WEFT_RETRY_UNAVAILABLE, 14}};

	for (size_t i = 0; r->has_grpc_status && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (on & kinds[i].bit && r->grpc_status == kinds[i].status)
			return true;
	}
	return false;
}

static bool response_retriable(const struct exchange *x, const struct response *r)
{
	uint32_t on = x->retry_on, status = r->status;
	const uint32_t *codes =
		x->forward->n_retry_status ? weft_img_at(x->forward->retry_status) : NULL;

	/* what a rate limit refused is tried again only where that is asked for */
	if (r->rate_limited)
		return on & WEFT_RETRY_ENVOY_RATELIMITED;
	if (grpc_retriable(on, r))
		return true;
	if ((on & WEFT_RETRY_5XX && status >= 500) ||
	    (on & WEFT_RETRY_GATEWAY_ERROR && status >= 502 && status <= 504) ||
	    (on & WEFT_RETRY_RETRIABLE_4XX && status == 409))
		return true;
	for (uint32_t i = 0; on & WEFT_RETRY_STATUS_CODES && i < x->forward->n_retry_status; i++) {
		if (codes[i] == status)
			return true;
	}
	return asked_again(x, buf_at(&x->up->in), r);
}

static bool reset_retriable(const struct exchange *x, enum fail_why why)
{
	uint32_t on = x->retry_on;

	if (why == FAIL_OVERFLOW || why == FAIL_NO_HOST)
		return false;
	if (why == FAIL_REFUSED && on & WEFT_RETRY_REFUSED_STREAM)
		return true;
	if (on & (WEFT_RETRY_5XX | WEFT_RETRY_GATEWAY_ERROR | WEFT_RETRY_RESET))
		return true;
	if (why == FAIL_CONNECT || why == FAIL_CONNECT_TIMEOUT)
		return on & (WEFT_RETRY_CONNECT_FAILURE | WEFT_RETRY_RESET_BEFORE_REQUEST);
	return on & WEFT_RETRY_RESET_BEFORE_REQUEST && !x->wrote_any && why != FAIL_PER_TRY;
}

/* Of a request that asks for retries where no policy says. */
#define BACKOFF_BASE_MS 25u
#define BACKOFF_MAX_MS 250u

/* Full jitter below base * 2^(n-1), at most max. */
static uint64_t backoff_ms(struct exchange *x)
{
	bool policy = x->forward->flags & WEFT_FORWARD_HAS_RETRY;
	uint64_t cap = policy ? x->forward->backoff_base_ms : BACKOFF_BASE_MS;
	uint64_t max = policy ? x->forward->backoff_max_ms : BACKOFF_MAX_MS;

	for (uint32_t i = 1; i < x->attempts && cap < max; i++)
		cap *= 2;
	if (cap > max)
		cap = max;
	return cap ? worker_random(x->down->worker) % cap : 0;
}

bool exchange_try_again(struct exchange *x, uint64_t wait_ms)
{
	struct worker *w = x->down->worker;
	struct weft_cell_cluster *c;

	if (x->retry_off || x->resp_started)
		return false;
	if (!x->retries_left) {
		x->flags |= WEFT_FLAG_BIT(URX);
		return false;
	}
	c = weft_cell_cluster(x->cell_cluster);
	if (x->has_retry)
		weft_place_put(&c->retry_active[x->priority]);
	x->has_retry = weft_place_take(&c->retry_active[x->priority],
				       breaker_retries_max(&x->cluster->threshold[x->priority], c,
							   x->priority, !x->has_active));
	if (!x->has_retry) {
		x->flags |= WEFT_FLAG_BIT(UO);
		return false;
	}
	x->retries_left--;
	COUNT(c->rq_retry, 1);
	COUNT(w->stats.retries, 1);
	if (x->n_tried < PROXY_TRIED_MAX)
		x->tried[x->n_tried++] = x->endpoint;
	exchange_unlink_upstream(x, false);
	timer_clear(&x->per_try);
	timer_clear(&x->try_idle);
	timer_clear(&x->try_life);
	timer_set(w, &x->backoff, w->now_ms + (wait_ms ? wait_ms : backoff_ms(x)));
	down_watch(x->down);
	return true;
}

bool exchange_retry(struct exchange *x, enum fail_why why, const struct response *r)
{
	x->was_late = !r && why == FAIL_PER_TRY;
	return (r ? response_retriable(x, r) : reset_retriable(x, why)) &&
	       exchange_try_again(x, r ? reset_ms(x, buf_at(&x->up->in), r) : 0);
}
