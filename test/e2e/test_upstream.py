# SPDX-License-Identifier: Apache-2.0
"""What becomes of requests whose endpoint fails, is slow or far too talkative."""
import hashlib
import unittest

import resources as r
from mesh import VIP, Mesh

CONNECT_ERROR = "upstream connect error or disconnect/reset before headers. reset reason: "
BIG = 20 << 20


class Upstream(Mesh):
    @classmethod
    def resources(cls):
        v1 = cls.endpoint("v1")
        address, _ = v1
        retry = {"retry_policy": {"retry_on": "connect-failure,refused-stream,reset", "num_retries": 2}}
        hosts = [
            r.host("plain", ["plain.test"], r.route("/", "v1", timeout="1s")),
            r.host("retry", ["retry.test"], r.route("/", "v1", **retry)),
            r.host("refused", ["refused.test"], r.route("/", "refused")),
            r.host("half", ["half.test"], r.route("/", "half", **retry)),
            r.host("unreachable", ["unreachable.test"], r.route("/", "unreachable")),
            r.host("big", ["big.test"], r.route("/", "v1", timeout="60s")),
        ]
        return r.bootstrap([r.http("main", VIP, 80, hosts)], [
            r.cluster("v1", v1), r.cluster("refused", (address, 9)), r.cluster("half", (address, 9), v1),
            r.cluster("unreachable", ("10.77.200.200", 80), connect_timeout="0.3s")])

    def test_connection_refused(self):
        got = self.get(host="refused.test")
        self.assertEqual((got["status"], got["body"]), (503, CONNECT_ERROR + "remote connection failure"))

    def test_connect_timeout(self):
        got = self.get(host="unreachable.test")
        self.assertEqual(got["status"], 503)
        self.assertTrue(got["body"].startswith(CONNECT_ERROR), got["body"])

    def test_closed_and_reset_without_an_answer(self):
        for path in ("/close", "/reset"):
            got = self.get(path, host="plain.test")
            self.assertEqual((got["status"], got["body"]), (503, CONNECT_ERROR + "connection termination"), path)

    def test_timeout(self):
        got = self.get("/slow?ms=3000", host="plain.test")
        self.assertEqual((got["status"], got["body"]), (504, "upstream request timeout"))

    def test_slow_but_in_time(self):
        self.assertEqual(self.get("/slow?ms=300", host="plain.test")["status"], 200)

    def test_retries_only_with_a_policy(self):
        self.assertEqual(self.get("/flaky?n=1&key=without", host="plain.test")["status"], 503)
        self.assertEqual(self.get("/flaky?n=2&key=with", host="retry.test")["status"], 200)
        self.assertEqual(self.get("/flaky?n=3&key=many", host="retry.test")["status"], 503)
        self.assertGreaterEqual(self.agent.stats()["proxy"]["retries"], 4)

    def test_retry_finds_the_other_endpoint(self):
        """Half of the first tries fail; a retry takes its turn with everybody else's, so it may find the bad one again."""
        got = self.job("load", host="half.test", connections=4, requests=25)
        self.assertGreaterEqual(got["counts"].get("200 v1", 0), 70, got)

    def test_large_answers(self):
        pattern = bytes(range(256)) * (BIG // 256)
        want = hashlib.sha256(pattern).hexdigest()
        for path in (f"/bytes?n={BIG}", f"/bytes?n={BIG}&chunked=1"):
            got = self.get(path, host="big.test")
            self.assertEqual((got["status"], got["length"], got["sha256"]), (200, BIG, want), path)

    def test_large_requests(self):
        want = hashlib.sha256(b"x" * BIG).hexdigest()
        for chunked in (False, True):
            got = self.get("/upload", host="big.test", body=BIG, chunked=chunked)
            self.assertEqual(got["status"], 200)
            self.assertIn(want, got["body"])
            self.assertIn(f'"length": {BIG}', got["body"])

    def test_connections_are_used_again(self):
        before = self.agent.stats()["proxy"]["upstream_total"]
        self.job("load", host="plain.test", requests=200)
        self.assertLessEqual(self.agent.stats()["proxy"]["upstream_total"] - before, 2)


if __name__ == "__main__":
    unittest.main()
