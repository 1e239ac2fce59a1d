# SPDX-License-Identifier: Apache-2.0
"""The gRPC side of the delta client, against a scripted server. ADS_CLIENT names the executable."""
import os
import tempfile
import time
import unittest

from client import Client
from scripted_ads import (CDS, EDS, LDS, RDS, Server, cla, eds_cluster, field, listener, route,
                          static_cluster)


class ScriptedAds(unittest.TestCase):
    def setUp(self):
        self.server = None
        self.client = None

    def tearDown(self):
        if self.client:
            status = self.client.quit()
        if self.server:
            self.server.stop()
        if self.client:
            self.assertEqual(status, 0, "exit status of the client")

    def start(self, *args):
        self.server = Server()
        self.client = Client("127.0.0.1:%d" % self.server.port, *args)
        return self.server.session()

    def serve(self, s):
        """Everything a client needs, in Envoy's order; leaves it idle."""
        r = s.next(CDS)
        self.assertEqual((r.subscribe, r.nonce, r.error), ([], "", None))
        s.send(CDS, "n1", [("a", "c1", eds_cluster("a"))])
        self.assertEqual(s.next(EDS).subscribe, ["a"])
        s.ack(CDS, "n1")
        s.send(EDS, "n2", [("a", "e1", cla("a", 1001))])
        s.ack(EDS, "n2")
        self.assertEqual(s.next(LDS).subscribe, [])
        s.send(LDS, "n3", [("l", "l1", listener("l", 8080, "r"))])
        self.assertEqual(s.next(RDS).subscribe, ["r"])
        s.ack(LDS, "n3")
        s.send(RDS, "n4", [("r", "r1", route("r", "a"))])
        s.ack(RDS, "n4")

    def test_start(self):
        s = self.start("--node", "me", "--header", "authorization=Bearer x")
        self.assertEqual(s.metadata["authorization"], "Bearer x")
        r = s.next(CDS)
        self.assertEqual(r.node[1][0], b"me")
        s.requests.put(r)
        self.serve(s)
        d = self.client.dump()
        self.assertTrue(d["complete"])
        self.assertEqual({i["status"] for i in d["items"]}, {"ACKED"})
        self.assertEqual((d["acks"], d["nacks"]), (4, 0))

    def test_server_restarts(self):
        s = self.start()
        self.serve(s)
        port = self.server.port
        self.server.stop()
        self.client.event("disconnected")
        time.sleep(1)  # several refused attempts
        d = self.client.dump()
        self.assertFalse(d["connected"])
        self.assertEqual(len(d["items"]), 4)
        self.server = Server("127.0.0.1:%d" % port)
        s = self.server.session()
        r = s.next(CDS)
        self.assertIsNotNone(r.node)
        self.assertEqual((r.nonce, r.versions), ("", {"a": "c1"}))
        r = s.next(EDS)
        self.assertEqual((r.subscribe, r.versions), (["a"], {"a": "e1"}))
        self.assertEqual(s.next(LDS).versions, {"l": "l1"})
        r = s.next(RDS)
        self.assertEqual((r.subscribe, r.versions), (["r"], {"r": "r1"}))
        s.expect_nothing()
        s.send(EDS, "m1", [("a", "e2", cla("a", 1002))])
        s.ack(EDS, "m1")
        e = self.client.event("publish", lambda e: e["resources"]["ClusterLoadAssignment"]["a"]["version"] == "e2")
        self.assertEqual(e["n"], 3)  # the reconnect itself published nothing

    def test_refused_keeps_the_rest(self):
        s = self.start("--refuse", "Cluster/bad")
        self.serve(s)
        s.send(CDS, "n5", [("bad", "1", static_cluster("bad")), ("good", "1", static_cluster("good"))])
        s.nack(CDS, "n5", "Cluster/bad: name: refused by --refuse")
        e = self.client.event("publish", lambda e: "good" in e["resources"]["Cluster"])
        self.assertNotIn("bad", e["resources"]["Cluster"])
        s.send(CDS, "n6", [("other", "1", static_cluster("other"))])
        s.ack(CDS, "n6")

    def test_message_of_10_mib(self):
        s = self.start()
        s.next(CDS)
        padding = "x" * 1024
        names = ["cluster-%05d" % i for i in range(10000)]
        s.send(CDS, "n1", [(n, "1", static_cluster(n, padding)) for n in names])
        s.ack(CDS, "n1")
        e = self.client.event("publish")
        self.assertEqual(e["counts"]["Cluster"], 10000)

    def test_flapping(self):
        s = self.start()
        self.serve(s)
        for i in range(200):
            nonce = "f%d" % i
            if i % 2:
                s.send(CDS, nonce, [("x", nonce, static_cluster("x", "v%d" % i))])
            else:
                s.send(CDS, nonce, removed=["x"])
        for i in range(200):
            s.ack(CDS, "f%d" % i)
        versions = {i["name"]: i["version"] for i in self.client.dump()["items"] if i["type"] == "Cluster"}
        self.assertEqual(versions, {"a": "c1", "x": "f199"})

    def test_backoff_is_bounded_and_reset(self):
        s = self.start()
        current = 50
        for _ in range(6):
            s.next(CDS)
            s.close()
            e = self.client.event("disconnected")
            self.assertTrue(0 <= e["retry_ms"] <= current, e)
            current = min(2 * current, 400)
            s = self.server.session()
        s.next(CDS)
        s.send(CDS, "n1")
        s.ack(CDS, "n1")
        s.close()
        self.assertLessEqual(self.client.event("disconnected")["retry_ms"], 50)

    def test_servers_in_order(self):
        self.server = Server()
        first = Server()
        self.addCleanup(lambda: first.stop())
        address = "127.0.0.1:%d" % first.port
        self.client = Client(address, "--more", "127.0.0.1:%d" % self.server.port)
        self.serve(first.session())
        # It goes: the first is asked again, in vain, and the second at once.
        first.stop()
        self.client.event("disconnected")
        e = self.client.event("disconnected")
        self.assertEqual(e["retry_ms"], 0)
        s = self.server.session()
        self.assertEqual(s.next(CDS).versions, {"a": "c1"})
        self.assertEqual(len(self.client.dump()["items"]), 4)
        s.send(CDS, "m1")
        while s.next().nonce != "m1":
            pass
        # The first is back, and is the first again.
        first = Server(address)
        s.close()
        self.assertEqual(first.session().next(CDS).versions, {"a": "c1"})
        # A server that is there but says nothing is no better than none.
        first.stop()
        self.server.session()

    def test_undecodable_response_resets_the_stream(self):
        s = self.start()
        s.next(CDS)
        s.responses.put(b"\x12\x7f")
        self.assertEqual(self.client.event("disconnected")["why"], "undecodable response")
        self.serve(self.server.session())

    def test_other_types_are_not_answered(self):
        s = self.start()
        self.serve(s)
        s.send("type.googleapis.com/some.Thing", "n5")
        s.expect_nothing()
        s.send(CDS, "n6")
        s.ack(CDS, "n6")

    def test_server_that_refuses_the_call(self):
        self.server = Server()
        self.server.server.stop(0).wait()
        self.client = Client("127.0.0.1:%d" % self.server.port)
        for _ in range(3):
            e = self.client.event("disconnected")
            self.assertIn("status 14", e["why"])
        self.assertFalse(self.client.dump()["connected"])

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            target = "unix://" + os.path.join(folder, "ads.sock")
            self.server = Server(target)
            self.client = Client(target)
            self.serve(self.server.session())

    def test_ipv6(self):
        try:
            self.server = Server("[::1]:0")
        except (AssertionError, RuntimeError):
            self.skipTest("no IPv6 loopback")
        self.client = Client("[::1]:%d" % self.server.port)
        self.serve(self.server.session())

    def test_large_field_is_one_message(self):
        s = self.start()
        self.serve(s)
        body = static_cluster("big") + field(28, "y" * (5 << 20))
        s.send(CDS, "n5", [("big", "1", body)])
        s.ack(CDS, "n5")


if __name__ == "__main__":
    unittest.main(verbosity=2)
