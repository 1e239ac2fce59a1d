# SPDX-License-Identifier: Apache-2.0
"""Envoy resources in their JSON form, as far as the tests, the demo and the benchmarks need them."""
_EXT = "type.googleapis.com/envoy.extensions.filters."
LIMIT_FILTER = "envoy.filters.http.local_ratelimit"
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def rate_limit(tokens, interval="86400s", **more):
    """A local rate limit: in the filter list, or under LIMIT_FILTER of a typed_per_filter_config. tokens None: no bucket."""
    out = {"@type": _EXT + "http.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limit"}
    if tokens is not None:
        out.update(filter_enabled=_ALWAYS, filter_enforced=_ALWAYS,
                   token_bucket={"max_tokens": tokens, "tokens_per_fill": max(tokens, 1), "fill_interval": interval})
    return dict(out, **more)


def limited(route, tokens, interval="86400s"):
    return dict(route, typed_per_filter_config={LIMIT_FILTER: rate_limit(tokens, interval)})


def http(name, address, port, virtual_hosts, limit=None, **hcm):
    """A listener with a connection manager, the local rate limit filter (with or without a bucket) and the router."""
    manager = {"@type": _EXT + "network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
               "http_filters": [
                   {"name": LIMIT_FILTER, "typed_config": limit or rate_limit(None)},
                   {"name": "envoy.filters.http.router", "typed_config": {"@type": _EXT + "http.router.v3.Router"}}]}
    if "rds" not in hcm:
        # Clusters that are not there are an answer of their own here, as with routes from a control plane.
        manager["route_config"] = {"name": name, "validate_clusters": False, "virtual_hosts": virtual_hosts}
    return _listener(name, address, port, "http_connection_manager", dict(manager, **hcm))


def tcp(name, address, port, cluster):
    return _listener(name, address, port, "tcp_proxy", {"@type": _EXT + "network.tcp_proxy.v3.TcpProxy", "stat_prefix": name,
                                                        "cluster": cluster})


def _listener(name, address, port, kind, config):
    return {"name": name, "address": {"socket_address": {"address": address, "port_value": port}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network." + kind, "typed_config": config}]}]}


def host(name, domains, *routes):
    return {"name": name, "domains": domains, "routes": list(routes)}


def route(prefix, cluster, match=None, **action):
    """cluster: a name, or {name: weight}."""
    if isinstance(cluster, dict):
        where = {"weighted_clusters": {"clusters": [{"name": n, "weight": w} for n, w in cluster.items()]}}
    else:
        where = {"cluster": cluster}
    return {"match": dict({"prefix": prefix}, **(match or {})), "route": dict(where, **action)}


def answer(prefix, status, body):
    return {"match": {"prefix": prefix}, "direct_response": {"status": status, "body": {"inline_string": body}}}


def with_header(name, value):
    return {"headers": [{"name": name, "string_match": {"exact": value}}]}


def cluster(name, *endpoints, **more):
    """endpoints: (address, port)."""
    lb = [{"endpoint": {"address": {"socket_address": {"address": a, "port_value": p}}}} for a, p in endpoints]
    return dict({"name": name, "type": "STATIC",
                 "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": lb}] if lb else []}}, **more)


def breaker(**limits):
    return {"circuit_breakers": {"thresholds": [limits]}}


def bootstrap(listeners, clusters):
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}
