# SPDX-License-Identifier: Apache-2.0
"""Enrolling and leaving; what is nobody's business; connections that were not captured."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

import resources as r
from mesh import BACKEND_PORT, VIP, Mesh
from world import AgentFailed


class Pods(Mesh):
    @classmethod
    def resources(cls):
        return r.bootstrap([r.http("main", VIP, 80, [r.host("all", ["*"], r.answer("/kernel", 200, "k"), r.route("/", "v1"))])],
                           [r.cluster("v1", cls.endpoint("v1"))])

    def test_listed(self):
        pods = self.agent.call("pod", "list")
        self.assertEqual([p["name"] for p in pods], ["client"])
        self.assertEqual(pods[0]["namespace"], "test")

    def test_others_are_not_governed(self):
        """A pod that is not enrolled, and a process outside of the cgroup."""
        for where in ({"pod": self.servers[1]}, {"cgroup": self.world.plain}):
            self.assertIn("error", self.job("once", **where))

    def test_remove_and_add_again(self):
        other = self.world.pod("other")
        self.agent.add(other)
        self.assertEqual(self.get(pod=other)["status"], 200)
        self.agent.remove(other)
        self.assertIn("error", self.get(pod=other))
        address, _ = self.endpoint("v1")
        self.assertEqual(self.get(pod=other, address=address, port=BACKEND_PORT)["status"], 200)
        with self.assertRaises(AgentFailed):
            self.agent.remove(other)
        self.agent.add(other)
        self.assertEqual(self.get("/kernel", pod=other)["status"], 200)
        with self.assertRaises(AgentFailed):
            self.agent.add(other)
        self.agent.remove(other)

    def test_connection_that_was_not_captured_is_closed(self):
        """From outside of the cgroup straight to the agent's listener in the pod: closed without an answer."""
        port = self.agent.call("pod", "list")[0]["ports"]["ipv4"][0]
        before = self.agent.stats()["proxy"]["not_captured"]

        def knock():
            with socket.create_connection((self.client.address, port), 5) as s:
                s.settimeout(5)
                try:
                    s.sendall(b"GET /kernel HTTP/1.1\r\nHost: a\r\n\r\n")
                    return s.recv(100)
                except ConnectionError:
                    return b""
        self.assertEqual(self.world.inside(self.client, knock), b"")
        self.assertGreater(self.agent.stats()["proxy"]["not_captured"], before)

    def waiting(self, during=None, pod=None, **job):
        """What connections of a pod get that wait while the agent stands still; during: called before it goes on."""
        os.kill(self.agent.process.pid, signal.SIGSTOP)
        try:
            child = self.begin("wait", pod=pod, path="/wait", **job)
            self.assertEqual(json.loads(child.stdout.readline())["open"], job.get("connections", 1))
            if during:
                during()
        finally:
            os.kill(self.agent.process.pid, signal.SIGCONT)
        child.stdin.write(b"\n")
        return self.finish(child)["counts"]

    def test_reset_before_accept(self):
        """The next connection from that port is not taken for it."""
        self.assertEqual(self.waiting(again=True), {"200": 1})

    def test_remove_with_connections_that_wait(self):
        """They are open too: drained, not reset. More than a turn of every worker's loop accepts."""
        other = self.world.pod("leaving")
        self.agent.add(other)
        removal = []

        def remove():
            command = [self.agent.binary, "pod", "remove", "--name", other.name, "--namespace", "test", "--drain", "30000"]
            removal.append(self.world.start([*command, "--admin", self.agent.admin], cgroup="node", stdout=subprocess.DEVNULL))
            time.sleep(0.5)  # its request is there when the agent goes on
        self.assertEqual(self.waiting(remove, pod=other, connections=800), {"200": 800})
        self.assertEqual(removal[0].wait(30), 0)

    def test_many_connections(self):
        got = self.job("load", connections=300, requests=5, path="/many")
        self.assertEqual((got["counts"], got["errors"]), ({"200 v1": 1500}, {}))
        self.assertEqual(self.job("load", connections=100, requests=5, path="/x", fresh=True)["errors"], {})


class Share(Mesh):
    """One pod cannot have all of the agent's descriptors: the others are accepted still."""
    SHARE, MORE = 60, 40
    options = ("--pod-files", str(SHARE))

    @classmethod
    def resources(cls):
        return r.bootstrap([r.http("main", VIP, 80, [r.host("all", ["*"], r.route("/dead", "dead"), r.route("/", "v1"))])],
                           [r.cluster("v1", cls.endpoint("v1")), r.cluster("dead", (cls.endpoint("v1")[0], 9))])

    def until(self, name, reached):
        """Waits until a counter of the proxy is what it has to be; its last value."""
        end = time.monotonic() + 20
        while not reached(value := self.agent.stats()["proxy"][name]) and time.monotonic() < end:
            time.sleep(0.02)
        return value

    def hold(self, n):
        child = self.begin("hold", connections=n)
        self.assertEqual(json.loads(child.stdout.readline())["open"], n)
        return child

    def leave(self, child):
        child.stdin.write(b"\n")
        self.finish(child)
        self.assertEqual(self.until("connections", lambda n: n == 0), 0)

    def test_over_the_share(self):
        other = self.world.pod("other")
        self.agent.add(other)
        before = self.agent.stats()["proxy"]["over_share"]
        greedy = self.hold(self.SHARE + self.MORE)
        self.assertEqual(self.until("over_share", lambda n: n >= before + self.MORE), before + self.MORE)
        self.assertIn("error", self.get())
        self.assertEqual(self.get(pod=other)["status"], 200)
        self.leave(greedy)
        # Each end gave its descriptor back, of connections that never came to be as well.
        self.assertEqual(self.job("load", path="/dead", requests=2 * self.SHARE)["counts"], {"503 -": 2 * self.SHARE})
        got = self.job("load", requests=2 * self.SHARE, fresh=True)
        self.assertEqual((got["counts"], got["errors"]), ({"200 v1": 2 * self.SHARE}, {}))
        self.assertEqual(self.agent.stats()["proxy"]["over_share"], before + self.MORE + 1)

    def test_no_descriptor_for_the_endpoint(self):
        greedy = self.hold(self.SHARE - 1)
        self.assertEqual(self.until("connections", lambda n: n == self.SHARE - 1), self.SHARE - 1)
        self.assertEqual(self.get()["status"], 503)
        self.leave(greedy)


if __name__ == "__main__":
    unittest.main()
