# SPDX-License-Identifier: Apache-2.0
"""Outlier detection with traffic: an endpoint that fails is left out by the kernel's next choices too, and comes back."""
import errno
import time
import unittest

import resources as r
from mesh import BACKEND_PORT, VIP, Mesh

DETECTION = {"interval": "0.2s", "base_ejection_time": "8s", "max_ejection_time": "8s", "max_ejection_percent": 50}


class Outlier(Mesh):
    @classmethod
    def resources(cls):
        both = [cls.endpoint(n) for n in ("v1", "v2")]
        dead = [cls.endpoint("v1"), (cls.world.pods["v2"].address, 9)]
        hosts = [r.host(n, [n + ".test"], r.route("/", n)) for n in ("sick", "web")]
        return r.bootstrap(
            [r.http("main", VIP, 80, hosts), r.tcp("sick-tcp", VIP, 81, "sick"), r.tcp("dead-tcp", VIP, 82, "dead"),
             r.tcp("web-tcp", VIP, 83, "web")],
            [r.cluster("sick", *both, outlier_detection=dict(DETECTION, consecutive_5xx=3)),
             r.cluster("dead", *dead, outlier_detection=dict(DETECTION, consecutive_5xx=2)),
             r.cluster("web", *dead, outlier_detection=dict(DETECTION, consecutive_5xx=2))])

    def ejected(self, cluster):
        return [e["host"].split(" ")[1] for e in self.agent.call("dump", "endpoints")["ejected"] if e["cluster"] == cluster]

    def becomes(self, cluster, *hosts):
        end = time.monotonic() + 20
        while self.ejected(cluster) != list(hosts):
            self.assertLess(time.monotonic(), end, self.ejected(cluster))
            time.sleep(0.01)

    def backends(self, n=8, **job):
        return sorted({self.get(**job)["headers"]["x-backend"] for _ in range(n)})

    def test_answers(self):
        """Three answers of 500 in a row; the other host may not be ejected too, whatever it answers."""
        before = self.counters()["outcomes"]
        for _ in range(10):
            self.assertEqual(self.get("/status?code=500", host="sick.test")["status"], 500)
            if self.ejected("sick"):
                break
        host, = self.ejected("sick")
        left = "v2" if host.startswith(self.world.pods["v1"].address + ":") else "v1"
        self.assertEqual(self.backends(host="sick.test"), [left])
        self.assertEqual(self.outcomes(before)["agent"], {})
        before = self.counters()["outcomes"]
        self.assertEqual(self.backends(port=81), [left])  # chosen in connect()
        self.assertEqual(self.outcomes(before), {"kernel": {"forward": 8}, "agent": {}})
        self.becomes("sick")
        self.assertEqual(self.backends(host="sick.test"), ["v1", "v2"])
        self.assertEqual(self.backends(port=81), ["v1", "v2"])
        found, = [c for c in self.agent.stats()["outlier_detection"] if c["cluster"] == "sick"]
        self.assertEqual((found["ejections_enforced_total"], found["ejections_enforced_consecutive_5xx"]), (1, 1))
        self.assertEqual(self.agent.stats()["ejections"], {"publish_failures": 0, "withheld": 0, "withheld_now": False})

    def test_connections(self):
        """Nobody listens there: the requests' failures are seen by the agent, and the kernel's connections go elsewhere."""
        dead = f"{self.world.pods['v2'].address}:9"
        while not self.ejected("web"):
            self.assertIn(self.get(host="web.test")["status"], (200, 503))
        self.assertEqual(self.ejected("web"), [dead])
        self.assertEqual([self.get(port=83).get("status") for _ in range(8)], [200] * 8)
        self.becomes("web")
        # it is chosen again, and fails the app that the kernel sent there
        self.assertIn({"error": "ConnectionRefusedError", "errno": errno.ECONNREFUSED}, [self.get(port=82) for _ in range(2)])


if __name__ == "__main__":
    unittest.main()
