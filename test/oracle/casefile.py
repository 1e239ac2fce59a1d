# SPDX-License-Identifier: Apache-2.0
"""Case files: reading, and turning their short forms into complete Envoy resources.

The short forms are described in README.md. Everything here is pure: ports and backends come in through `World`.
"""
import copy
import fnmatch
import json
import os
import re

import yaml

T = "type.googleapis.com/"
HCM = T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = T + "envoy.extensions.filters.http.router.v3.Router"
HTTP_FILTERS = {
    "rbac": T + "envoy.extensions.filters.http.rbac.v3.RBAC",
    "cors": T + "envoy.extensions.filters.http.cors.v3.Cors",
    "local_ratelimit": T + "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    "fault": T + "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "ratelimit": T + "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    "router": ROUTER,
}
PER_ROUTE = dict(HTTP_FILTERS, rbac=T + "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
                 cors=T + "envoy.extensions.filters.http.cors.v3.CorsPolicy",
                 ratelimit=T + "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute")
NETWORK_FILTERS = {
    "rbac": T + "envoy.extensions.filters.network.rbac.v3.RBAC",
    "local_ratelimit": T + "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "ratelimit": T + "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
    "tcp_proxy": T + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
}
XDS_TYPES = {
    "listeners": T + "envoy.config.listener.v3.Listener",
    "routes": T + "envoy.config.route.v3.RouteConfiguration",
    "clusters": T + "envoy.config.cluster.v3.Cluster",
    "endpoints": T + "envoy.config.endpoint.v3.ClusterLoadAssignment",
}


class CaseError(Exception):
    pass


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path):
    with open(path, encoding="utf-8") as f:
        case = yaml.load(f, Loader=_Loader)
    if not isinstance(case, dict) or "config" not in case:
        raise CaseError(f"{path}: no 'config'")
    case.setdefault("name", os.path.basename(path).rsplit(".", 1)[0])
    case.setdefault("requests", [])
    names = [r.get("name") for r in case["requests"]]
    if None in names or len(set(names)) != len(names):
        raise CaseError(f"{path}: every request needs a name of its own")
    case["config"] = _multiply(case["config"])
    return case


def _multiply(node):
    """A list element {for_each: N, item: X} stands for N copies of X with `{i}` replaced by 0..N-1."""
    if isinstance(node, list):
        out = []
        for x in node:
            if isinstance(x, dict) and set(x) == {"for_each", "item"}:
                out += [_fill(_multiply(x["item"]), i) for i in range(x["for_each"])]
            else:
                out.append(_multiply(x))
        return out
    if isinstance(node, dict):
        return {k: _multiply(v) for k, v in node.items()}
    return node


def _fill(node, i):
    if isinstance(node, str):
        return node.replace("{i}", str(i))
    if isinstance(node, list):
        return [_fill(x, i) for x in node]
    if isinstance(node, dict):
        return {_fill(k, i): _fill(v, i) for k, v in node.items()}
    return node


def without(case, fields, requests):
    """The case without the routes, filters and clusters that use one of the fields, and without requests by pattern."""
    case = dict(case, config=_drop(case["config"], set(fields)))
    case["requests"] = [r for r in case["requests"] if not any(fnmatch.fnmatch(r["name"], p) for p in requests)]
    return case


def _drop(node, fields):
    if isinstance(node, list):
        return [_drop(x, fields) for x in node if not (_is_whole(x) and _uses(x, fields))]
    if isinstance(node, dict):
        return {k: _drop(v, fields) for k, v in node.items()}
    return node


def _is_whole(x):
    """A list element that can go alone: a route, a cluster, a filter, a listener (not a table that holds others)."""
    return isinstance(x, dict) and not {"virtual_hosts", "routes"} & set(x)


def _uses(node, fields):
    if isinstance(node, dict):
        return any(k in fields or v in fields if isinstance(v, str) else k in fields or _uses(v, fields)
                   for k, v in node.items())
    return isinstance(node, list) and any(_uses(x, fields) for x in node)


def listener_names(case):
    return [x.get("name", f"listener-{i}") for i, x in enumerate(_listeners(case))]


def _listeners(case):
    return case["config"].get("listeners") or [{"name": "main", "hcm": {}}]


def backend_keys(case):
    """(cluster, symbolic name) of every echo backend the case needs; names starting with `dead` get none."""
    keys = []
    for cla in _assignments(case):
        for name in _symbols(cla):
            key = (cla["cluster_name"], name)
            if key not in keys:
                keys.append(key)
    return keys


def _assignments(case):
    conf = case["config"]
    clas = [_full_assignment(c) for c in conf.get("endpoints") or []]
    named = {c.get("cluster_name") for c in clas}
    for c in conf.get("clusters") or []:
        if not isinstance(c, dict):
            continue
        name = c.get("name")
        if "load_assignment" in c:
            clas.append(_full_assignment(c["load_assignment"]))
        elif name not in named and _service_name(c) not in named and c.get("type", "STATIC") == "STATIC":
            clas.append(_full_assignment({"cluster_name": name, "backends": [f"{name}-1"]}))
    return clas


def _service_name(cluster):
    eds = cluster.get("eds_cluster_config") or {}
    return eds.get("service_name") or cluster.get("name")


def _full_assignment(cla):
    cla = copy.deepcopy(cla)
    if "backends" in cla:
        lb = [{"endpoint": {"address": {"socket_address": {"address": "@" + b, "port_value": 1}}}}
              for b in cla.pop("backends")]
        cla["endpoints"] = [{"lb_endpoints": lb}] if lb else []
    return cla


def _symbols(node):
    if isinstance(node, dict):
        a = node.get("address")
        if isinstance(a, str) and a.startswith("@"):
            yield a[1:]
        for v in node.values():
            yield from _symbols(v)
    elif isinstance(node, list):
        for v in node:
            yield from _symbols(v)


class World:
    """What is known only at run time: the port of each listener and of each backend."""

    def __init__(self, ports, backends, host="127.0.0.1", backend_host=None, own=None):
        """own: the address of a client on loopback in x-forwarded-for."""
        self.ports, self.backends, self.host = ports, backends, host
        self.backend_host = backend_host or host
        self.addresses = {self.host, self.backend_host, own or host} - {"127.0.0.1"}

    def text(self, s):
        return re.sub(r"\$\{port:([^}]*)\}", lambda m: str(self.ports[m[1]]), s)

    def back(self, value):
        """Output of a run with the run's own port numbers replaced by their placeholders, and its addresses by the goldens'."""
        if isinstance(value, str):
            for host in self.addresses:
                value = re.sub(rf"(?<![\d.]){re.escape(host)}(?![\d.])", "127.0.0.1", value)
            for name, port in self.ports.items():
                value = re.sub(rf"(?<!\d){port}(?!\d)", "${port:" + name + "}", value)
            return value
        if isinstance(value, list):
            return [self.back(v) for v in value]
        if isinstance(value, dict):
            return {self.back(k): self.back(v) for k, v in value.items()}
        return value


def expand(case, world, access_log=None):
    """The case's config as complete resources: {listeners, routes, clusters, endpoints}, lists of dicts."""
    conf = copy.deepcopy(case["config"])
    routes = [_per_route_names(r) for r in conf.get("routes") or []]
    out = {"listeners": [], "routes": routes, "clusters": [], "endpoints": []}
    for i, x in enumerate(copy.deepcopy(_listeners(case))):
        out["listeners"].append(_listener(x, i, routes, world, access_log))
    clas = {}
    for cla in _assignments(case):
        clas[cla.get("cluster_name")] = _resolve(cla, cla.get("cluster_name"), world)
    used = set()
    for c in conf.get("clusters") or []:
        if isinstance(c, dict) and c.get("type", "STATIC") == "STATIC" and "eds_cluster_config" not in c:
            name = c.get("name")
            if name in clas:
                c["load_assignment"] = clas[name]
                used.add(name)
        elif isinstance(c, dict) and isinstance(c.get("load_assignment"), dict):  # of a DNS cluster
            own = _full_assignment(c["load_assignment"])
            c["load_assignment"] = _resolve(own, own.get("cluster_name"), world)
        out["clusters"].append(c)
    out["endpoints"] = [clas[c["cluster_name"]] for c in conf.get("endpoints") or []
                        if c.get("cluster_name") in clas and c["cluster_name"] not in used]
    return _texts(out, world)


def _texts(node, world):
    if isinstance(node, str):
        whole = re.fullmatch(r"\$\{port:([^}]*)\}", node)
        return world.ports[whole[1]] if whole else world.text(node)
    if isinstance(node, list):
        return [_texts(v, world) for v in node]
    if isinstance(node, dict):
        return {k: _texts(v, world) for k, v in node.items()}
    return node


def _resolve(node, cluster, world):
    if isinstance(node, dict):
        a = node.get("address")
        if isinstance(a, str) and a.startswith("@"):
            return dict(node, address=world.backend_host, port_value=world.backends[(cluster, a[1:])])
        return {k: _resolve(v, cluster, world) for k, v in node.items()}
    if isinstance(node, list):
        return [_resolve(v, cluster, world) for v in node]
    return node


def _listener(x, i, routes, world, access_log):
    name = x.setdefault("name", f"listener-{i}")
    hcm = x.pop("hcm", None)
    chain = [_filter(f, NETWORK_FILTERS, "envoy.filters.network.") for f in x.pop("network_filters", [])]
    if "address" not in x:
        x["address"] = {"socket_address": {"address": world.host, "port_value": world.ports[name]}}
    if hcm is not None:
        chain.append(_hcm(hcm, name, routes))
    if chain and "filter_chains" not in x:
        x["filter_chains"] = [{"filters": chain}]
    if access_log:
        _log_to(x, access_log)
    return x


def _hcm(hcm, name, routes):
    hcm.setdefault("stat_prefix", name)
    if not {"route_config", "rds", "scoped_routes"} & set(hcm):
        first = routes[0].get("name", "") if routes else "none"
        hcm["rds"] = {"route_config_name": hcm.pop("route", first), "config_source": {"ads": {}, "resource_api_version": "V3"}}
    if "route_config" in hcm:
        hcm["route_config"] = _per_route_names(hcm["route_config"])
    filters = [_filter(f, HTTP_FILTERS, "envoy.filters.http.") for f in hcm.get("http_filters", [])]
    if not hcm.pop("no_router", False) and not any(f.get("name") == "envoy.filters.http.router" for f in filters):
        filters.append(_filter({"router": {}}, HTTP_FILTERS, "envoy.filters.http."))
    hcm["http_filters"] = filters
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": dict({"@type": HCM}, **hcm)}


def _filter(f, names, prefix):
    if len(f) == 1 and next(iter(f)) in names:
        short, conf = next(iter(f.items()))
        conf = dict(conf or {})
        if short != "router" and names is not PER_ROUTE and short in ("local_ratelimit",):
            conf.setdefault("stat_prefix", "local")
        if names is NETWORK_FILTERS:
            conf.setdefault("stat_prefix", short)
        if short == "ratelimit":
            conf.setdefault("domain", "oracle")
            conf.setdefault("rate_limit_service", {"transport_api_version": "V3", "grpc_service": {
                "envoy_grpc": {"cluster_name": "rls"}}})
        return {"name": prefix + short, "typed_config": dict({"@type": names[short]}, **conf)}
    return f


def _per_route_names(node):
    """Short filter names as keys of typed_per_filter_config, wherever it occurs."""
    if isinstance(node, list):
        return [_per_route_names(v) for v in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for k, v in node.items():
        if k == "typed_per_filter_config" and isinstance(v, dict):
            out[k] = dict(_per_route(f, c) for f, c in v.items())
        else:
            out[k] = _per_route_names(v)
    return out


def _per_route(name, conf):
    if name not in PER_ROUTE:
        return name, conf
    conf = dict(conf or {})
    if name == "local_ratelimit":
        conf.setdefault("stat_prefix", "local")
    return "envoy.filters.http." + name, dict({"@type": PER_ROUTE[name]}, **conf)


def _log_to(node, path):
    if isinstance(node, list):
        for v in node:
            _log_to(v, path)
    elif isinstance(node, dict):
        if node.get("@type") == HCM:
            node["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": {
                "@type": T + "envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": path,
                "log_format": {"json_format": {
                    "port": "%DOWNSTREAM_REMOTE_PORT%", "at": "%START_TIME(%s.%3f)%", "flags": "%RESPONSE_FLAGS%", "details": "%RESPONSE_CODE_DETAILS%",
                    "route": "%ROUTE_NAME%", "code": "%RESPONSE_CODE%"}}}}]
        for k, v in node.items():
            if k != "access_log":
                _log_to(v, path)


def inline(resources):
    """The same resources for a static bootstrap: RDS and EDS references replaced by the resource itself."""
    res = copy.deepcopy(resources)
    routes = {r.get("name"): r for r in res["routes"]}
    clas = {c["cluster_name"]: c for c in res["endpoints"]}
    for c in res["clusters"]:
        if c.get("type") == "EDS":
            c["load_assignment"] = dict(clas.get(_service_name(c), {"endpoints": []}), cluster_name=c["name"])
            c["type"] = "STATIC"
            c.pop("eds_cluster_config", None)
    res["listeners"] = _inline_routes(res["listeners"], routes)
    return {"listeners": res["listeners"], "clusters": res["clusters"]}


def _inline_routes(node, routes):
    if isinstance(node, list):
        return [_inline_routes(v, routes) for v in node]
    if not isinstance(node, dict):
        return node
    node = {k: _inline_routes(v, routes) for k, v in node.items()}
    name = (node.get("rds") or {}).get("route_config_name") if node.get("@type") == HCM else None
    if name is not None:
        node.pop("rds")
        # Inline tables check cluster names by default, delivered ones do not: keep the delivered behaviour.
        node["route_config"] = dict({"validate_clusters": False}, **routes.get(name, {"name": name}))
    return node


def access_records(path):
    """Records of the access log that expand() configures, by client port, in order."""
    out = {}
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                try:
                    rec = json.loads(line)
                except ValueError:
                    continue
                out.setdefault(int(rec.pop("port") or 0), []).append(rec)
    except OSError:
        pass
    return out


class _Quoted(yaml.SafeDumper):
    """YAML with every string quoted, so that no reader takes `y` or `1e3` for something else."""


_Quoted.add_representer(str, lambda d, s: d.represent_scalar("tag:yaml.org,2002:str", s, style='"'))


def write_bootstrap(folder, case, world, access_log=None):
    """One bootstrap with everything inline; its path."""
    boot = {"node": {"id": "oracle", "cluster": "oracle"}, "static_resources": inline(expand(case, world, access_log))}
    if case["config"].get("runtime"):
        boot["layered_runtime"] = {"layers": [{"name": "case", "static_layer": case["config"]["runtime"]}]}
    return write_yaml(os.path.join(folder, "bootstrap.yaml"), boot)


def write_yaml(path, what):
    """Replaces the file at once: a watcher never sees half of it."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        yaml.dump(what, f, Dumper=_Quoted, sort_keys=False, width=1000)
    os.rename(path + ".new", path)
    return path
