# SPDX-License-Identifier: Apache-2.0
"""Changes under load: a request sees one configuration, a refused file changes nothing, and a dead agent is like none."""
import signal
import time
import unittest

import resources as r
from mesh import BACKEND_PORT, VIP, Mesh
from world import Agent, AgentFailed

FLIPS = 1000
FLIP_S = 55.0


class Change(Mesh):
    """Two configurations differ in three places of one request: the cluster, a marker in the answer, a status."""

    @classmethod
    def generation(cls, n):
        name, status = ("v1", 200) if n % 2 == 0 else ("v2", 201)
        hosts = [
            r.host("forwarded", ["flip.test"], r.route("/", name)),
            r.host("answered", ["answer.test"], r.answer("/", status, name)),
            r.host("refused", ["refuse.test"], {"match": {"prefix": "/"}, "redirect": {
                "host_redirect": name + ".test", "response_code": "FOUND" if n % 2 == 0 else "SEE_OTHER"}}),
        ]
        return r.bootstrap([r.http("main", VIP, 80, hosts, server_name="gen-" + name)], [r.cluster(name, cls.endpoint(name))])

    @classmethod
    def resources(cls):
        return cls.generation(0)

    def epoch(self):
        return self.agent.call("dump")["epoch"]

    def test_flips_under_load(self):
        """As many of 1,000 flips as fit the time; every answer is wholly of one of the two, and none fails."""
        jobs = [dict(host="flip.test", count=["server", "x-backend"]), dict(host="flip.test", count=["server", "x-backend"], split=True),
                dict(host="answer.test", count=["server"]), dict(host="refuse.test", count=["server", "location"])]
        loads = [self.begin("load", connections=4, seconds=FLIP_S + 5, pause=0.002, **job) for job in jobs]
        end, flips, epoch = time.monotonic() + FLIP_S, 0, self.epoch()
        while flips < FLIPS and time.monotonic() < end:
            flips += 1
            self.write(self.generation(flips))
            # The next one only when this one is in force: each is seen by somebody.
            epoch = self.agent.wait_epoch(epoch)
        results = [self.finish(child) for child in loads]
        print(f"{flips} flips, {sum(x['requests'] for x in results)} requests, longest {max(x['longest_ms'] for x in results)} ms")
        whole = [{"200 gen-v1 v1", "200 gen-v2 v2"}] * 2 + [{"200 gen-v1", "201 gen-v2"},
                                                            {"302 gen-v1 http://v1.test/", "303 gen-v2 http://v2.test/"}]
        for result, allowed in zip(results, whole):
            self.assertEqual(result["errors"], {})
            self.assertEqual(set(result["counts"]), allowed)
        self.assertGreaterEqual(flips, 100, "flips are too slow to prove anything")

    def test_bad_file_changes_nothing(self):
        self.write(self.generation(0))
        time.sleep(0.5)
        before = self.epoch()
        bad = self.generation(1)
        bad["static_resources"]["clusters"][0]["lb_policy"] = "RING_HASH"
        for what in (bad, {"static_resources": {"listeners": 7}}):
            self.write(what)
            time.sleep(0.7)
            self.assertEqual(self.epoch(), before)
            self.assertEqual(self.get(host="flip.test")["headers"]["x-backend"], "v1")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("static_resources: {listeners: [")
        time.sleep(0.7)
        self.assertEqual(self.get(host="flip.test")["headers"]["x-backend"], "v1")
        self.assertIn("lb_policy", self.world.log("agent"))
        self.write(self.generation(1))
        self.agent.wait_epoch(before)
        self.assertEqual(self.get(host="flip.test")["headers"]["x-backend"], "v2")

    def test_killed_agent(self):
        """New connections go on as without weft at once; the next start finds nothing in its way."""
        address = self.world.pods["v1"].address
        self.write(self.generation(0))
        time.sleep(0.5)
        load = self.begin("load", host="flip.test", seconds=4, connections=4, reconnect=True, fresh=True, address=address,
                          port=BACKEND_PORT)
        governed = self.begin("load", host="flip.test", seconds=2, connections=4)
        time.sleep(1)
        self.agent.stop(signal.SIGKILL)
        got = self.get(address=address, port=BACKEND_PORT)
        self.assertEqual(got["status"], 200)
        # Nobody has the listener's address: without weft nothing answers there.
        self.assertIn("error", self.job("once", address=VIP, port=80))
        self.finish(governed)
        self.agent.start()
        self.assertEqual(self.get(host="flip.test")["headers"]["x-backend"], "v1")
        self.assertEqual(self.finish(load)["errors"], {})

    def test_second_agent_is_refused(self):
        second = Agent(self.world, self.config, name="second")
        with self.assertRaises(AgentFailed) as failed:
            second.start()
        second.stop()
        self.assertIn("exit 1", str(failed.exception))
        self.assertEqual(self.get(host="flip.test")["status"], 200)


if __name__ == "__main__":
    unittest.main()
