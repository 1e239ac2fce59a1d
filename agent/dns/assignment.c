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

/* The locality's own endpoints give way to those of the addresses. */
static int locality_fill(locality *l, const struct weft_addresses *hosts)
{
	lb_endpoint **list;
	size_t n = 0, sum = 0;

	for (size_t i = 0; i < l->n_lb_endpoints; i++)
		sum += hosts[i].n;
	list = calloc(sum + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < l->n_lb_endpoints; i++) {
		for (size_t j = 0; j < hosts[i].n; j++) {
			list[n] = host_new(l->lb_endpoints[i], &hosts[i].addr[j]);
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

int weft_assignment_resolve(const assignment *a, const struct weft_addresses *hosts, const char *name,
			    struct weft_resource **ret)
{
	assignment *out = (assignment *)(void *)copy(&a->base);
	int r = out ? string_set(&out->cluster_name, name) : -ENOMEM;

	for (size_t i = 0; !r && i < out->n_endpoints; i++) {
		size_t n = out->endpoints[i]->n_lb_endpoints;

		r = locality_fill(out->endpoints[i], hosts);
		hosts += n;
	}
	if (r < 0) {
		if (out)
			protobuf_c_message_free_unpacked(&out->base, NULL);
		return r;
	}
	return weft_resource_from_msg(WEFT_XDS_ENDPOINT, &out->base, "", 0, NULL, ret);
}
