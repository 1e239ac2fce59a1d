// SPDX-License-Identifier: Apache-2.0
/* The addresses of one host: an endpoint's additional ones, or all of a name of LOGICAL_DNS. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "agent/compile/addresses.h"

typedef Envoy__Config__Endpoint__V3__Endpoint endpoint;
typedef Envoy__Config__Cluster__V3__UpstreamConnectionOptions__HappyEyeballsConfig eyeballs;

/* Everything of the list, in its order. false: told, or without memory. */
static bool parse_all(struct weft_build *b, const endpoint *e, const char *field,
		      struct weft_sockaddr *out)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < e->n_additional_addresses; i++) {
		const Envoy__Config__Core__V3__Address *a = e->additional_addresses[i]->address;

		weft_field(at, field, "endpoint.additional_addresses[%zu].address", i);
		if (!a || !a->address_case) {
			weft_build_fail(b, at, "is required");
			return false;
		}
		if (a->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS) {
			weft_build_fail(b, at, "unsupported: no socket_address");
			return false;
		}
		if (!weft_build_socket(b, a->socket_address, at))
			return false;
		if (!weft_ip_parse(a->socket_address->address, a->socket_address->port_value,
				   &out[i])) {
			weft_build_fail(b, at, "\"%s\" is not an IP address",
					a->socket_address->address);
			return false;
		}
	}
	return true;
}

/* Index of the next one from i on that is, or is not, of the family; n: none. */
static size_t next_of(const struct weft_sockaddr *v, size_t n, size_t i, uint16_t family, bool is)
{
	while (i < n && (v[i].family == family) != is)
		i++;
	return i;
}

/*
 * Envoy's HappyEyeballsConnectionProvider::sortAddresses: so many of one family, one of the other,
 * in turn; what is left of either at the end.
 */
static void families_mix(const struct weft_sockaddr *v, size_t n, const eyeballs *conf,
			 struct weft_sockaddr *out)
{
	uint16_t family = v[0].family;
	uint32_t count = conf ? weft_u32(conf->first_address_family_count, 1) : 1;
	size_t first, other, n_out = 0;

	if (conf &&
	    conf->first_address_family_version ==
		    ENVOY__CONFIG__CLUSTER__V3__UPSTREAM_CONNECTION_OPTIONS__FIRST_ADDRESS_FAMILY_VERSION__V4)
		family = AF_INET;
	if (conf &&
	    conf->first_address_family_version ==
		    ENVOY__CONFIG__CLUSTER__V3__UPSTREAM_CONNECTION_OPTIONS__FIRST_ADDRESS_FAMILY_VERSION__V6)
		family = AF_INET6;
	first = next_of(v, n, 0, family, true);
	other = next_of(v, n, 0, family, false);
	while (first < n || other < n) {
		for (uint32_t i = 0; i < count && first < n; i++) {
			out[n_out++] = v[first];
			first = next_of(v, n, first + 1, family, true);
		}
		if (other < n) {
			out[n_out++] = v[other];
			other = next_of(v, n, other + 1, family, false);
		}
	}
}

void weft_build_eyeballs(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c)
{
	const Envoy__Config__Cluster__V3__UpstreamConnectionOptions *o =
		c->upstream_connection_options;

	if (!o)
		return;
	weft_build_fields(b, &o->base, "upstream_connection_options");
	if (o->happy_eyeballs_config)
		weft_build_fields(b, &o->happy_eyeballs_config->base,
				  "upstream_connection_options.happy_eyeballs_config");
}

uint32_t weft_build_addresses(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			      const endpoint *e, const struct weft_sockaddr *addr,
			      const char *field)
{
	const Envoy__Config__Cluster__V3__UpstreamConnectionOptions *o =
		c->upstream_connection_options;
	size_t n = e->n_additional_addresses + 1, len;
	struct weft_sockaddr *all;
	struct weft_img_addresses *out;
	uint32_t off = 0;

	if (n == 1)
		return 0;
	len = sizeof(*out) + n * sizeof(*all);
	all = calloc(n, sizeof(*all));
	out = calloc(1, len);
	if (!all || !out) {
		b->err = b->err ? b->err : -ENOMEM;
	} else {
		all[0] = *addr;
		out->n = (uint32_t)n;
		if (parse_all(b, e, field, all + 1)) {
			families_mix(all, n, o ? o->happy_eyeballs_config : NULL,
				     (struct weft_sockaddr *)(out + 1));
			off = weft_build_put(b, out, len);
		}
	}
	free(all);
	free(out);
	return off;
}
