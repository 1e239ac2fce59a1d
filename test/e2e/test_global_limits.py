# SPDX-License-Identifier: Apache-2.0
"""Requests and connections that a rate limit service decides about, which is grpcio's: verdicts, counts, limits of what it may say, and
what becomes of it all when it is slow, wrong or not there."""
import json
import os
import sys
import time
import unittest

import resources as r
from asking import HTTP2, asks, by, held
from mesh import HERE, VIP, Mesh

try:
    import grpc  # noqa: F401
except ImportError:
    grpc = None

PORT, DEAD = 9100, 9
PEER = os.path.join(HERE, "rls_peer.py")


@unittest.skipUnless(grpc, "needs grpcio (python3-grpcio)")
class GlobalLimits(Mesh):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.serve()

    @classmethod
    def serve(cls):
        cls.service = cls.world.start([sys.executable, PEER, str(PORT)], cls.world.pods["v2"], name="rls")
        cls.world.wait_port(cls.world.pods["v2"], PORT)

    @classmethod
    def resources(cls):
        at = (cls.endpoint("v2")[0], PORT)
        hosts = [r.host("all", ["*"], r.answer("/here", 200, "ok\n"), r.route("/", "v1"))]
        deny = {"failure_mode_deny": True}
        return r.bootstrap([
            asks(r.http("main", VIP, 80, hosts), enable_x_ratelimit_headers="DRAFT_VERSION_03", **deny),
            asks(r.http("short", VIP, 81, hosts), timeout="0.1s", **deny),
            asks(r.http("allow", VIP, 82, hosts), timeout="0.1s"),
            held(r.tcp("tcp", VIP, 83, "v1")),
            held(r.http("http", VIP, 84, hosts)),
            asks(r.http("small", VIP, 85, hosts), by(max_receive_message_length=1000), **deny),
            asks(r.http("dead", VIP, 86, hosts), by("dead"), **deny),
            asks(r.http("dead-allow", VIP, 87, hosts), by("dead")),
            held(r.tcp("dead-tcp", VIP, 88, "v1"), rate_limit_service=by("dead"), failure_mode_deny=True),
        ], [r.cluster("v1", cls.endpoint("v1")), r.cluster("rls", at, **HTTP2), r.cluster("dead", (at[0], DEAD), **HTTP2)])

    def ask(self, port=80, user=None, **script):
        headers = dict({"x-user": user} if user else {}, **({"x-rls": json.dumps(script, separators=(",", ":"))} if script else {}))
        return self.get("/", port=port, headers=headers)

    def status(self, *args, **script):
        return self.ask(*args, **script)["status"]

    def counts(self, name):
        pods = self.agent.stats()["rate_limit_services"]
        return sum(p.get(name, 0) for p in pods.values())

    def test_counts_exactly(self):
        """The reference service's rules; many at once take no more than there are."""
        self.assertEqual([self.status(user="tin") for _ in range(5)], [200, 200, 200, 429, 429])
        got = [self.begin("load", port=80, host="a", headers={"x-user": "gold"}, connections=8, requests=25) for _ in range(2)]
        total = {}
        for child in got:
            for what, n in self.finish(child)["counts"].items():
                total[what.split(" ")[0]] = total.get(what.split(" ")[0], 0) + n
        self.assertEqual(total, {"200": 200, "429": 200})
        self.assertEqual({self.status(user=u) for u in ("free", "watched", "nobody")}, {200})
        self.assertEqual(self.status(), 200)  # nothing to ask

    def test_refusal(self):
        self.assertEqual(self.status(user="tell"), 200)
        got = self.ask(overall_code="OVER_LIMIT", raw_body="{}", response_headers_to_add=[{"key": "content-type", "value": "application/json"}],
                       statuses=[{"code": "OVER_LIMIT", "current_limit": {"requests_per_unit": 7, "unit": "DAY", "name": "days"},
                                  "duration_until_reset": {"seconds": 12}}])
        head = got["headers"]
        self.assertEqual((got["status"], got["body"], head["content-type"], head["x-envoy-ratelimited"]), (429, "{}", "application/json", "true"))
        self.assertEqual((head["x-ratelimit-limit"], head["x-ratelimit-remaining"], head["x-ratelimit-reset"]),
                         ('7, 7;w=86400;name="days"', "0", "12"))

    def test_deadline_goes_along(self):
        left = int(self.ask(deadline=True)["headers"]["x-deadline"])
        self.assertTrue(0 < left <= 60000, left)

    def test_too_late(self):
        """The call ends with its time; its service is told so."""
        for name, port, status in (("deny", 81, 500), ("allow", 82, 200)):
            end = time.monotonic() + 60
            while True:  # a call may end before it is at its service
                self.assertEqual(self.status(port, cancelled=name, overall_code="OVER_LIMIT"), status)
                if self.ask(count=name)["headers"]["x-count"] != "0":
                    break
                self.assertLess(time.monotonic(), end, name)

    def test_statuses(self):
        for code in (4, 8, 13, 14):
            self.assertEqual(self.status(grpc_status=code), 500)
            self.assertEqual(self.status(82, grpc_status=code), 200)

    def test_not_there(self):
        self.assertEqual((self.status(86, user="a"), self.status(87, user="a")), (500, 200))
        self.assertEqual(self.answered(88), 0)

    def test_answers_that_are_too_large(self):
        # raw_body as long as an answer may be, less what else is in it
        got = self.ask(overall_code="OVER_LIMIT", pad=(1 << 20) - 100)
        self.assertEqual((got["status"], got["length"]), (429, (1 << 20) - 100))
        self.assertEqual(self.status(overall_code="OVER_LIMIT", pad=1 << 20), 500)
        self.assertEqual(self.status(overall_code="OVER_LIMIT", pad=3 << 20), 500)
        self.assertEqual(self.status(85, overall_code="OVER_LIMIT", pad=900), 429)
        self.assertEqual(self.status(85, overall_code="OVER_LIMIT", pad=1000), 500)
        # headers for the response, as many as fit and more
        self.assertEqual(self.status(many=1000), 200)
        self.assertEqual(self.status(many=40, long=2000), 500)
        self.assertEqual(self.status(many=20000), 500)
        # ... and of the answer itself
        self.assertEqual(self.status(first=50), 200)
        self.assertEqual(self.status(first=200), 500)
        # none of which spoils what comes after
        self.assertEqual(self.status(user="nobody"), 200)

    def answered(self, port):
        """Of twenty requests on a connection of its own."""
        got = self.job("load", path="/here", port=port, host="a", requests=20)
        return got["requests"]

    def test_connections(self):
        """Two a listener: a TCP proxy's, and one of HTTP whose requests a program would answer."""
        before = self.outcomes()
        self.assertEqual([self.answered(83) for _ in range(3)], [20, 20, 0])
        self.assertEqual([self.answered(84) for _ in range(3)], [20, 20, 0])
        self.assertEqual([self.counts("ratelimit.held." + n) for n in ("ok", "over_limit", "active")], [4, 2, 0])
        # once a connection may go on, requests on it are the program's
        self.assertGreater(self.outcomes(before)["kernel"].get("direct_response", 0), 0)

    def test_service_goes_and_comes(self):
        self.world.stop(self.service)
        self.assertEqual((self.status(user="a"), self.status(82, user="a")), (500, 200))
        self.serve()
        self.assertEqual(self.status(user="a"), 200)


if __name__ == "__main__":
    unittest.main()
