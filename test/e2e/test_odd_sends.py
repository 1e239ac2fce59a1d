# SPDX-License-Identifier: Apache-2.0
"""However a request is sent, it is judged exactly once: three odd ones take three of ten tokens, and ordinary ones find seven."""
import json
import os
import sys
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

FORMS = ("tfo_sendto", "tfo_connect", "syn_sent", "oob", "mptcp", "partial", "pipelined", "bound")
TOKENS, ODD = 10, 3
# Client and server of TCP Fast Open, without cookies, on every listener.
FAST_OPEN = 0x607


class OddSends(Mesh):
    @classmethod
    def resources(cls):
        # Each form has its own bucket; addresses share one route table, and each listener its own buckets.
        hosts = [r.host("odd", ["odd.test"], *(r.limited(r.route("/" + f, "v1"), TOKENS) for f in FORMS))]
        last = int(VIP.rsplit(".", 1)[1])
        return r.bootstrap([r.http(f"listener-{i}", VIP.rsplit(".", 1)[0] + f".{last + i}", 80, hosts) for i in range(ODD)],
                           [r.cluster("v1", cls.endpoint("v1"))])

    def send(self, form):
        status, out = self.world.output(["sh", "-c", f"echo {FAST_OPEN} >/proc/sys/net/ipv4/tcp_fastopen"], self.client)
        self.assertEqual(status, 0, out)
        status, out = self.world.output([sys.executable, os.path.join(HERE, "odd.py"), form, VIP, "/" + form], self.client)
        if "Protocol not supported" in out:
            self.skipTest("this kernel has no such protocol")
        self.assertEqual(status, 0, out)
        return json.loads(out.splitlines()[-1])

    def judged_once(self, form, taken=ODD):
        before = self.outcomes()
        got = self.send(form)
        self.assertEqual([status for status, _ in got], [200] * ODD, got)
        grown = self.outcomes(before)
        self.assertEqual(sum(n for side in grown.values() for n in side.values()), ODD, grown)
        rest = self.job("load", host="odd.test", path="/" + form, requests=2 * TOKENS)["counts"]
        self.assertEqual(rest, {"200 v1": TOKENS - taken, "429 -": TOKENS + taken})
        return got

    def test_fast_open_by_sendto(self):
        self.judged_once("tfo_sendto")

    def test_fast_open_by_connect(self):
        self.judged_once("tfo_connect")

    def test_send_while_connecting(self):
        self.judged_once("syn_sent")

    def test_urgent_byte(self):
        self.judged_once("oob")

    def test_mptcp(self):
        self.judged_once("mptcp")

    def test_partial_sends(self):
        got = self.judged_once("partial")
        self.assertEqual([json.loads(body)["length"] for _, body in got], [8 << 20, 8 << 20, 0])

    def test_pipelined_behind_a_slow_one(self):
        got = self.judged_once("pipelined")
        self.assertEqual([json.loads(body)["path"].split("&")[0] for _, body in got], [f"/pipelined?i={i}" for i in range(ODD)])

    def test_bound_before_connect(self):
        """One request to each of three listeners: one token of each one's bucket."""
        self.judged_once("bound", taken=1)


if __name__ == "__main__":
    unittest.main()
