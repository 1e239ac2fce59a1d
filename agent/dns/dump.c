// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <string.h>

#include "agent/dns/names.h"
#include "agent/enroll/pod.h"
#include "agent/json_out.h"

static json_t *name_json(const struct name *m)
{
	const struct names *c = m->of;
	json_t *addresses = json_array();
	char text[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < m->n; i++)
		json_array_append_new(addresses, json_string(weft_addr_text(&m->addr[i], text)));
	return json_pack("{s:o, s:s, s:o, s:o, s:b, s:I, s:I, s:o}", "cluster",
			 weft_json_bytes(c->res->name, strlen(c->res->name)), "type",
			 c->conf.logical ? "LOGICAL_DNS" : "STRICT_DNS", "name",
			 weft_json_bytes(m->text, strlen(m->text)), "addresses", addresses,
			 "answered", m->answered, "ttl", (json_int_t)m->ttl, "updated_ms",
			 (json_int_t)m->updated_ms, "error",
			 m->error ? json_string(m->error) : json_null());
}

json_t *weft_dns_names_json(const struct weft_dns *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		for (size_t j = 0; j < d->v[i]->n; j++)
			json_array_append_new(list, name_json(&d->v[i]->name[j]));
	}
	return list;
}

json_t *weft_dns_stats_json(const struct weft_dns *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		const struct names *c = d->v[i];

		json_array_append_new(
			list, json_pack("{s:o, s:I, s:I, s:I, s:I}", "cluster",
					weft_json_bytes(c->res->name, strlen(c->res->name)),
					"update_attempt", (json_int_t)c->attempts, "update_success",
					(json_int_t)c->successes, "update_failure",
					(json_int_t)c->failures, "update_no_rebuild",
					(json_int_t)c->no_rebuilds));
	}
	return list;
}
