# SPDX-License-Identifier: Apache-2.0
"""State of the world over real gRPC. ADS_CLIENT names the executable. Numbers: the checks of README.md."""
import time
import unittest

from client import Client
from scripted_ads import CDS, EDS, LDS, RDS, Server, cla, eds_cluster, listener, route, static_cluster


class ScriptedSotw(unittest.TestCase):
    def setUp(self):
        self.server = self.client = None

    def tearDown(self):
        status = self.client.quit() if self.client else 0
        if self.server:
            self.server.stop()
        self.assertEqual(status, 0, "exit status of the client")

    def start(self, *args):
        self.server = Server()
        self.client = Client("127.0.0.1:%d" % self.server.port, "--variant", "sotw", *args)
        return self.server.session()

    def first(self, s, type_url, names=(), version=""):
        r = s.next(type_url)
        self.assertEqual((r.names, r.version, r.nonce, r.error), (list(names), version, "", None))
        return r

    def serve(self, s):
        self.assertIsNotNone(self.first(s, CDS).node)  # 1, 2
        s.send(CDS, "n1", "c1", [eds_cluster("a")])
        self.assertIsNone(self.first(s, EDS, ["a"]).node)  # 4, 5
        self.assertEqual(s.ack(CDS, "n1", "c1").names, [])  # 2, 6
        s.send(EDS, "n2", "e1", [cla("a", 1001)])
        self.assertEqual(s.ack(EDS, "n2", "e1").names, ["a"])
        self.first(s, LDS)  # 3
        s.send(LDS, "n3", "l1", [listener("l", 8080, "r")])
        self.first(s, RDS, ["r"])
        s.ack(LDS, "n3", "l1")
        s.send(RDS, "n4", "r1", [route("r", "a")])
        s.ack(RDS, "n4", "r1")

    def in_force(self, kind):
        return {i["name"]: i["status"] for i in self.client.dump()["items"] if i["type"] == kind}

    def test_start(self):
        s = self.start()
        self.serve(s)
        d = self.client.dump()
        self.assertTrue(d["complete"])
        self.assertEqual({i["status"] for i in d["items"]}, {"ACKED"})

    def test_reconnect_says_names_and_versions_check_23(self):
        s = self.start()
        self.serve(s)
        s.send(CDS, "n5", "c2", [b"\x0a\x7f"])
        s.nack(CDS, "n5", "c1", "Cluster")
        s.close()
        s = self.server.session()
        self.assertIsNotNone(self.first(s, CDS, version="c1").node)
        self.first(s, EDS, ["a"], "e1")
        self.first(s, LDS, version="l1")
        self.first(s, RDS, ["r"], "r1")
        s.expect_nothing()
        s.send(CDS, "m1", "c1", [eds_cluster("a")])  # 7
        s.ack(CDS, "m1", "c1")
        self.assertEqual(self.client.last("publish")["n"], 2)

    def test_absent_is_removed_checks_17_18_19(self):
        s = self.start()
        self.serve(s)
        s.send(CDS, "n5", "c2", [eds_cluster("a"), eds_cluster("b")])
        r = s.next(EDS)
        self.assertEqual((r.names, r.nonce, r.version), (["a", "b"], "n2", "e1"))  # 21
        s.ack(CDS, "n5", "c2")
        s.send(EDS, "n6", "e2", [cla("b", 1)])
        s.ack(EDS, "n6", "e2")
        self.assertEqual(self.in_force("ClusterLoadAssignment"), {"a": "ACKED", "b": "ACKED"})
        s.send(CDS, "n7", "c3", [eds_cluster("b")])
        self.assertEqual(s.next(EDS).names, ["b"])
        s.ack(CDS, "n7", "c3")
        s.send(RDS, "n8", "r2")
        s.ack(RDS, "n8", "r2")
        self.assertEqual(self.in_force("RouteConfiguration"), {"r": "ACKED"})
        s.send(LDS, "n9", "l2")
        r = s.next(RDS)
        self.assertEqual((r.names, r.nonce, r.version), ([], "n8", "r2"))
        s.ack(LDS, "n9", "l2")
        s.send(CDS, "n10", "c4")
        self.assertEqual(s.next(EDS).names, [])
        s.ack(CDS, "n10", "c4")
        self.assertEqual(self.client.dump()["items"], [])

    def test_refused_keeps_the_rest_checks_8_9_11(self):
        s = self.start("--refuse", "Cluster/bad")
        self.first(s, CDS)
        s.send(CDS, "n1", "c1", [static_cluster("bad"), static_cluster("good")])
        s.nack(CDS, "n1", "", "Cluster/bad: name: refused by --refuse")
        self.first(s, LDS)
        self.assertEqual(self.in_force("Cluster"), {"bad": "NACKED", "good": "ACKED"})
        s.send(CDS, "n2", "c2", [static_cluster("good")])
        s.ack(CDS, "n2", "c2")
        s.send(CDS, "n3", "c3", [static_cluster("good"), static_cluster("good", "x")])
        s.nack(CDS, "n3", "c2", "twice")  # 14
        s.send(CDS, "n4", "c3", [listener("good", 1, "r")[:-1]])
        s.nack(CDS, "n4", "c2", "Cluster")  # 16
        self.assertEqual(self.in_force("Cluster")["good"], "NACKED")
        s.send(CDS, "n5", "c3", [static_cluster("good")])
        s.ack(CDS, "n5", "c3")
        self.assertEqual(self.in_force("Cluster"), {"good": "ACKED"})

    def test_back_to_back_check_22(self):
        s = self.start()
        self.first(s, CDS)
        for i in range(50):
            s.send(CDS, "n%d" % i, "c%d" % i, [static_cluster("x", "v%d" % i)] if i % 2 else [])
        s.ack(CDS, "n0", "c0")
        self.first(s, LDS)
        for i in range(1, 50):
            s.ack(CDS, "n%d" % i, "c%d" % i)
        self.assertEqual(self.in_force("Cluster"), {"x": "ACKED"})

    def test_ttl_check_37(self):
        s = self.start()
        self.first(s, CDS)
        s.send(CDS, "n1", "c1", [static_cluster("stays")], [("goes", 2, static_cluster("goes"))])
        s.ack(CDS, "n1", "c1")
        self.first(s, LDS)
        self.assertEqual(self.in_force("Cluster"), {"stays": "ACKED", "goes": "ACKED"})
        time.sleep(1)
        s.send(CDS, "n2", "c1", [static_cluster("stays")], [("goes", 2, None)])
        s.ack(CDS, "n2", "c1")
        time.sleep(1.5)
        self.assertEqual(self.in_force("Cluster"), {"stays": "ACKED", "goes": "ACKED"})
        time.sleep(1)
        self.assertEqual(self.in_force("Cluster"), {"stays": "ACKED"})

    def test_message_of_10_mib_check_39(self):
        s = self.start()
        self.first(s, CDS)
        s.send(CDS, "n1", "c1", [static_cluster("cluster-%05d" % i, "x" * 1024) for i in range(10000)])
        s.ack(CDS, "n1", "c1")
        self.assertEqual(self.client.event("publish")["counts"]["Cluster"], 10000)

    def test_undecodable_response_resets_the_stream(self):
        s = self.start()
        self.first(s, CDS)
        s.responses.put(b"\x12\x7f")
        self.assertEqual(self.client.event("disconnected")["why"], "undecodable response")
        self.serve(self.server.session())


if __name__ == "__main__":
    unittest.main()
