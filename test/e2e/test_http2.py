# SPDX-License-Identifier: Apache-2.0
"""Pods whose programs speak HTTP/2: h2load and nghttp through kernel and agent. h2spec, where it can be had, says what it finds."""
import os
import re
import shutil
import unittest

import resources as r
from mesh import VIP, Mesh

BIG = 8 << 20
# What h2spec expects otherwise, and why it is so here:
EXCEPTIONS = {
    # AUTO takes what is no preface for HTTP/1.1, and answers 400
    "Sends invalid connection preface",
    # nghttp2 drops frames of streams that it has forgotten, as RFC 9113 section 5.1 allows for a while; so does Envoy's codec
    "closed: Sends a DATA frame after sending RST_STREAM frame",
    "closed: Sends a HEADERS frame after sending RST_STREAM frame",
    "closed: Sends a DATA frame",
    "closed: Sends a HEADERS frame",
    "Sends stream identifier that is numerically smaller than previous",
    # Envoy closes without GOAWAY or RST_STREAM (test/oracle/cases/h2-frames.yaml)
    "Sends an invalid PING frame to receive GOAWAY frame",
    "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
}


@unittest.skipUnless(shutil.which("h2load") and shutil.which("nghttp"), "needs h2load and nghttp (nghttp2-client)")
class Http2(Mesh):
    @classmethod
    def resources(cls):
        hosts = [
            r.host("plain", ["plain.test"], r.answer("/direct", 200, "here"), r.route("/", "v1", timeout="60s")),
            r.host("few", ["few.test"], r.route("/", "few", timeout="60s")),
            r.host("spec", ["*"], r.answer("/", 200, "here")),
        ]
        v1 = cls.endpoint("v1")
        few = r.cluster("few", v1)
        few["circuit_breakers"] = {"thresholds": [{"max_requests": 8, "max_pending_requests": 8, "max_connections": 8}]}
        return r.bootstrap([r.http("main", VIP, 80, hosts)], [r.cluster("v1", v1), few])

    def h2load(self, host, path, n, streams, clients=2):
        # the name is the authority; h2load takes the address from --connect-to
        _, text = self.world.output(["h2load", f"-n{n}", f"-c{clients}", f"-m{streams}", "-t1", f"--connect-to={VIP}:80",
                                     f"http://{host}{path}"], pod=self.client)
        done = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", text)
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
        self.assertTrue(done and codes, text)
        return [int(x) for x in done.groups()], [int(x) for x in codes.groups()]

    def test_concurrent_streams(self):
        for path in ("/direct", "/x"):
            done, codes = self.h2load("plain.test", path, 2000, 50)
            self.assertEqual((done, codes), ([2000, 2000, 2000, 0], [2000, 0, 0, 0]), path)

    def test_breakers_hold_for_streams(self):
        before = self.agent.stats()["proxy"]["exchanges_total"]
        done, codes = self.h2load("few.test", "/slow?ms=50", 400, 40)
        self.assertEqual(done[1], 400)
        self.assertEqual(codes[0] + codes[3], 400)
        self.assertGreater(codes[3], 0)  # 80 at once, 8 may be
        self.assertEqual(self.agent.stats()["proxy"]["exchanges_total"] - before, 400)
        # no place is lost: eight at a time go through still
        done, codes = self.h2load("few.test", "/x", 200, 4)
        self.assertEqual(codes, [200, 0, 0, 0])

    def test_large_bodies(self):
        done, codes = self.h2load("plain.test", f"/bytes?n={BIG}", 12, 3)
        self.assertEqual(codes, [12, 0, 0, 0])
        body = os.path.join(self.world.dir, "upload")
        with open(body, "wb") as f:
            f.write(b"x" * BIG)
        _, text = self.world.output(["nghttp", "-d", body, "-H:authority: plain.test", f"http://{VIP}/upload"], pod=self.client)
        self.assertIn(f'"length": {BIG}', text)

    def test_h2spec(self):
        spec = shutil.which("h2spec") or os.environ.get("H2SPEC", "")
        if not os.access(spec or "/nothing", os.X_OK):
            self.skipTest("h2spec is not installed")
        _, text = self.world.output([spec, "-h", VIP, "-p", "80", "-o", "3", "--strict"], pod=self.client, timeout=200)
        self.assertIn("tests, ", text)
        failed = set(re.findall(r"^\s*× \d+: (.*)$", text.partition("Failures:")[2], re.M))
        self.assertEqual(failed - EXCEPTIONS, set(), text)


if __name__ == "__main__":
    unittest.main()
