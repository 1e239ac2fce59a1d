# SPDX-License-Identifier: Apache-2.0
"""Istio's features beyond those with traffic tests of their own: which are taken, and which are refused, by which field. Each is pushed
by Istio's own control plane; README.md has the table."""
import os
import socket
import tempfile
import unittest

import yaml

from istio_mesh import IstioMesh

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"


def doc(kind, spec, api=NETWORKING):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "tried", "namespace": "shop"}, "spec": spec}


def entry(host, port, protocol, resolution="STATIC", address=None, endpoint="10.77.0.4"):
    spec = {"hosts": [host], "location": "MESH_EXTERNAL", "resolution": resolution,
            "ports": [{"number": port, "name": protocol.lower(), "protocol": protocol}]}
    if resolution == "STATIC":
        spec["endpoints"] = [{"address": endpoint}]
    if address:
        spec["addresses"] = [address]
    return doc("ServiceEntry", spec)


def rule(host, policy):
    return doc("DestinationRule", {"host": host, "trafficPolicy": policy})


def routes(http):
    return doc("VirtualService", {"hosts": ["plain"], "http": [dict({"route": [{"destination": {"host": "plain"}}]}, **http)]})


def envoy_filter(apply_to, match, operation, value):
    return doc("EnvoyFilter", {"configPatches": [{"applyTo": apply_to, "match": dict({"context": "SIDECAR_OUTBOUND"}, **match),
                                                 "patch": {"operation": operation, "value": value}}]}, "networking.istio.io/v1alpha3")


HTTP_8090 = {"listener": {"portNumber": 8090, "filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}}
INBOUND = {"listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}}
TYPE = "type.googleapis.com/envoy.extensions.filters."
LIMIT = {"name": "envoy.filters.network.local_ratelimit", "typed_config": {
    "@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": TYPE + "network.local_ratelimit.v3.LocalRateLimit",
    "value": {"stat_prefix": "a", "token_bucket": {"max_tokens": 3, "tokens_per_fill": 3, "fill_interval": "600s"}}}}
LUA = {"name": "envoy.lua", "typed_config": {"@type": TYPE + "http.lua.v3.Lua", "defaultSourceCode": {"inlineString": "x"}}}
OUTLIERS = {"outlierDetection": {"consecutive5xxErrors": 1}}

ACCEPTED = {
    "HTTPS with an address": entry("a.ext", 443, "HTTPS", address="240.0.5.1"),
    "TCP without an address": entry("a.ext", 9100, "TCP"),
    "MySQL": entry("a.ext", 3306, "MYSQL", address="240.0.5.1"),
    "Redis": entry("a.ext", 6380, "REDIS", address="240.0.5.1"),
    "TLS without an address, by SNI": entry("a.ext", 443, "TLS", "DNS"),
    "TLS of a wildcard": entry("*.a.ext", 443, "TLS", "NONE"),
    "a range of addresses": entry("a.ext", 9101, "TCP", address="10.80.0.0/16"),
    "maxConnectionDuration of TCP": rule("db", {"connectionPool": {"tcp": {"maxConnectionDuration": "10s"}}}),
    "tls DISABLE": rule("plain", {"tls": {"mode": "DISABLE"}}),
    "failover": rule("plain", dict(OUTLIERS, loadBalancer={"localityLbSetting": {"enabled": True, "failover": [{"from": "a", "to": "b"}]}})),
    "failoverPriority": rule("plain", dict(OUTLIERS, loadBalancer={"localityLbSetting": {
        "enabled": True, "failoverPriority": ["topology.istio.io/network"]}})),
    "port level settings": rule("plain", {"portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "LEAST_REQUEST"}, "connectionPool": {
        "http": {"maxRequestsPerConnection": 1, "useClientProtocol": True}, "tcp": {"maxConnectionDuration": "10s"}}}]}),
    "retryBudget": rule("plain", {"retryBudget": {"percent": 20, "minRetryConcurrency": 3}}),
    "warmup": rule("plain", {"loadBalancer": {"simple": "ROUND_ROBIN", "warmup": {"duration": "60s"}}}),
    "several mirrors": routes({"mirrors": [{"destination": {"host": "gateway-v1"}, "percentage": {"value": 10.5}},
                                           {"destination": {"host": "gateway-v2"}}]}),
    "source namespace, statPrefix": routes({"match": [{"sourceNamespace": "shop", "statPrefix": "x", "uri": {"prefix": "/"}}]}),
    "Sidecar with a port": doc("Sidecar", {"egress": [{"port": {"number": 9200, "protocol": "HTTP", "name": "e"}, "hosts": ["./*"]}, {"hosts": ["./*"]}]}),
    "Telemetry": doc("Telemetry", {"accessLogging": [{"providers": [{"name": "envoy"}]}],
                                   "metrics": [{"overrides": [{"match": {"metric": "REQUEST_COUNT"}, "disabled": True}]}]}, "telemetry.istio.io/v1"),
    "PeerAuthentication": doc("PeerAuthentication", {"mtls": {"mode": "PERMISSIVE"}}, SECURITY),
    "RequestAuthentication": doc("RequestAuthentication", {"jwtRules": [{"issuer": "a@b", "jwks": '{"keys": []}', "forwardOriginalToken": True}]}, SECURITY),
    "AuthorizationPolicy CUSTOM": doc("AuthorizationPolicy", {"action": "CUSTOM", "provider": {"name": "authz"}, "rules": [{}]}, SECURITY),
    "AuthorizationPolicy of requests with a token": doc("AuthorizationPolicy", {"action": "ALLOW", "rules": [{
        "from": [{"source": {"requestPrincipals": ["*"]}}], "when": [{"key": "request.auth.claims[groups]", "values": ["a"]}]}]}, SECURITY),
    "EnvoyFilter: Lua where requests arrive": envoy_filter("HTTP_FILTER", {"context": "SIDECAR_INBOUND", **INBOUND}, "INSERT_BEFORE", LUA),
    "AuthorizationPolicy of a server": doc("AuthorizationPolicy", {"action": "DENY", "rules": [{"from": [{"source": {"notNamespaces": ["a"]}}]}]}, SECURITY),
    "EnvoyFilter: CLUSTER": envoy_filter("CLUSTER", {"cluster": {"service": "plain.shop.svc.cluster.local"}}, "MERGE",
                                         {"common_lb_config": {"healthy_panic_threshold": {"value": 10}}}),
    "EnvoyFilter: network rate limit": envoy_filter("NETWORK_FILTER", {"listener": {"portNumber": 5432}}, "INSERT_FIRST", LIMIT),
}
# Filters where requests arrive, which nothing here runs.
KEPT = {"RequestAuthentication": "envoy.filters.http.jwt_authn", "AuthorizationPolicy CUSTOM": "envoy.filters.http.ext_authz",
        "EnvoyFilter: Lua where requests arrive": "envoy.lua"}
TCP = "filter_chains[0].filters[0].typed_config."
REFUSED = {  # what, the resource and the field
    "Mongo": (entry("a.ext", 27017, "MONGO", address="240.0.5.1"), "240.0.5.1_27017", "filter_chains[0].filters[0]"),
    "tls SIMPLE": (rule("plain", {"tls": {"mode": "SIMPLE"}}), "outbound|80||plain.shop.svc.cluster.local", "transport_socket"),
    "tls ISTIO_MUTUAL": (rule("plain", {"tls": {"mode": "ISTIO_MUTUAL"}}), "outbound|80||plain.shop.svc.cluster.local", "transport_socket"),
    "PROXY protocol": (rule("plain", {"proxyProtocol": {"version": "V2"}}), "outbound|80||plain.shop.svc.cluster.local", "transport_socket"),
    "tunnel": (rule("db", {"tunnel": {"protocol": "CONNECT", "targetHost": "a.b", "targetPort": 80}}), "10.96.2.1_5432", TCP + "tunneling_config"),
    "EnvoyFilter: Lua": (envoy_filter("HTTP_FILTER", HTTP_8090, "INSERT_BEFORE", LUA), "0.0.0.0_8090", TCP + "http_filters"),
    "WasmPlugin": (doc("WasmPlugin", {"selector": {"matchLabels": {"app": "client"}}, "url": "oci://a/b"}, "extensions.istio.io/v1alpha1"),
                   "0.0.0.0_80", TCP + "http_filters"),
}


class Accepts(IstioMesh):
    mesh = """extensionProviders:
- name: authz
  envoyExtAuthzHttp: {service: plain.shop.svc.cluster.local, port: 80}
"""
    def push(self, n, documents):
        """Documents with a route that tells when the push has arrived: RDS comes last."""
        mark = doc("VirtualService", {"hosts": ["marked"], "http": [{"directResponse": {"status": 200 + n}}]})
        mark["metadata"]["name"] = "mark"
        self.istiod.edit("tried.yaml", lambda _: yaml.safe_dump_all([*documents, mark]))
        self.until(lambda: self.ask("marked").get("status") == 200 + n)

    def refused(self):
        """{name: what `dump` says} of resources whose last version was not taken."""
        kinds = [self.agent.call("dump", k)["resources"] for k in ("listeners", "routes", "clusters", "endpoints")]
        return {r["name"]: r for k in kinds for r in k if r["status"] != "acked"}

    def nacks(self):
        return self.agent.stats()["sources"]["xds"]["nacks"]

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="weft-istio-")
        cls.addClassCleanup(folder.cleanup)
        cls.http = os.path.join(folder.name, "http")
        cls.options = ("--admin-http", cls.http)
        super().setUpClass()

    def kept(self):
        """The listener where requests arrive, whole: it is accepted and not used."""
        listener = next(r for r in self.agent.call("dump", "listeners")["resources"] if r["name"] == "virtualInbound")
        self.assertEqual((listener["status"], listener["state"]), ("acked", "kept, not used (inbound)"))
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.http)
            s.sendall(b"GET /config_dump?name_regex=virtualInbound HTTP/1.0\r\nHost: a\r\n\r\n")
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def test_accepted(self):
        for n, (name, document) in enumerate(ACCEPTED.items()):
            with self.subTest(name):
                before = self.nacks()
                self.push(n + 1, [document])
                self.assertEqual((self.nacks() - before, self.refused()), (0, {}))
                self.assertIn(KEPT.get(name, "virtualInbound"), self.kept())
        self.push(0, [])

    def test_refused(self):
        for n, (name, (document, resource, field)) in enumerate(REFUSED.items()):
            with self.subTest(name):
                self.push(n + 1, document if isinstance(document, list) else [document])
                self.until(lambda: resource in self.refused())
                self.assertTrue(self.refused()[resource]["error"].startswith(field), self.refused()[resource])
                # All else is as it was.
                self.assertEqual(self.ask("weights")["status"], 200)
                self.push(n + 101, [])
                self.until(lambda: self.refused() == {})


if __name__ == "__main__":
    unittest.main()
