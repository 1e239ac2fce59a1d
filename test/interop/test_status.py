# SPDX-License-Identifier: Apache-2.0
"""What the agent says of each resource in one scripted situation. WEFT_AGENT names the executable."""
import json
import os
import re
import socket
import sys
import time
import unittest
import urllib.error
import urllib.request

from scripted_ads import CDS, EDS, LDS, RDS, Server, cla, eds_cluster, field, listener, route, static_cluster

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import Daemon, run  # noqa: E402

NO_SOURCE = field(2, 3)  # type: EDS, without a source: refused by weft and by Envoy


def play(s):
    """Clusters: ok and static accepted, bad and ok's second version refused, new waits for endpoints that are not
    sent. Listener main, whose next version is refused; routes accepted. Endpoints gone: said not to exist."""
    s.next(CDS)
    s.send(CDS, "c1", [("ok", "1", eds_cluster("ok")), ("static", "1", static_cluster("static")),
                       ("hollow", "1", eds_cluster("hollow"))])
    assert s.next(EDS).subscribe == ["hollow", "ok"]
    s.ack(CDS, "c1")
    s.send(EDS, "e1", [("ok", "7", cla("ok", 8080))], ["hollow"])
    s.ack(EDS, "e1")
    s.next(LDS)
    s.send(LDS, "l1", [("main", "1", listener("main", 8000, "table")), ("waits", "1", listener("waits", 8001, "missing"))])
    assert s.next(RDS).subscribe == ["missing", "table"]
    s.ack(LDS, "l1")
    s.send(RDS, "r1", [("table", "1", route("table", "ok"))])
    s.ack(RDS, "r1")
    s.send(CDS, "c2", [("bad", "2", field(1, "bad") + NO_SOURCE), ("ok", "2", field(1, "ok") + NO_SOURCE)])
    s.nack(CDS, "c2", "eds_cluster_config")
    s.send(LDS, "l2", [("main", "2", field(1, "main"))])
    s.nack(LDS, "l2", "main")
    s.send(CDS, "c3", [("new", "3", eds_cluster("new"))])
    assert s.next(EDS).subscribe == ["new"]
    s.ack(CDS, "c3")


class Situation(unittest.TestCase):
    """The agent after play()."""
    ARGS = []

    @classmethod
    def setUpClass(cls):
        cls.began = time.time() * 1000
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.daemon = Daemon("--no-kernel", "--xds", "127.0.0.1:%d" % cls.server.port, "--node-id", "node-1",
                            "--node-cluster", "cl", *cls.ARGS)
        cls.daemon.__enter__()
        cls.addClassCleanup(cls.daemon.__exit__)
        cls.stream = cls.server.session()
        play(cls.stream)


class Dump(Situation):
    def of(self, kind):
        return {r["name"]: r for r in self.daemon.call("dump", kind)[1]["resources"]}

    def check(self, kind, name, **want):
        r = self.of(kind)[name]
        self.assertEqual({k: r.get(k) for k in want}, want, r)
        return r

    def recent(self, ms):
        self.assertGreaterEqual(ms, int(self.began))
        self.assertLessEqual(ms, time.time() * 1000 + 1)

    def test_accepted(self):
        r = self.check("clusters", "static", status="acked", version="1", source="xds", error=None, in_kernel=True,
                       stream="127.0.0.1:%d" % self.server.port)
        self.recent(r["updated_ms"])
        self.assertEqual(r["updated"][:19], time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(r["updated_ms"] / 1000)))
        self.check("endpoints", "ok", status="acked", version="7", clusters=["ok"])
        self.check("routes", "table", status="acked", version="1")

    def test_refused_beside_what_is_in_force(self):
        r = self.check("clusters", "ok", status="nacked", version="1", failed_version="2", in_kernel=True)
        self.assertIn("eds_cluster_config", r["error"])
        self.recent(r["failed_ms"])
        self.assertGreaterEqual(r["failed_ms"], r["updated_ms"])
        self.check("listeners", "main", status="nacked", version="1", failed_version="2", state="in use")

    def test_refused_without_any_other(self):
        r = self.check("clusters", "bad", status="nacked", version="", failed_version="2", in_kernel=False, updated_ms=0)
        self.assertNotIn("updated", r)

    def test_warming(self):
        self.check("clusters", "new", status="warming", version="", warming_version="3", in_kernel=False)
        self.check("listeners", "waits", status="warming", version="", warming_version="1", in_kernel=False)

    def test_not_there(self):
        self.check("endpoints", "new", status="requested", version="", updated_ms=0)
        self.check("endpoints", "hollow", status="does_not_exist", version="")
        self.check("routes", "missing", status="requested", version="")

    def test_users(self):
        self.check("endpoints", "ok", users={"clusters": ["ok"]})
        self.check("clusters", "ok", users={"routes": ["table"]})
        self.check("clusters", "static", users={})
        self.check("routes", "table", users={"listeners": ["main"]})
        self.check("routes", "missing", users={"listeners": ["waits"]})
        self.check("listeners", "main", users={"pods": []})

    def test_table(self):
        out = run("dump", "clusters", "--admin", self.daemon.admin)[1].split("\n")
        self.assertEqual(out[0].split(), ["name", "version", "updated", "status", "source", "in_kernel", "used_by", "error"])
        row = [line for line in out if line.startswith("ok ")][0]
        self.assertRegex(row, r"^ok +1 +20\d\d-\d\d-\d\dT\S+Z +nacked +xds +yes +route/table +version 2: eds_cluster_config")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fetch(port, path):
    """(status, content type, body)"""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=30) as r:
            return r.status, r.headers["content-type"], r.read().decode()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.headers["content-type"], e.read().decode()


def sections(port, query="?include_eds"):
    """{short name: section} of /config_dump"""
    status, kind, body = fetch(port, "/config_dump" + query)
    assert (status, kind) == (200, "application/json"), body
    return {c["@type"].split(".")[-1]: c for c in json.loads(body)["configs"]}


class Http(Situation):
    """Envoy's admin interface."""
    PORT = free_port()
    ARGS = ["--admin-http", "127.0.0.1:%d" % PORT]

    def fetch(self, path):
        return fetch(self.PORT, path)

    def test_sections(self):
        dump = sections(self.PORT)
        self.assertEqual(list(dump), ["BootstrapConfigDump", "ClustersConfigDump", "EndpointsConfigDump",
                                      "ListenersConfigDump", "ScopedRoutesConfigDump", "RoutesConfigDump",
                                      "SecretsConfigDump"])
        self.assertNotIn("EndpointsConfigDump", sections(self.PORT, ""))
        self.assertEqual(dump["BootstrapConfigDump"]["bootstrap"]["node"]["id"], "node-1")
        for when in re.findall(r'"last_update[a-z_]*": "([^"]*)"', self.fetch("/config_dump?include_eds")[2]):
            self.assertRegex(when, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_clusters_section(self):
        dump = sections(self.PORT)["ClustersConfigDump"]
        active = {c["cluster"]["name"]: c for c in dump["dynamic_active_clusters"]}
        self.assertEqual(sorted(active), ["hollow", "ok", "static"])
        self.assertEqual(active["ok"]["version_info"], "1")
        self.assertEqual(active["ok"]["client_status"], "NACKED")
        self.assertEqual(active["ok"]["error_state"]["version_info"], "2")
        self.assertIn("eds_cluster_config", active["ok"]["error_state"]["details"])
        self.assertEqual(active["static"]["client_status"], "ACKED")
        self.assertEqual(active["static"]["cluster"]["@type"], CDS)
        self.assertEqual([c["cluster"]["name"] for c in dump["dynamic_warming_clusters"]], ["new"])

    def test_listeners_section(self):
        dump = {x["name"]: x for x in sections(self.PORT)["ListenersConfigDump"]["dynamic_listeners"]}
        self.assertEqual(dump["main"]["active_state"]["version_info"], "1")
        self.assertEqual(dump["main"]["error_state"]["version_info"], "2")
        self.assertNotIn("warming_state", dump["main"])
        self.assertEqual(dump["waits"]["warming_state"]["listener"]["name"], "waits")
        self.assertNotIn("active_state", dump["waits"])

    def test_endpoints_section(self):
        dump = {e["endpoint_config"]["cluster_name"]: e
                for e in sections(self.PORT)["EndpointsConfigDump"]["dynamic_endpoint_configs"]}
        self.assertEqual(sorted(dump), ["hollow", "ok", "static"])
        lb = dump["ok"]["endpoint_config"]["endpoints"][0]["lb_endpoints"][0]
        self.assertEqual(lb["health_status"], "HEALTHY")
        self.assertNotIn("endpoints", dump["hollow"]["endpoint_config"])

    def test_parameters(self):
        for path, status, names in [
                ("?resource=dynamic_active_clusters", 200, ["hollow", "ok", "static"]),
                ("?resource=dynamic_active_clusters&name_regex=o.", 200, ["ok"]),
                ("?resource=dynamic_active_clusters&name_regex=%6fk|x", 200, ["ok"]),
                ("?resource=dynamic_active_clusters&name_regex=o", 200, []),  # the whole name
                ("?resource=static_clusters", 200, []),
                ("?resource=dynamic_endpoint_configs", 404, None),
                ("?resource=nope", 404, None),
                ("?resource=bootstrap", 400, None),
                ("?resource=version_info", 400, None),
                ("?name_regex=(", 400, None),
                ("?mask=nope", 400, None),
                ("?mask=static_clusters.cluster", 400, None),
                ("?mask=static_clusters,bootstrap.node.id", 400, None),
                ("?resource=dynamic_active_clusters&mask=cluster.nope", 400, None),
                ("?resource=dynamic_active_clusters&mask=cluster.load_assignment.endpoints.locality", 400, None)]:
            got, _, body = self.fetch("/config_dump" + path)
            self.assertEqual(got, status, path)
            if names is not None:
                self.assertEqual([c["cluster"]["name"] for c in json.loads(body)["configs"]], names, path)
        body = self.fetch("/config_dump?resource=dynamic_active_clusters&name_regex=ok&mask=cluster.type,version_info")[2]
        self.assertEqual(json.loads(body)["configs"], [{
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster", "version_info": "1",
            "cluster": {"@type": CDS, "type": "EDS"}}])
        body = self.fetch("/config_dump?mask=bootstrap.node.id")[2]
        self.assertEqual(json.loads(body)["configs"], [{
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "node-1"}}}])

    def test_clusters(self):
        text = self.fetch("/clusters")[2].split("\n")
        for line in ["ok::10.0.0.1:8080::health_flags::healthy", "ok::added_via_api::true",
                     "ok::default_priority::max_retries::3", "ok::10.0.0.1:8080::cx_active::0"]:
            self.assertIn(line, text)
        clusters = {c["name"]: c for c in json.loads(self.fetch("/clusters?format=json")[2])["cluster_statuses"]}
        self.assertEqual(sorted(clusters), ["hollow", "ok", "static"])
        host = clusters["ok"]["host_statuses"][0]
        self.assertEqual(host["address"], {"socket_address": {"address": "10.0.0.1", "port_value": 8080}})
        self.assertEqual(host["health_status"], {"eds_health_status": "HEALTHY"})
        self.assertNotIn("host_statuses", clusters["hollow"])
        text = self.fetch("/clusters?filter=sta")[2]  # a part of the name, other than in /config_dump
        self.assertEqual({line.split("::")[0] for line in text.split()}, {"static"})
        self.assertEqual(self.fetch("/clusters?filter=(")[0], 400)

    def test_listeners(self):
        self.assertEqual(self.fetch("/listeners")[2], "main::10.0.0.1:8000\n")
        self.assertEqual(json.loads(self.fetch("/listeners?format=json")[2]), {"listener_statuses": [
            {"name": "main", "local_address": {"socket_address": {"address": "10.0.0.1", "port_value": 8000}}}]})

    def test_server_info(self):
        info = json.loads(self.fetch("/server_info")[2])
        self.assertEqual(info["state"], "INITIALIZING")  # a listener still waits for its routes
        self.assertEqual(info["node"]["id"], "node-1")
        self.assertRegex(info["uptime_current_epoch"], r"^\d+s$")


if __name__ == "__main__":
    unittest.main()
