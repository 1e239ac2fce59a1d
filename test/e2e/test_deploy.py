# SPDX-License-Identifier: Apache-2.0
"""The capabilities of deploy/kubernetes: with them the agent governs a pod, and each is for something."""
import os
import unittest

import yaml

import resources as r
import world as lab
from mesh import HERE, VIP, Mesh

MANIFEST = os.path.join(os.path.dirname(os.path.dirname(HERE)), "deploy", "kubernetes", "weft.yaml")


def capabilities():
    with open(MANIFEST, encoding="utf-8") as f:
        pod = next(d for d in yaml.safe_load_all(f) if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    return pod["containers"][0]["securityContext"]["capabilities"]["add"]


class Deploy(Mesh):
    @classmethod
    def resources(cls):
        return r.bootstrap([r.http("main", VIP, 80, [r.host("all", ["*"], r.route("/", "web"))])], [r.cluster("web", cls.endpoint("v1"))])

    def agent_with(self, names, pods=None):
        """An agent that is root with these capabilities and no others; pods: the client when not said."""
        bounds = "--bounding-set=" + ",".join(["-all"] + ["+" + n.lower() for n in names])
        return lab.Agent(self.world, self.config, name="few", pods=[self.client] if pods is None else pods, wrap=("setpriv", bounds, "--inh-caps=-all", "--no-new-privs"))

    def test_capabilities(self):
        self.agent.stop()
        names = capabilities()
        with self.agent_with(names) as agent:
            self.assertEqual(self.get()["headers"]["x-backend"], "v1")
            before = agent.stats()["decisions"]["outcomes"]["kernel"].get("forward", 0)
            self.get()
            self.assertEqual(agent.stats()["decisions"]["outcomes"]["kernel"]["forward"], before + 1)
        # SYS_ADMIN is for entering network namespaces. It stands for the others too, so each of those is left out without it.
        programs = [n for n in names if n != "SYS_ADMIN"]
        with self.agent_with(programs, pods=[]) as agent:
            with self.assertRaisesRegex(lab.AgentFailed, "ermi|not permitted"):
                agent.add(self.client)
        for left_out in programs:
            with self.subTest(left_out):
                with self.assertRaisesRegex(lab.AgentFailed, "not ready"):
                    with self.agent_with([n for n in programs if n != left_out], pods=[]):
                        pass


if __name__ == "__main__":
    unittest.main()
