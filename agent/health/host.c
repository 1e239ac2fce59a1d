// SPDX-License-Identifier: Apache-2.0
#include "agent/health/host.h"

#include "agent/compile/compile.h"

void weft_health_host_init(struct weft_health_host *h, const struct weft_health_conf *conf)
{
	*h = (struct weft_health_host){.failed = true, .pending = conf->exclude_new};
}

void weft_health_host_gone(const struct weft_health_host *h, struct weft_health_stats *stats)
{
	stats->healthy -= !h->failed;
	stats->degraded -= h->degraded;
}

/* Who counts the excluded ones has to know. */
static enum weft_health_change pending_clear(struct weft_health_host *h,
					     enum weft_health_change change)
{
	bool was = h->pending;

	h->pending = false;
	return was ? WEFT_HEALTH_CHANGED : change;
}

enum weft_health_change weft_health_succeeded(struct weft_health_host *h,
					      const struct weft_health_conf *conf, bool degraded,
					      struct weft_health_stats *stats)
{
	enum weft_health_change change = WEFT_HEALTH_UNCHANGED;

	h->unhealthy = 0;
	if (h->failed) {
		change = WEFT_HEALTH_PENDING;
		/* the first result counts at once; a threshold of 0 is never reached */
		if (!h->checked || ++h->healthy == conf->healthy_threshold) {
			h->failed = h->timeout = h->excluded = false;
			stats->healthy++;
			change = WEFT_HEALTH_CHANGED;
		}
	}
	change = pending_clear(h, change);
	if (degraded != h->degraded) {
		h->degraded = degraded;
		stats->degraded += degraded ? 1 : UINT64_MAX;
		if (change == WEFT_HEALTH_UNCHANGED)
			change = WEFT_HEALTH_CHANGED;
	}
	stats->success++;
	h->checked = true;
	return change;
}

enum weft_health_change weft_health_failed(struct weft_health_host *h,
					   const struct weft_health_conf *conf,
					   enum weft_health_failure why,
					   struct weft_health_stats *stats)
{
	bool network = why == WEFT_HEALTH_NETWORK || why == WEFT_HEALTH_TIMEOUT;
	enum weft_health_change change = WEFT_HEALTH_UNCHANGED;

	h->healthy = 0;
	if (!h->failed) {
		change = WEFT_HEALTH_PENDING;
		/* what it says itself counts at once */
		if ((!network && why != WEFT_HEALTH_RETRIABLE) ||
		    ++h->unhealthy == conf->unhealthy_threshold) {
			h->failed = true;
			stats->healthy--;
			change = WEFT_HEALTH_CHANGED;
		}
	}
	h->timeout = why == WEFT_HEALTH_TIMEOUT && h->failed;
	change = pending_clear(h, change);
	stats->failure++;
	stats->network_failure += network;
	stats->passive_failure += why == WEFT_HEALTH_PASSIVE;
	h->checked = true;
	return change;
}

static uint64_t jittered(const struct weft_health_conf *conf, uint64_t base, uint64_t jitter,
			 uint64_t (*random)(void *ctx), void *ctx)
{
	uint64_t part = (uint64_t)conf->interval_jitter_percent * base / 100;

	if (part)
		base += random(ctx) % part;
	if (jitter)
		base += random(ctx) % jitter;
	return base ? base : 1;
}

uint64_t weft_health_interval(const struct weft_health_conf *conf, bool succeeded,
			      enum weft_health_change change, bool traffic,
			      uint64_t (*random)(void *ctx), void *ctx)
{
	bool edge = change == WEFT_HEALTH_PENDING;
	uint64_t base;

	if (!traffic)
		base = succeeded && !edge ? conf->no_traffic_healthy_ms : conf->no_traffic_ms;
	else if (succeeded)
		base = edge ? conf->healthy_edge_ms : conf->interval_ms;
	else
		base = edge ? conf->unhealthy_edge_ms : conf->unhealthy_ms;
	return jittered(conf, base, conf->interval_jitter_ms, random, ctx);
}

uint64_t weft_health_first(const struct weft_health_conf *conf, uint64_t (*random)(void *ctx),
			   void *ctx)
{
	return conf->initial_jitter_ms ? jittered(conf, 0, conf->initial_jitter_ms, random, ctx)
				       : 0;
}

int weft_health_mark(const struct weft_health_host *h)
{
	if (h->failed)
		return h->pending || h->excluded ? WEFT_MARK_EXCLUDED : WEFT_MARK_OUT;
	return h->degraded ? WEFT_MARK_DEGRADED : -1;
}
