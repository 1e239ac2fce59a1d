# SPDX-License-Identifier: Apache-2.0
"""Configuration from an xDS server (the scripted one of the interoperation tests), with traffic; the server goes and comes back."""
import os
import socket
import time
import unittest

import world as lab
from scripted import ADDRESS, LISTENER, Scripted, ads

BACKEND = 80


class Xds(Scripted):
    backends = (("server", BACKEND),)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = cls.world.pod("client")

    def setUp(self):
        super().setUp()
        cache, self.http = os.path.join(self.folder, "cache"), os.path.join(self.folder, "http")
        self.agent = lab.Agent(self.world, options=["--xds", f"127.0.0.1:{self.ads.port}", "--node-id", "test-node", "--xds-cache", cache,
                                                         "--admin-http", self.http],
                               pods=[self.client])
        self.agent.start()
        self.addCleanup(self.agent.stop)

    def agent_with(self, *options):
        """Another agent in the place of the one that runs."""
        self.ads.session()  # of the first
        self.agent.stop()
        self.agent = lab.Agent(self.world, options=["--xds", f"127.0.0.1:{self.ads.port}", "--node-id", "test-node", *options], pods=[self.client])
        self.agent.start()
        self.addCleanup(self.agent.stop)

    def serve(self, session, version="1"):
        """Cluster, listener and routes, each acknowledged."""
        session.next(ads.CDS)
        session.send(ads.CDS, "c" + version, [("web", version, ads.static_cluster("web"))])
        session.ack(ads.CDS, "c" + version)
        session.next(ads.LDS)
        session.send(ads.LDS, "l" + version, [("main", version, ads.listener("main", LISTENER, "routes"))])
        self.assertEqual(session.next(ads.RDS).subscribe, ["routes"])
        session.ack(ads.LDS, "l" + version)
        session.send(ads.RDS, "r" + version, [("routes", version, ads.route("routes", "web"))])
        session.ack(ads.RDS, "r" + version)

    def ask(self):
        return self.get("/x", address=ADDRESS, port=LISTENER)

    def scrape(self, path):
        """(status, body) of the HTTP admin socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.http)
            s.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
            data = b"".join(iter(lambda: s.recv(65536), b""))
        head, _, body = data.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def counter(self, name):
        return int(dict(line.rsplit(": ", 1) for line in self.scrape("/stats")[1].splitlines())[name])

    def wait_status(self, status, limit_s=5.0):
        end = time.monotonic() + limit_s
        while (got := self.ask()).get("status") != status:
            self.assertLess(time.monotonic(), end, got)
            time.sleep(0.1)
        return got

    def test_requests_follow_the_stream(self):
        session = self.ads.session()
        self.assertEqual(self.scrape("/ready")[0], 503)
        self.serve(session)
        self.assertEqual(self.wait_status(200)["headers"]["x-backend"], "server")
        self.assertEqual(self.scrape("/ready"), (200, "LIVE\n"))
        asked = self.counter("cluster.web.upstream_rq_total")
        self.assertEqual(self.ask()["status"], 200)
        self.assertEqual(self.counter("cluster.web.upstream_rq_total"), asked + 1)
        self.assertRegex(self.scrape("/stats/prometheus")[1],
                         r'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="web",weft_pod="[1-9][0-9]*"} [1-9]')
        session.send(ads.RDS, "r2", [("routes", "2", ads.route("routes", "nowhere"))])
        session.ack(ads.RDS, "r2")
        self.wait_status(503)
        # Refused with the reason, and what was in force stays: a route without an action.
        bad = ads.field(1, "routes") + ads.field(2, ads.field(1, "all") + ads.field(2, "*") + ads.field(3, ads.field(1, ads.field(1, "/"))))
        session.send(ads.RDS, "r3", [("routes", "3", bad)])
        session.nack(ads.RDS, "r3", "action")
        self.wait_status(503)
        session.send(ads.RDS, "r4", [("routes", "4", ads.route("routes", "web"))])
        session.ack(ads.RDS, "r4")
        self.wait_status(200)

    def test_server_goes_and_comes_back(self):
        self.serve(self.ads.session())
        self.wait_status(200)
        port = self.ads.port
        self.ads.stop()
        self.assertEqual(self.job("load", address=ADDRESS, port=LISTENER, connections=4, seconds=1)["errors"], {})
        self.ads = ads.Server(f"127.0.0.1:{port}")
        again = self.ads.session()
        request = again.next(ads.CDS)
        self.assertEqual(request.versions, {"web": "1"})
        self.assertEqual(self.ask()["status"], 200)

    def test_a_stream_for_each_type(self):
        self.agent_with("--xds-separate")
        streams = ads.Streams(self.ads)
        self.serve(streams)
        self.wait_status(200)
        # The one of routes ends: what was accepted serves on, and the next one brings what is new.
        streams.close(ads.RDS)
        self.assertEqual(streams.next(ads.RDS).versions, {"routes": "1"})
        self.assertEqual(self.ask()["status"], 200)
        streams.send(ads.RDS, "r2", [("routes", "2", ads.route("routes", "nowhere"))])
        streams.ack(ads.RDS, "r2")
        self.wait_status(503)

    def test_make_before_break_under_load_checks_30_31_33_34(self):
        session = self.ads.session()
        self.serve(session)
        self.wait_status(200)
        load = self.begin("load", address=ADDRESS, port=LISTENER, connections=4, seconds=60, until_eof=True, pause=0.002, count=["x-backend"])
        nonces = iter(range(1000))

        def tell(type_url, *resources, removed=(), asks=()):
            nonce = f"m{next(nonces)}"
            session.send(type_url, nonce, resources, removed)
            for want in asks:
                request = session.next(want[0])
                self.assertEqual((request.subscribe, request.unsubscribe), want[1:])
            session.ack(type_url, nonce)

        for i in range(15):
            old, new = ("web" if i == 0 else f"web{i - 1}"), f"web{i}"
            # A new cluster, whose endpoints come late; routes that go to it; then the old one goes.
            tell(ads.CDS, (new, "1", ads.eds_cluster(new)), asks=[(ads.EDS, [new], [])])
            tell(ads.EDS, (new, "1", ads.cla(new, BACKEND)))
            tell(ads.RDS, ("routes", f"s{i}", ads.route("routes", new)))
            tell(ads.CDS, removed=[old], asks=[(ads.EDS, [], [old])] if i else [])
            # The cluster changes (its connect_timeout): what is known of its endpoints serves on.
            tell(ads.CDS, (new, "2", ads.eds_cluster(new, 2)))
            self.assertEqual(self.ask()["status"], 200)
        result = self.finish(load)
        self.assertEqual(result["errors"], {})
        self.assertEqual(list(result["counts"]), ["200 server"])
        self.assertGreater(result["requests"], 100)

    def test_a_thousand_updates_a_second_under_load(self):
        """Published together: at most one publish in each interval, and nobody notices."""
        clusters, rate, seconds, interval_s = [f"c{i:03}" for i in range(300)], 1000, 4, 0.02
        session = self.ads.session()
        session.next(ads.CDS)
        session.send(ads.CDS, "c", [(c, "1", ads.eds_cluster(c)) for c in clusters])
        session.next(ads.EDS)
        session.ack(ads.CDS, "c")
        session.send(ads.EDS, "e", [(c, "1", ads.cla(c, BACKEND)) for c in clusters])
        session.ack(ads.EDS, "e")
        session.next(ads.LDS)
        session.send(ads.LDS, "l", [("main", "1", ads.listener("main", LISTENER, "routes"))])
        session.next(ads.RDS)
        session.ack(ads.LDS, "l")
        session.send(ads.RDS, "r", [("routes", "1", ads.route("routes", clusters[0]))])
        session.ack(ads.RDS, "r")
        self.wait_status(200)
        load = self.begin("load", address=ADDRESS, port=LISTENER, connections=4, seconds=60, until_eof=True, pause=0.002, count=["x-backend"])
        before, memory, began = self.agent.call("dump", "stats"), self.memory(), time.monotonic()
        for i in range(rate * seconds):
            # Every third is the one that serves, whose host gets another weight.
            c = clusters[0 if i % 3 == 0 else i % len(clusters)]
            session.send(ads.EDS, f"u{i}", [(c, f"u{i}", self.weighted(c, 1 + i % 7))])
            time.sleep(max(0.0, began + i / rate - time.monotonic()))
        for i in range(rate * seconds):
            session.ack(ads.EDS, f"u{i}")
        elapsed, after = time.monotonic() - began, self.agent.call("dump", "stats")
        publishes = after["store"]["publishes"] - before["store"]["publishes"]
        self.assertLessEqual(publishes, elapsed / interval_s + 1)
        self.assertEqual(after["sources"]["xds"]["joined"], rate * seconds - publishes)
        self.assertLess(self.memory(), memory + 16384)
        result = self.finish(load)
        self.assertEqual(result["errors"], {})
        self.assertEqual(list(result["counts"]), ["200 server"])
        self.assertGreater(result["requests"], 100)
        last = {r["name"]: r["version"] for r in self.agent.call("dump", "endpoints")["resources"]}
        self.assertEqual(last[clusters[0]], f"u{(rate * seconds - 1) // 3 * 3}")

    @staticmethod
    def weighted(name, weight):
        """An assignment with one host of this weight."""
        endpoint = ads.field(1, ads.field(1, ads.address(BACKEND))) + ads.field(4, ads.field(1, weight))
        return ads.field(1, name) + ads.field(2, ads.field(2, endpoint))

    def memory(self):
        """Of the agent, in KiB."""
        with open(f"/proc/{self.agent.process.pid}/status", encoding="utf-8") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

    def test_agent_starts_without_the_server(self):
        self.serve(self.ads.session())
        self.wait_status(200)
        self.agent.stop()
        port = self.ads.port
        self.ads.stop()
        # Nobody says what is to be, but what was is known: the pod is served by it.
        self.agent.start()
        self.assertEqual(self.wait_status(200)["headers"]["x-backend"], "server")
        self.assertTrue(self.agent.call("dump")["sources"]["xds"]["stale"])
        # The server comes back with other routes; until they are whole every request gets the old answer.
        self.ads = ads.Server(f"127.0.0.1:{port}")
        session = self.ads.session()
        session.next(ads.CDS)
        session.send(ads.CDS, "c2", [("web", "2", ads.static_cluster("web"))])
        session.ack(ads.CDS, "c2")
        session.next(ads.LDS)
        self.assertEqual(self.job("load", address=ADDRESS, port=LISTENER, connections=4, seconds=1)["errors"], {})
        session.send(ads.LDS, "l2", [("main", "2", ads.listener("main", LISTENER, "routes"))])
        session.next(ads.RDS)
        session.ack(ads.LDS, "l2")
        self.assertEqual(self.ask()["status"], 200)
        session.send(ads.RDS, "r2", [("routes", "2", ads.route("routes", "nowhere"))])
        session.ack(ads.RDS, "r2")
        self.wait_status(503)
        self.assertFalse(self.agent.call("dump")["sources"]["xds"]["stale"])


if __name__ == "__main__":
    unittest.main()
