// SPDX-License-Identifier: Apache-2.0
/* Statistics and the list of connections, for dump. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/proxy/breaker.h"
#include "agent/proxy/internal.h"

#define ADD(field) ret->field += __atomic_load_n(&s->field, __ATOMIC_RELAXED)

uint32_t weft_proxy_pools(const struct weft_proxy *p, uint32_t cell_cluster, uint32_t priority)
{
	return __atomic_load_n(&p->pools[breaker_pool_index(cell_cluster, priority)],
			       __ATOMIC_RELAXED);
}

void weft_proxy_stats(struct weft_proxy *p, struct weft_proxy_stats *ret)
{
	*ret = (struct weft_proxy_stats){0};
	for (unsigned int i = 0; i < p->n; i++) {
		const struct worker_stats *s = &p->worker[i].stats;

		ADD(connections);
		ADD(connections_total);
		ADD(upstream_active);
		ADD(upstream_idle);
		ADD(upstream_total);
		ADD(upstream_fail);
		ADD(retries);
		ADD(timeouts);
		ADD(tcp_total);
		ADD(not_captured);
		ADD(over_share);
		ADD(pool_overflow);
		ADD(protocol_errors);
		ADD(keepalive_timeouts);
		ADD(mirrored);
		ADD(mirrors_lost);
		ADD(spliced_bytes);
		ret->exchanges_total += __atomic_load_n(&s->exchanges, __ATOMIC_RELAXED);
		ret->decisions_honoured += __atomic_load_n(&s->honoured, __ATOMIC_RELAXED);
		ret->decisions_dropped += __atomic_load_n(&s->dropped, __ATOMIC_RELAXED);
	}
}

static json_t *addr_json(const struct weft_sockaddr *a)
{
	char text[INET6_ADDRSTRLEN], whole[INET6_ADDRSTRLEN + 10];
	bool v4 = a->family == AF_INET;

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->addr.w[3] : (const void *)a->addr.w, text,
		       sizeof(text)))
		return json_null();
	snprintf(whole, sizeof(whole), v4 ? "%s:%u" : "[%s]:%u", text, a->port);
	return json_string(whole);
}

struct listing {
	json_t *list;
	size_t max;
};

static json_t *down_json(const struct down *d)
{
	static const char *const states[] = {"sniff",  "idle",	  "exchange",
					     "tunnel", "streams", "closing"};

	return json_pack("{s:i, s:o, s:o, s:s, s:i, s:I, s:I, s:b, s:s?, s:o?}", "pod", (int)d->pod->id, "client",
			 addr_json(&d->client), "dst", addr_json(&d->dst), "state", states[d->state],
			 "exchanges", (int)d->exchanges, "received_bytes", (json_int_t)d->received,
			 "sent_bytes", (json_int_t)d->sent, "slot", d->slot != 0, "no_slot",
			 d->no_slot ? weft_handed_name((enum weft_handed)d->no_slot) : NULL, "upstream",
			 d->x && d->x->up ? addr_json(&d->x->up->addr) :
			 d->relay	  ? addr_json(&d->relay->addr) :
					    NULL);
}

static void list_worker(struct worker *w, void *arg)
{
	struct listing *l = arg;
	struct pod *p;
	struct down *d;

	TAILQ_FOREACH(p, &w->pods, link) {
		TAILQ_FOREACH(d, &p->downs, link) {
			if (!d->codec && json_array_size(l->list) < l->max)
				json_array_append_new(l->list, down_json(d));
		}
	}
}

json_t *weft_proxy_connections(struct weft_proxy *p, size_t max)
{
	struct listing l = {.list = json_array(), .max = max};

	for (unsigned int i = 0; l.list && i < p->n; i++)
		worker_call(&p->worker[i], list_worker, &l);
	return l.list;
}
