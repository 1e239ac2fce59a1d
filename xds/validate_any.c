// SPDX-License-Identifier: Apache-2.0
/*
 * Which types may stand in which Any. Envoy finds an extension by the type inside typed_config and
 * refuses what is not registered for that place.
 */

#include <string.h>

#include "envoy/config/listener/v3/listener_components.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "xds/any.h"
#include "xds/validate_internal.h"

#define HCM_PREFIX "envoy.extensions.filters.network.http_connection_manager.v3."

/* Types by the name of the message (a map's entry is a message too) that the Any is a field of. */
static const struct {
	const char *parent;
	enum validate_role role;
} roles[] = {
	{HCM_PREFIX "HttpFilter", VALIDATE_ROLE_HTTP_FILTER},
	{"envoy.config.listener.v3.Filter", VALIDATE_ROLE_NETWORK_FILTER},
	{"envoy.config.cluster.v3.Filter", VALIDATE_ROLE_NETWORK_FILTER},
	{"envoy.config.listener.v3.ListenerFilter", VALIDATE_ROLE_LISTENER_FILTER},
	{"envoy.config.core.v3.TransportSocket", VALIDATE_ROLE_TRANSPORT},
	{"envoy.config.route.v3.RouteConfiguration.TypedPerFilterConfigEntry",
	 VALIDATE_ROLE_PER_ROUTE},
	{"envoy.config.route.v3.VirtualHost.TypedPerFilterConfigEntry", VALIDATE_ROLE_PER_ROUTE},
	{"envoy.config.route.v3.Route.TypedPerFilterConfigEntry", VALIDATE_ROLE_PER_ROUTE},
	{"envoy.config.route.v3.WeightedCluster.ClusterWeight.TypedPerFilterConfigEntry",
	 VALIDATE_ROLE_PER_ROUTE},
	{"envoy.config.route.v3.FilterConfig", VALIDATE_ROLE_PER_ROUTE},
	{"envoy.config.core.v3.Metadata.TypedFilterMetadataEntry", VALIDATE_ROLE_NONE},
	{"google.rpc.Status", VALIDATE_ROLE_NONE},
};

enum validate_role validate_role_of(const ProtobufCMessage *parent)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (!strcmp(roles[i].parent, parent->descriptor->name))
			return roles[i].role;
	return VALIDATE_ROLE_OTHER;
}

static bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* What stands at a route, virtual host, table or weighted cluster instead of the filter's own settings. */
static bool is_per_route(const char *type, bool only)
{
	static const struct {
		const char *name;
		bool only; /* never the configuration of a filter itself */
	} types[] = {
		{"envoy.config.route.v3.FilterConfig", true},
		{"envoy.extensions.filters.http.cors.v3.CorsPolicy", true},
		{"envoy.extensions.filters.http.fault.v3.HTTPFault", false},
		{"envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", false},
		{"envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute", true},
		{"envoy.extensions.filters.http.rbac.v3.RBACPerRoute", true},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(types[i].name, type))
			return !only || types[i].only;
	return false;
}

bool validate_role_takes(enum validate_role role, const char *type)
{
	switch (role) {
	case VALIDATE_ROLE_HTTP_FILTER:
		return starts(type, "envoy.extensions.filters.http.") && !is_per_route(type, true);
	case VALIDATE_ROLE_NETWORK_FILTER:
		return starts(type, "envoy.extensions.filters.network.");
	case VALIDATE_ROLE_LISTENER_FILTER:
		return starts(type, "envoy.extensions.filters.listener.");
	case VALIDATE_ROLE_TRANSPORT:
		return starts(type, "envoy.extensions.transport_sockets.");
	case VALIDATE_ROLE_PER_ROUTE:
		return is_per_route(type, false);
	default:
		return true;
	}
}

bool validate_may_skip(const ProtobufCMessage *parent, enum validate_role role, const char *type)
{
	if (parent->descriptor == &envoy__config__route__v3__filter_config__descriptor)
		return ((const Envoy__Config__Route__V3__FilterConfig *)parent)->is_optional ||
		       weft_any_harmless(type);
	if (role == VALIDATE_ROLE_HTTP_FILTER)
		return ((const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter
				 *)parent)
			       ->is_optional ||
		       weft_any_harmless(type);
	return (role == VALIDATE_ROLE_NETWORK_FILTER || role == VALIDATE_ROLE_LISTENER_FILTER ||
		role == VALIDATE_ROLE_PER_ROUTE) &&
	       weft_any_harmless(type);
}
