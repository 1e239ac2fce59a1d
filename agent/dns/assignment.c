// SPDX-License-Identifier: Apache-2.0
#include "agent/dns/assignment.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/enroll/pod.h"

typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LocalityLbEndpoints locality;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;
typedef Envoy__Config__Endpoint__V3__Endpoint__AdditionalAddress additional;

static ProtobufCMessage *copy(const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	ProtobufCMessage *out = NULL;
	uint8_t *bytes = malloc(n + 1);

	if (bytes) {
		protobuf_c_message_pack(msg, bytes);
		out = protobuf_c_message_unpack(msg->descriptor, NULL, n, bytes);
	}
	free(bytes);
	return out;
}

/* protobuf-c's strings that are unset are one shared constant. */
static int string_set(char **at, const char *text)
{
	char *s = strdup(text);

	if (!s)
		return -ENOMEM;
	if (*at != (const char *)protobuf_c_empty_string)
		free(*at);
	*at = s;
	return 0;
}

/* Those behind the first, at the same port. */
static int others_add(Envoy__Config__Endpoint__V3__Endpoint *e, const struct weft_addresses *all)
{
	char text[INET6_ADDRSTRLEN];
	int r = 0;

	e->additional_addresses = calloc(all->n, sizeof(*e->additional_addresses));
	if (!e->additional_addresses)
		return -ENOMEM;
	for (size_t i = 1; r == 0 && i < all->n; i++) {
		additional *a = calloc(1, sizeof(*a));

		if (!a)
			return -ENOMEM;
		envoy__config__endpoint__v3__endpoint__additional_address__init(a);
		e->additional_addresses[e->n_additional_addresses++] = a;
		a->address = (void *)copy(&e->address->base);
		r = a->address ? string_set(&a->address->socket_address->address,
					    weft_addr_text(&all->addr[i], text))
			       : -ENOMEM;
	}
	return r;
}

/* What the configuration has of them is not looked at. */
static void others_free(Envoy__Config__Endpoint__V3__Endpoint *e)
{
	for (size_t i = 0; i < e->n_additional_addresses; i++)
		protobuf_c_message_free_unpacked(&e->additional_addresses[i]->base, NULL);
	free(e->additional_addresses);
	e->additional_addresses = NULL;
	e->n_additional_addresses = 0;
}

static lb_endpoint *host_new(const lb_endpoint *e, const struct weft_addr *addr)
{
	lb_endpoint *out = (lb_endpoint *)(void *)copy(&e->base);
	Envoy__Config__Core__V3__SocketAddress *s =
		out ? out->endpoint->address->socket_address : NULL;
	char text[INET6_ADDRSTRLEN];
	int r = s ? 0 : -ENOMEM;

	if (!r && !*out->endpoint->hostname)
		r = string_set(&out->endpoint->hostname, s->address);
	if (!r)
		r = string_set(&s->address, weft_addr_text(addr, text));
	if (!r)
		return out;
	if (out)
		protobuf_c_message_free_unpacked(&out->base, NULL);
	return NULL;
}

static lb_endpoint *logical_new(const lb_endpoint *e, const struct weft_addresses *all)
{
	lb_endpoint *out = host_new(e, &all->addr[0]);

	if (!out)
		return NULL;
	others_free(out->endpoint);
	if (all->n == 1 || others_add(out->endpoint, all) == 0)
		return out;
	protobuf_c_message_free_unpacked(&out->base, NULL);
	return NULL;
}

/* The locality's own endpoints give way to those of the addresses. */
static int locality_fill(locality *l, const struct weft_addresses *hosts, bool logical)
{
	lb_endpoint **list;
	size_t n = 0, sum = 0;

	for (size_t i = 0; i < l->n_lb_endpoints; i++)
		sum += logical ? hosts[i].n != 0 : hosts[i].n;
	list = calloc(sum + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < l->n_lb_endpoints; i++) {
		for (size_t j = 0; j < hosts[i].n && !(logical && j); j++) {
			list[n] = logical ? logical_new(l->lb_endpoints[i], &hosts[i])
					  : host_new(l->lb_endpoints[i], &hosts[i].addr[j]);
			if (list[n])
				n++;
		}
	}
	for (size_t i = 0; i < l->n_lb_endpoints; i++)
		protobuf_c_message_free_unpacked(&l->lb_endpoints[i]->base, NULL);
	free(l->lb_endpoints);
	l->lb_endpoints = list;
	l->n_lb_endpoints = n;
	return n == sum ? 0 : -ENOMEM;
}

int weft_assignment_resolve(const assignment *a, const struct weft_addresses *hosts, bool logical,
			    const char *name, struct weft_resource **ret)
{
	assignment *out = (assignment *)(void *)copy(&a->base);
	int r = out ? string_set(&out->cluster_name, name) : -ENOMEM;

	for (size_t i = 0; !r && i < out->n_endpoints; i++) {
		size_t n = out->endpoints[i]->n_lb_endpoints;

		r = locality_fill(out->endpoints[i], hosts, logical);
		hosts += n;
	}
	if (r < 0) {
		if (out)
			protobuf_c_message_free_unpacked(&out->base, NULL);
		return r;
	}
	return weft_resource_from_msg(WEFT_XDS_ENDPOINT, &out->base, "", 0, NULL, ret);
}
