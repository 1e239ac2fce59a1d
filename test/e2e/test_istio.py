# SPDX-License-Identifier: Apache-2.0
"""Istio's own control plane, with traffic: listeners of each kind, what is outside of the mesh, pools, outlier detection, ServiceEntry,
rate limits through EnvoyFilter, Gateway API."""
import json
import os
import sys
import unittest

from istio_mesh import GRPC_PORT, POD_IP, TCP_PORT, IstioMesh
from mesh import BACKEND_PORT, HERE

try:
    import grpc  # noqa: F401
except ImportError:
    grpc = None
PEER = os.path.join(HERE, "grpc_peer.py")
EXT = POD_IP["ext"]
NAMES = {"one.test": ["v1"], "two.test": ["v2"], "host.test": ["v1"], "rr.test": ["ext", "v1"], "tcp.test": ["v2"]}


class Istio(IstioMesh):
    options = ("--workers", "1")  # pools are a worker's own
    names = {name: {"A": [POD_IP[p] for p in pods]} for name, pods in NAMES.items()}

    def backend(self, got):
        self.assertEqual(got.get("status"), 200, got)
        return got["headers"]["x-backend"]

    def hosts(self, service, n=12, **job):
        return sorted({self.backend(self.ask(service, **job)) for _ in range(n)})

    def load(self, service, n, **job):
        s = self.service(service)
        return self.job("load", **dict({"address": s.vip, "port": s.port, "host": service, "requests": n, "connections": 1}, **job))

    def wait(self, service, n, path):
        """n connections with a request each, all open at once: {answer: times}."""
        s = self.service(service)
        child = self.begin("wait", address=s.vip, port=s.port, host=service, path=path, connections=n)
        child.stdout.readline()
        child.stdin.write(b"\n")
        child.stdin.flush()
        return self.finish(child)["counts"]

    # ---- what the control plane sends is taken ----

    def test_all_of_it_is_accepted(self):
        xds = self.agent.stats()["sources"]["xds"]
        self.assertEqual((xds["nacks"], xds["acks"]), (0, xds["responses"]))
        listeners = {r["name"]: r for r in self.agent.call("dump", "listeners")["resources"]}
        self.assertEqual({r["status"] for r in listeners.values()}, {"acked"})
        for name in ("virtualOutbound", "0.0.0.0_80", f"10.96.2.1_5432", "10.96.1.4_8081", f"{POD_IP['v1']}_{TCP_PORT}"):
            self.assertEqual(listeners[name]["state"], "in use", name)
        self.assertIn("kept", listeners["virtualInbound"]["state"])
        self.assertFalse(listeners["virtualInbound"]["in_kernel"])

    # ---- listeners ----

    def test_http_of_a_service(self):
        before = self.counters()["outcomes"]
        self.assertEqual(self.hosts("plain"), ["v1", "v2"])
        self.assertEqual(self.outcomes(before), {"kernel": {"forward": 12}, "agent": {}})
        self.assertEqual(self.ask("empty")["status"], 503)

    def test_tcp_of_a_service(self):
        before = self.agent.stats()["decisions"]
        self.assertEqual(self.hosts("db"), ["v1", "v2"])
        got = self.agent.stats()["decisions"]
        self.assertEqual({k: got["classes"][k] - before["classes"][k] for k in ("l4", "captured")}, {"l4": 12, "captured": 0})

    def test_tcp_routes(self):
        """VirtualService of TCP: subsets of another service, by weight."""
        got = self.load("db-weights", 60, fresh=True)["counts"]
        self.assertEqual((set(got), sum(got.values())), ({"200 v1", "200 v2"}, 60))
        self.assertTrue(35 < got["200 v1"] < 58, got)

    def test_sniffed_port(self):
        """A port of unknown protocol: HTTP is judged as such, anything else is passed on."""
        self.assertEqual(self.hosts("sniffed"), ["v1", "v2"])
        self.assertEqual(self.ask("sniffed", "/", host="unknown.host")["status"], 200)

        def talk(data):
            s = self.service("sniffed")
            return self.client_talk(s.vip, s.port, data)
        self.assertRegex(talk(b"GET / HTTP/1.1\r\nHost: sniffed\r\nConnection: close\r\n\r\n"), b"server: envoy")
        # A method that no HTTP parser knows is no HTTP: the backend's own words come back.
        self.assertNotRegex(talk(b"\x00\x01 / not-http\r\n\r\n"), b"server: envoy")

    def client_talk(self, address, port, data):
        code = ("import socket,sys\ns = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)\ns.sendall(bytes.fromhex(sys.argv[3]))\n"
                "sys.stdout.write(s.recv(4096).hex())")
        status, out = self.world.output([sys.executable, "-c", code, address, str(port), data.hex()], pod=self.client)
        self.assertEqual(status, 0, out)
        return bytes.fromhex(out)

    def test_headless(self):
        """By the pods' own addresses: the one that was asked for serves, HTTP under the rules of the service."""
        for pod in ("v1", "v2"):
            for _ in range(3):
                for host in ("headless.shop", f"{pod}.headless.shop.svc.cluster.local"):
                    got = self.get(host=host, address=POD_IP[pod], port=BACKEND_PORT)
                    self.assertEqual((self.backend(got), got["headers"]["server"]), (pod, "envoy"))
                got = self.get(address=POD_IP[pod], port=TCP_PORT)
                self.assertEqual((self.backend(got), got["headers"].get("server")), (pod, None))

    def test_unknown_is_passed_through(self):
        """allow_any: an unknown host on a known port, and a port nobody knows."""
        got = self.get(address=EXT, port=BACKEND_PORT, host="unknown.example")
        self.assertEqual((self.backend(got), got["headers"].get("server")), ("ext", "envoy"))
        self.world.start([sys.executable, os.path.join(HERE, "backend.py"), "other", "7777"], self.world.pods["ext"])
        self.world.wait_port(self.world.pods["ext"], 7777)
        got = self.get(address=EXT, port=7777)
        self.assertEqual((self.backend(got), got["headers"].get("server")), ("other", None))

    # ---- pools ----

    def test_subsets(self):
        self.assertEqual(self.hosts("subsets"), ["v1", "v2"])

    def test_pending_requests(self):
        """One connection and one that waits for it; the others are 503 with the header of an overflow."""
        self.assertEqual(self.ask("pending")["status"], 200)  # the connection: while it is made a request waits, too
        got = self.wait("pending", 6, "/?ms=700")
        self.assertEqual(got, {"200": 2, "503": 4})
        self.assertEqual(self.ask("pending")["status"], 200)

    def test_requests(self):
        self.assertEqual(self.wait("requests", 6, "/?ms=700"), {"200": 2, "503": 4})
        self.assertEqual(self.ask("requests")["status"], 200)

    def test_retries(self):
        """At most one retry at a time: of five failing requests at once not each is tried again."""
        before = sum(self.total(p) for p in ("v1", "v2"))
        got = self.wait("retries", 5, "/?ms=400&code=503")
        self.assertEqual(got, {"503": 5})
        asked = sum(self.total(p) for p in ("v1", "v2")) - before
        self.assertGreater(asked, 5)
        self.assertLess(asked, 5 * 4)

    def test_connections_of_tcp(self):
        s = self.service("db-few")
        child = self.begin("hold", address=s.vip, port=s.port, connections=4)
        self.assertEqual(json.loads(child.stdout.readline()), {"open": 2, "refused": 2})
        self.finish(child)

    def test_outlier_detection(self):
        """Two answers of 5xx in a row put a host out; consecutiveGatewayErrors counts 502 to 504 alone."""
        self.assertEqual(self.hosts("outlier"), ["v1", "v2"])
        for _ in range(6):
            self.ask("outlier", "/?down=v1")
        self.until(lambda: set(self.load("outlier", 10)["counts"]) == {"200 v2"})
        self.assertEqual(self.load("outlier", 40)["counts"], {"200 v2": 40})
        for _ in range(8):
            self.assertEqual(self.ask("outlier-gateway", "/?code=500")["status"], 500)
        self.assertEqual(self.hosts("outlier-gateway"), ["v1", "v2"])
        for _ in range(6):
            self.ask("outlier-gateway", "/?down=v2")
        self.until(lambda: set(self.load("outlier-gateway", 10)["counts"]) == {"200 v1"})

    def test_balancers(self):
        for path, headers, service in (("/", {"x-user": "%d"}, "lb-header"), ("/?user=%d", {}, "lb-query"), ("/", {"cookie": "user=%d"}, "lb-cookie")):
            hosts = set()
            for user in range(12):
                job = {"path": path.replace("%d", str(user)), "headers": {k: v.replace("%d", str(user)) for k, v in headers.items()}}
                found = {self.backend(self.ask(service, **job)) for _ in range(3)}
                self.assertEqual(len(found), 1, (service, user))
                hosts |= found
            self.assertEqual(hosts, {"v1", "v2"}, service)
        self.assertRegex(self.ask("lb-cookie")["headers"]["set-cookie"], 'user=.*Max-Age=60.*')
        self.assertEqual(len(self.hosts("lb-source")), 1)
        self.assertEqual(self.hosts("lb-random", 20), ["v1", "v2"])
        self.assertEqual(self.backend(self.get(host="lb-passthrough", address=EXT, port=BACKEND_PORT)), "ext")

    def test_http2_upgrade(self):
        """h2UpgradePolicy: the endpoint is spoken to in HTTP/2, which this backend has not: an error of protocol, not an answer of it."""
        got = self.ask("upgraded")
        self.assertEqual((got["status"], got["headers"].get("x-backend")), (502, None))
        self.assertIn("protocol error", got["body"])

    # ---- ServiceEntry ----

    def test_static_entries(self):
        self.assertEqual(self.backend(self.get(host="static.ext", address="240.0.0.10", port=80)), "ext")
        self.assertEqual(self.backend(self.get(host="internal.ext", address="240.0.0.11", port=80)), "ext")

    def test_entries_without_resolution(self):
        for host in ("none.ext", "a.wild.ext"):
            got = self.get(host=host, address=EXT, port=BACKEND_PORT)
            self.assertEqual((self.backend(got), got["headers"]["server"]), ("ext", "envoy"))
        self.assertEqual(self.backend(self.get(address=EXT, port=TCP_PORT)), "ext")

    def test_dns_entries(self):
        """DNS: all addresses of all names; DNS_ROUND_ROBIN: the one that stands first in the answer, whatever else there is."""
        get = lambda host, address, port=80: self.backend(self.get(host=host, address=address, port=port))  # noqa: E731
        self.until(lambda: self.get(host="dns.ext", address="240.0.0.12", port=80)["status"] == 200)
        self.assertEqual({get("dns.ext", "240.0.0.12") for _ in range(12)}, {"v1", "v2"})
        self.assertEqual(get("host.test", EXT, BACKEND_PORT), "v1")
        self.assertEqual({get("rr.test", "240.0.0.13") for _ in range(12)}, {"ext"})
        self.assertEqual(get("tcp.test", "240.0.0.14", TCP_PORT), "v2")
        self.assertEqual(self.get(host="gone.test", address="240.0.0.15", port=80)["status"], 503)

    # ---- local rate limits through EnvoyFilter ----

    def test_limit_of_the_filter(self):
        got = [self.ask("limited") for _ in range(6)]
        self.assertEqual([g["status"] for g in got], [200] * 4 + [429] * 2)
        self.assertEqual((got[5]["headers"]["x-local-rate-limit"], got[5]["body"]), ("true", "local_rate_limited"))

    def test_limit_of_a_virtual_host(self):
        self.assertEqual([self.ask("limit-host")["status"] for _ in range(5)], [200] * 3 + [429] * 2)

    def test_limit_of_a_route(self):
        few = [self.ask("limit-route", "/limited", headers={"x-user": "few"})["status"] for _ in range(4)]
        self.assertEqual(few, [200] * 2 + [429] * 2)
        rest = [self.ask("limit-route", "/limited", headers={"x-user": "other"})["status"] for _ in range(7)]
        self.assertEqual(rest[-1], 429)
        self.assertEqual(self.ask("limit-route", "/else")["status"], 200)

    # ---- Gateway API ----

    def test_http_route(self):
        def body(path, **job):
            got = self.ask("gateway", path + "?echo=1", **job)
            self.assertEqual(got.get("status"), 200, got)
            return json.loads(got["body"])
        self.assertEqual({k: body("/v2/x", headers={"x-remove": "1"})[k] for k in ("name", "path")}, {"name": "v2", "path": "/v2/x?echo=1"})
        self.assertEqual(body("/v2", headers={"x-remove": "1"})["headers"].get("x-gateway"), "1")
        self.assertNotIn("x-remove", body("/v2", headers={"x-remove": "1"})["headers"])
        self.assertEqual(body("/v2x")["name"], "v1")  # a prefix is one of whole segments
        self.assertEqual(body("/any", headers={"x-version": "2"}, method="PUT")["name"], "v2")
        self.assertEqual(body("/any", headers={"x-version": "2"})["name"], "v1")  # a method is worth more than a header
        got = body("/rewrite")
        self.assertEqual((got["path"], got["headers"]["host"]), ("/full?echo=1", "elsewhere.example"))
        self.assertEqual(body("/prefix/a/b")["path"], "/a/b?echo=1")
        self.assertEqual(body("/prefix")["path"], "/?echo=1")
        got = self.ask("gateway", "/redirect/a")
        self.assertEqual((got["status"], got["headers"]["location"]), (301, "https://new.example/redirect/a"))
        self.assertEqual(self.ask("gateway", "/timeout?ms=1500")["status"], 504)
        self.assertEqual(self.ask("gateway", "/timeout")["status"], 200)
        self.assertEqual(self.ask("gateway", "/nowhere")["status"], 500)
        self.assertEqual(self.ask("gateway", "/")["headers"].get("x-answer"), "1")
        self.assertEqual(self.ask("gateway", "/", method="PUT")["status"], 404)
        counts = self.load("gateway", 200, path="/weights")["counts"]
        self.assertTrue(120 < counts["200 v2"] < 180, counts)
        before = self.total("v2")
        self.assertEqual(self.ask("gateway", "/mirror")["headers"]["x-backend"], "v1")
        self.until(lambda: self.total("v2") == before + 1)

    def test_tcp_route(self):
        self.until(lambda: self.backend(self.ask("gateway-tcp")) == "v2")  # pushed after the start
        for _ in range(4):
            self.assertEqual(self.backend(self.ask("gateway-tcp")), "v2")


@unittest.skipUnless(grpc, "needs grpcio (python3-grpcio)")
class IstioGrpc(IstioMesh):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("v1", "v2"):
            pod = cls.world.pods[name]
            cls.world.start([sys.executable, PEER, "serve", str(GRPC_PORT), name], pod, name="grpc-" + name)
            cls.world.wait_port(pod, GRPC_PORT)

    def call(self, service, **job):
        s = self.service(service)
        job = dict({"address": s.vip, "port": s.port, "method": "Echo", "host": service, "n": 5, "size": 10}, **job)
        status, out = self.world.output([sys.executable, PEER, "call", json.dumps(job)], pod=self.client)
        self.assertEqual(status, 0, out)
        return json.loads(out.splitlines()[-1])

    def test_service_of_grpc(self):
        got = self.call("grpc", n=20)
        self.assertEqual((got["n"], got["servers"]), (20, ["v1", "v2"]))

    def test_grpc_route(self):
        self.until(lambda: self.call("gateway-grpc", n=8)["servers"] == ["v1"])  # pushed after the start
        for metadata, server in (([], "v1"), ([["x-version", "2"]], "v2")):
            self.assertEqual(self.call("gateway-grpc", n=8, metadata=metadata)["servers"], [server])
        # Only Echo goes by that header; what no rule names is not there.
        self.assertEqual(self.call("gateway-grpc", method="Fail", fail=["k", 14, 0], metadata=[["x-version", "2"]])["answer"], "1")
        self.assertEqual(self.call("gateway-grpc", method="Fail", fail=["k", 14, 0])["answer"], "2")


if __name__ == "__main__":
    unittest.main()
