# SPDX-License-Identifier: Apache-2.0
"""Edits of Istio resources, pushed by its own control plane while traffic runs: each takes effect, and no request fails."""
import unittest

from istio_mesh import POD_IP, TCP_PORT, IstioMesh
from mesh import BACKEND_PORT

SIDECAR = """apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["./*"]}]
"""
MOVED = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: plain, namespace: shop}
spec:
  hosts: [plain]
  http:
  - route: [{destination: {host: %s}}]
"""
RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain, namespace: shop}
spec:
  host: plain
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: %d}}}
"""
ENTRY = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: moving, namespace: shop}
spec:
  hosts: [moving.ext]
  addresses: [240.0.1.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: [%s]
"""


class Change(IstioMesh):
    def nacks(self):
        return self.agent.stats()["sources"]["xds"]["nacks"]

    def served(self, want, **job):
        """Until all of eight requests say what is wanted: {answer}."""
        def now():
            counts = self.job("load", **dict({"connections": 1, "requests": 8}, **job))["counts"]
            return set(counts) == want
        self.until(now)

    def begin_load(self, service):
        s = self.service(service)
        return self.begin("load", address=s.vip, port=s.port, host=service, connections=4, seconds=120, until_eof=True, pause=0.002)

    def test_edits_under_load(self):
        s = self.service("plain")
        plain = {"address": s.vip, "port": s.port, "host": "plain"}
        loads = [self.begin_load(n) for n in ("plain", "plain", "weights", "db")]
        for i in range(3):
            # Routes: a VirtualService comes, changes and goes.
            self.istiod.edit("new.yaml", lambda _: MOVED % "gateway-v1")
            self.served({"200 v1"}, **plain)
            self.istiod.edit("new.yaml", lambda _: MOVED % "gateway-v2")
            self.served({"200 v2"}, **plain)
            # Clusters: another one for the same name, with the endpoints it had.
            self.istiod.edit("rule.yaml", lambda _: RULE % (1000 + i))
            self.istiod.remove("new.yaml")
            self.served({"200 v1", "200 v2"}, **plain)
            # Weights, and subsets that are renamed: new clusters before the old ones go.
            self.istiod.edit("routes.yaml", lambda t: t.replace("weight: 75", "weight: 60").replace("weight: 25", "weight: 40")
                             if i % 2 == 0 else t.replace("weight: 60", "weight: 75").replace("weight: 40", "weight: 25"))
        for load in loads:
            result = self.finish(load)
            self.assertEqual(result["errors"], {})
            # A TCP connection may stay with one of them.
            self.assertLessEqual(set(result["counts"]), {"200 v1", "200 v2"})
            self.assertGreater(result["requests"], 100)
        self.assertEqual(self.nacks(), 0)

    def test_endpoints_move_under_load(self):
        moving = {"address": "240.0.1.1", "port": 80, "host": "moving.ext"}
        point = lambda *pods: self.istiod.edit("entry.yaml", lambda _: ENTRY % ", ".join("{address: %s}" % POD_IP[p] for p in pods))  # noqa: E731
        point("v1")
        self.served({"200 v1"}, **moving)
        load = self.begin("load", connections=4, seconds=120, until_eof=True, pause=0.002, **moving)
        for _ in range(3):
            point("v1", "v2")
            self.served({"200 v1", "200 v2"}, **moving)
            point("v2")
            self.served({"200 v2"}, **moving)
            point("v1")
            self.served({"200 v1"}, **moving)
        result = self.finish(load)
        self.assertEqual((result["errors"], set(result["counts"])), ({}, {"200 v1", "200 v2"}))
        self.istiod.remove("entry.yaml")
        self.until(lambda: self.get(**moving).get("status") != 200)

    def test_registry_only(self):
        """REGISTRY_ONLY by a Sidecar: block_all answers 502, BlackHoleCluster takes no connection; without it everything passes again."""
        ext = POD_IP["ext"]

        def unknown():
            return self.get(address=ext, port=BACKEND_PORT, host="unknown.example")
        self.assertEqual(unknown()["status"], 200)
        # Passed through to where nobody is.
        self.assertNotIn(self.get(address="10.77.0.9", port=8079)["error"], ("ConnectionRefusedError",))
        load = self.begin_load("weights")
        self.istiod.edit("sidecar.yaml", lambda _: SIDECAR)
        self.until(lambda: unknown().get("status") == 502)
        self.assertEqual(self.get(address=ext, port=TCP_PORT).get("status"), 200)  # a ServiceEntry names it
        self.assertEqual(self.get(address="10.77.0.9", port=8079).get("error"), "ConnectionRefusedError")
        self.assertEqual(self.ask("plain")["status"], 200)
        self.istiod.remove("sidecar.yaml")
        self.until(lambda: unknown().get("status") == 200)
        result = self.finish(load)
        self.assertEqual((result["errors"], set(result["counts"])), ({}, {"200 v1", "200 v2"}))
        self.assertEqual(self.nacks(), 0)


class ChangeSotw(Change):
    options = ("--xds-sotw",)


if __name__ == "__main__":
    unittest.main()
