# SPDX-License-Identifier: Apache-2.0
"""Traffic to clusters of names: a name server on loopback says which backend has them, and changes its mind."""
import time
import unittest

import resources as r
from dns_server import Answers, DnsServer
from mesh import BACKEND_PORT, VIP, Mesh

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
MOVES = 30


class Dns(Mesh):
    answers = Answers()

    @classmethod
    def setUpClass(cls):
        cls.server = DnsServer(cls.answers)
        cls.addClassCleanup(cls.server.close)
        super().setUpClass()

    @classmethod
    def names(cls, name, *names, **more):
        resolver = {"@type": CARES, "query_timeout_seconds": 1, "query_tries": 1, "resolvers": [
            {"socket_address": {"address": "127.0.0.1", "port_value": cls.server.port}}]}
        return dict(r.cluster(name, *((n, BACKEND_PORT) for n in names)), **dict({
            "type": "STRICT_DNS", "dns_refresh_rate": "0.05s", "dns_lookup_family": "V4_ONLY",
            "typed_dns_resolver_config": {"name": "r", "typed_config": resolver}}, **more))

    @classmethod
    def resources(cls):
        both = [cls.world.pods[n].address for n in ("v1", "v2")]
        cls.answers.script = {"moving.test": {"A": both[:1]}, "both.test": {"A": both}, "late.test": {"rcode": "SERVFAIL"},
                              "six.test": {"AAAA": [cls.world.pods["v2"].address6]}, "first.test": {"A": both}, "kept.test": {"A": both},
                              # nobody listens there in the client's namespace
                              "second.test": {"A": ["127.0.0.1", both[1]]}}
        hosts = [r.host(n, [n + ".test"], r.route("/", n)) for n in ("moving", "both", "late", "six", "first", "kept", "second")]
        return r.bootstrap(
            [r.http("main", VIP, 80, hosts), r.tcp("tcp", VIP, 81, "both"), r.tcp("tcp-second", VIP, 82, "second")],
            [cls.names("moving", "moving.test"), cls.names("both", "both.test"), cls.names("late", "late.test"),
             cls.names("six", "six.test", dns_lookup_family="AUTO"), cls.names("first", "first.test", type="LOGICAL_DNS"), cls.names("kept", "kept.test", type="LOGICAL_DNS"),
             cls.names("second", "second.test", type="LOGICAL_DNS")])

    def point(self, name, *pods):
        self.answers.script[name] = {"A": [self.world.pods[p].address for p in pods]}

    def held(self, cluster):
        found = [c for c in self.agent.call("dump", "endpoints")["kernel"] if c["name"] == cluster]
        return [e["address"].rsplit(":", 1)[0] for e in found[0]["endpoints"]] if found else []

    def becomes(self, cluster, *pods):
        want, end = [self.world.pods[p].address for p in pods], time.monotonic() + 20
        while self.held(cluster) != want:
            self.assertLess(time.monotonic(), end, f"{cluster}: {self.held(cluster)}")
            time.sleep(0.01)

    def failures(self, cluster):
        return next(c["update_failure"] for c in self.agent.stats()["dns"] if c["cluster"] == cluster)

    def backends(self, host, n=8):
        return sorted({self.get(host=host)["headers"]["x-backend"] for _ in range(n)})

    def test_names_are_served(self):
        before = self.counters()["outcomes"]
        self.assertEqual(self.backends("both.test"), ["v1", "v2"])
        self.assertEqual(self.backends("six.test"), ["v2"])
        self.assertEqual(self.backends("first.test"), ["v1"])
        self.assertEqual(self.outcomes(before), {"kernel": {"forward": 24}, "agent": {}})

    def test_no_address_yet(self):
        self.answers.script["late.test"] = {"rcode": "SERVFAIL"}
        before = self.counters()["outcomes"]
        got = self.get(host="late.test")
        self.assertEqual((got["status"], got["body"]), (503, "no healthy upstream"))
        self.assertEqual(self.outcomes(before), {"kernel": {"no_healthy_upstream": 1}, "agent": {}})
        self.point("late.test", "v2")
        self.becomes("late", "v2")
        self.assertEqual(self.backends("late.test"), ["v2"])
        self.answers.script["late.test"] = {"rcode": "NXDOMAIN"}
        self.becomes("late")
        self.assertEqual(self.get(host="late.test")["status"], 503)

    def test_a_dead_name_server_changes_nothing(self):
        self.answers.script["both.test"] = {"drop": True}
        end = time.monotonic() + 20
        while not [n for n in self.agent.call("dump", "endpoints")["dns"] if n["cluster"] == "both" and n["error"]]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(self.backends("both.test"), ["v1", "v2"])
        self.point("both.test", "v1", "v2")

    def test_moves_under_load(self):
        """The name moves from one backend to the other: no request fails, new ones go to the new address."""
        loads = [self.begin("load", connections=4, seconds=120, until_eof=True, pause=0.002, host="moving.test", count=["x-backend"],
                            split=split) for split in (False, True)]
        for n in range(MOVES):
            to = ("v2", "v1")[n % 2]
            self.point("moving.test", to)
            self.becomes("moving", to)
            self.assertEqual(self.get(host="moving.test")["headers"]["x-backend"], to)
        for child in loads:
            result = self.finish(child)
            self.assertEqual(result["errors"], {})
            self.assertEqual(set(result["counts"]), {"200 v1", "200 v2"})

    def opened(self):
        return self.agent.stats()["proxy"]["upstream_total"]

    def test_logical_is_one_host(self):
        """Connections stay in use when the name moves; a new one tries all its addresses."""
        self.point("kept.test", "v1", "v2")
        self.becomes("kept", "v1")
        opened, end = self.opened(), time.monotonic() + 20
        child = self.begin("load", connections=1, seconds=120, until_eof=True, pause=0.01, host="kept.test", count=["x-backend"])
        while self.opened() == opened:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        self.point("kept.test", "v2", "v1")
        self.becomes("kept", "v2")
        time.sleep(1.5)  # longer than connections to an endpoint that left are kept
        result = self.finish(child)
        self.assertEqual((list(result["counts"]), result["errors"]), (["200 v1"], {}))
        failures = self.failures("kept")
        self.answers.script["kept.test"] = {"rcode": "NXDOMAIN"}
        end = time.monotonic() + 20
        while self.failures("kept") < failures + 2:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.assertEqual(self.held("kept"), [self.world.pods["v2"].address])

    def test_logical_tries_the_next_address(self):
        before = self.counters()["outcomes"]
        self.assertEqual(self.backends("second.test"), ["v2"])
        self.assertEqual(self.outcomes(before), {"kernel": {"forward": 8}, "agent": {}})
        self.assertEqual(self.get(port=82)["headers"]["x-backend"], "v2")

    def test_connections(self):
        self.assertEqual({self.get(port=81)["headers"]["x-backend"] for _ in range(4)}, {"v1", "v2"})


if __name__ == "__main__":
    unittest.main()
