# SPDX-License-Identifier: Apache-2.0
"""Names of DNS clusters: a daemon without its kernel part and a name server that answers what the test says, on loopback."""

import contextlib
import json
import os
import sys
import tempfile
import unittest

from agent import Daemon, run, run_json

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from dns_server import Answers, DnsServer  # noqa: E402  (the path is set above)

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
DNS_CLUSTER = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
PORT = 8080


def endpoint(name, **more):
    return dict({"endpoint": {"address": {"socket_address": {"address": name, "port_value": PORT}}}}, **more)


class Names(unittest.TestCase):
    def setUp(self):
        self.answers = Answers()
        self.server = DnsServer(self.answers)
        self.addCleanup(self.server.close)
        self.folder = tempfile.TemporaryDirectory(prefix="weft-dns-")
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "mesh.json")

    def resolver(self, **more):
        where = {"socket_address": {"address": "127.0.0.1", "port_value": self.server.port}}
        return {"name": "envoy.network.dns_resolver.cares",
                "typed_config": dict({"@type": CARES, "resolvers": [where]}, **more)}

    def cluster(self, *names, name="c", resolver=None, **more):
        out = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": "STRICT_DNS",
               "dns_refresh_rate": "0.1s", "dns_lookup_family": "V4_ONLY",
               "typed_dns_resolver_config": self.resolver(**(resolver or {})),
               "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                   endpoint(n) if isinstance(n, str) else n for n in names]}]}}
        return dict(out, **more)

    def write(self, *clusters):
        new = self.path + ".new"
        with open(new, "w", encoding="utf-8") as f:
            json.dump({"resources": clusters}, f)
        os.rename(new, self.path)

    @contextlib.contextmanager
    def daemon(self, *clusters):
        self.write(*clusters)
        with Daemon("--no-kernel", "--config", self.path) as daemon:
            yield daemon
            self.assertEqual(daemon.stop(), 0, daemon.log())

    @staticmethod
    def hosts(daemon, name="c"):
        for c in daemon.call("dump", "endpoints")[1]["kernel"]:
            if c["name"] == name:
                return [e["address"].replace(f":{PORT}", "") for e in c["endpoints"]]
        return None

    @staticmethod
    def names(daemon, cluster="c"):
        return [n for n in daemon.call("dump", "endpoints")[1]["dns"] if n["cluster"] == cluster]

    @staticmethod
    def counters(daemon, cluster="c"):
        return next(c for c in daemon.call("dump", "stats")[1]["dns"] if c["cluster"] == cluster)

    def becomes(self, daemon, want, cluster="c"):
        daemon.wait(lambda: self.hosts(daemon, cluster) == want)

    def attempts(self, daemon, more, cluster="c"):
        """Waits for that many more answers."""
        def answers():
            c = self.counters(daemon, cluster)
            return c["update_success"] + c["update_failure"]
        end = answers() + more
        daemon.wait(lambda: answers() >= end)

    def asked(self, name):
        return [q["type"] for q in self.answers.asked if q["name"] == name]

    def test_families(self):
        self.answers.script = {"both.test": {"A": ["127.0.0.2", "127.0.0.3"], "AAAA": ["::1"]}, "six.test": {"AAAA": ["::2"]},
                               "four.test": {"A": ["127.0.0.4"]}}
        want = {
            "AUTO": {"both.test": ["[::1]"], "six.test": ["[::2]"], "four.test": ["127.0.0.4"]},
            "V4_ONLY": {"both.test": ["127.0.0.2", "127.0.0.3"], "six.test": [], "four.test": ["127.0.0.4"]},
            "V6_ONLY": {"both.test": ["[::1]"], "six.test": ["[::2]"], "four.test": []},
            "V4_PREFERRED": {"both.test": ["127.0.0.2", "127.0.0.3"], "six.test": ["[::2]"], "four.test": ["127.0.0.4"]},
            "ALL": {"both.test": ["127.0.0.2", "127.0.0.3", "[::1]"], "six.test": ["[::2]"], "four.test": ["127.0.0.4"]},
        }
        clusters = [self.cluster(n, name=f"{f} {n}", dns_lookup_family=f) for f, names in want.items() for n in names]
        with self.daemon(*clusters) as daemon:
            for family, names in want.items():
                for name, hosts in names.items():
                    with self.subTest(family=family, name=name):
                        got = self.hosts(daemon, f"{family} {name}")
                        self.assertEqual(sorted(got), sorted(hosts))

    def test_one_family_fails(self):
        """Addresses of one are an answer; without any, a failure of either leaves what there is."""
        four, six, fails = {"A": ["127.0.0.2"]}, {"AAAA": ["::1"]}, {"rcode": "SERVFAIL"}
        cases = {  # by_type: hosts after [127.0.0.9]
            "six fails, four answers": ({"AAAA": fails, "A": four}, ["127.0.0.2"]),
            "six fails, four is empty": ({"AAAA": fails, "A": {}}, ["127.0.0.9"]),
            "six is empty, four fails": ({"AAAA": {}, "A": fails}, ["127.0.0.9"]),
            "six answers, four fails": ({"AAAA": six, "A": fails}, ["[::1]"]),
            "both are empty": ({"AAAA": {}, "A": {}}, []),
        }
        first = {"A": ["127.0.0.9"]}
        self.answers.script = {"a.test": first}
        with self.daemon(*(self.cluster("a.test", name=f, dns_lookup_family=f) for f in ("AUTO", "V4_PREFERRED", "ALL"))) as daemon:
            for case, (rule, hosts) in cases.items():
                self.answers.script["a.test"] = first
                for family in ("AUTO", "V4_PREFERRED", "ALL"):
                    self.becomes(daemon, ["127.0.0.9"], family)
                self.answers.script["a.test"] = {"by_type": rule}
                for family in ("AUTO", "V4_PREFERRED", "ALL"):
                    with self.subTest(case, family=family):
                        self.attempts(daemon, 2, family)
                        self.assertEqual(self.hosts(daemon, family), hosts)

    def test_the_extension_says_the_same(self):
        self.answers.script = {"a.test": {"A": ["127.0.0.2", "127.0.0.3"]}}
        c = self.cluster("a.test")
        for field in ("type", "typed_dns_resolver_config", "dns_refresh_rate", "dns_lookup_family"):
            c.pop(field)
        typed = {"@type": DNS_CLUSTER, "typed_dns_resolver_config": self.resolver(), "dns_lookup_family": "V4_ONLY"}
        one = dict(c, name="one", cluster_type={"name": "x", "typed_config": dict(typed, all_addresses_in_single_endpoint=True)})
        with self.daemon(dict(c, cluster_type={"name": "x", "typed_config": typed}), one) as daemon:
            self.assertEqual(self.hosts(daemon), ["127.0.0.2", "127.0.0.3"])
            self.assertEqual(self.hosts(daemon, "one"), ["127.0.0.2"])

    def test_names_and_literals_of_one_cluster(self):
        # Each name has its own hosts: an address that two have gets two shares. An IPv4 literal is one for every family.
        self.answers.script = {"a.test": {"A": ["127.0.0.2", "127.0.0.2"]}, "b.test": {"A": ["127.0.0.2"]}}
        with self.daemon(self.cluster("a.test", "127.0.0.9", "b.test", "::9"),
                         self.cluster("127.0.0.9", "::9", name="six", dns_lookup_family="V6_ONLY")) as daemon:
            self.becomes(daemon, ["127.0.0.2", "127.0.0.9", "127.0.0.2"])  # it serves with the literal alone until then
            self.assertEqual(self.hosts(daemon, "six"), ["127.0.0.9", "[::9]"])

    def test_alias_and_ttl(self):
        # An alias of one second: the name is asked again after that, although its addresses live longer.
        self.answers.script = {"alias.test": {"cname": "real.test", "cname_ttl": 1}, "real.test": {"A": ["127.0.0.2"], "ttl": 300},
                               "long.test": {"A": ["127.0.0.3"], "ttl": 300}, "none.test": {"A": ["127.0.0.4"], "ttl": 0}}
        with self.daemon(self.cluster("alias.test", respect_dns_ttl=True, dns_refresh_rate="300s"),
                         self.cluster("long.test", name="long", respect_dns_ttl=True),
                         self.cluster("none.test", name="none", respect_dns_ttl=True)) as daemon:
            self.assertEqual(self.hosts(daemon), ["127.0.0.2"])
            self.assertEqual(self.names(daemon)[0]["ttl"], 1)
            self.attempts(daemon, 1)
            self.attempts(daemon, 2, "none")  # no time to live: dns_refresh_rate
            self.assertEqual(self.asked("long.test"), ["A"])

    def test_change_order_and_many(self):
        many = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(1500)]
        self.answers.script = {"a.test": {"A": ["127.0.0.2", "127.0.0.3"]}, "many.test": {"A": many}}
        with self.daemon(self.cluster("a.test"), self.cluster("many.test", name="many")) as daemon:
            self.assertEqual(self.hosts(daemon, "many"), many)
            self.assertIn(True, [q["tcp"] for q in self.answers.asked if q["name"] == "many.test"])
            self.answers.script["a.test"] = {"A": ["127.0.0.3", "127.0.0.2"]}
            self.attempts(daemon, 2)
            self.assertEqual(self.hosts(daemon), ["127.0.0.2", "127.0.0.3"])
            epoch = daemon.call("dump", "endpoints")[1]["epoch"]
            self.attempts(daemon, 2)
            self.assertEqual(daemon.call("dump", "endpoints")[1]["epoch"], epoch)  # nothing new, nothing published
            self.answers.script["a.test"] = {"A": ["127.0.0.3", "127.0.0.4"]}
            self.becomes(daemon, ["127.0.0.3", "127.0.0.4"])
            counters = self.counters(daemon)
            self.assertEqual(counters["update_failure"], 0)
            self.assertEqual(counters["update_success"] - counters["update_no_rebuild"], 2)

    def test_failures(self):
        first = {"A": ["127.0.0.2", "127.0.0.3"]}
        clusters = [self.cluster("a.test", resolver={"query_timeout_seconds": 1, "query_tries": 1}),
                    self.cluster("a.test", name="logical", type="LOGICAL_DNS",
                                 resolver={"query_timeout_seconds": 1, "query_tries": 1})]
        # What of them leaves the last addresses: (STRICT_DNS, LOGICAL_DNS, error shown)
        cases = {
            "server failure": ({"rcode": "SERVFAIL"}, True, True, True),
            "refused": ({"rcode": "REFUSED"}, True, True, True),
            "silence": ({"drop": True}, True, True, True),
            "garbage": ({"garbage": "ff" * 40}, True, True, True),
            "header of an answer only": ({"garbage": "81800001"}, True, True, True),
            "no such name": ({"rcode": "NXDOMAIN"}, False, True, False),
            "no address": ({}, False, True, False),
        }
        self.answers.script = {"a.test": first}
        with self.daemon(*clusters) as daemon:
            for case, (rule, strict, logical, error) in cases.items():
                with self.subTest(case):
                    self.answers.script["a.test"] = first
                    self.becomes(daemon, ["127.0.0.2", "127.0.0.3"])
                    self.becomes(daemon, ["127.0.0.2"], "logical")
                    self.answers.script["a.test"] = rule
                    failures = self.counters(daemon, "logical")["update_failure"]
                    daemon.wait(lambda n=failures: self.counters(daemon, "logical")["update_failure"] > n + 1, 30)
                    self.attempts(daemon, 1)
                    self.assertEqual(self.hosts(daemon), ["127.0.0.2", "127.0.0.3"] if strict else [])
                    self.assertEqual(self.hosts(daemon, "logical"), ["127.0.0.2"] if logical else [])
                    self.assertEqual(self.names(daemon)[0]["error"] is not None, error)

    def test_lost_questions_and_truncation(self):
        self.answers.script = {"lost.test": {"A": ["127.0.0.2"], "drop": 1}, "cut.test": {"A": ["127.0.0.3"], "truncate": True},
                               "slow.test": {"A": ["127.0.0.4"], "delay_ms": 300}}
        with self.daemon(self.cluster("lost.test", resolver={"query_timeout_seconds": 1}), self.cluster("cut.test", name="cut"),
                         self.cluster("slow.test", name="slow")) as daemon:
            self.assertEqual(self.hosts(daemon), ["127.0.0.2"])
            self.assertEqual(self.hosts(daemon, "cut"), ["127.0.0.3"])
            self.assertEqual(self.hosts(daemon, "slow"), ["127.0.0.4"])
            self.assertIn(True, [q["tcp"] for q in self.answers.asked if q["name"] == "cut.test"])

    def test_tcp(self):
        self.answers.script = {"a.test": {"A": ["127.0.0.2"]}}
        legacy = self.cluster("a.test", name="legacy", use_tcp_for_dns_lookups=True, dns_resolvers=[
            {"socket_address": {"address": "127.0.0.1", "port_value": self.server.port}}])
        legacy.pop("typed_dns_resolver_config")
        with self.daemon(self.cluster("a.test", resolver={"dns_resolver_options": {"use_tcp_for_dns_lookups": True}}),
                         legacy) as daemon:
            self.assertEqual([self.hosts(daemon), self.hosts(daemon, "legacy")], [["127.0.0.2"]] * 2)
            self.assertEqual({q["tcp"] for q in self.answers.asked}, {True})

    def test_failure_refresh_rate(self):
        # The wait after a failure is below 20 ms: many more than one each 300 s.
        self.answers.script = {"a.test": {"rcode": "SERVFAIL"}}
        with self.daemon(self.cluster("a.test", dns_refresh_rate="300s", dns_failure_refresh_rate={
                "base_interval": "0.01s", "max_interval": "0.02s"})) as daemon:
            self.attempts(daemon, 10)
            self.answers.script["a.test"] = {"A": ["127.0.0.2"]}
            self.becomes(daemon, ["127.0.0.2"])
            asked = len(self.asked("a.test"))
            self.answers.script["b.test"] = {"A": ["127.0.0.3"]}
            self.write(self.cluster("b.test", name="other"), self.cluster("a.test", dns_refresh_rate="300s", dns_failure_refresh_rate={
                "base_interval": "0.01s", "max_interval": "0.02s"}))
            self.becomes(daemon, ["127.0.0.3"], "other")
            self.assertEqual(len(self.asked("a.test")), asked)  # not because another cluster came

    def test_a_changed_cluster_serves_when_it_is_warm(self):
        self.answers.script = {"a.test": {"A": ["127.0.0.2"]}, "b.test": {"A": ["127.0.0.3"], "delay_ms": 700}}
        with self.daemon(self.cluster("a.test")) as daemon:
            self.write(self.cluster("b.test"))
            daemon.wait(lambda: self.asked("b.test"))
            self.assertEqual(self.hosts(daemon), ["127.0.0.2"])
            self.becomes(daemon, ["127.0.0.3"])
            self.assertEqual([n["name"] for n in self.names(daemon)], ["b.test"])
            self.write(self.cluster("a.test", "b.test", connection_pool_per_downstream_connection=True))
            daemon.wait(lambda: "connection_pool_per_downstream_connection" in json.dumps(daemon.call("dump")[1]["sources"]))
            self.assertEqual(self.hosts(daemon), ["127.0.0.3"])  # refused while it would have waited
            self.write(self.cluster("c.test", "a.test", wait_for_warm_on_init=False))
            self.becomes(daemon, ["127.0.0.2"])

    def test_gone_clusters_are_not_asked_for(self):
        self.answers.script = {"a.test": {"A": ["127.0.0.2"]}, "b.test": {"A": ["127.0.0.3"]}}
        with self.daemon(self.cluster("a.test"), self.cluster("b.test", name="b")) as daemon:
            self.write(self.cluster("b.test", name="b"))
            daemon.wait(lambda: self.names(daemon) == [])
            asked = len(self.asked("a.test"))
            self.attempts(daemon, 5, "b")
            self.assertEqual(len(self.asked("a.test")), asked)

    def test_priorities_weights_and_health_of_each_address(self):
        self.answers.script = {"a.test": {"A": ["127.0.0.2", "127.0.0.3"]}, "b.test": {"A": ["127.0.0.4"]}}
        c = self.cluster()
        c["load_assignment"]["endpoints"] = [
            {"lb_endpoints": [endpoint("a.test", load_balancing_weight=3, health_status="DEGRADED")]},
            {"priority": 1, "lb_endpoints": [endpoint("b.test")]}]
        with self.daemon(c) as daemon:
            self.becomes(daemon, ["127.0.0.2", "127.0.0.3", "127.0.0.4"])  # it serves with the first of them
            held = daemon.call("dump", "endpoints")[1]["kernel"][0]
            self.assertEqual([(e["weight"], e["health"]) for e in held["endpoints"]], [(3, 5), (3, 5), (1, 0)])
            self.assertEqual([(s["load_end"], s["hosts"]) for s in held["sets"]], [(100, [2])])

    def test_without_an_agent_names_are_not_asked_for(self):
        listener = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l",
                    "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}, "filter_chains": [{"filters": [
                        {"name": "h", "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
                                     "HttpConnectionManager",
                            "stat_prefix": "s", "http_filters": [{"name": "r", "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
                            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                                {"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}}}]}]}
        self.write(self.cluster("a.test", "127.0.0.9"), listener)
        status, answer = run_json("check", self.path)
        self.assertEqual((status, answer["accepted"]), (0, True))
        self.assertEqual(answer["unresolved"], [{"cluster": "c", "name": "a.test"}])
        self.assertIn("unresolved: Cluster/c: a.test\n", run("check", self.path)[1])
        status, answer = run_json("explain", "--config", self.path, "--listener", "l", "--path", "/")
        self.assertEqual((status, answer["outcome"], answer["cluster"]), (0, "forward", "c"))
        self.assertIn("unresolved: a.test", [s["text"] for s in answer["steps"]])
        self.assertEqual(self.answers.asked, [])


if __name__ == "__main__":
    unittest.main()
