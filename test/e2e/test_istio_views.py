# SPDX-License-Identifier: Apache-2.0
"""Istio's own control plane and pods of two namespaces: each pod sees what its sidecar would. Sidecar, exportTo, sourceLabels and
DestinationRules of the client's namespace, with traffic; the edits come by SIGHUP. ISTIOD_LOCAL: the server (test/interop/istiod-local)."""
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import world as lab
from mesh import BACKEND_PORT, HERE, Mesh, setUpModule_skips

TOP = os.path.dirname(os.path.dirname(HERE))
BUILT = os.path.join(TOP, "build", "release", "test", "interop", "istiod", "istiod-local")
START_S = 60.0
V1, V2 = "10.77.0.1", "10.77.0.2"
# Its address, and what is in force for whom.
SERVICES = {"common": "10.96.0.1", "secret": "10.96.0.2", "scoped": "10.96.0.3", "labels": "10.96.0.4", "local": "10.96.0.5"}

NAMESPACE = """apiVersion: v1
kind: Namespace
metadata: {name: %s, labels: {kubernetes.io/metadata.name: %s}}"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop, labels: {app: server, version: %s}}
spec: {serviceAccountName: server, nodeName: n1}
status: {phase: Running, podIP: %s, podIPs: [{ip: %s}], conditions: [{type: Ready, status: "True"}]}"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: shop%(more)s}
spec:
  clusterIP: %(vip)s
  clusterIPs: [%(vip)s]
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: %(port)d, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(name)s-1, namespace: shop, labels: {kubernetes.io/service-name: %(name)s}}
addressType: IPv4
ports: [{name: http, port: %(port)d, protocol: TCP}]
endpoints:
- {addresses: [%(v1)s], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: v1, namespace: shop}}
- {addresses: [%(v2)s], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: v2, namespace: shop}}"""

ISTIO = """apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: two}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["./*", shop/common.shop.svc.cluster.local, shop/secret.shop.svc.cluster.local, shop/labels.shop.svc.cluster.local, shop/local.shop.svc.cluster.local]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: labels, namespace: shop}
spec:
  host: labels.shop.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: labels, namespace: shop}
spec:
  hosts: [labels.shop.svc.cluster.local]
  http:
  - match: [{sourceLabels: {team: blue}}]
    route: [{destination: {host: labels.shop.svc.cluster.local, subset: %(blue)s}}]
  - route: [{destination: {host: labels.shop.svc.cluster.local, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: local, namespace: two}
spec:
  host: local.shop.svc.cluster.local
  exportTo: ["."]
  subsets: [{name: only, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: local, namespace: two}
spec:
  hosts: [local.shop.svc.cluster.local]
  exportTo: ["."]
  http: [{route: [{destination: {host: local.shop.svc.cluster.local, subset: only}}], headers: {response: {add: {x-by: two}}}}]
"""


def istiod_binary():
    for path in (os.environ.get("ISTIOD_LOCAL"), BUILT):
        if path and os.access(path, os.X_OK):
            return path
    raise unittest.SkipTest("no istiod-local (the interop tests build it, ISTIOD_LOCAL names it)")


def kubernetes():
    out = [NAMESPACE % (n, n) for n in ("shop", "one", "two")]
    out += [POD % (name, name, ip, ip) for name, ip in (("v1", V1), ("v2", V2))]
    for name, vip in SERVICES.items():
        more = ', annotations: {networking.istio.io/exportTo: "one"}' if name == "secret" else ""
        out.append(SERVICE % {"name": name, "vip": vip, "port": BACKEND_PORT, "v1": V1, "v2": V2, "more": more})
    return "\n---\n".join(out)


class IstioViews(Mesh):
    @classmethod
    def setUpClass(cls):
        setUpModule_skips()
        binary = istiod_binary()
        cls.world = lab.World().__enter__()
        cls.addClassCleanup(cls.world.close)
        for name in ("v1", "v2"):
            pod = cls.world.pod(name)
            cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), name, str(BACKEND_PORT)], pod, name="backend-" + name)
            cls.world.wait_port(pod, BACKEND_PORT)
        cls.pods = {}
        cls.folder = os.path.join(cls.world.dir, "istiod")
        for part, text in (("k8s", kubernetes()), ("istio", ISTIO % {"blue": "v2"})):
            os.makedirs(os.path.join(cls.folder, part))
            cls.write_part(part, text)
        cls.lines, cls.changed = [], threading.Condition()
        cls.istiod = subprocess.Popen([binary, "-k8s", os.path.join(cls.folder, "k8s"), "-istio", os.path.join(cls.folder, "istio"),
                                       "-listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cls.addClassCleanup(cls.istiod_stop)
        threading.Thread(target=cls.istiod_read, daemon=True).start()
        address = cls.said(lambda: next((line.split()[1] for line in cls.lines if line.startswith("ready ")), None))
        cls.agent = lab.Agent(cls.world, options=["--xds", address, "--xds-views", "pod"])
        cls.agent.start()
        cls.addClassCleanup(cls.agent.stop)
        cls.enrol("red", "one", "team=red")
        cls.enrol("blue", "one", "team=blue")
        cls.enrol("far", "two", "team=red")
        cls.enrol("twin", "two", "team=red")

    @classmethod
    def write_part(cls, part, text):
        path = os.path.join(cls.folder, part, "mesh.yaml")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".new", path)

    @classmethod
    def istiod_read(cls):
        for line in cls.istiod.stdout:
            with cls.changed:
                cls.lines.append(line)
                cls.changed.notify_all()

    @classmethod
    def said(cls, what):
        end = time.monotonic() + START_S
        with cls.changed:
            while (got := what()) is None:
                assert cls.istiod.poll() is None and time.monotonic() < end, "".join(cls.lines[-40:])
                cls.changed.wait(0.2)
        return got

    @classmethod
    def istiod_stop(cls):
        cls.istiod.kill()
        cls.istiod.wait()

    @classmethod
    def enrol(cls, name, ns, label):
        pod = cls.pods[name] = cls.world.pod(name)
        cls.agent.call("pod", "add", "--netns", pod.path, "--name", name, "--namespace", ns, "--service-account", "client", "--label",
                       label, "--wait", "25")

    def ask(self, pod, service, **job):
        return self.get("/x", pod=self.pods[pod], address=SERVICES[service], port=80, host=service + ".shop.svc.cluster.local", **job)

    def backends(self, pod, service, n=8):
        got = [self.ask(pod, service) for _ in range(n)]
        self.assertEqual({g["status"] for g in got}, {200})
        return sorted({g["headers"]["x-backend"] for g in got})

    def names(self, kind, pod):
        """What of a kind is in force for a pod."""
        view = next(p["view"] for p in self.agent.call("pod", "list") if p["name"] == pod)
        return {r["name"] for r in self.agent.call("dump", kind)["resources"] if r["view"] == view}

    def test_streams_are_by_kind(self):
        xds = self.agent.stats()["sources"]["xds"]
        self.assertEqual([s["pods"] for s in xds["streams"]], [1, 1, 2])
        self.assertEqual(xds["nacks"], 0)
        contents = self.agent.stats()["resources"]
        self.assertLess(contents["contents"], contents["users"])

    def test_common_to_all(self):
        for pod in self.pods:
            self.assertEqual(self.backends(pod, "common"), ["v1", "v2"], pod)

    def test_export_to(self):
        """A service that is exported to one namespace is not there in the other, which lets nothing unknown out."""
        self.assertEqual(self.backends("red", "secret"), ["v1", "v2"])
        cluster = "outbound|80||secret.shop.svc.cluster.local"
        self.assertIn(cluster, self.names("clusters", "red"))
        self.assertNotIn(cluster, self.names("clusters", "far"))
        self.assertEqual(self.ask("far", "secret")["status"], 502)  # BlackHole of HTTP

    def test_sidecar(self):
        """What the namespace's Sidecar does not list is not there."""
        self.assertEqual(self.backends("blue", "scoped"), ["v1", "v2"])
        cluster = "outbound|80||scoped.shop.svc.cluster.local"
        self.assertIn(cluster, self.names("clusters", "blue"))
        self.assertNotIn(cluster, self.names("clusters", "twin"))
        self.assertEqual(self.ask("twin", "scoped")["status"], 502)

    def test_rules_of_the_clients_namespace(self):
        self.assertEqual(self.backends("red", "local"), ["v1", "v2"])
        self.assertEqual(self.backends("far", "local"), ["v2"])
        self.assertEqual(self.ask("far", "local")["headers"].get("x-by"), "two")
        self.assertNotIn("x-by", self.ask("red", "local")["headers"])

    def test_source_labels_and_an_edit(self):
        self.assertEqual(self.backends("red", "labels"), ["v1"])
        self.assertEqual(self.backends("blue", "labels"), ["v2"])
        self.assertEqual(self.backends("far", "labels"), ["v1"])
        # The rule of one kind of pods changes while all of them send.
        load = self.begin("load", pod=self.pods["blue"], address=SERVICES["labels"], port=80, host="labels.shop.svc.cluster.local",
                          connections=2, seconds=60, until_eof=True, pause=0.005)
        self.write_part("istio", ISTIO % {"blue": "v1"})
        self.istiod.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while self.ask("blue", "labels")["headers"]["x-backend"] != "v1":
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.backends("blue", "labels"), ["v1"])
        self.assertEqual(self.backends("red", "labels"), ["v1"])
        done = self.finish(load)
        self.assertEqual(done["errors"], {})
        self.assertEqual({k.split()[0] for k in done["counts"]}, {"200"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
