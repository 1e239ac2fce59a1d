// SPDX-License-Identifier: Apache-2.0
/* Listeners of a view: each address belongs to one. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/compile/view_parts.h"

typedef Envoy__Config__Listener__V3__Listener listener;

static uint32_t run_listener(struct weft_build *b, const struct job *j)
{
	return weft_build_listener(b, (const void *)j->res->msg);
}

static void fail(struct view *v, const char *listener_name, const char *field, const char *why,
		 const char *what)
{
	char *resource;

	if (asprintf(&resource, "Listener/%s", listener_name) < 0)
		resource = NULL;
	v->err = err_first(v->err, weft_diag_add(v->diag, -EINVAL, resource, field, why, what));
	free(resource);
}

static bool is_any(const struct weft_sockaddr *a)
{
	return !a->addr.w[0] && !a->addr.w[1] && !a->addr.w[3] &&
	       a->addr.w[2] == (a->family == AF_INET ? htonl(0xffff) : 0);
}

/* One address of a listener in its table; two listeners cannot share one. */
static void place_put(struct view *v, const struct weft_resource *res,
		      const struct weft_sockaddr *addr, uint32_t off, const char *field)
{
	bool any = is_any(addr);
	struct weft_addr_key **list = any ? &v->wild : &v->exact;
	const char ***names = any ? &v->wild_name : &v->exact_name;
	size_t *n = any ? &v->n_wild : &v->n_exact;
	struct weft_addr_key *keys;
	const char **more;

	for (size_t i = 0; i < *n; i++) {
		if (!memcmp(&(*list)[i].addr, addr, sizeof(*addr))) {
			fail(v, res->name, field, "address is already used by listener %s",
			     (*names)[i]);
			return;
		}
	}
	keys = reallocarray(*list, *n + 1, sizeof(*keys));
	if (keys)
		*list = keys;
	more = reallocarray(*names, *n + 1, sizeof(*more));
	if (more)
		*names = more;
	if (!keys || !more) {
		v->err = err_first(v->err, -ENOMEM);
		return;
	}
	keys[*n] = (struct weft_addr_key){.addr = *addr, .val = off};
	more[(*n)++] = res->name;
}

static void address_put(struct view *v, const struct weft_resource *res,
			const Envoy__Config__Core__V3__Address *a, uint32_t off, const char *field)
{
	const Envoy__Config__Core__V3__SocketAddress *s;
	struct weft_sockaddr addr;

	if (!a || a->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS ||
	    a->socket_address->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP) {
		fail(v, res->name, field, "unsupported: only TCP socket_address%s", "");
		return;
	}
	s = a->socket_address;
	if (!weft_ip_parse(s->address, s->port_value, &addr)) {
		fail(v, res->name, field, "\"%s\" is not an IP address", s->address);
		return;
	}
	if (!addr.port) {
		fail(v, res->name, field, "unsupported: port 0%s", "");
		return;
	}
	place_put(v, res, &addr, off, field);
	if (s->ipv4_compat && is_any(&addr) && weft_ip_parse("0.0.0.0", s->port_value, &addr))
		place_put(v, res, &addr, off, field);
}

static void inbound_note(struct view *v, const struct weft_resource *res)
{
	char *resource;

	if (asprintf(&resource, "Listener/%s", res->name) < 0)
		return;
	weft_diag_add(&v->c->next_notes, 0, resource, "traffic_direction",
		      "kept for the server side, not used for outbound connections");
	free(resource);
}

void view_listeners_fill(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_LISTENER);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_LISTENER, i);
		const listener *l = (const void *)res->msg;
		struct job job = {.res = res, .run = run_listener};
		struct weft_compiled *e;
		char field[64];

		if (weft_listener_inbound(l)) {
			inbound_note(v, res);
			continue;
		}
		e = view_resolve(v, "listener", v->node, res->name, res->hash, &job);
		if (!e)
			continue;
		address_put(v, res, l->address, e->off, "address");
		for (size_t j = 0; j < l->n_additional_addresses; j++) {
			snprintf(field, sizeof(field), "additional_addresses[%zu].address", j);
			address_put(v, res, l->additional_addresses[j]->address, e->off, field);
		}
		if (weft_bool(l->use_original_dst, false)) {
			if (v->fallback)
				fail(v, res->name, "use_original_dst",
				     "unsupported: a second listener with it%s", "");
			v->fallback = e->off;
		}
		view_name_put(v, &v->name, WEFT_KIND_LISTENER_NAME, res->name, e->off);
		view_routes_fill(v, e);
		view_clusters_check(v, res, e);
		view_bind_check(v, e);
	}
}
