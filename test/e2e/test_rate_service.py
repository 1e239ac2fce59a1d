# SPDX-License-Identifier: Apache-2.0
"""The reference rate limit service (github.com/envoyproxy/ratelimit) with Redis behind it, asked by the agent."""
import os
import shutil
import time
import unittest

import resources as r
from asking import HTTP2, asks, held
from mesh import VIP, Mesh

PORT, REDIS_PORT = 9100, 6379
# Windows of a year: none ends while the test runs, but for one second a year.
CONFIG = """
domain: e2e
descriptors:
- {key: user, value: tin, rate_limit: {unit: year, requests_per_unit: 3, name: tins}}
- {key: user, value: gold, rate_limit: {unit: year, requests_per_unit: 200}}
- {key: user, value: free, rate_limit: {unlimited: true}}
- {key: user, value: watched, rate_limit: {unit: year, requests_per_unit: 0}, shadow_mode: true}
- {key: user, value: bulk, rate_limit: {unit: year, requests_per_unit: 10}}
- key: tenant
  descriptors:
  - {key: path, value: /deep, rate_limit: {unit: year, requests_per_unit: 1}}
"""
CONNECTIONS = """
domain: connections
descriptors:
- {key: to, value: "81", rate_limit: {unit: year, requests_per_unit: 2}}
"""


def header(name, key):
    return {"request_headers": {"header_name": name, "descriptor_key": key}}


@unittest.skipUnless(os.environ.get("RATELIMIT"), "the reference service is not built (test/interop/go_build.sh ratelimit-local ratelimit)")
@unittest.skipUnless(shutil.which("redis-server"), "needs redis-server")
class RateService(Mesh):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pod = cls.world.pods["v2"]
        root = os.path.join(cls.world.dir, "runtime")
        os.makedirs(os.path.join(root, "limits", "config"))
        for name, text in (("e2e", CONFIG), ("connections", CONNECTIONS)):
            with open(os.path.join(root, "limits", "config", name + ".yaml"), "w", encoding="utf-8") as f:
                f.write(text)
        cls.store()
        env = {"USE_STATSD": "false", "LOG_LEVEL": "warn", "BACKEND_TYPE": "redis", "REDIS_SOCKET_TYPE": "tcp",
               "REDIS_URL": f"127.0.0.1:{REDIS_PORT}", "RUNTIME_ROOT": root, "RUNTIME_SUBDIRECTORY": "limits", "RUNTIME_WATCH_ROOT": "false",
               "HOST": "127.0.0.1", "PORT": "9101", "GRPC_HOST": "0.0.0.0", "GRPC_PORT": str(PORT), "DEBUG_HOST": "127.0.0.1"}
        cls.world.start([os.environ["RATELIMIT"]], cls.pod, name="ratelimit", env=dict(os.environ, **env))
        cls.world.wait_port(cls.pod, PORT)

    @classmethod
    def store(cls):
        cls.redis = cls.world.start(["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                     "--dir", cls.world.dir], cls.pod, name="redis")
        cls.world.wait_port(cls.pod, REDIS_PORT, "127.0.0.1")

    @classmethod
    def resources(cls):
        hosts = [r.host("all", ["*"], r.route("/", "v1"))]
        rules = [{"actions": [header("x-user", "user")], "hits_addend": {"format": "%REQ(x-hits?x-one)%"}},
                 {"actions": [header("x-tenant", "tenant"), header(":path", "path")]},
                 {"actions": [header("x-own", "own")], "limit": {"rate_limit": {"requests_per_unit": 1, "unit": "YEAR"}}}]
        more = {"failure_mode_deny": True, "enable_x_ratelimit_headers": "DRAFT_VERSION_03"}
        return r.bootstrap([asks(r.http("main", VIP, 80, hosts), rate_limits=rules, **more), held(r.tcp("tcp", VIP, 81, "v1"))],
                           [r.cluster("v1", cls.endpoint("v1")), r.cluster("rls", (cls.endpoint("v2")[0], PORT), **HTTP2)])

    def ask(self, path="/", **headers):
        return self.get(path, headers=dict({"x-one": "1"}, **{"x-" + k: v for k, v in headers.items()}))

    def status(self, *args, **headers):
        return self.ask(*args, **headers)["status"]

    def test_counts_exactly(self):
        got = [self.begin("load", port=80, headers={"x-user": "gold", "x-one": "1"}, connections=8, requests=25) for _ in range(2)]
        total = {"200": 0, "429": 0}
        for child in got:
            for what, n in self.finish(child)["counts"].items():
                total[what.split(" ")[0]] += n
        self.assertEqual(total, {"200": 200, "429": 200})

    def test_tells(self):
        got = [self.ask(user="tin") for _ in range(4)]
        self.assertEqual([g["status"] for g in got], [200, 200, 200, 429])
        self.assertEqual([g["headers"]["x-ratelimit-remaining"] for g in got], ["2", "1", "0", "0"])
        self.assertRegex(got[0]["headers"]["x-ratelimit-limit"], r'^3, 3;w=31536000(;name="tins")?$')
        self.assertTrue(0 < int(got[3]["headers"]["x-ratelimit-reset"]) <= 366 * 86400)
        self.assertEqual(got[3]["headers"]["x-envoy-ratelimited"], "true")

    def test_rules(self):
        self.assertEqual({self.status(user=u) for u in ("free", "watched", "nobody")}, {200})
        self.assertEqual([self.status(user="bulk", hits=n) for n in ("4", "4", "4")], [200, 200, 429])
        self.assertEqual([self.status("/deep", tenant=t) for t in "aab"], [200, 429, 200])
        self.assertEqual(self.status("/flat", tenant="a"), 200)
        self.assertEqual([self.status(own=t) for t in "aab"], [200, 429, 200])  # by the limit that goes along

    def test_connections(self):
        self.assertEqual([self.job("load", port=81, requests=2)["requests"] for _ in range(3)], [2, 2, 0])

    def test_without_its_store(self):
        self.assertEqual(self.status(user="nobody", tenant="t"), 200)
        self.world.stop(self.redis)
        self.assertEqual(self.status(user="gold"), 500)
        self.store()
        end = time.monotonic() + 60
        while self.status(user="bulk", hits="0") == 500:
            self.assertLess(time.monotonic(), end)


if __name__ == "__main__":
    unittest.main()
