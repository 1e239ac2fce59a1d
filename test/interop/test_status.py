# SPDX-License-Identifier: Apache-2.0
"""What the agent says of each resource in one scripted situation. WEFT_AGENT names the executable."""
import os
import sys
import time
import unittest

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


if __name__ == "__main__":
    unittest.main()
