# SPDX-License-Identifier: Apache-2.0
"""The agent, without its kernel part, against go-control-plane: every kind of server and cache it has. WEFT_AGENT and CONTROL_PLANE name
the executables; with pods and traffic: `../e2e/test_control_plane.py`."""
import json
import os
import socket
import sys
import tempfile
import unittest

from control_plane import CDS, LDS, LUA, ControlPlane, cluster, endpoints, listener, table

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import Daemon  # noqa: E402

NODE = "node-1"
KINDS = ("listeners", "routes", "clusters", "endpoints")


class Follows:
    """A variant of server and client; its subclasses say which."""
    SERVER, CLIENT = (), ()
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-plane-")
        self.addCleanup(self.folder.cleanup)
        self.plane = None
        self.begin()
        self.addCleanup(lambda: self.plane.stop())

    def begin(self, address="127.0.0.1:0"):
        self.plane = ControlPlane("-listen", address, *self.SERVER)

    def agent(self):
        return Daemon("--no-kernel", "--xds", self.plane.address, "--node-id", NODE, "--admin-http", os.path.join(self.folder.name, "http"), *self.CLIENT)

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(os.path.join(self.folder.name, "http"))
            s.sendall(("GET %s HTTP/1.0\r\nHost: a\r\n\r\n" % path).encode())
            return b"".join(iter(lambda: s.recv(65536), b"")).partition(b"\r\n\r\n")[2]

    def config(self):
        """{name: resource} of /config_dump, what is in force."""
        found = {}
        for part in json.loads(self.get("/config_dump?include_eds"))["configs"]:
            for key, entry in (("dynamic_active_clusters", "cluster"), ("dynamic_route_configs", "route_config"), ("dynamic_endpoint_configs", "endpoint_config")):
                found.update({(entry, r[entry].get("name") or r[entry]["cluster_name"]): r[entry] for r in part.get(key, ())})
            found.update({("listener", l["name"]): l["active_state"]["listener"] for l in part.get("dynamic_listeners", ()) if "active_state" in l})
        return found

    def states(self, daemon):
        return {(k, r["name"]): r["status"] for k in KINDS for r in daemon.call("dump", k)[1]["resources"]}

    def stat(self, name):
        return int(dict(l.rsplit(": ", 1) for l in self.get("/stats").decode().splitlines())[name])

    @staticmethod
    def first():
        return [cluster("a"), endpoints("a", ("10.0.0.1", 80), ("10.0.0.2", 80)), cluster("b"), endpoints("b", ("10.0.0.3", 80)),
                listener("main", "10.9.0.1", 8080, "table"), table("table", all="a", b="b")]

    @staticmethod
    def second():
        """Endpoints of `a` are others, `b` is `c` now, another listener and table come."""
        return [cluster("a"), endpoints("a", ("10.0.0.4", 81)), cluster("c", "2s"), endpoints("c", ("10.0.0.5", 80)),
                listener("main", "10.9.0.1", 8080, "table"), listener("more", "10.9.0.2", 8080, "other"),
                table("table", all="a", b="c"), table("other", all="c")]

    def agrees(self, daemon, resources):
        """Everything of a snapshot is in force, and nothing else."""
        key = {"Cluster": ("cluster", "clusters", "name"), "ClusterLoadAssignment": ("endpoint_config", "endpoints", "cluster_name"),
               "Listener": ("listener", "listeners", "name"), "RouteConfiguration": ("route_config", "routes", "name")}
        want, states = {}, {}
        for r in resources:
            entry, kind, name = key[r["@type"].rsplit(".", 1)[1]]
            want[entry, r[name]] = r
            states[kind, r[name]] = "acked"
        daemon.wait(lambda: self.states(daemon) == states, 60)
        self.assertEqual({k: self.ours(v) for k, v in self.config().items()}, {k: self.ours(v) for k, v in want.items()})

    @staticmethod
    def ours(resource):
        """What differs between the versions of this test."""
        text = json.dumps(resource, sort_keys=True)
        return sorted(w for w in ('"10.0.0.1"', '"10.0.0.2"', '"10.0.0.3"', '"10.0.0.4"', '"10.0.0.5"', '"1s"', '"2s"', '"/b"', ' 81}') if w in text)

    def test_versions_are_followed(self):
        self.plane.set(NODE, "1", self.first())
        with self.agent() as daemon:
            self.agrees(daemon, self.first())
            for version, resources in (("2", self.second()), ("3", self.first()), ("4", []), ("5", self.second())):
                self.plane.set(NODE, version, resources)
                self.agrees(daemon, resources)
            self.assertEqual(self.plane.nacks(), [])
            self.assertEqual(self.stat("listener_manager.lds.update_rejected"), 0)

    def test_snapshot_comes_after_the_client(self):
        with self.agent() as daemon:
            self.plane.event(lambda e: e["event"] == "request" and e["type"] == CDS)
            self.assertEqual(self.get("/ready"), b"INITIALIZING\n")
            self.plane.set(NODE, "1", self.first())
            self.agrees(daemon, self.first())
            daemon.wait(lambda: self.get("/ready") == b"LIVE\n")

    def test_refused_and_taken_again(self):
        self.plane.set(NODE, "1", self.first())
        with self.agent() as daemon:
            self.agrees(daemon, self.first())
            bad = [listener(r["name"], "10.9.0.1", 8080, "table", LUA) if r["@type"] == LDS else r for r in self.second() if r.get("name") not in ("more", "other")]
            before = self.plane.set(NODE, "2", bad)
            nack = self.plane.event(lambda e: e["event"] == "request" and e["error"], before)
            self.assertEqual(nack["type"], LDS)
            self.assertRegex(nack["error"], r"Listener/main: filter_chains\[0\].*http_filters\[0\].*[Ll]ua")
            if nack["variant"] == "sotw":
                self.assertEqual(nack["version"], "1")
            # All else of that version is in force; of the listener the version before.
            daemon.wait(lambda: self.states(daemon).get(("listeners", "main")) == "nacked" and ("clusters", "b") not in self.states(daemon), 60)
            self.assertNotIn("lua", json.dumps(self.config()["listener", "main"]))
            self.assertEqual({v for k, v in self.states(daemon).items() if k != ("listeners", "main")}, {"acked"})
            self.assertGreaterEqual(self.stat("listener_manager.lds.update_rejected"), 1)
            before = self.plane.set(NODE, "3", self.second())
            self.agrees(daemon, self.second())
            answers = [e for e in self.plane.seen("request", before) if e["type"] == LDS and e["nonce"]]
            self.assertEqual(answers[-1]["error"], "")

    def test_server_restarts(self):
        self.plane.set(NODE, "1", self.first())
        with self.agent() as daemon:
            self.agrees(daemon, self.first())
            address = self.plane.address
            self.plane.stop()
            daemon.wait(lambda: not daemon.call("dump")[1]["sources"]["xds"]["connected"], 60)
            self.assertEqual(set(self.states(daemon).values()), {"acked"})
            self.begin(address)
            self.plane.set(NODE, "1", self.first())
            first = self.plane.event(lambda e: e["event"] == "request" and e["type"] == CDS)
            if first["variant"] == "delta":
                self.assertEqual(sorted(first["versions"]), ["a", "b"])
            else:
                self.assertEqual(first["version"], "1")
            self.agrees(daemon, self.first())
            self.plane.set(NODE, "2", self.second())
            self.agrees(daemon, self.second())
            self.assertEqual(self.plane.nacks(), [])


class Generated(Follows):
    """Also the resources of go-control-plane's own test server."""
    XDS = "ads"

    def test_resources_of_its_own_test_server(self):
        """Each version has everything under other names."""
        with self.agent() as daemon:
            for version in ("v0", "v1", "v2"):
                self.plane.set(NODE, version, Xds=self.XDS, NumClusters=4, NumHTTPListeners=3, NumTCPListeners=2, NumRuntimes=1, NumExtension=1,
                               BasePort=9000, UpstreamPort=18080)
                want = {("listeners", "listener-%d" % i): "acked" for i in range(5)}
                want.update({("routes", "route-%s-%d" % (version, 9000 + i)): "acked" for i in range(3)})
                want.update({(k, "cluster-%s-%d" % (version, i)): "acked" for k in ("clusters", "endpoints") for i in range(4)})
                daemon.wait(lambda: self.states(daemon) == want, 60)
            self.assertEqual(self.plane.nacks(), [])


class DeltaAds(Generated, unittest.TestCase):
    SERVER = ("-ads",)


class DeltaLinear(Follows, unittest.TestCase):
    SERVER = ("-linear",)


class SotwAds(Generated, unittest.TestCase):
    SERVER, CLIENT = ("-ads",), ("--xds-sotw",)


class SotwUnordered(Follows, unittest.TestCase):
    CLIENT = ("--xds-sotw",)


class SotwLinear(Follows, unittest.TestCase):
    SERVER, CLIENT = ("-linear",), ("--xds-sotw",)


class Separate(Generated):
    """A stream for each type, to the services of each; the generated resources name the server by api_config_source then."""

    def tearDown(self):
        opened = self.plane.seen("open")
        self.assertEqual({e["variant"] for e in opened}, {self.MODE})
        self.assertLessEqual({CDS, LDS}, {e["type"] for e in opened})
        self.assertNotIn("", [e["type"] for e in opened])


class DeltaSeparate(Separate, unittest.TestCase):
    CLIENT, MODE, XDS = ("--xds-separate",), "delta", "delta"


class SotwSeparate(Separate, unittest.TestCase):
    CLIENT, MODE, XDS = ("--xds-sotw", "--xds-separate"), "sotw", "xds"


if __name__ == "__main__":
    unittest.main()
