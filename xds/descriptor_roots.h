/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the walk over all messages of the subset starts: the four resources, the bootstrap, and
 * everything that may stand in an Any. To be included by descriptor.c only. A type that is not here, or
 * reached from here, is not known.
 */

#include "envoy/config/bootstrap/v3/bootstrap.pb-c.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb-c.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb-c.h"
#include "envoy/extensions/common/ratelimit/v3/ratelimit.pb-c.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/grpc_stats/v3/config.pb-c.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/http/ratelimit/v3/rate_limit.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb-c.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb-c.h"
#include "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb-c.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/ratelimit/v3/rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/cluster_provided/v3/cluster_provided.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config.pb-c.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb-c.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb-c.h"
#include "envoy/extensions/path/rewrite/uri_template/v3/uri_template_rewrite.pb-c.h"
#include "envoy/extensions/rbac/matchers/upstream_ip_port/v3/upstream_ip_port_matcher.pb-c.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb-c.h"
#include "envoy/extensions/retry/host/omit_canary_hosts/v3/omit_canary_hosts.pb-c.h"
#include "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.pb-c.h"
#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb-c.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb-c.h"
#include "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.pb-c.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "envoy/type/metadata/v3/metadata.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/type/v3/typed_struct.pb-c.h"

static const ProtobufCMessageDescriptor *const weft_descriptor_roots[] = {
	&envoy__config__bootstrap__v3__bootstrap__descriptor,
	&envoy__config__cluster__v3__cluster__descriptor,
	&envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
	&envoy__config__listener__v3__listener__descriptor,
	&envoy__config__route__v3__route_configuration__descriptor,
	&envoy__config__route__v3__filter_config__descriptor,
	&envoy__extensions__access_loggers__file__v3__file_access_log__descriptor,
	&envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor,
	&envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor,
	&envoy__extensions__clusters__dns__v3__dns_cluster__descriptor,
	&envoy__extensions__common__ratelimit__v3__rate_limit_descriptor__descriptor,
	&envoy__extensions__filters__http__cors__v3__cors__descriptor,
	&envoy__extensions__filters__http__cors__v3__cors_policy__descriptor,
	&envoy__extensions__filters__http__fault__v3__httpfault__descriptor,
	&envoy__extensions__filters__http__grpc_stats__v3__filter_config__descriptor,
	&envoy__extensions__filters__http__local_ratelimit__v3__local_rate_limit__descriptor,
	&envoy__extensions__filters__http__ratelimit__v3__rate_limit__descriptor,
	&envoy__extensions__filters__http__ratelimit__v3__rate_limit_per_route__descriptor,
	&envoy__extensions__filters__http__rbac__v3__rbac__descriptor,
	&envoy__extensions__filters__http__rbac__v3__rbacper_route__descriptor,
	&envoy__extensions__filters__http__router__v3__router__descriptor,
	&envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor,
	&envoy__extensions__filters__listener__original_dst__v3__original_dst__descriptor,
	&envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor,
	&envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor,
	&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
	&envoy__extensions__filters__network__local_ratelimit__v3__local_rate_limit__descriptor,
	&envoy__extensions__filters__network__ratelimit__v3__rate_limit__descriptor,
	&envoy__extensions__filters__network__rbac__v3__rbac__descriptor,
	&envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor,
	&envoy__extensions__load_balancing_policies__client_side_weighted_round_robin__v3__client_side_weighted_round_robin__descriptor,
	&envoy__extensions__load_balancing_policies__cluster_provided__v3__cluster_provided__descriptor,
	&envoy__extensions__load_balancing_policies__least_request__v3__least_request__descriptor,
	&envoy__extensions__load_balancing_policies__maglev__v3__maglev__descriptor,
	&envoy__extensions__load_balancing_policies__random__v3__random__descriptor,
	&envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash__descriptor,
	&envoy__extensions__load_balancing_policies__round_robin__v3__round_robin__descriptor,
	&envoy__extensions__load_balancing_policies__subset__v3__subset__descriptor,
	&envoy__extensions__load_balancing_policies__wrr_locality__v3__wrr_locality__descriptor,
	&envoy__extensions__internal_redirect__allow_listed_routes__v3__allow_listed_routes_config__descriptor,
	&envoy__extensions__internal_redirect__previous_routes__v3__previous_routes_config__descriptor,
	&envoy__extensions__internal_redirect__safe_cross_scheme__v3__safe_cross_scheme_config__descriptor,
	&envoy__extensions__network__dns_resolver__cares__v3__cares_dns_resolver_config__descriptor,
	&envoy__extensions__path__match__uri_template__v3__uri_template_match_config__descriptor,
	&envoy__extensions__path__rewrite__uri_template__v3__uri_template_rewrite_config__descriptor,
	&envoy__extensions__rbac__matchers__upstream_ip_port__v3__upstream_ip_port_matcher__descriptor,
	&envoy__extensions__request_id__uuid__v3__uuid_request_id_config__descriptor,
	&envoy__extensions__retry__host__omit_canary_hosts__v3__omit_canary_hosts_predicate__descriptor,
	&envoy__extensions__retry__host__omit_host_metadata__v3__omit_host_metadata_config__descriptor,
	&envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate__descriptor,
	&envoy__extensions__retry__priority__previous_priorities__v3__previous_priorities_config__descriptor,
	&envoy__extensions__transport_sockets__internal_upstream__v3__internal_upstream_transport__descriptor,
	&envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor,
	&envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
	&envoy__type__metadata__v3__metadata_kind__descriptor,
	&google__rpc__status__descriptor,
	&udpa__type__v1__typed_struct__descriptor,
	&xds__type__v3__typed_struct__descriptor,
};
