# SPDX-License-Identifier: Apache-2.0
"""Limits refuse, and exactly: with clients on both cores, and kernel and agent taking from the same bucket."""
import json
import time
import unittest

import resources as r
from mesh import VIP, Mesh

TOKENS = 500


class Limits(Mesh):
    @classmethod
    def resources(cls):
        hosts = [
            r.host("limited", ["limited.test"],
                   r.limited(r.route("/answers", "v1"), TOKENS), r.limited(r.route("/shared", "v1"), TOKENS),
                   r.limited(r.route("/few", "v1"), 3), r.limited(r.route("/none", "v1"), 0)),
            r.host("refill", ["refill.test"], r.limited(r.route("/", "v1"), 10, "1s")),
            r.host("breaker", ["breaker.test"], r.route("/zero", "zero")),
            r.host("by", ["by.test"], r.route("/", "v1", rate_limits=[{"actions": [
                {"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}, {"remote_address": {}}]}])),
        ]
        at = cls.client.address
        hosts[-1]["typed_per_filter_config"] = {r.LIMIT_FILTER: r.rate_limit(10 * TOKENS, descriptors=[
            {"entries": [{"key": "user", "value": user}, {"key": "remote_address", "value": at}],
             "token_bucket": {"max_tokens": n, "fill_interval": "86400s"}} for user, n in (("gold", TOKENS), ("tin", 3), ("both", TOKENS))])}
        hosts[0]["routes"].append(dict(r.answer("/kernel", 200, "ok\n"), typed_per_filter_config={
            r.LIMIT_FILTER: r.rate_limit(TOKENS)}))
        hosts[0]["routes"].append(dict(r.answer("/grpc", 200, "ok\n"), typed_per_filter_config={r.LIMIT_FILTER: r.rate_limit(3)}))
        v1 = cls.endpoint("v1")
        return r.bootstrap(
            [r.http("main", VIP, 80, hosts), r.tcp("tcp", VIP, 81, "l4")],
            [r.cluster("v1", v1), r.cluster("zero", v1, **r.breaker(max_requests=0)), r.cluster("l4", v1, **r.breaker(max_connections=3))])

    def load(self, path, **job):
        return self.job("load", host=job.pop("host", "limited.test"), path=path, **job)

    def test_reply(self):
        got = self.load("/few", requests=3)
        self.assertEqual(got["counts"], {"200 v1": 3})
        got = self.get("/few", host="limited.test")
        self.assertEqual((got["status"], got["body"], got["headers"]["content-type"]), (429, "local_rate_limited", "text/plain"))

    def test_zero_tokens_refuse_everything(self):
        self.assertEqual(self.load("/none", requests=5)["counts"], {"429 -": 5})

    def test_exact_in_the_kernel(self):
        """One bucket, two processes, 16 connections, answered in the kernel alone."""
        got = self.together("/kernel", [{}, {}])
        self.assertEqual(got, {"200 -": TOKENS, "429 -": 2 * TOKENS})

    def test_exact_between_kernel_and_agent(self):
        """Half of the clients send heads that only the agent can judge: the same bucket."""
        before = self.outcomes()
        got = self.together("/shared", [{}, {"split": True}])
        self.assertEqual(got, {"200 v1": TOKENS, "429 -": 2 * TOKENS})
        grown = self.outcomes(before)
        self.assertGreater(grown["kernel"].get("rate_limited", 0), 0, grown)
        self.assertGreater(grown["agent"].get("rate_limited", 0), 0, grown)
        self.assertEqual(grown["kernel"]["rate_limited"] + grown["agent"]["rate_limited"], 2 * TOKENS)

    def test_descriptors_in_the_kernel(self):
        """A bucket for a value and an address. After the first request, which finds no cell, the kernel decides them all."""
        def ask(user, n):
            return self.load("/", host="by.test", requests=n, pause=0.005, headers={"x-user": user})["counts"]
        before, handed = self.outcomes(), self.counters()["handed"].get("rate_limit_descriptors", 0)
        self.assertEqual(ask("tin", 40), {"200 v1": 3, "429 -": 37})
        self.assertEqual(ask("lead", 20), {"200 v1": 20})
        grown = self.outcomes(before)
        self.assertEqual(self.counters()["handed"].get("rate_limit_descriptors", 0), handed)
        # what a program passes over because the connection has an answer under way is the agent's
        self.assertGreater(grown["kernel"].get("rate_limited", 0), 20, grown)

    def test_descriptors_exact_in_the_kernel(self):
        got = self.together("/", [{}, {}], host="by.test", headers={"x-user": "gold"})
        self.assertEqual(got, {"200 v1": TOKENS, "429 -": 2 * TOKENS})

    def test_descriptors_exact_between_kernel_and_agent(self):
        before = self.outcomes()
        got = self.together("/", [{}, {"split": True}], host="by.test", headers={"x-user": "both"})
        self.assertEqual(got, {"200 v1": TOKENS, "429 -": 2 * TOKENS})
        grown = self.outcomes(before)
        self.assertGreater(grown["kernel"].get("rate_limited", 0), 0, grown)
        self.assertGreater(grown["agent"].get("rate_limited", 0), 0, grown)

    def test_grpc_is_counted_once(self):
        """The kernel judges, the agent words the answer: one exchange, one count, whoever could have taken it."""
        def cells():
            return {c["name"]: c for c in self.agent.stats()["cells"] if "rate_limited" in c}
        before, counters = cells(), self.counters()
        got = self.load("/grpc", requests=10, pause=0.02, headers={"content-type": "application/grpc"}, count=["grpc-status"])
        self.assertEqual(got["counts"], {"200 2": 3, "200 14": 7})
        grown = {name: {k: c[k] - before.get(name, {}).get(k, 0) for k in ("enabled", "ok", "rate_limited", "enforced")}
                 for name, c in cells().items()}
        self.assertEqual([g for g in grown.values() if any(g.values())], [{"enabled": 10, "ok": 3, "rate_limited": 7, "enforced": 7}])
        handed = self.counters()["handed"]["grpc"] - counters["handed"].get("grpc", 0)
        self.assertGreater(handed, 5, "the kernel judged too few of them for the test to say much")

    def test_exact_in_the_agent(self):
        got = self.together("/answers", [{"split": True}, {"split": True}])
        self.assertEqual(got, {"200 v1": TOKENS, "429 -": 2 * TOKENS})

    def together(self, path, kinds, host="limited.test", **job):
        """3 * TOKENS requests of len(kinds) processes at the same time; summed counts."""
        each = 3 * TOKENS // len(kinds)
        running = [self.begin("load", host=host, path=path, connections=10, requests=each // 10, **kind, **job) for kind in kinds]
        total = {}
        for child in running:
            got = self.finish(child)
            self.assertEqual(got["errors"], {})
            for k, v in got["counts"].items():
                total[k] = total.get(k, 0) + v
        return total

    def test_refill(self):
        got = self.load("/", host="refill.test", connections=4, seconds=2.5)
        # 10 at the start and 10 a second: Envoy refills continuously.
        self.assertGreaterEqual(got["counts"]["200 v1"], 30)
        self.assertLessEqual(got["counts"]["200 v1"], 38)

    def test_zero_requests(self):
        got = self.get("/zero", host="breaker.test")
        self.assertEqual((got["status"], got["headers"]["x-envoy-overloaded"]), (503, "true"))
        self.assertEqual(got["body"], "upstream connect error or disconnect/reset before headers. reset reason: overflow")

    def test_l4_max_connections(self):
        first = self.begin("hold", connections=5, port=81)
        self.assertEqual(json.loads(first.stdout.readline()), {"open": 3, "refused": 2})
        self.finish_held(first)
        second = self.begin("hold", connections=3, port=81)  # the places have come back
        self.assertEqual(json.loads(second.stdout.readline()), {"open": 3})
        self.finish_held(second)
        self.assertGreaterEqual(self.outcomes()["kernel"].get("refused_overflow", 0), 2)

    def finish_held(self, child):
        child.communicate(b"\n", timeout=20)
        self.world.stop(child)


class Breaker(Mesh):
    """Places in use while requests are slow: the backend's /slow must keep its own path, so a host for each cluster."""

    @classmethod
    def resources(cls):
        v1 = cls.endpoint("v1")
        names = {"requests": r.breaker(max_requests=4), "pending": r.breaker(max_connections=2, max_pending_requests=3)}
        return r.bootstrap([r.http("main", VIP, 80, [r.host(n, [n + ".test"], r.route("/", n)) for n in names])],
                           [r.cluster(n, v1, **limits) for n, limits in names.items()])

    def at_once(self, host, n, **job):
        return self.job("load", host=host, path="/slow?ms=700", connections=n, requests=1, count=["x-backend", "x-envoy-overloaded"],
                        **job)["counts"]

    def test_max_requests_exact(self):
        for split in (False, True):
            self.assertEqual(self.at_once("requests.test", 20, split=split), {"200 v1 -": 4, "503 - true": 16})
        # None leaked.
        self.assertEqual(self.at_once("requests.test", 4), {"200 v1 -": 4})

    def test_places_come_back_when_clients_go(self):
        child = self.begin("load", host="requests.test", path="/slow?ms=5000", connections=4, requests=1)
        try:
            self.wait_active("requests", 4)
            self.assertEqual(self.at_once("requests.test", 1), {"503 - true": 1})
        finally:
            self.world.stop(child)
        self.wait_active("requests", 0)
        self.assertEqual(self.at_once("requests.test", 4), {"200 v1 -": 4})

    def wait_active(self, cluster, n):
        for _ in range(100):
            cells = [c for c in self.agent.stats()["cells"] if c["kind"] == "cluster" and c["name"] == cluster]
            if cells and sum(c["rq_active"] for c in cells) == n:
                return
            time.sleep(0.05)
        self.fail(f"rq_active of {cluster} is not {n}: {cells}")


class Pools(Breaker):
    """
    The connections of one worker: each worker has pools of its own, and each pool may open its first connection beyond
    max_connections (Envoy's rule), so only one worker gives exact counts here.
    """

    options = ("--workers", "1")

    def test_pending_and_connections(self):
        """Two connections carry one each, three wait, the rest is refused."""
        child = self.begin("load", host="pending.test", path="/slow?ms=2000", connections=2, requests=1)
        try:
            self.wait_active("pending", 2)
            self.assertEqual(self.at_once("pending.test", 10), {"200 v1 -": 3, "503 - true": 7})
        finally:
            self.world.stop(child)


if __name__ == "__main__":
    unittest.main()
