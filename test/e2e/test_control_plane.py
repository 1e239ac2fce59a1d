# SPDX-License-Identifier: Apache-2.0
"""Configuration from go-control-plane's snapshot cache, changed again and again while requests run."""
import os
import sys
import time
import unittest

import world as lab
from mesh import BACKEND_PORT, HERE, VIP, Mesh, setUpModule_skips

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
from control_plane import LUA, ControlPlane, cluster, endpoints, listener, table  # noqa: E402

NODE, PORT, ROUNDS, WAIT_S = "node-1", 80, 3, 60


class Follows:
    CLIENT = ()

    @classmethod
    def setUpClass(cls):
        setUpModule_skips()
        if not os.environ.get("CONTROL_PLANE"):
            raise unittest.SkipTest("no control-plane (test/interop/go_build.sh builds it)")
        cls.world = lab.World().__enter__()
        cls.addClassCleanup(cls.world.close)
        cls.client = cls.world.pod("client")
        for pod in [cls.world.pod(n) for n in ("v1", "v2")]:
            cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), pod.name, str(BACKEND_PORT)], pod, name="backend-" + pod.name)
            cls.world.wait_port(pod, BACKEND_PORT)
        cls.plane = ControlPlane("-ads")
        cls.addClassCleanup(cls.plane.stop)
        cls.agent = lab.Agent(cls.world, options=["--xds", cls.plane.address, "--node-id", NODE, *cls.CLIENT], pods=[cls.client])
        cls.agent.start()
        cls.addClassCleanup(cls.agent.stop)
        cls.versions = iter(range(1, 1000))

    def until(self, what):
        end = time.monotonic() + WAIT_S
        while not what():
            self.assertLess(time.monotonic(), end, self.world.log("agent")[-2000:])
            time.sleep(0.02)

    def statuses(self, kind):
        return {r["name"]: r["status"] for r in self.agent.call("dump", kind)["resources"]}

    def backend(self):
        return self.get(port=PORT).get("headers", {}).get("x-backend")

    def snapshot(self, to, clusters, *filters):
        """The next version: everything to one of the clusters {name: backend}. How many events the server had seen before."""
        resources = [listener("main", VIP, PORT, "table", *filters), table("table", all=to)]
        for name, pod in clusters.items():
            resources += [cluster(name), endpoints(name, self.endpoint(pod))]
        return self.plane.set(NODE, str(next(self.versions)), resources)

    def serve(self, to, clusters):
        """The same, until it is in force."""
        before = self.snapshot(to, clusters)
        acked = dict.fromkeys(clusters, "acked")
        self.until(lambda: self.statuses("clusters") == acked and self.statuses("endpoints") == acked)
        self.until(lambda: self.backend() == clusters[to])
        return before

    def test_changes_under_load(self):
        begin = self.serve("c", {"c": "v1"})
        load = self.begin("load", port=PORT, connections=4, seconds=600, until_eof=True, pause=0.002, count=["x-backend"])
        old, pod = "c", "v1"
        for i in range(ROUNDS):
            new, other = f"c{i}", "v2" if pod == "v1" else "v1"
            # The new cluster; the routes go to it; the old one goes. Then its endpoints are others.
            self.serve(old, {old: pod, new: other})
            self.serve(new, {old: pod, new: other})
            self.serve(new, {new: other})
            self.serve(new, {new: pod})
            old = new
        self.assertEqual(self.plane.nacks(begin), [])
        result = self.finish(load)
        self.assertEqual(result["errors"], {})
        self.assertEqual(sorted(result["counts"]), ["200 v1", "200 v2"])

    def test_refused_under_load(self):
        self.serve("c", {"c": "v1"})
        load = self.begin("load", port=PORT, connections=4, seconds=600, until_eof=True, pause=0.002, count=["x-backend"])
        self.serve("c", {"c": "v1", "d": "v2"})
        # A listener that cannot be done, with routes that can: these hold, and of the listener what was.
        before = self.snapshot("d", {"c": "v1", "d": "v2"}, LUA)
        nack = self.plane.event(lambda e: e["event"] == "request" and e["error"], before)
        self.assertRegex(nack["error"], r"Listener/main: .*http_filters\[0\]")
        self.until(lambda: self.backend() == "v2")
        self.assertEqual(self.statuses("listeners"), {"main": "nacked"})
        self.serve("d", {"d": "v2"})
        self.assertEqual(self.statuses("listeners"), {"main": "acked"})
        result = self.finish(load)
        self.assertEqual([k for k in result["counts"] if not k.startswith("200 ")], [])
        self.assertEqual(result["errors"], {})


class Delta(Follows, Mesh):
    pass


class Sotw(Follows, Mesh):
    CLIENT = ("--xds-sotw",)


if __name__ == "__main__":
    unittest.main()
