// SPDX-License-Identifier: Apache-2.0
/* Counters and ejected hosts as JSON. */
#include <string.h>

#include "agent/json_out.h"
#include "agent/outlier/internal.h"

struct out {
	const struct weft_outlier *o;
	json_t *list;
};

static void put(json_t *j, const char *prefix, const char *name, uint64_t value)
{
	char key[96];

	snprintf(key, sizeof(key), "ejections_%s%s", prefix, name);
	json_object_set_new(j, key, json_integer((json_int_t)value));
}

static json_t *name_json(const struct weft_outlier *o, uint32_t id)
{
	const char *kind, *name = weft_compiler_state_name(o->cfg.compiler, id, &kind);

	return weft_json_bytes(name ? name : "", name ? strlen(name) : 0);
}

static void stats_add(void *ctx, const struct watch *w)
{
	struct out *out = ctx;
	const struct weft_detector_stats *s = &w->d.stats;
	json_t *j = json_pack("{s:i, s:o}", "pod", (int)w->pod, "cluster",
			      name_json(out->o, w->cluster));

	put(j, "", "active", w->d.active);
	put(j, "", "overflow", s->overflow);
	put(j, "", "enforced_total", s->enforced_total);
	for (int i = 0; i < WEFT_EJECT__MAX; i++) {
		put(j, "enforced_", weft_ejection_name((enum weft_ejection)i), s->enforced[i]);
		put(j, "detected_", weft_ejection_name((enum weft_ejection)i), s->detected[i]);
	}
	put(j, "", "total", s->total);
	put(j, "", "consecutive_5xx", s->consecutive_5xx);
	put(j, "", "success_rate", s->success_rate);
	json_array_append_new(out->list, j);
}

json_t *weft_outlier_stats_json(const struct weft_outlier *o)
{
	struct out out = {.o = o, .list = json_array()};

	watches_each(o, stats_add, &out);
	return out.list;
}

json_t *weft_outlier_publishing_json(const struct weft_outlier *o)
{
	return json_pack("{s:I, s:I, s:b}", "publish_failures", (json_int_t)o->publish_failures,
			 "withheld", (json_int_t)o->withheld, "withheld_now", o->withheld_now);
}

static void hosts_add(void *ctx, const struct watch *w)
{
	struct out *out = ctx;
	uint64_t now = out->o->cfg.now_ms(out->o->cfg.ctx);

	for (size_t i = 0; i < w->d.n; i++) {
		const struct weft_detector_host *h = &w->d.host[i];
		uint64_t time = (uint64_t)w->d.conf.base_ms * h->backoff;

		if (!h->ejected)
			continue;
		time = (time < w->d.conf.max_ms ? time : w->d.conf.max_ms) + h->jitter_ms;
		json_array_append_new(
			out->list,
			json_pack("{s:i, s:o, s:o, s:s, s:I, s:I, s:i}", "pod", (int)w->pod,
				  "cluster", name_json(out->o, w->cluster), "host",
				  name_json(out->o, h->id), "reason", weft_ejection_name(h->why),
				  "ejected_ms_ago", (json_int_t)(now - h->ejected_ms), "for_ms",
				  (json_int_t)time, "ejections", (int)h->ejections));
	}
}

json_t *weft_outlier_hosts_json(const struct weft_outlier *o)
{
	struct out out = {.o = o, .list = json_array()};

	watches_each(o, hosts_add, &out);
	return out.list;
}
