# SPDX-License-Identifier: Apache-2.0
"""Every request that is sent has exactly one outcome: in the counters of its connection manager, whoever answered it, and in its access log."""
import collections
import json
import os
import sys
import time
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

LOGGED_VIP = "10.99.0.2"
ROUNDS = 4
LEAVES = ("reset", "closed", "half")


class Outcomes(Mesh):
    @classmethod
    def resources(cls):
        cls.log = os.path.join(cls.world.dir, "config", "access.log")
        cls.options = ("--access-log-dir", os.path.dirname(cls.log))
        log = {"name": "f", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": cls.log,
            "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}}}}
        hosts = [r.host("out", ["out.test"], r.answer("/direct", 403, "no"), r.limited(r.route("/limited", "v1"), 5),
                        r.route("/late", "v1", timeout="0.3s"), r.route("/dead", "dead"), r.route("/forward", "v1"))]
        return r.bootstrap([r.http("quiet", VIP, 80, hosts), r.http("logged", LOGGED_VIP, 80, hosts, access_log=[log])],
                           [r.cluster("v1", cls.endpoint("v1")), r.cluster("dead", (cls.endpoint("v1")[0], 1))])

    def stat(self, name):
        return next(x for x in self.agent.stats()["http"] if x["name"] == name)

    def send(self, address):
        status, out = self.world.output([sys.executable, os.path.join(HERE, "mixed.py"), address, str(ROUNDS)], self.client)
        self.assertEqual(status, 0, out)
        return json.loads(out.splitlines()[-1])

    def settled(self, name, total):
        """The counters when all have ended; more would be as wrong as less."""
        end = time.monotonic() + 20
        while self.stat(name)["downstream_rq_total"] < total and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        return self.stat(name)

    def check(self, name, sent):
        got = self.settled(name, sum(sent.values()))
        gone = sum(sent[k] for k in LEAVES)
        self.assertEqual(got["downstream_rq_total"], sum(sent.values()), (got, sent))
        self.assertEqual(got["downstream_rq_rx_reset"], gone, (got, sent))
        self.assertEqual(got["downstream_rq_5xx"], sent["late"] + sent["dead"], (got, sent))
        self.assertEqual(got["downstream_rq_2xx"] + got["downstream_rq_4xx"],
                         sum(sent[k] for k in ("direct", "nowhere", "limited", "forward", "broken")), (got, sent))

    def test_kernel_and_agent_together(self):
        before = self.counters()["outcomes"]["kernel"]
        sent = self.send(VIP)
        self.check("quiet", sent)
        # the programs have answered what they can
        grown = self.outcomes({"kernel": before, "agent": {}})["kernel"]
        self.assertEqual(grown.get("direct_response"), sent["direct"], grown)
        self.assertEqual(grown.get("route_not_found"), sent["nowhere"], grown)

    def test_each_has_its_line(self):
        before = self.counters()["outcomes"]["kernel"].get("direct_response", 0)
        sent = self.send(LOGGED_VIP)
        self.check("logged", sent)
        end = time.monotonic() + 10
        while self.agent.stats()["access_log"]["lines"] < sum(sent.values()) and time.monotonic() < end:
            time.sleep(0.05)
        with open(self.log, encoding="utf-8") as f:
            lines = collections.Counter(line.strip() for line in f)
        self.assertEqual(sum(lines.values()), sum(sent.values()), lines)
        self.assertEqual(lines["403 - direct_response"], sent["direct"], lines)
        self.assertEqual(lines["404 NR route_not_found"], sent["nowhere"], lines)
        self.assertEqual(lines["504 UT response_timeout"], sent["late"], lines)
        self.assertEqual(lines["400 DPE http1.codec_error"], sent["broken"], lines)
        self.assertEqual(lines["429 RL local_rate_limited"], sent["limited"] - 5, lines)
        self.assertEqual(lines["200 - via_upstream"], sent["forward"] + 5, lines)
        self.assertEqual(lines["0 DC downstream_remote_disconnect"], sum(sent[k] for k in LEAVES), lines)
        self.assertEqual(lines["503 UF upstream_reset_before_response_started{remote_connection_failure|"
                               "delayed_connect_error:_Connection_refused}"], sent["dead"], lines)
        # a listener with a log has its replies made by the agent
        self.assertEqual(self.counters()["outcomes"]["kernel"].get("direct_response", 0), before)
        self.assertEqual(self.agent.stats()["access_log"]["lost"], 0)


if __name__ == "__main__":
    unittest.main()
