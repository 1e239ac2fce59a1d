// SPDX-License-Identifier: Apache-2.0
/* Counters and hosts as JSON. */
#include <stdio.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "agent/health/internal.h"

/* Hosts of a pod's cluster as Envoy counts them, by checks alone. */
static void members_set(json_t *j, const struct hc_check *c)
{
	json_int_t n[WEFT_MARK_GONE + 1] = {0}; /* no session has that mark: its place is the healthy ones' */

	for (size_t i = 0; i < c->n; i++) {
		int mark = weft_health_mark(&c->session[i]->host);

		n[mark < 0 ? WEFT_MARK_GONE : mark]++;
	}
	json_object_set_new(j, "membership_total", json_integer((json_int_t)c->n));
	json_object_set_new(j, "membership_healthy", json_integer(n[WEFT_MARK_GONE]));
	json_object_set_new(j, "membership_degraded", json_integer(n[WEFT_MARK_DEGRADED]));
	json_object_set_new(j, "membership_excluded", json_integer(n[WEFT_MARK_EXCLUDED]));
}

static json_t *check_json(const struct hc_check *c)
{
	const struct weft_health_stats *s = &c->stats;
	json_t *j = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pod",
			      (int)c->pod->id, "cluster", c->spec->conf.cluster, "attempt",
			      (json_int_t)s->attempt, "success", (json_int_t)s->success, "failure",
			      (json_int_t)s->failure, "passive_failure",
			      (json_int_t)s->passive_failure, "network_failure",
			      (json_int_t)s->network_failure, "verify_cluster",
			      (json_int_t)s->verify_cluster, "healthy", (json_int_t)s->healthy,
			      "degraded", (json_int_t)s->degraded);

	if (j)
		members_set(j, c);
	return j;
}

static void check_append(json_t *list, const struct hc_check *c)
{
	json_array_append_new(list, check_json(c));
}

/* Of every pod's cluster that is in force. */
static json_t *list_make(const struct weft_health *h,
			 void (*append)(json_t *list, const struct hc_check *c))
{
	json_t *list = json_array();
	struct spec *s, *next;
	struct hc_check *c;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		LIST_FOREACH(c, &s->checks, link)
		{
			if (s->cluster_id)
				append(list, c);
		}
	}
	return list;
}

json_t *weft_health_stats_json(const struct weft_health *h)
{
	return list_make(h, check_append);
}

json_t *weft_health_limits_json(struct weft_health *h)
{
	uint64_t dropped;

	pthread_mutex_lock(&h->lock);
	dropped = h->told_dropped;
	pthread_mutex_unlock(&h->lock);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "hosts", (json_int_t)h->n_host,
			 "running", (json_int_t)h->n_running, "idle", (json_int_t)h->n_idle,
			 "unchecked", (json_int_t)h->unchecked, "postponed",
			 (json_int_t)h->postponed, "publish_failures",
			 (json_int_t)h->publish_failures, "withheld", (json_int_t)h->withheld,
			 "told_dropped", (json_int_t)dropped);
}

/* As Envoy's /clusters writes them, in its order. */
static const char *flags_text(const struct session *s, char buf[160])
{
	const struct weft_health_host *h = &s->host;

	snprintf(buf, 160, "%s%s%s%s%s%s", h->failed ? "/failed_active_hc" : "",
		 h->degraded ? "/degraded_active_hc" : "",
		 s->from ? "/pending_dynamic_removal" : "", h->pending ? "/pending_active_hc" : "",
		 h->excluded ? "/excluded_via_immediate_hc_fail" : "",
		 h->timeout ? "/active_hc_timeout" : "");
	return *buf ? buf : "healthy";
}

static void hosts_append(json_t *list, const struct hc_check *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct session *s = c->session[i];
		char host[300], flags[160];

		snprintf(host, sizeof(host), "%s:%u", s->target.address, s->target.port);
		json_array_append_new(
			list, json_pack("{s:i, s:s, s:s, s:s, s:b}", "pod", (int)c->pod->id,
					"cluster", c->spec->conf.cluster, "host", host,
					"health_flags", flags_text(s, flags), "checked",
					s->host.checked));
	}
}

json_t *weft_health_hosts_json(const struct weft_health *h)
{
	return list_make(h, hosts_append);
}
