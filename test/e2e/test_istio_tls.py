# SPDX-License-Identifier: Apache-2.0
"""Istio's routes of connections, with traffic: TLS by the name that a ClientHello asks for, TCP by the address it goes to, and how long a
connection may last."""
import os
import shutil
import sys
import unittest

import yaml

from istio_mesh import INTEROP, POD_IP, SERVICES, TCP_PORT, IstioMesh, Service
from mesh import HERE

sys.path.insert(0, INTEROP)
import certs  # noqa: E402

TLS_PORT, RANGES_PORT = 8443, 9101
NETWORKING = "networking.istio.io/v1"


def doc(kind, name, spec):
    return {"apiVersion": NETWORKING, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def entry(name, hosts, port, protocol, **more):
    return doc("ServiceEntry", name, dict({"hosts": hosts, "location": "MESH_EXTERNAL", "resolution": "NONE",
                                           "ports": [{"number": port, "name": protocol.lower(), "protocol": protocol}]}, **more))


def to(host, port, weight=None):
    return dict({"destination": {"host": host, "port": {"number": port}}}, **({"weight": weight} if weight else {}))


def names(*hosts):
    return [{"port": TLS_PORT, "sniHosts": list(hosts)}]


NAMED = ["one.sni.ext", "two.sni.ext", "*.wild.ext", "both.ext"]
DEEP, FREE = "deep.in.wild.ext", "free.ext"
DOCUMENTS = [
    entry("sni", [*NAMED, DEEP, FREE], TLS_PORT, "TLS"),
    doc("VirtualService", "deep", {"hosts": [DEEP], "tls": [{"match": names(DEEP), "route": [to("tls-v1", TLS_PORT)]}]}),
    doc("VirtualService", "sni", {"hosts": NAMED, "tls": [
        {"match": names("one.sni.ext"), "route": [to("tls-v1", TLS_PORT)]},
        {"match": names("two.sni.ext", "*.wild.ext"), "route": [to("tls-v2", TLS_PORT)]},
        {"match": names("both.ext"), "route": [to("tls-v1", TLS_PORT, 50), to("tls-v2", TLS_PORT, 50)]}]}),
    entry("ranges", ["ranges.ext"], RANGES_PORT, "TCP", addresses=["240.9.0.0/16"]),
    doc("VirtualService", "ranges", {"hosts": ["ranges.ext"], "tcp": [
        {"match": [{"port": RANGES_PORT, "destinationSubnets": ["240.9.0.0/17"]}], "route": [to("tcp-v1", TCP_PORT)]},
        {"match": [{"port": RANGES_PORT, "destinationSubnets": ["240.9.7.0/24", "240.9.200.0/24"]}], "route": [to("tcp-v2", TCP_PORT)]}]}),
    doc("DestinationRule", "short", {"host": "short", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnectionDuration": "1s"}}}}),
]


@unittest.skipUnless(shutil.which("openssl"), "no openssl command")
class Tls(IstioMesh):
    @classmethod
    def setUpClass(cls):
        for name, pods in (("tls-v1", ["v1"]), ("tls-v2", ["v2"])):
            SERVICES.append(Service(name, f"10.96.4.{pods[0][1]}", TLS_PORT, "tls", pods, TLS_PORT))
        for name, pods in (("tcp-v1", ["v1"]), ("tcp-v2", ["v2"])):
            SERVICES.append(Service(name, f"10.96.5.{pods[0][1]}", TCP_PORT, "tcp", pods, TCP_PORT))
        SERVICES.append(Service("short", "10.96.5.9", 5434, "tcp", ["v1"], TCP_PORT))
        super().setUpClass()
        folder = os.path.join(cls.world.dir, "certs")
        os.mkdir(folder)
        pair = certs.Authority(folder, "ca").issue("backend", "DNS:backend")
        for name in cls.backends:
            cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), name, str(TLS_PORT), *pair], cls.world.pods[name], name="tls-" + name)
        for name in cls.backends:
            cls.world.wait_port(cls.world.pods[name], TLS_PORT)
        cls.istiod.edit("tls.yaml", lambda _: yaml.safe_dump_all(DOCUMENTS))
        wanted = {f"0.0.0.0_{TLS_PORT}", f"0.0.0.0_{RANGES_PORT}"}
        cls.until(lambda: wanted <= {r["name"] for r in cls.agent.call("dump", "listeners")["resources"] if r.get("state") == "in use"})
        cls.until(cls.settled)

    def named(self, name, address=POD_IP["ext"], **job):
        """The backend that a TLS connection with this name ends at."""
        got = self.get(address=address, port=TLS_PORT, tls=name, **job)
        return got.get("headers", {}).get("x-backend", got)

    def test_all_of_it_is_accepted(self):
        xds = self.agent.stats()["sources"]["xds"]
        self.assertEqual((xds["nacks"], xds["acks"]), (0, xds["responses"]))

    def test_names(self):
        """Whatever the address is; what no route names goes where the app asked."""
        for address in (POD_IP["ext"], "240.1.2.3", POD_IP["v2"]):
            for name, backend in (("one.sni.ext", "v1"), ("ONE.sni.ext", "v1"), ("two.sni.ext", "v2"), ("a.wild.ext", "v2"), ("a.in.wild.ext", "v2"),
                                  (DEEP, "v1")):
                with self.subTest(name=name, address=address):
                    self.assertEqual(self.named(name, address), backend)
        for name in (FREE, "wild.ext", "three.sni.ext", ""):
            with self.subTest(name=name):
                self.assertEqual(self.named(name), "ext")

    def test_weights(self):
        self.assertEqual({self.named("both.ext") for _ in range(16)}, {"v1", "v2"})

    def test_in_pieces(self):
        """A ClientHello of several segments; and a service's own name by its address."""
        code = """if True:
            import socket, ssl, sys, time
            context = ssl._create_unverified_context()
            back, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(back, out, server_hostname="one.sni.ext")
            s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            def flush(size):
                data = out.read()
                for i in range(0, len(data), size):
                    s.sendall(data[i:i + size])
                    time.sleep(0.001 if size < 100 else 0)
            def until(do, size=1 << 16):
                while True:
                    try:
                        got = do()
                        flush(1 << 16)
                        return got
                    except ssl.SSLWantReadError:
                        flush(size)
                        back.write(s.recv(65536) or sys.exit("ended"))
            until(tls.do_handshake, 3)
            until(lambda: tls.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"))
            print(until(lambda: tls.read(4096)).decode())"""
        status, out = self.world.output([sys.executable, "-c", code, POD_IP["ext"], str(TLS_PORT)], pod=self.client)
        self.assertEqual(status, 0, out)
        self.assertIn("x-backend: v1", out)

    def test_ranges(self):
        """In connect() itself: the address decides."""
        before = self.agent.stats()["decisions"]["classes"]
        for address, backend in (("240.9.1.1", "v1"), ("240.9.7.1", "v2"), ("240.9.200.1", "v2")):
            with self.subTest(address=address):
                got = self.get(address=address, port=RANGES_PORT)
                self.assertEqual(got.get("headers", {}).get("x-backend"), backend, got)
        after = self.agent.stats()["decisions"]["classes"]
        self.assertEqual({k: after[k] - before[k] for k in ("l4", "captured")}, {"l4": 3, "captured": 0})

    def test_duration(self):
        """A connection of a second, though it is busy."""
        code = """if True:
            import socket, sys, time
            s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
            began = time.monotonic()
            try:
                while s.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n") and s.recv(4096):
                    time.sleep(0.05)
            except ConnectionError:
                pass
            print(time.monotonic() - began)"""
        status, out = self.world.output([sys.executable, "-c", code, "10.96.5.9", "5434"], pod=self.client)
        self.assertEqual(status, 0, out)
        self.assertGreaterEqual(float(out), 0.95)


if __name__ == "__main__":
    unittest.main()
