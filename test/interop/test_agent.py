# SPDX-License-Identifier: Apache-2.0
"""The agent as a whole, without its kernel part, against the scripted server. WEFT_AGENT names the executable."""
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import unittest

import grpc

from certs import Authority, read
from scripted_ads import CDS, EDS, LDS, RDS, Server, Streams, cla, eds_cluster, listener, route, static_cluster

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import AGENT, Daemon  # noqa: E402


def serve(s, version="1"):
    """A cluster, a listener and its routes, each acknowledged."""
    s.next(CDS)
    s.send(CDS, "c" + version, [("web", version, static_cluster("web"))])
    s.ack(CDS, "c" + version)
    s.next(LDS)
    s.send(LDS, "l" + version, [("main", version, listener("main", 8080, "routes"))])
    s.next(RDS)
    s.ack(LDS, "l" + version)
    s.send(RDS, "r" + version, [("routes", version, route("routes", "web"))])
    s.ack(RDS, "r" + version)


class WithServer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weft-agent-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = None

    def tearDown(self):
        if self.server:
            self.server.stop()

    def daemon(self, *args):
        return Daemon("--no-kernel", "--xds", "127.0.0.1:%d" % self.server.port, *args)

    @staticmethod
    def names(daemon, kind):
        return [r["name"] for r in daemon.call("dump", kind)[1]["resources"]]


class Flood(WithServer):
    """A server that never stops to change its mind."""
    UPDATES = 10000

    def test_thousands_of_updates(self):
        self.server = Server()
        with self.daemon() as daemon:
            s = self.server.session()
            clusters = ["c%03d" % i for i in range(300)]
            s.next(CDS)
            s.send(CDS, "c", [(c, "1", eds_cluster(c)) for c in clusters])
            self.assertEqual(s.next(EDS).subscribe, clusters)
            s.ack(CDS, "c")
            s.send(EDS, "e", [(c, "1", cla(c, 80)) for c in clusters])
            s.ack(EDS, "e")
            s.next(LDS)
            s.send(LDS, "l")
            s.ack(LDS, "l")
            before = self.memory(daemon)
            for i in range(self.UPDATES):
                c = clusters[i % 10]
                s.send(EDS, str(i), [(c, str(i), cla(c, 1 + i % 65535))])
            for i in range(self.UPDATES):
                s.ack(EDS, str(i))
            if b"__asan_init" not in read(AGENT):  # which keeps what was freed
                self.assertLess(self.memory(daemon), before + 16384)
            last = {r["name"]: r["version"] for r in daemon.call("dump", "endpoints")[1]["resources"]}
            self.assertEqual([last[c] for c in clusters[:10]], [str(self.UPDATES - 10 + i) for i in range(10)])

    @staticmethod
    def memory(daemon):
        """KiB."""
        with open("/proc/%d/status" % daemon.process.pid, encoding="utf-8") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


class Admin(WithServer):
    """What probes and scrapers are told."""
    def ask(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(os.path.join(self.folder, "http"))
            s.sendall(("GET %s HTTP/1.0\r\nHost: a\r\n\r\n" % path).encode())
            data = b""
            while more := s.recv(65536):
                data += more
        head, _, body = data.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def stats(self):
        return dict(line.split(": ") for line in self.ask("/stats")[1].splitlines())

    def test_a_stream_for_each_type(self):
        self.server = Server()
        with self.daemon("--xds-separate", "--admin-http", os.path.join(self.folder, "http")) as daemon:
            s = Streams(self.server)
            serve(s)
            daemon.wait(lambda: self.ask("/ready")[0] == 200)
            for type_url in (CDS, LDS, RDS):
                self.assertEqual(s.of(type_url).service, type_url)
            xds = daemon.call("dump")[1]["sources"]["xds"]
            self.assertEqual((xds["separate"], xds["variant"], xds["connected"], xds["acks"]), (True, "delta", True, 3))
            self.assertEqual(self.stats()["control_plane.connected_state"], "1")
            self.assertEqual(self.names(daemon, "routes"), ["routes"])
            bootstrap = json.loads(self.ask("/config_dump?mask=bootstrap.dynamic_resources")[1])["configs"][0]["bootstrap"]
            for source in ("lds_config", "cds_config"):
                self.assertEqual(bootstrap["dynamic_resources"][source]["api_config_source"]["api_type"], "DELTA_GRPC")
            self.assertNotIn("ads_config", bootstrap["dynamic_resources"])
            s.close(RDS)
            daemon.wait(lambda: "RouteDiscoveryService: status" in daemon.log())
            self.assertEqual(s.next(RDS).versions, {"routes": "1"})

    def test_ready_when_the_first_configuration_is_whole(self):
        self.server = Server()
        with self.daemon("--admin-http", os.path.join(self.folder, "http")) as daemon:
            s = self.server.session()
            self.assertEqual(self.ask("/ready"), (503, "INITIALIZING\n"))
            s.next(CDS)
            s.send(CDS, "c", [("web", "1", eds_cluster("web"))])
            s.next(EDS)
            s.ack(CDS, "c")
            self.assertEqual(self.ask("/ready")[0], 503)
            s.send(EDS, "e", [("web", "1", cla("web", 80))])
            s.ack(EDS, "e")
            s.next(LDS)
            s.send(LDS, "l", [("main", "1", listener("main", 8080, "routes"))])
            s.next(RDS)
            s.ack(LDS, "l")
            # Everything but the routes is there: not yet.
            self.assertEqual(self.ask("/ready")[0], 503)
            self.assertFalse(daemon.call("dump")[1]["ready"])
            stats = self.stats()
            self.assertEqual((stats["server.live"], stats["server.state"]), ("0", "3"))
            s.send(RDS, "r", [("routes", "1", route("routes", "web"))])
            s.ack(RDS, "r")
            self.assertEqual(self.ask("/ready"), (200, "LIVE\n"))
            self.assertTrue(daemon.call("dump")[1]["ready"])
            s.send(CDS, "bad", [("bad", "1", static_cluster("other"))])
            s.nack(CDS, "bad", "not the name")
            stats = self.stats()
            self.assertEqual({k: stats[k] for k in ("control_plane.connected_state", "cluster_manager.cds.update_success",
                                                    "cluster_manager.cds.update_rejected", "listener_manager.lds.update_success",
                                                    "weft.xds.eds.update_success", "weft.xds.rds.update_success", "weft.xds.stale")},
                             {"control_plane.connected_state": "1", "cluster_manager.cds.update_success": "1",
                              "cluster_manager.cds.update_rejected": "1", "listener_manager.lds.update_success": "1",
                              "weft.xds.eds.update_success": "1", "weft.xds.rds.update_success": "1", "weft.xds.stale": "0"})
            for path in "/stats/prometheus", "/stats?format=prometheus":
                status, text = self.ask(path)
                self.assertEqual(status, 200)
                self.assertIn("\nenvoy_cluster_manager_cds_update_success 1\n", text)
            self.assertEqual(self.ask("/stats?format=xml")[0], 400)
            self.assertEqual(self.ask("/quitquitquit")[0], 404)
            # The server goes: what was served stays, and its age is told.
            self.server.stop()
            self.server = None
            self.assertEqual(self.ask("/ready")[0], 200)
            end = time.monotonic() + 10
            while int(self.stats()["weft.xds.staleness_ms"]) < 1:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            self.assertEqual(self.stats()["control_plane.connected_state"], "0")


@unittest.skipUnless(shutil.which("openssl"), "no openssl command")
class Authentication(WithServer):
    def test_all_credentials(self):
        ca = Authority(self.folder, "ca")
        cert, key = ca.issue("istiod", "DNS:istiod.istio-system.svc")
        own_cert, own_key = ca.issue("node", "DNS:node")
        token = os.path.join(self.folder, "token")
        with open(token, "w", encoding="utf-8") as f:
            f.write("a.b.c\n")
        self.server = Server(credentials=grpc.ssl_server_credentials([(read(key), read(cert))], read(ca.pem), True))
        with self.daemon("--xds-ca", ca.pem, "--xds-sni", "any.example", "--xds-san", "no.example", "--xds-san",
                         "istiod.istio-system.svc", "--xds-cert", own_cert, "--xds-key", own_key, "--xds-token-file", token,
                         "--xds-cluster-id", "Kubernetes") as daemon:
            s = self.server.session()
            self.assertEqual((s.metadata["authorization"], s.metadata["clusterid"]), ("Bearer a.b.c", "Kubernetes"))
            self.assertEqual(s.peer["x509_common_name"], [b"node"])
            serve(s)
            source = daemon.call("dump")[1]["sources"]["xds"]
            self.assertTrue(source["connected"] and source["tls"])
            self.assertEqual(self.names(daemon, "listeners"), ["main"])

    def test_wrong_server(self):
        ca, other = Authority(self.folder, "ca"), Authority(self.folder, "other")
        cert, key = ca.issue("istiod", "IP:127.0.0.1")
        self.server = Server(credentials=grpc.ssl_server_credentials([(read(key), read(cert))]))
        with self.daemon("--xds-ca", other.pem) as daemon:
            text = "unable to get local issuer certificate (authorities of %s)" % other.pem
            daemon.wait(lambda: text in daemon.log())
            self.assertIn(text, daemon.call("dump")[1]["sources"]["xds"]["last_error"])
        self.assertTrue(self.server.sessions.empty())


class StateOfTheWorld(WithServer):
    def test_whole_agent(self):
        self.server = Server()
        with self.daemon("--xds-sotw") as daemon:
            s = self.server.session()
            s.next(CDS)
            s.send(CDS, "c1", "1", [static_cluster("web"), static_cluster("old")])
            s.ack(CDS, "c1", "1")
            s.next(LDS)
            s.send(LDS, "l1", "1", [listener("main", 8080, "routes")])
            self.assertEqual(s.next(RDS).names, ["routes"])
            s.ack(LDS, "l1", "1")
            s.send(RDS, "r1", "1", [route("routes", "web")])
            s.ack(RDS, "r1", "1")
            s.send(CDS, "c2", "2", [static_cluster("web")])
            s.ack(CDS, "c2", "2")
            # A field that cannot be represented: the compiler's word, with the version before.
            s.send(RDS, "r2", "2", [route("routes", "")])
            s.nack(RDS, "r2", "1", "RouteConfiguration/routes")
            self.assertEqual(self.names(daemon, "clusters"), ["web"])
            self.assertEqual(self.names(daemon, "listeners"), ["main"])
            self.assertEqual(daemon.call("dump")[1]["sources"]["xds"]["variant"], "sotw")


class Saved(WithServer):
    """The last good configuration in a file, and its use while no server serves."""

    def setUp(self):
        super().setUp()
        self.cache = os.path.join(self.folder, "cache")

    def xds(self, daemon):
        return daemon.call("dump")[1]["sources"]["xds"]

    def save(self, version="1"):
        """A server serves once, the agent saves it and stops; then the server is gone."""
        self.server = Server()
        with self.daemon("--xds-cache", self.cache) as daemon:
            serve(self.server.session(), version)
            daemon.wait(lambda: os.path.exists(self.cache))
            source = self.xds(daemon)
            self.assertEqual((source["stale"], source["staleness_ms"]), (False, 0))
            self.assertEqual((source["saved"]["writes"], source["saved"]["error"]), (1, None))
        self.assertEqual(os.stat(self.cache).st_mode & 0o7777, 0o600)
        self.server.stop()

    def states(self, daemon, kind):
        return {r["name"]: (r["version"], r["status"]) for r in daemon.call("dump", kind)[1]["resources"]}

    def stale(self, *args):
        return self.daemon("--xds-cache", self.cache, *args)

    def test_server_is_away_and_comes_back(self):
        self.save()
        with self.stale() as daemon:
            daemon.wait(lambda: self.xds(daemon)["stale"])
            self.assertGreater(self.xds(daemon)["staleness_ms"], 0)
            for kind, name in (("listeners", "main"), ("clusters", "web"), ("routes", "routes")):
                self.assertEqual(self.states(daemon, kind)[name], ("1", "stale"))
            self.assertTrue(daemon.call("dump", "routes")[1]["agree"])
            # A server comes: nothing of the saved goes before all of the new has come.
            self.server = Server("127.0.0.1:%d" % self.server.port)
            s = self.server.session()
            r = s.next(CDS)
            self.assertEqual(r.versions, {})
            s.send(CDS, "c2", [("web", "2", static_cluster("web", "new")), ("more", "2", static_cluster("more"))])
            s.ack(CDS, "c2")
            s.next(LDS)
            self.assertEqual(self.states(daemon, "listeners")["main"], ("1", "stale"))
            self.assertEqual(self.states(daemon, "clusters")["web"], ("1", "stale"))
            s.send(LDS, "l2", [("main", "2", listener("main", 8080, "routes"))])
            s.next(RDS)
            s.ack(LDS, "l2")
            self.assertTrue(self.xds(daemon)["stale"])
            s.send(RDS, "r2", [("routes", "2", route("routes", "more"))])
            s.ack(RDS, "r2")
            daemon.wait(lambda: not self.xds(daemon)["stale"])
            self.assertEqual(self.states(daemon, "clusters"), {"web": ("2", "acked"), "more": ("2", "acked")})
            self.assertEqual(self.states(daemon, "routes"), {"routes": ("2", "acked")})
            self.assertEqual(self.xds(daemon)["staleness_ms"], 0)
            s.send(CDS, "c3", removed=["web"])
            s.ack(CDS, "c3")
            self.assertEqual(self.states(daemon, "clusters"), {"more": ("2", "acked")})
        # What came last was saved at the end.
        self.server.stop()
        with self.stale() as daemon:
            daemon.wait(lambda: self.xds(daemon)["stale"])
            self.assertEqual(self.states(daemon, "clusters"), {"more": ("2", "stale")})

    def test_server_that_lies_or_stays_silent(self):
        self.save()
        self.server = Server("127.0.0.1:%d" % self.server.port)
        with self.stale() as daemon:
            s = self.server.session()
            s.next(CDS)
            # Nothing comes: after a while what was saved serves, though the server is there.
            daemon.wait(lambda: self.xds(daemon)["stale"], 20)
            self.assertTrue(self.xds(daemon)["connected"])
            # Only rubbish comes: an answer, but nothing to replace the saved with.
            s.send(CDS, "c1", [("web", "9", b"\x0a\x7f")])
            s.nack(CDS, "c1", "web")
            s.next(LDS)
            s.send(LDS, "l1")
            s.ack(LDS, "l1")
            self.assertEqual(self.states(daemon, "clusters")["web"], ("1", "stale"))
            self.assertTrue(self.xds(daemon)["stale"])
            s.send(CDS, "c2")
            s.ack(CDS, "c2")
            daemon.wait(lambda: not self.xds(daemon)["stale"])
            self.assertEqual(self.states(daemon, "listeners"), {})

    def test_server_that_is_there_needs_no_saved_one(self):
        self.save("1")
        self.server = Server("127.0.0.1:%d" % self.server.port)
        with self.stale() as daemon:
            serve(self.server.session(), "2")
            daemon.wait(lambda: self.states(daemon, "routes") == {"routes": ("2", "acked")})
            self.assertNotIn("saved configuration in force", daemon.log())

    def refused(self, text, *args):
        with self.stale(*args) as daemon:
            daemon.wait(lambda: "saved configuration is refused" in daemon.log())
            self.assertIn(text, daemon.log())
            self.assertIn(text, self.xds(daemon)["saved"]["error"])
            self.assertFalse(self.xds(daemon)["stale"])
            self.assertEqual(self.names(daemon, "listeners"), [])

    def test_files_that_are_refused(self):
        self.save()
        good = read(self.cache)
        self.refused("was saved for another node", "--node-id", "somebody-else")
        for data, text in ((good[:-1], "is cut short"), (good[:60] + b"\xff" + good[61:], "is damaged"),
                           (good[:8] + b"\x09" + good[9:], "is of version 9"), (b"hello", "is none"), (b"", "is none")):
            with open(self.cache, "wb") as f:
                f.write(data)
            self.refused(text)
        os.truncate(self.cache, (256 << 20) + 1)
        self.refused("is larger than")
        os.truncate(self.cache, 0)
        os.chmod(self.cache, 0o666)
        self.refused("others may write to it")

    def test_nothing_saved(self):
        self.server = Server()
        self.server.stop()
        with self.stale() as daemon:
            daemon.wait(lambda: "nothing is saved" in daemon.log())
            source = self.xds(daemon)
            self.assertEqual((source["stale"], source["staleness_ms"], source["saved"]["error"]), (False, None, None))
        self.assertFalse(os.path.exists(self.cache))

    def test_file_that_cannot_be_written(self):
        self.cache = os.path.join(self.folder, "none", "cache")
        self.server = Server()
        with self.stale() as daemon:
            serve(self.server.session())
            daemon.wait(lambda: "configuration is not saved" in daemon.log())
            self.assertIn("No such file or directory", self.xds(daemon)["saved"]["error"])
            self.assertEqual(self.names(daemon, "listeners"), ["main"])


if __name__ == "__main__":
    unittest.main()
