// SPDX-License-Identifier: Apache-2.0
#include "agent/outlier/detector.h"

#include <math.h>

static_assert((int)WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE == (int)WEFT_RUN_GATEWAY &&
		      (int)WEFT_EJECT_CONSECUTIVE_5XX == (int)WEFT_RUN_5XX &&
		      (int)WEFT_EJECT_CONSECUTIVE_LOCAL_ORIGIN_FAILURE == (int)WEFT_RUN_LOCAL,
	      "ejections by a run");

const char *weft_ejection_name(enum weft_ejection why)
{
	static const char *const names[] = {
		"consecutive_gateway_failure",	    "consecutive_5xx",
		"consecutive_local_origin_failure", "success_rate",
		"local_origin_success_rate",	    "failure_percentage",
		"local_origin_failure_percentage"};

	return why < WEFT_EJECT__MAX ? names[why] : "";
}

void weft_detector_host_init(struct weft_detector_host *h, uint32_t id)
{
	*h = (struct weft_detector_host){.id = id, .rate = {-1, -1}};
}

static void run_clear(const struct weft_detector_host *h, int run)
{
	if (h->cell)
		__atomic_store_n(&h->cell->run[run], 0, __ATOMIC_RELAXED);
}

/* ---- ejection and return ---- */

static bool room(const struct weft_detector *d)
{
	uint32_t most = d->conf.max_percent < 100 ? d->conf.max_percent : 100;

	if (d->conf.always_one && !d->active)
		return true;
	return 100.0 * (d->active + 1) / (double)d->n <= most;
}

static void eject(struct weft_detector *d, struct weft_detector_host *h, enum weft_ejection why,
		  uint64_t now_ms)
{
	const struct weft_img_outlier *c = &d->conf;

	d->stats.detected[why]++;
	if (!room(d)) {
		d->stats.overflow++;
		return;
	}
	if (why == WEFT_EJECT_CONSECUTIVE_5XX || why == WEFT_EJECT_SUCCESS_RATE)
		d->stats.total++;
	if (d->ops->random(d->ops->ctx) % 100 >= c->enforce[why])
		return;
	d->active++;
	d->stats.enforced_total++;
	d->stats.enforced[why]++;
	h->ejected = true;
	h->why = why;
	h->ejections++;
	h->ejected_ms = now_ms;
	h->jitter_ms = d->ops->random(d->ops->ctx) % ((uint64_t)c->jitter_ms + 1);
	if ((uint64_t)h->backoff * c->base_ms < (uint64_t)c->max_ms + c->base_ms)
		h->backoff++;
	d->ops->changed(d->ops->ctx, d, h);
}

static void bring_back(struct weft_detector *d, struct weft_detector_host *h, uint64_t now_ms)
{
	d->active--;
	h->ejected = false;
	h->returned = true;
	h->returned_ms = now_ms;
	for (int run = 0; run < WEFT_RUN__MAX; run++)
		run_clear(h, run);
	d->ops->changed(d->ops->ctx, d, h);
}

void weft_detector_return(struct weft_detector *d, struct weft_detector_host *h, uint64_t now_ms)
{
	if (h->ejected)
		bring_back(d, h, now_ms);
}

void weft_detector_run(struct weft_detector *d, struct weft_detector_host *h,
		       enum weft_failures run, uint64_t now_ms)
{
	if (h->ejected)
		return;
	eject(d, h, (enum weft_ejection)run, now_ms);
	if (run == WEFT_RUN_5XX)
		d->stats.consecutive_5xx++;
	run_clear(h, (int)run);
}

/* ---- the end of an interval ---- */

static void return_check(struct weft_detector *d, struct weft_detector_host *h, uint64_t now_ms)
{
	uint64_t time = (uint64_t)d->conf.base_ms * h->backoff;

	if (!h->ejected)
		return;
	if (time > d->conf.max_ms)
		time = d->conf.max_ms;
	if (time + h->jitter_ms <= now_ms - h->ejected_ms)
		bring_back(d, h, now_ms);
}

static uint32_t volume(const struct weft_detector_host *h, int which)
{
	return (uint32_t)h->window[which];
}

static double success_rate(const struct weft_detector_host *h, int which)
{
	return (double)(h->window[which] >> 32) * 100.0 / volume(h, which);
}

/* Not ejected, and as many requests as this takes. */
static bool counts(const struct weft_detector_host *h, int which, uint32_t least)
{
	return h->rate[which] >= 0 && volume(h, which) && volume(h, which) >= least;
}

static void threshold_fill(struct weft_detector *d, int which, size_t n, double sum)
{
	double variance = 0;

	d->mean[which] = sum / (double)n;
	for (size_t i = 0; i < d->n; i++) {
		const struct weft_detector_host *h = &d->host[i];

		if (counts(h, which, d->conf.rate_volume))
			variance += pow(success_rate(h, which) - d->mean[which], 2);
	}
	variance /= (double)n;
	d->threshold[which] = d->mean[which] - d->conf.rate_factor / 1000.0 * sqrt(variance);
}

static void rate_judge(struct weft_detector *d, int which, uint64_t now_ms)
{
	enum weft_ejection why = which == WEFT_WINDOW_EXTERNAL
					 ? WEFT_EJECT_SUCCESS_RATE
					 : WEFT_EJECT_LOCAL_ORIGIN_SUCCESS_RATE;
	double sum = 0;
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++) {
		if (counts(&d->host[i], which, d->conf.rate_volume)) {
			sum += success_rate(&d->host[i], which);
			n++;
		}
	}
	if (!n || n < d->conf.rate_hosts)
		return;
	threshold_fill(d, which, n, sum);
	for (size_t i = 0; i < d->n; i++) {
		struct weft_detector_host *h = &d->host[i];

		if (counts(h, which, d->conf.rate_volume) &&
		    success_rate(h, which) < d->threshold[which]) {
			d->stats.success_rate++;
			eject(d, h, why, now_ms);
		}
	}
}

/* Who was ejected by its success rate just now is not once more (Envoy's count of active ejections
 * would never fall again). */
static void percentage_judge(struct weft_detector *d, int which, uint64_t now_ms)
{
	enum weft_ejection why = which == WEFT_WINDOW_EXTERNAL
					 ? WEFT_EJECT_FAILURE_PERCENTAGE
					 : WEFT_EJECT_LOCAL_ORIGIN_FAILURE_PERCENTAGE;
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += counts(&d->host[i], which, d->conf.failure_volume);
	if (!n || n < d->conf.failure_hosts)
		return;
	for (size_t i = 0; i < d->n; i++) {
		struct weft_detector_host *h = &d->host[i];

		if (!h->ejected && counts(h, which, d->conf.failure_volume) &&
		    100.0 - success_rate(h, which) >= d->conf.failure_percent)
			eject(d, h, why, now_ms);
	}
}

static void window_judge(struct weft_detector *d, int which, uint64_t now_ms)
{
	d->mean[which] = d->threshold[which] = -1;
	if (d->n < d->conf.rate_hosts && d->n < d->conf.failure_hosts)
		return;
	for (size_t i = 0; i < d->n; i++) {
		struct weft_detector_host *h = &d->host[i];

		if (!h->ejected && volume(h, which))
			h->rate[which] = success_rate(h, which);
	}
	rate_judge(d, which, now_ms);
	percentage_judge(d, which, now_ms);
}

void weft_detector_interval(struct weft_detector *d, uint64_t now_ms)
{
	for (size_t i = 0; i < d->n; i++) {
		struct weft_detector_host *h = &d->host[i];

		return_check(d, h, now_ms);
		for (int k = 0; k < WEFT_WINDOW__MAX; k++) {
			h->window[k] = h->cell ? __atomic_exchange_n(&h->cell->window[k], 0,
								     __ATOMIC_RELAXED)
					       : 0;
			h->rate[k] = -1;
		}
	}
	for (int k = 0; k < WEFT_WINDOW__MAX; k++)
		window_judge(d, k, now_ms);
	for (size_t i = 0; i < d->n; i++) {
		struct weft_detector_host *h = &d->host[i];

		if (!h->ejected && h->returned && now_ms - h->returned_ms >= d->conf.interval_ms &&
		    h->backoff)
			h->backoff--;
	}
}
