# SPDX-License-Identifier: Apache-2.0
"""A stream for each type over real gRPC, delta and state of the world. ADS_CLIENT names the executable. Numbers: the checks of README.md."""
import unittest

from client import Client
from scripted_ads import (CDS, EDS, LDS, RDS, Server, Streams, cla, eds_cluster, field, listener, route,
                          static_cluster)


def api_cluster(name, api_type):
    """An EDS cluster that names the server itself, as control planes without ADS do."""
    service = field(1, field(1, "xds_cluster"))
    source = field(2, field(1, api_type) + field(4, service) + field(7, 1) + field(8, 2)) + field(6, 2)
    return field(1, name) + field(2, 3) + field(3, field(1, source)) + field(4, field(1, 1))


class Separate(unittest.TestCase):
    def setUp(self):
        self.server = self.client = None

    def tearDown(self):
        status = self.client.quit() if self.client else 0
        if self.server:
            self.server.stop()
        self.assertEqual(status, 0, "exit status of the client")

    def start(self, *args, types=(CDS, EDS, LDS, RDS)):
        self.server = Server(types=types)
        self.client = Client("127.0.0.1:%d" % self.server.port, "--streams", "separate", *args)
        return Streams(self.server)

    def in_force(self, kind):
        return {i["name"]: i["status"] for i in self.client.dump()["items"] if i["type"] == kind}


class Delta(Separate):
    def serve(self, s):
        """Everything a client needs; leaves it idle."""
        r = s.next(CDS)
        self.assertEqual((r.subscribe, r.nonce, r.error), ([], "", None))
        self.assertIsNotNone(r.node)  # 1, 2
        s.send(CDS, "n1", [("a", "c1", api_cluster("a", 3))])
        s.ack(CDS, "n1")
        r = s.next(EDS)
        self.assertEqual(r.subscribe, ["a"])  # 4
        self.assertIsNotNone(r.node)
        s.expect_nothing(0.1)
        self.assertNotIn(LDS, s.by_type)  # 3
        s.send(EDS, "n1", [("a", "e1", cla("a", 1001))])
        s.ack(EDS, "n1")
        self.assertIsNotNone(s.next(LDS).node)
        s.send(LDS, "n1", [("l", "l1", listener("l", 8080, "r"))])
        s.ack(LDS, "n1")
        r = s.next(RDS)
        self.assertEqual(r.subscribe, ["r"])
        self.assertIsNotNone(r.node)
        s.send(RDS, "n1", [("r", "r1", route("r", "a"))])
        s.ack(RDS, "n1")

    def test_start(self):
        s = self.start("--header", "authorization=Bearer x")
        self.serve(s)
        d = self.client.dump()
        self.assertTrue(d["complete"] and d["connected"])
        self.assertEqual({i["status"] for i in d["items"]}, {"ACKED"})
        self.assertEqual((d["acks"], d["nacks"], d["connects"]), (4, 0, 4))
        self.assertEqual({x.metadata["authorization"] for x in s.by_type.values()}, {"Bearer x"})
        # One connection carries them all.
        self.assertEqual(len({x.context.peer() for x in s.by_type.values()}), 1)
        self.client.drain()
        self.assertEqual([e["service"] for e in self.client.log if e["event"] == "connected"],
                         ["ClusterDiscoveryService", "EndpointDiscoveryService", "ListenerDiscoveryService", "RouteDiscoveryService"])

    def test_each_reconnects_by_itself_checks_23_24_42(self):
        s = self.start()
        self.serve(s)
        for type_url, service, names, versions in ((EDS, "EndpointDiscoveryService", ["a"], {"a": "e1"}), (CDS, "ClusterDiscoveryService", [], {"a": "c1"}),
                                                   (RDS, "RouteDiscoveryService", ["r"], {"r": "r1"}), (LDS, "ListenerDiscoveryService", [], {"l": "l1"})):
            s.close(type_url)
            self.assertIn(service + ": status", self.client.event("disconnected")["why"])
            r = s.next(type_url)
            self.assertEqual((r.subscribe, r.versions, r.nonce), (names, versions, ""))
            self.assertIsNotNone(r.node)
            s.expect_nothing(0.1)
        # They go on from there.
        s.send(EDS, "m1", [("a", "e2", cla("a", 1002))])
        s.ack(EDS, "m1")
        s.send(RDS, "m1", [("r", "r2", route("r", "b"))])
        s.ack(RDS, "m1")
        d = self.client.dump()
        self.assertEqual({i["name"]: i["version"] for i in d["items"] if i["type"] in ("ClusterLoadAssignment", "RouteConfiguration")},
                         {"a": "e2", "r": "r2"})
        self.assertTrue(d["connected"])

    def test_nack_on_its_own_stream_checks_8_9_10(self):
        s = self.start()
        self.serve(s)
        s.send(RDS, "n2", [("r", "r2", b"\x0a\x7f")])
        s.nack(RDS, "n2", "RouteConfiguration")
        s.expect_nothing(0.1)
        self.assertEqual(self.in_force("RouteConfiguration"), {"r": "NACKED"})
        s.send(RDS, "n3", [("r", "r3", route("r", "a"))])
        s.ack(RDS, "n3")
        self.assertEqual(self.in_force("RouteConfiguration"), {"r": "ACKED"})

    def test_make_before_break_check_34(self):
        s = self.start()
        self.serve(s)
        s.send(CDS, "n2", [("b", "c1", api_cluster("b", 3))])
        s.ack(CDS, "n2")
        self.assertEqual(s.next(EDS).subscribe, ["b"])
        self.assertEqual(self.in_force("Cluster")["b"], "WARMING")
        s.send(EDS, "n2", [("b", "e1", cla("b", 1))])
        s.ack(EDS, "n2")
        s.send(RDS, "n2", [("r", "r2", route("r", "b"))])
        s.ack(RDS, "n2")
        s.send(CDS, "n3", removed=["a"])
        s.ack(CDS, "n3")
        self.assertEqual(s.next(EDS).unsubscribe, ["a"])
        self.assertEqual(self.in_force("Cluster"), {"b": "ACKED"})

    def test_a_stream_that_breaks_resets_only_itself(self):
        s = self.start()
        self.serve(s)
        s.of(LDS).responses.put(b"\x12\x7f")
        self.assertEqual(self.client.event("disconnected")["why"], "ListenerDiscoveryService: undecodable response")
        s.by_type.pop(LDS)
        self.assertEqual(s.next(LDS).versions, {"l": "l1"})
        s.expect_nothing(0.1)

    def test_a_service_that_is_not_there(self):
        """It is asked again and again, and the others go on."""
        s = self.start(types=(CDS, LDS, RDS))
        s.next(CDS)
        s.send(CDS, "n1", [("a", "c1", eds_cluster("a")), ("b", "c1", static_cluster("b"))])
        s.ack(CDS, "n1")
        for _ in range(2):
            self.assertIn("EndpointDiscoveryService: status 12", self.client.event("disconnected")["why"])
        self.assertFalse(self.client.dump()["connected"])
        # Nobody wants it any more: it is not asked, and nothing is missing.
        s.send(CDS, "n2", removed=["a"])
        s.ack(CDS, "n2")
        s.next(LDS)
        s.send(LDS, "n1")
        s.ack(LDS, "n1")
        d = self.client.dump()
        self.assertTrue(d["connected"] and d["complete"])

    def test_servers_in_order(self):
        """What the first does not serve is asked of the second; what it does stays there."""
        second = Server()
        self.addCleanup(second.stop)
        s = self.start("--more", "127.0.0.1:%d" % second.port, types=(CDS, LDS, RDS))
        s.next(CDS)
        s.send(CDS, "n1", [("a", "c1", eds_cluster("a"))])
        s.ack(CDS, "n1")
        other = Streams(second)
        self.assertEqual(other.next(EDS).subscribe, ["a"])
        other.send(EDS, "n1", [("a", "e1", cla("a", 1))])
        other.ack(EDS, "n1")
        s.next(LDS)
        self.assertEqual(list(other.by_type), [EDS])
        self.assertTrue(self.client.dump()["connected"])

    def test_ads_is_not_spoken(self):
        """A server of ADS alone: the client says what it misses."""
        self.start(types=())
        self.assertIn("ClusterDiscoveryService: status 12", self.client.event("disconnected")["why"])
        self.assertTrue(self.server.sessions.empty())


class Sotw(Separate):
    def test_start_and_reconnect_checks_6_8_23(self):
        s = self.start("--variant", "sotw")
        r = s.next(CDS)
        self.assertEqual((r.names, r.version, r.nonce), ([], "", ""))
        s.send(CDS, "n1", "v1", [api_cluster("a", 2)])
        s.ack(CDS, "n1", "v1")
        r = s.next(EDS)
        self.assertEqual((r.names, r.version, r.nonce), (["a"], "", ""))
        s.send(EDS, "n1", "v1", [cla("a", 1001)])
        self.assertEqual(s.ack(EDS, "n1", "v1").names, ["a"])
        self.assertIsNotNone(s.next(LDS).node)
        s.send(LDS, "n1", "v1", [listener("l", 8080, "r")])
        s.ack(LDS, "n1", "v1")
        self.assertEqual(s.next(RDS).names, ["r"])
        s.send(RDS, "n1", "v1", [route("r", "a")])
        s.ack(RDS, "n1", "v1")
        s.send(EDS, "n2", "v2", [field(1, "a") + field(2, b"\x0a\x7f")])
        s.nack(EDS, "n2", "v1", "ClusterLoadAssignment")
        s.close(EDS)
        r = s.next(EDS)
        self.assertEqual((r.names, r.version, r.nonce), (["a"], "v1", ""))
        s.expect_nothing(0.1)
        d = self.client.dump()
        self.assertTrue(d["complete"] and d["connected"])

    def test_delta_named_by_a_resource_is_refused(self):
        s = self.start("--variant", "sotw")
        s.next(CDS)
        s.send(CDS, "n1", "v1", [api_cluster("a", 3)])
        s.nack(CDS, "n1", "", "api_type is not GRPC")


if __name__ == "__main__":
    unittest.main()
