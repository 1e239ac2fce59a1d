# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a client pod and two server pods with backends, a configuration file, an agent."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import world as lab

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "oracle"))
import casefile  # noqa: E402  (the path is set above)

VIP, VIP6, BACKEND_PORT = "10.99.0.1", "fd99::1", 8080


def setUpModule_skips():
    """unittest.SkipTest when the machine cannot run these tests."""
    try:
        lab.find_agent()
        if os.geteuid() != 0:
            raise lab.Missing("needs root")
        lab.cgroup2_root()
    except lab.Missing as e:
        raise unittest.SkipTest(str(e)) from None


class Mesh(unittest.TestCase):
    """A world for each class. `resources(cls)` gives the configuration; the agent runs with the client enrolled."""

    maxDiff = None
    options = ()

    @classmethod
    def resources(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        setUpModule_skips()
        cls.world = lab.World().__enter__()
        cls.addClassCleanup(cls.world.close)
        cls.client = cls.world.pod("client")
        cls.servers = [cls.world.pod(n) for n in ("v1", "v2")]
        for pod in cls.servers:
            cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), pod.name, str(BACKEND_PORT)], pod,
                            name="backend-" + pod.name)
        for pod in cls.servers:
            cls.world.wait_port(pod, BACKEND_PORT)
        cls.config = os.path.join(cls.world.dir, "config", "weft.yaml")
        os.mkdir(os.path.dirname(cls.config))
        cls.write(cls.resources())
        cls.agent = lab.Agent(cls.world, cls.config, cls.options, pods=[cls.client])
        cls.agent.start()
        cls.addClassCleanup(cls.agent.stop)

    @classmethod
    def write(cls, resources):
        casefile.write_yaml(cls.config, resources)

    @classmethod
    def endpoint(cls, name, six=False):
        pod = cls.world.pods[name]
        return (pod.address6 if six else pod.address), BACKEND_PORT

    def job(self, do, pod=None, cgroup="pods", **job):
        """Result of a client process in a pod (the enrolled one) under the governed cgroup."""
        job = dict({"do": do, "address": VIP}, **job)
        command = [sys.executable, os.path.join(HERE, "client.py"), json.dumps(job)]
        with tempfile.TemporaryFile() as log:
            child = self.world.start(command, pod or self.client, cgroup, stdout=subprocess.PIPE, stderr=log)
            try:
                out, _ = child.communicate(timeout=120)
            finally:
                self.world.stop(child)
            log.seek(0)
            self.assertEqual(child.returncode, 0, log.read().decode()[-2000:])
        return json.loads(out)

    def begin(self, do, pod=None, cgroup="pods", **job):
        """A client process that runs on; `finish` gives its result."""
        job = dict({"do": do, "address": VIP}, **job)
        return self.world.start([sys.executable, os.path.join(HERE, "client.py"), json.dumps(job)], pod or self.client, cgroup,
                                stdout=subprocess.PIPE, stderr=None, talk=True)

    def finish(self, child, timeout=120):
        try:
            out, _ = child.communicate(timeout=timeout)
        finally:
            self.world.stop(child)
        return json.loads(out.splitlines()[-1])

    def get(self, path="/", **job):
        return self.job("once", path=path, **job)

    def counters(self):
        return self.agent.stats()["decisions"]

    def outcomes(self, before=None):
        """{"kernel": {...}, "agent": {...}}, without zeros; the growth since `before` when given."""
        now = self.counters()["outcomes"]
        return {side: {k: v - (before[side].get(k, 0) if before else 0) for k, v in now[side].items()
                       if v - (before[side].get(k, 0) if before else 0)} for side in ("kernel", "agent")}
