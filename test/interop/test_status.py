# SPDX-License-Identifier: Apache-2.0
"""What the agent says of each resource in one scripted situation. WEFT_AGENT names the executable."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from scripted_ads import CDS, EDS, HCM, LDS, RDS, Server, address, cla, eds_cluster, field, listener, route, static_cluster

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import Daemon, run  # noqa: E402

NO_SOURCE = field(2, 3)  # type: EDS, without a source: refused by weft and by Envoy


def find_envoy():
    """`envoy` on PATH, or nothing."""
    return shutil.which("envoy")


def bootstrap(admin, xds):
    """Of an Envoy that takes everything from the ADS server at that port."""
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
               "explicit_http_config": {"http2_protocol_options": {}}}

    def socket_at(port):
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {"node": {"id": "node-1", "cluster": "cl"}, "admin": socket_at(admin),
            "dynamic_resources": {"cds_config": ads, "lds_config": ads, "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}},
            "static_resources": {"clusters": [{
                "name": "xds", "type": "STATIC", "connect_timeout": "5s",
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
                "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": socket_at(xds)}]}]}}]}}


class Heard:
    """The requests of a stream in any order: clients differ in it."""

    def __init__(self, session):
        self.session = session
        self.seen = []

    def until(self, what):
        while not any(what(r) for r in self.seen):
            self.seen.append(self.session.next())
        return next(r for r in self.seen if what(r))

    def asked(self, kind, *names):
        self.until(lambda r: r.type_url == kind and not r.nonce and set(names) <= set(r.subscribe))

    def acked(self, nonce):
        r = self.until(lambda r: r.nonce == nonce)
        assert r.error is None, repr(r)

    def nacked(self, nonce):
        r = self.until(lambda r: r.nonce == nonce)
        assert r.error, repr(r)


def at(body, name, ip, port):
    """The listener of that name, elsewhere."""
    return field(1, name) + field(2, field(1, field(2, ip) + field(3, port))) + body[len(field(1, name) + field(2, address(1))):]


def play(s, ip="10.0.0.1", ports=(8000, 8001)):
    """Clusters: ok and static accepted, bad and ok's second version refused, new waits for endpoints that are not
    sent. Listener main, whose next version is refused; routes accepted; waits, whose routes are not sent. Endpoints of
    hollow: said not to exist."""
    h = Heard(s)
    h.asked(CDS)
    s.send(CDS, "c1", [("ok", "1", eds_cluster("ok")), ("static", "1", static_cluster("static")),
                       ("hollow", "1", eds_cluster("hollow"))])
    h.asked(EDS, "hollow", "ok")
    h.acked("c1")
    s.send(EDS, "e1", [("ok", "7", cla("ok", 8080))], ["hollow"])
    h.acked("e1")
    h.asked(LDS)
    s.send(LDS, "l1", [("main", "1", at(listener("main", 1, "table"), "main", ip, ports[0]))])
    h.asked(RDS, "table")
    h.acked("l1")
    s.send(RDS, "r1", [("table", "1", route("table", "ok"))])
    h.acked("r1")
    s.send(LDS, "l2", [("waits", "1", at(listener("waits", 1, "missing"), "waits", ip, ports[1]))])
    h.asked(RDS, "missing")
    h.acked("l2")
    s.send(CDS, "c2", [("bad", "2", field(1, "bad") + NO_SOURCE), ("ok", "2", field(1, "ok") + NO_SOURCE)])
    h.nacked("c2")
    empty = field(1, "hcm") + field(4, field(1, HCM))  # without stat_prefix
    s.send(LDS, "l3", [("main", "2", field(1, "main") + field(2, field(1, field(2, ip) + field(3, ports[0]))) +
                        field(3, field(3, empty)))])
    h.nacked("l3")
    s.send(CDS, "c3", [("new", "3", eds_cluster("new"))])
    h.asked(EDS, "new")  # Envoy answers c3 only when new is warm


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
        self.assertEqual(info["state"], "LIVE")
        self.assertEqual(info["node"]["id"], "node-1")
        self.assertRegex(info["uptime_current_epoch"], r"^\d+s$")
    def test_stats(self):
        lines = dict(line.split(": ", 1) for line in self.fetch("/stats")[2].splitlines())
        want = {"cluster_manager.cds.update_success": "2", "cluster_manager.cds.update_rejected": "1",
                "cluster_manager.cds.config_reload": "2", "cluster.ok.update_success": "1",
                "cluster_manager.cds.version": "17241709254077376921",  # xxh64 of "", as Envoy
                "cluster_manager.cds.version_text": '""', "cluster.new.update_attempt": "1", "cluster.new.version": "0",
                "http.in.rds.table.update_success": "1", "http.in.rds.missing.update_success": "0",
                "cluster_manager.active_clusters": "3", "cluster_manager.warming_clusters": "1",
                "control_plane.connected_state": "1"}
        self.assertEqual({k: lines.get(k) for k in want}, want)
        prometheus = self.fetch("/stats/prometheus")[2].splitlines()
        for line in ['envoy_cluster_update_success{envoy_cluster_name="ok"} 1',
                     'envoy_http_rds_update_success{envoy_rds_route_config="table",envoy_http_conn_manager_prefix="in"} 1',
                     "envoy_cluster_manager_cds_version 17241709254077376921",
                     "# TYPE envoy_cluster_manager_cds_version gauge"]:
            self.assertIn(line, prometheus)
        self.assertFalse([line for line in prometheus if "version_text" in line])


ENVOY = os.environ.get("WEFT_ENVOY") or find_envoy()

# What weft does not say, and why.
NOT_COUNTED = re.compile(r"update_duration$"  # a histogram
                         r"|assignment_(stale|timeout_received|use_cached)$"  # endpoint_stale_after is refused
                         r"|rate_limit_enforced$")  # requests to the server are not limited
SUBSCRIPTIONS = re.compile(r"(cluster_manager\.cds|listener_manager\.lds|control_plane|http\.in\.rds)\."
                           r"|cluster\.(ok|static|hollow|new)\.(update_|version|init_fetch|assignment_)"
                           r"|cluster_manager\.(active|warming)_clusters$|listener_manager\.total_listeners_(active|warming)$")
COUNTS = re.compile(r"(update_success|update_rejected|update_failure|update_empty|init_fetch_timeout|config_reload|version|version_text)$")
# Envoy shows what it made of an assignment.
MADE_UP = {"endpoint.health_check_config", "load_balancing_weight"}


@unittest.skipUnless(ENVOY, "no Envoy: put `envoy` on PATH, or name it in WEFT_ENVOY")
class AsEnvoy(Situation):
    """The same situation in a real Envoy."""
    PORT = free_port()
    ARGS = ["--admin-http", "127.0.0.1:%d" % PORT]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.envoy_port = free_port()
        server = Server()
        cls.addClassCleanup(server.stop)
        folder = tempfile.TemporaryDirectory(prefix="weft-envoy-")
        cls.addClassCleanup(folder.cleanup)
        path = os.path.join(folder.name, "envoy.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(bootstrap(cls.envoy_port, server.port), f)
        with open(os.path.join(folder.name, "log"), "wb") as log:
            process = subprocess.Popen([ENVOY, "-c", path, "--concurrency", "1", "--use-dynamic-base-id"], stdout=log, stderr=log)
        cls.addClassCleanup(lambda: (process.kill(), process.wait()))
        cls.envoy_stream = server.session()
        play(cls.envoy_stream, "127.0.0.1", (free_port(), free_port()))

    def both(self, path):
        return [fetch(port, path)[2] for port in (self.PORT, self.envoy_port)]

    def test_names_of_stats(self):
        ours, theirs = [{name: value for name, value in (line.split(": ", 1) for line in text.splitlines() if ": " in line)
                         if SUBSCRIPTIONS.match(name)} for text in self.both("/stats")]
        theirs = {k: v for k, v in theirs.items() if not NOT_COUNTED.search(k)}
        theirs["cluster_manager.active_clusters"] = str(int(theirs["cluster_manager.active_clusters"]) - 1)  # its xDS cluster
        self.assertEqual(sorted(ours), sorted(theirs))
        self.assertEqual({k: v for k, v in ours.items() if COUNTS.search(k)},
                         {k: v for k, v in theirs.items() if COUNTS.search(k)})

    def test_names_for_prometheus(self):
        def families(text):
            found = {}
            for kind, name in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
                if re.match(r"envoy_(cluster_manager_cds|listener_manager_lds|control_plane|http_rds)_|envoy_cluster_(update|version|init)",
                            kind) and not re.search(r"update_duration|rate_limit_enforced", kind):
                    found[kind] = name
            return found

        def labels(text):
            return sorted(re.findall(r"^envoy_http_rds_update_success(\{[^}]*\})", text, re.M))
        ours, theirs = self.both("/stats/prometheus")
        self.assertEqual(families(ours), families(theirs))
        self.assertEqual(labels(ours), labels(theirs))

    def test_states(self):
        """Which resource is in which list, in what version, with which parts."""
        def states(port):
            dump = sections(port)
            out = {}
            for key in ("dynamic_active_clusters", "dynamic_warming_clusters"):
                out[key] = {c["cluster"]["name"]: c["version_info"] for c in dump["ClustersConfigDump"][key]}
            # A refused listener has a second entry in Envoy, without a name.
            out["listeners"] = {x["name"]: {k: x[k].get("version_info") for k in ("active_state", "warming_state") if k in x}
                                for x in dump["ListenersConfigDump"]["dynamic_listeners"] if "name" in x}
            out["errors"] = sorted(x["name"] for x in dump["ListenersConfigDump"]["dynamic_listeners"] if "name" in x and "error_state" in x)
            out["routes"] = {r["route_config"]["name"]: r["version_info"] for r in dump["RoutesConfigDump"]["dynamic_route_configs"]}
            out["endpoints"] = sorted(e["endpoint_config"]["cluster_name"] for e in dump["EndpointsConfigDump"]["dynamic_endpoint_configs"])
            return out
        self.assertEqual(states(self.PORT), states(self.envoy_port))

    def test_form(self):
        """Every field that Envoy shows is shown, under its name, in the same place."""
        def paths(value, at=""):
            if isinstance(value, list):
                return set().union(*(paths(v, at + "[]") for v in value))
            if not isinstance(value, dict):
                return {at}
            return set().union({at}, *(paths(v, at + "." + k) for k, v in value.items()))
        ours, theirs = sections(self.PORT), sections(self.envoy_port)
        self.assertEqual(list(ours), list(theirs))
        for name, section in theirs.items():
            if name == "BootstrapConfigDump":
                continue
            missing = {p for p in paths(section) - paths(ours[name])
                       if not p.startswith((".static_clusters", ".static_endpoint_configs"))  # Envoy's own xDS cluster
                       and not p.endswith(tuple("." + m for m in MADE_UP)) and "failed_configuration" not in p}
            self.assertEqual(missing, set(), name)
        ours, theirs = [{c["name"]: c for c in json.loads(t)["cluster_statuses"] if c["name"] != "xds"} for t in self.both("/clusters?format=json")]
        self.assertEqual(set(ours), set(theirs))
        for name in ours:
            self.assertEqual(set().union(paths(theirs[name])) - paths(ours[name]), set(), name)
        ours, theirs = [{line.split("::")[-2] for line in t.splitlines() if line.startswith("ok::")} for t in self.both("/clusters")]
        self.assertEqual(theirs - ours, {"rq_pending_active", "rq_timeout", "success_rate", "local_origin_success_rate"})  # not counted

    def test_answers(self):
        for path in ["/config_dump?resource=nope", "/config_dump?resource=bootstrap", "/config_dump?mask=nope",
                     "/config_dump?resource=dynamic_endpoint_configs", "/config_dump?resource=static_listeners",
                     "/config_dump?name_regex=(", "/config_dump?mask=static_clusters.cluster", "/config_dump?foo=bar",
                     "/config_dump?resource=dynamic_active_clusters&mask=cluster.nope", "/clusters?filter=(", "/nope", "/ready",
                     "/clusters?format=xml", "/listeners?format=json", "/config_dump?include_eds=off"]:
            ours, theirs = [fetch(port, path)[:2] for port in (self.PORT, self.envoy_port)]
            self.assertEqual((ours[0], ours[1] if ours[0] == 200 else ""), (theirs[0], theirs[1] if theirs[0] == 200 else ""), path)


if __name__ == "__main__":
    unittest.main()
