# SPDX-License-Identifier: Apache-2.0
"""Listeners whose requests or connections a rate limit service is asked about, at the cluster `rls`."""
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit"
NETWORK = "type.googleapis.com/envoy.extensions.filters.network.ratelimit.v3.RateLimit"
HTTP2 = {"typed_extension_protocol_options": {OPTIONS: {"@type": "type.googleapis.com/" + OPTIONS, "explicit_http_config": {
    "http2_protocol_options": {}}}}}
LONG = "60s"  # no answer takes so long; what waits for none says so


def by(cluster="rls", **more):
    return {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": dict({"cluster_name": cluster}, **more)}}


def asks(listener, service=None, **more):
    """The listener's requests are asked about by their headers x-user and x-rls, or by `rate_limits`."""
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    rules = [{"actions": [{"request_headers": {"header_name": "x-" + key, "descriptor_key": key}}]} for key in ("user", "rls")]
    manager["http_filters"][0] = {"name": "envoy.filters.http.ratelimit", "typed_config": dict(
        {"@type": HTTP, "domain": "e2e", "timeout": LONG, "rate_limit_service": service or by(), "rate_limits": rules}, **more)}
    return listener


def held(listener, **more):
    """The listener's connections are asked about by their destination."""
    listener["filter_chains"][0]["filters"].insert(0, {"name": "envoy.filters.network.ratelimit", "typed_config": dict(
        {"@type": NETWORK, "stat_prefix": "held", "domain": "connections", "timeout": LONG, "rate_limit_service": by(),
         "descriptors": [{"entries": [{"key": "to", "value": "%DOWNSTREAM_LOCAL_PORT%"}]}]}, **more)})
    return listener
