# SPDX-License-Identifier: Apache-2.0
"""Endpoints and clients that break the rules: the right outcome, bounded memory, and no place of a breaker lost.

WEFT_SOAK: seconds of random faults (20; with WEFT_FULL 60). WEFT_AGENT may be a build with sanitizers: their reports are failures."""
import json
import os
import sys
import time
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

PORT = 8090
MAX = 4  # of requests and of those that wait, for each cluster
GROWTH_MIB = 96  # a flood of 64 MiB is not kept
ENDPOINT = {"stall": {"504"}, "reset-before": {"503"}, "reset-inside": {"502"}, "reset-after": {"200 cut"}, "early": {"200 cut"},
            "close": {"503"}, "garbage": {"502"}, "bad-chunk": {"200", "200 cut"}, "informational": {"502", "503", "504"},
            "long-head": {"502", "503"}, "half": {"200"}, "twice": {"200"}}


class Faulty(Mesh):
    @classmethod
    def resources(cls):
        cls.world.start([sys.executable, os.path.join(HERE, "faults.py"), "server", str(PORT)], cls.servers[0], name="faults")
        cls.world.wait_port(cls.servers[0], PORT)
        at = (cls.servers[0].address, PORT)
        # connections are not limited: idle ones of another worker would leave requests waiting for one, as in Envoy
        limits = dict(max_requests=MAX, max_pending_requests=MAX, max_retries=1)
        clusters = [r.cluster("c", at, **r.breaker(**limits)), r.cluster("refuses", (cls.servers[0].address, 8099), **r.breaker(**limits)),
                    r.cluster("soak", at, **r.breaker(**dict(limits, max_requests=64, max_pending_requests=64)))]
        retry = {"retry_on": "5xx,reset", "num_retries": 1}
        hosts = [r.host("c", ["c.test"], r.route("/", "c", timeout="2s")),
                 r.host("retried", ["retried.test"], r.route("/", "c", timeout="2s", retry_policy=retry)),
                 r.host("refuses", ["refuses.test"], r.route("/", "refuses", timeout="2s")),
                 r.host("soak", ["soak.test"], r.route("/", "soak", timeout="2s", retry_policy=retry))]
        return r.bootstrap([r.http("main", VIP, 80, hosts, request_headers_timeout="2s",
                                   http2_protocol_options={"max_concurrent_streams": 64})], clusters)

    def client_job(self, do, **job):
        job = dict({"do": do, "address": VIP, "host": "c.test", "path": "/"}, **job)
        status, out = self.world.output([sys.executable, os.path.join(HERE, "faults.py"), "client", json.dumps(job)], self.client,
                                        timeout=job.get("seconds", 0) + 90)
        self.assertEqual(status, 0, out)
        return json.loads(out.splitlines()[-1])

    def memory(self):
        with open(f"/proc/{self.agent.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS"))

    def files(self):
        return len(os.listdir(f"/proc/{self.agent.process.pid}/fd"))

    def active(self):
        """Places of requests that are held, by name."""
        out = {}
        for c in self.agent.stats()["cells"]:
            for k in ("rq_active", "rq_pending", "retry_active"):
                if c.get(k):
                    out[f"{c['kind']} {c['name']} {k}"] = c[k]
        return out

    def settled(self, cluster="c"):
        """Everything is given back; as many requests as may be are let through at once, and no more."""
        for _ in range(200):
            if not (left := self.active()):
                break
            time.sleep(0.05)
        self.assertEqual(left, {})
        host = cluster + ".test"
        got = self.client_job("ask", host=host, path="/slow", n=MAX)
        self.assertEqual(got, {"200": MAX})
        self.assertIsNone(self.agent.process.poll())

    def tearDown(self):
        log = self.world.log("agent")
        self.assertNotRegex(log, "Sanitizer|runtime error|Assertion")


class Endpoints(Faulty):
    def test_faults(self):
        for what, expected in ENDPOINT.items():
            for host in ("c.test", "retried.test"):
                with self.subTest(what=what, host=host):
                    before = self.memory()
                    got = self.client_job("ask", host=host, path="/" + what, n=3)
                    self.assertLessEqual(set(got), expected | ({"503"} if host == "retried.test" else set()), got)
                    self.assertEqual(sum(got.values()), 3)
                    self.assertLess(self.memory() - before, GROWTH_MIB)
        self.settled()

    def test_refused(self):
        self.assertEqual(self.client_job("ask", host="refuses.test", n=3), {"503": 3})
        self.assertEqual(self.active(), {})


class Clients(Faulty):
    def check(self, do, expected=None, **job):
        before = self.memory()
        got = self.client_job(do, **job)
        if expected is not None:
            self.assertEqual(got, expected)
        self.assertLess(self.memory() - before, GROWTH_MIB)
        self.settled()
        return got

    def test_slowloris(self):
        got = self.check("slowloris", n=20)
        self.assertEqual(sum(got.values()), 20, got)
        self.assertLessEqual(set(got), {"408", "closed", "none"})

    def test_resets(self):
        self.check("resets", n=300)

    def test_resets_while_answered(self):
        self.check("resets", n=60, path="/slow")

    def test_half_close(self):
        # the end of a client's stream ends its exchange, as in Envoy
        self.check("half_close", {"none": 1}, path="/slow")

    def test_long_head(self):
        got = self.check("long_head")
        self.assertLessEqual(set(got), {"431", "none"})

    def test_hpack_bomb(self):
        self.check("hpack_bomb", {"answered": 0})

    def test_continuation_flood(self):
        self.check("continuations", {"ended": 1})

    def test_rapid_reset(self):
        self.check("rapid_reset", n=3000)

    def test_window_starvation(self):
        self.check("starved", n=20, path="/large")


class Soak(Faulty):
    def test_random_faults(self):
        seconds = float(os.environ.get("WEFT_SOAK", "60" if os.environ.get("WEFT_FULL") else "20"))
        paths = ["/" + what for what in ENDPOINT if what not in ("informational", "long-head", "stall")] + ["/", "/slow", "/large"]
        first = None
        rounds = max(3, int(seconds // 60))
        for i in range(rounds):
            done = self.client_job("mixed", host="soak.test", seed=i + 1, n=8, seconds=seconds / rounds, paths=paths)
            self.assertGreater(done["done"], 0)
            for _ in range(200):
                if not (left := self.active()):
                    break
                time.sleep(0.05)
            self.assertEqual(left, {})
            now = (self.memory(), self.files(), self.agent.stats()["decisions"]["slots_used"])
            first = first or now
        self.assertLess(now[0] - first[0], 48, (first, now))
        self.assertLess(now[1] - first[1], 80, (first, now))
        self.balances()

    def balances(self):
        """Every exchange ended once: what was decided is what was answered; open connections have slots, nothing else does."""
        for _ in range(100):
            stats = self.agent.stats()
            if not stats["proxy"]["connections"]:
                break
            time.sleep(0.05)
        self.assertEqual(stats["proxy"]["connections"], 0)
        self.assertEqual(stats["decisions"]["slots_used"], 0)
        cell = next(c for c in stats["cells"] if c["kind"] == "cluster" and c["name"] == "soak")
        self.assertGreaterEqual(cell["rq_total"], cell["rq_2xx"] + cell["rq_4xx"])
        self.assertEqual(cell["circuit_breakers"]["default"]["rq_open"], 0)


if __name__ == "__main__":
    unittest.main()
