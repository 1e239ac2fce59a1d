# SPDX-License-Identifier: Apache-2.0
"""Changes under load: a request sees one configuration, a refused file changes nothing, and a dead agent is like none."""
import json
import signal
import time
import unittest

import resources as r
from mesh import BACKEND_PORT, VIP, Mesh
from world import Agent, AgentFailed

FLIPS = 1000
LOAD_S = 150  # a bound, should the flips fail


class Change(Mesh):
    """Two configurations differ in three places of one request: the cluster, a marker in the answer, a status."""

    @classmethod
    def generation(cls, n):
        name, status = ("v1", 200) if n % 2 == 0 else ("v2", 201)
        hosts = [
            r.host("forwarded", ["flip.test"], r.route("/", name)),
            r.host("answered", ["answer.test"], r.answer("/", status, name)),
            r.host("refused", ["refuse.test"], {"match": {"prefix": "/"}, "redirect": {
                "host_redirect": f"{name}-{n}.test", "response_code": "FOUND" if n % 2 == 0 else "SEE_OTHER"}}),
        ]
        return r.bootstrap([r.http("main", VIP, 80, hosts, server_name=f"gen-{n}")], [r.cluster(name, cls.endpoint(name))])

    @classmethod
    def resources(cls):
        return cls.generation(0)

    def epoch(self):
        return self.agent.call("dump")["epoch"]

    def failures(self):
        """Loads refused since the agent began."""
        return self.agent.call("dump", "stats")["sources"]["file"]["failures"]

    def wait_refused(self, before):
        end = time.monotonic() + 10
        while self.failures() == before:
            self.assertLess(time.monotonic(), end, "the file was not refused")
            time.sleep(0.02)

    def whole(self, n):
        """The three answers under generation n, as clients count them: status, server, cluster's backend, location."""
        # A 201 has the location of what was asked for, as Envoy answers.
        name, where = ("v1", "-") if n % 2 == 0 else ("v2", "http://answer.test/")
        return [f"200 gen-{n} {name} -", f"{200 + n % 2} gen-{n} - {where}",
                f"{302 + n % 2} gen-{n} - http://{name}-{n}.test/"]

    def test_flips_under_load(self):
        """1,000 flips: each is published and governs requests, each answer is wholly of one of them, and none fails."""
        hosts, count = ["flip.test", "answer.test", "refuse.test"], ["server", "x-backend", "location"]
        self.write(self.generation(0))
        follow = self.begin("follow", hosts=hosts, count=count)
        self.assertEqual(self.step(follow, 0), self.whole(0))
        before = self.agent.call("dump")
        loads = [self.begin("load", connections=4, seconds=LOAD_S, until_eof=True, pause=0.002, host=host, count=count, split=split)
                 for host, split in [(hosts[0], False), (hosts[0], True), (hosts[1], False), (hosts[2], False)]]
        began = time.monotonic()
        for n in range(1, FLIPS + 1):
            self.write(self.generation(n))
            # The next one only when this one is in force: each is seen by somebody.
            self.assertEqual(self.step(follow, n), self.whole(n))
        took = time.monotonic() - began
        results = [self.finish(child) for child in loads]
        self.assertEqual(self.finish(follow), {"lines": FLIPS + 1})
        self.assertGreaterEqual(self.agent.call("dump")["epoch"], before["epoch"] + FLIPS)
        print(f"{FLIPS} flips in {took:.1f} s, {sum(x['requests'] for x in results)} requests, "
              f"longest {max(x['longest_ms'] for x in results)} ms")
        for result, i in zip(results, (0, 0, 1, 2)):
            self.assertEqual(result["errors"], {})
            self.assertEqual(set(result["counts"]) - {self.whole(n)[i] for n in range(FLIPS + 1)}, set())
            # The load went on through the flips, not beside them.
            self.assertGreater(len(result["counts"]), FLIPS // 10)

    def step(self, follow, n):
        """The keys of the follower's first answers under generation n."""
        follow.stdin.write(f"gen-{n}\n".encode())
        follow.stdin.flush()
        line = follow.stdout.readline()
        self.assertTrue(line, "the follower ended")
        return json.loads(line)

    def test_bad_file_changes_nothing(self):
        started = self.epoch()
        self.write(self.generation(2))
        before = self.agent.wait_epoch(started)
        bad = self.generation(1)
        bad["static_resources"]["clusters"][0]["lb_policy"] = "NO_SUCH_POLICY"
        for what in (bad, {"static_resources": {"listeners": 7}}):
            failures = self.failures()
            self.write(what)
            self.wait_refused(failures)
            self.assertEqual(self.epoch(), before)
            self.assertEqual(self.get(host="flip.test")["headers"]["x-backend"], "v1")
        failures = self.failures()
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("static_resources: {listeners: [")
        self.wait_refused(failures)
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


class Slow(Mesh):
    """A request that takes long goes on with the configuration it began with, and holds up no update."""
    UPDATES, SLOW_MS = 12, 9000
    options = ("--image-size", str(1 << 20))  # a hundred kilobytes each: all of them at once do not fit

    @classmethod
    def resources(cls, n=0):
        cluster = f"v{1 + n % 2}"
        again = {"retry_on": "reset", "num_retries": 2}
        answers = [r.answer(f"/{n}/{i}", 200, f"{n}-{i}" * 20) for i in range(300)]
        return r.bootstrap([r.http("main", VIP, 80, [r.host("all", ["*"], *answers, r.route("/", cluster, timeout="0s", retry_policy=again))])],
                           [r.cluster(cluster, cls.endpoint(cluster))])

    def test_updates_during_a_request(self):
        # The endpoint ends the connection when updates are there; the retry goes where the request was to go.
        slow = self.begin("once", path=f"/flaky?n=1&key=slow&ms={self.SLOW_MS}")
        end = time.monotonic() + 20
        while not self.agent.stats()["proxy"]["exchanges_total"] and time.monotonic() < end:
            time.sleep(0.02)
        for n in range(1, self.UPDATES):
            epoch = self.agent.call("dump")["epoch"]
            self.write(self.resources(n))
            self.agent.wait_epoch(epoch)
            self.assertEqual(self.get(f"/{n}/7")["body"], f"{n}-7" * 20)
        self.assertEqual(self.agent.stats()["store"]["full"], 0)
        got = self.finish(slow)
        self.assertEqual((got["status"], got["headers"]["x-backend"]), (200, "v1"))


if __name__ == "__main__":
    unittest.main()
