# SPDX-License-Identifier: Apache-2.0
"""Istio's own xDS server over pods with backends: the Kubernetes objects of a small mesh, a folder of Istio resources, and the agent.

The pods are those of `mesh.py`: the client (10.77.0.1), v1 (.2), v2 (.3), and `ext` (.4), which no Kubernetes object knows. Each service
in `SERVICES` selects the backends it names. The Istio resources are files of `istio/`, one for each area; an edit writes the copy
of this run and has the server read it again."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import world as lab
from dns_server import Answers, DnsServer
from mesh import BACKEND_PORT, HERE, Mesh, setUpModule_skips

INTEROP = os.path.join(os.path.dirname(HERE), "interop")
FILES = os.path.join(HERE, "istio")
POD_IP = {"client": "10.77.0.1", "v1": "10.77.0.2", "v2": "10.77.0.3", "ext": "10.77.0.4"}
NODE = "sidecar~10.77.0.1~client.shop~shop.svc.cluster.local"
METADATA = """{"NAMESPACE": "shop", "SERVICE_ACCOUNT": "client", "INSTANCE_IPS": "10.77.0.1", "CLUSTER_ID": "Kubernetes",
"ISTIO_VERSION": "1.30.0", "LABELS": {"app": "client"}}"""
TCP_PORT, GRPC_PORT, START_S = 6379, 9000, 60.0
SUFFIX = ".shop.svc.cluster.local"

POD = """apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: shop, labels: {app: %(name)s, version: %(name)s%(labels)s}}
spec: {serviceAccountName: %(name)s, nodeName: n1}
status: {phase: Running, podIP: %(ip)s, podIPs: [{ip: %(ip)s}], conditions: [{type: Ready, status: "True"}]}"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: shop}
spec:
  clusterIP: %(vip)s
  clusterIPs: [%(vip)s]
  selector: {serves: all}
  ports: [{%(port_name)s, port: %(port)d, targetPort: %(target)d, protocol: TCP}]"""
SLICE = """apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(name)s-1, namespace: shop, labels: {kubernetes.io/service-name: %(name)s}}
addressType: IPv4
ports: [{%(port_name)s, port: %(target)d, protocol: TCP}]
endpoints: [%(endpoints)s]"""
ENDPOINT = "{addresses: [%s], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: %s, namespace: shop}}"


class Service:
    """A Kubernetes service: its port's name says Istio the protocol ("" has it sniffed); vip None: headless."""

    def __init__(self, name, vip, port=80, port_name="http", pods=("v1", "v2"), target=BACKEND_PORT):
        self.name, self.vip, self.port, self.port_name, self.pods, self.target = name, vip, port, port_name, pods, target

    @property
    def host(self):
        return self.name + SUFFIX

    def objects(self):
        fields = {"name": self.name, "vip": self.vip or "None", "port": self.port, "target": self.target,
                  "port_name": f"name: {self.port_name}" if self.port_name else 'name: ""',
                  "endpoints": ", ".join(ENDPOINT % (POD_IP[p], p) for p in self.pods)}
        return [SERVICE % fields, SLICE % fields]


_PLAIN = """plain subsets weights match abort delay retry mirror rewrite redirect direct headers timeout delegate cors pending requests retries outlier
outlier-gateway lb-header lb-cookie lb-query lb-source lb-random lb-passthrough upgraded limit-host limit-route gateway""".split()
SERVICES = [Service(n, f"10.96.0.{i + 10}", pods=["v1"] if n == "pending" else ["v1", "v2"]) for i, n in enumerate(_PLAIN)] + [
    Service("gateway-v1", "10.96.1.1", pods=["v1"]), Service("gateway-v2", "10.96.1.2", pods=["v2"]), Service("empty", "10.96.1.3", pods=[]),
    Service("sniffed", "10.96.1.4", 8081, ""), Service("sniffed-two", "10.96.1.5", 8081, ""), Service("limited", "10.96.1.6", 8090), Service("marked", "10.96.1.7", 8091),
    Service("headless", None, BACKEND_PORT), Service("headless-tcp", None, TCP_PORT, "tcp", target=TCP_PORT),
    Service("db", "10.96.2.1", 5432, "tcp", target=TCP_PORT), Service("db-few", "10.96.2.2", 5432, "tcp", target=TCP_PORT),
    Service("db-weights", "10.96.2.3", 5433, "tcp", target=TCP_PORT), Service("gateway-tcp", "10.96.2.4", 7000, "tcp", ["v1"]),
    Service("grpc", "10.96.3.1", GRPC_PORT, "grpc", target=GRPC_PORT), Service("gateway-grpc", "10.96.3.2", GRPC_PORT, "grpc", target=GRPC_PORT),
    Service("gateway-grpc-v1", "10.96.3.3", GRPC_PORT, "grpc", ["v1"], GRPC_PORT),
    Service("gateway-grpc-v2", "10.96.3.4", GRPC_PORT, "grpc", ["v2"], GRPC_PORT),
]
VIP = {s.name: s.vip for s in SERVICES}


def kubernetes():
    """The text of all Kubernetes objects."""
    out = ["apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}"]
    out += [POD % {"name": n, "ip": POD_IP[n], "labels": ", serves: all" if n != "client" else ""} for n in ("client", "v1", "v2")]
    for service in SERVICES:
        out += service.objects()
    with open(os.path.join(HERE, "istio_gateway.yaml"), encoding="utf-8") as f:
        out.append(f.read())
    return "\n---\n".join(out)


def istiod_binary():
    """ISTIOD_LOCAL, or what the script next to istiod-local builds; SkipTest when it cannot be had."""
    path = os.environ.get("ISTIOD_LOCAL")
    if path and os.access(path, os.X_OK):
        return path
    raise unittest.SkipTest("no istiod-local (test/interop/istiod.sh builds it)")


class Istiod:
    """A running istiod-local; `folder` holds what it reads."""

    def __init__(self, folder, mesh=None):
        self.folder, self.istio = folder, os.path.join(folder, "istio")
        os.mkdir(os.path.join(folder, "k8s"))
        with open(os.path.join(folder, "k8s", "mesh.yaml"), "w", encoding="utf-8") as f:
            f.write(kubernetes())
        shutil.copytree(FILES, self.istio)
        command = [istiod_binary(), "-k8s", os.path.join(folder, "k8s"), "-istio", self.istio, "-listen", "127.0.0.1:0"]
        if mesh:
            with open(os.path.join(folder, "mesh.yaml"), "w", encoding="utf-8") as f:
                f.write(mesh)
            command += ["-mesh", f.name]
        self.lines, self.reloads = [], 0
        self.changed = threading.Condition()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=dict(os.environ, PILOT_ENABLE_ALPHA_GATEWAY_API="true"))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.address = self._wait(lambda: next((l.split()[1] for l in self.lines if l.startswith("ready ")), None))

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _wait(self, ready):
        end = time.monotonic() + START_S
        with self.changed:
            while (got := ready()) is None:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError("istiod-local: " + "".join(self.lines[-40:]))
                self.changed.wait(0.2)
        return got

    def edit(self, name, change):
        """The file `name` of this run becomes change(text), and is read again."""
        path = os.path.join(self.istio, name)
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                text = f.read()
        new = change(text)
        assert new != text, name
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(new)
        os.rename(path + ".new", path)
        self.reload()

    def remove(self, name):
        os.remove(os.path.join(self.istio, name))
        self.reload()

    def reload(self):
        self.reloads += 1
        self.process.send_signal(signal.SIGHUP)
        read = self._wait(lambda: [l for l in self.lines if l.startswith(("reloaded", "kept the old"))][self.reloads - 1:] or None)
        assert read[0].startswith("reloaded"), read

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class IstioMesh(Mesh):
    """The agent follows istiod-local; the client is the one enrolled pod."""
    mesh = None  # text of the mesh configuration
    backends = ("v1", "v2", "ext")
    names = None  # what a name server of the test's own says

    @classmethod
    def setUpClass(cls):
        setUpModule_skips()
        istiod_binary()
        cls.world = lab.World().__enter__()
        cls.addClassCleanup(cls.world.close)
        cls.client = cls.world.pod("client")
        pods = [cls.world.pod(n) for n in cls.backends]
        for pod in pods:
            for port in (BACKEND_PORT, TCP_PORT):
                cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), pod.name, str(port)], pod, name=f"backend-{pod.name}-{port}")
        for pod in pods:
            for port in (BACKEND_PORT, TCP_PORT):
                cls.world.wait_port(pod, port)
        folder = os.path.join(cls.world.dir, "istiod")
        os.mkdir(folder)
        cls.istiod = Istiod(folder, cls.mesh)
        cls.addClassCleanup(cls.istiod.stop)
        cls.agent = lab.Agent(cls.world, options=["--xds", cls.istiod.address, "--node-id", NODE, "--node-metadata", METADATA, *cls.options],
                              pods=[cls.client], wrap=cls.name_server())
        cls.agent.start()
        cls.addClassCleanup(cls.agent.stop)
        cls.until(lambda: cls.settled())

    @classmethod
    def name_server(cls):
        """Words in front of the agent's command, by which the system's name server is one that knows `names`: a mount of its own."""
        if not cls.names:
            return ()
        server = DnsServer(Answers(cls.names), "127.0.0.77", 53)
        cls.addClassCleanup(server.close)
        conf = os.path.join(cls.world.dir, "resolv.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write("nameserver 127.0.0.77\n")
        return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', conf)

    @classmethod
    def until(cls, condition, limit_s=30.0):
        """The first true answer of a condition."""
        end = time.monotonic() + limit_s
        while not (got := condition()):
            if time.monotonic() > end:
                raise AssertionError("not reached: " + cls.world.log("agent")[-2000:])
            time.sleep(0.05)
        return got

    @staticmethod
    def service(name):
        return next(s for s in SERVICES if s.name == name)

    def ask(self, service, path="/", **job):
        """A request to a service as an app sends it: to its VIP, with its name as host."""
        s = self.service(service)
        return self.get(path, **dict({"address": s.vip, "port": s.port, "host": service}, **job))

    def seen(self, pod):
        """{total, last} of what a backend was asked, past the mesh."""
        with self.world.inside(self.world.pods["ext"], socket.create_connection, (POD_IP[pod], BACKEND_PORT), 10) as s:
            s.sendall(b"GET /requests HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = b"".join(iter(lambda: s.recv(65536), b""))
        return json.loads(data.partition(b"\r\n\r\n")[2])

    def total(self, pod):
        return self.seen(pod)["total"]

    def last(self, pod):
        """The headers of the last request a backend had."""
        return self.seen(pod)["last"]

    @classmethod
    def settled(cls):
        """Whether everything that was asked for is in force."""
        kinds = [cls.agent.call("dump", k) for k in ("listeners", "routes", "clusters", "endpoints")]
        return all(k["resources"] and k["agree"] for k in kinds)
