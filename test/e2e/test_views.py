# SPDX-License-Identifier: Apache-2.0
"""A stream for each kind of pod: whose node asks, what a pod sees and when, what is shared, and what ends with the last pod."""
import json
import os
import sys
import time
import unittest

import world as lab
from scripted import ADDRESS, LISTENER, Scripted, ads

GRACE_S = 10


def value_of(data):
    """A google.protobuf.Value of text or of a struct."""
    f = ads.parse(data)
    return struct_of(f[5][0]) if 5 in f else f.get(3, [b""])[0].decode()


def struct_of(data):
    out = {}
    for entry in ads.parse(data).get(1, []):
        f = ads.parse(entry)
        out[f[1][0].decode()] = value_of(f.get(2, [b""])[0])
    return out


class Views(Scripted):
    # Two backends on one pod: which of them answers tells which view was asked.
    backends = (("old", 81), ("new", 82))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pods = {name: cls.world.pod(name) for name in ("red", "blue", "twin")}

    def start(self, *options):
        agent = lab.Agent(self.world, options=["--xds", f"127.0.0.1:{self.ads.port}", "--xds-views", "pod", "--node-id", "node-1",
                                               "--node-metadata", '{"MESH_ID": "mesh", "NAMESPACE": "not-mine"}', *options])
        agent.start()
        self.addCleanup(agent.stop)
        return agent

    @staticmethod
    def enrol(agent, pod, ns, *labels, account="default"):
        return agent.call("pod", "add", "--netns", pod.path, "--name", pod.name, "--namespace", ns, "--service-account", account,
                          *[w for label in labels for w in ("--label", label)])

    def serve(self, session, port, version="1"):
        """A whole configuration whose cluster is on this port."""
        session.next(ads.CDS)
        session.send(ads.CDS, "c" + version, [("web", version, ads.eds_cluster("web"))])
        session.next(ads.EDS)
        session.ack(ads.CDS, "c" + version)
        session.send(ads.EDS, "e" + version, [("web", version, ads.cla("web", port))])
        session.ack(ads.EDS, "e" + version)
        session.next(ads.LDS)
        session.send(ads.LDS, "l" + version, [("main", version, ads.listener("main", LISTENER, "routes"))])
        session.next(ads.RDS)
        session.ack(ads.LDS, "l" + version)
        session.send(ads.RDS, "r" + version, [("routes", version, ads.route("routes", "web"))])
        session.ack(ads.RDS, "r" + version)

    def ask(self, pod):
        return self.get("/x", pod=pod, address=ADDRESS, port=LISTENER)

    def backend(self, pod):
        return dict(self.ask(pod)["headers"])["x-backend"]

    def first(self, session):
        """The first request, put back for serve(): its node."""
        request = session.requests.get(timeout=ads.TIMEOUT)
        self.assertEqual(request.type_url, ads.CDS)
        session.requests.queue.appendleft(request)
        session.requests.unfinished_tasks += 1
        return request.node

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def configured(self, agent, name):
        return next(p["configured"] for p in agent.call("pod", "list") if p["name"] == name)

    def test_each_kind_has_its_own(self):
        agent = self.start()
        red, blue, twin = (self.pods[n] for n in ("red", "blue", "twin"))
        self.assertTrue(agent.call("dump")["ready"])  # nobody waits for anything
        info = self.enrol(agent, red, "one", "app=shop", account="robot")
        self.assertFalse(info["configured"])
        s1 = self.ads.session()
        node = self.first(s1)
        self.assertEqual(node[1][0].decode(), f"sidecar~{red.address}~red.one~one.svc.cluster.local")
        self.assertEqual(node[2][0].decode(), "shop.one")
        said = struct_of(node[3][0])
        self.assertEqual({k: said[k] for k in ("NAMESPACE", "SERVICE_ACCOUNT", "LABELS", "MESH_ID", "CLUSTER_ID", "NODE_NAME", "NAME")},
                         {"NAMESPACE": "one", "SERVICE_ACCOUNT": "robot", "LABELS": {"app": "shop"}, "MESH_ID": "mesh",
                          "CLUSTER_ID": "Kubernetes", "NODE_NAME": "node-1", "NAME": "red"})
        self.assertEqual(said["INSTANCE_IPS"].split(",")[0], red.address)
        self.assertIn(".", said["ISTIO_VERSION"])
        # Without a configuration nothing leaves the pod, and it is counted; what stays inside does.
        self.assertFalse(agent.call("dump")["ready"])
        self.assertEqual(self.refused(red, ADDRESS, LISTENER), "ECONNREFUSED")
        self.assertEqual(self.refused(red, ADDRESS, 81), "ECONNREFUSED")
        self.assertEqual(agent.stats()["decisions"]["handed"]["no_configuration"], 2)
        self.enrol(agent, blue, "two", "app=shop")
        s2 = self.ads.session()
        self.assertEqual(self.first(s2)[1][0].decode(), f"sidecar~{blue.address}~blue.two~two.svc.cluster.local")
        self.serve(s1, 81)
        self.until(lambda: self.configured(agent, "red"))
        self.assertFalse(self.configured(agent, "blue"))
        self.assertEqual(self.backend(red), "old")
        self.assertEqual(self.refused(blue, ADDRESS, LISTENER), "ECONNREFUSED")
        waits = ["pod", "add", "--netns", twin.path, "--name", "twin", "--namespace", "two", "--label", "app=shop", "--wait", "1"]
        with self.assertRaisesRegex(lab.AgentFailed, "no configuration yet"):
            agent.call(*waits)
        agent.call("pod", "remove", "--name", "twin", "--namespace", "two", "--drain", "0")
        self.until(lambda: [s["pods"] for s in agent.stats()["sources"]["xds"]["streams"]] == [1, 1])
        self.serve(s2, 82)
        self.until(lambda: agent.call("dump")["ready"])
        self.assertEqual((self.backend(red), self.backend(blue)), ("old", "new"))
        # One of the same kind needs no stream of its own, and is served at once.
        self.assertTrue(self.enrol(agent, twin, "two", "app=shop")["configured"])
        self.assertEqual(self.backend(twin), "new")
        self.assertTrue(self.ads.sessions.empty())
        self.dumped(agent)
        # An update of one kind is none of the others'.
        s2.send(ads.EDS, "e2", [("web", "2", ads.cla("web", 81))])
        s2.ack(ads.EDS, "e2")
        self.assertEqual((self.backend(red), self.backend(blue), self.backend(twin)), ("old", "old", "old"))
        s1.send(ads.EDS, "e2", [("web", "2", ads.cla("web", 82))])
        s1.ack(ads.EDS, "e2")
        self.assertEqual((self.backend(red), self.backend(blue)), ("new", "old"))
        # Refused by one: the other goes on.
        bad = ads.field(1, "routes") + ads.field(2, ads.field(1, "all") + ads.field(2, "*") + ads.field(3, ads.field(1, ads.field(1, "/"))))
        s1.send(ads.RDS, "r3", [("routes", "3", bad)])
        s1.nack(ads.RDS, "r3", "action")
        self.assertEqual((self.backend(red), self.backend(blue)), ("new", "old"))
        self.leaves(agent, s2)

    def refused(self, pod, address, port):
        """The error of a connect() that must not work."""
        code = f"import errno, socket\ns = socket.socket()\nprint(errno.errorcode.get(s.connect_ex(({address!r}, {port}))))"
        return self.world.output([sys.executable, "-c", code], pod)[1].strip()

    def dumped(self, agent):
        """Whose each resource is."""
        listed = agent.call("dump", "listeners")
        self.assertTrue(listed["agree"], listed["differences"])
        self.assertEqual([(r["name"], r["view"], r["status"], r["users"]["pods"]) for r in listed["resources"]],
                         [("main", 1, "acked", ["one/red"]), ("main", 2, "acked", ["two/blue", "two/twin"])])
        self.assertEqual({(r["view"], r["stream"], r["in_kernel"]) for r in agent.call("dump", "endpoints")["resources"]},
                         {(v, f"127.0.0.1:{self.ads.port}", True) for v in (1, 2)})
        streams = agent.stats()["sources"]["xds"]["streams"]
        self.assertEqual([(s["pods"], s["connected"]) for s in streams], [(1, True), (2, True)])
        # Only the endpoints differ: all else is in memory once.
        self.assertEqual(agent.stats()["resources"], {"contents": 5, "users": 8})
        self.assertEqual([s["node"].split("~")[2] for s in streams], ["red.one", "blue.two"])

    def leaves(self, agent, session):
        """The pod whose node was said goes: another one stands for the view. The last goes: so do stream and view."""
        blue, twin = self.pods["blue"], self.pods["twin"]
        agent.call("pod", "remove", "--name", "blue", "--namespace", "two", "--drain", "0")
        again = self.ads.session()
        request = again.next(ads.CDS)
        self.assertEqual(request.node[1][0].decode(), f"sidecar~{twin.address}~twin.two~two.svc.cluster.local")
        self.assertEqual(request.versions, {"web": "1"})
        self.assertIsNone(session.requests.get(timeout=ads.TIMEOUT))
        self.assertEqual(self.backend(twin), "old")
        agent.call("pod", "remove", "--name", "twin", "--namespace", "two", "--drain", "0")
        end = time.monotonic() + GRACE_S / 2
        while time.monotonic() < end:  # one that comes back in time finds everything
            time.sleep(0.5)
        self.assertTrue(self.enrol(agent, blue, "two", "app=shop")["configured"])
        self.assertEqual(self.backend(blue), "old")
        agent.call("pod", "remove", "--name", "blue", "--namespace", "two", "--drain", "0")
        self.until(lambda: len(agent.stats()["sources"]["xds"]["streams"]) == 1, GRACE_S + 15)
        self.assertEqual({r["view"] for r in agent.call("dump", "clusters")["resources"]}, {1})
        self.assertEqual(self.backend(self.pods["red"]), "new")

    def test_saved_for_each_kind(self):
        cache = os.path.join(self.folder, "cache")
        agent = self.start("--xds-cache", cache)
        red, blue = self.pods["red"], self.pods["blue"]
        for pod, ns, port in ((red, "one", 81), (blue, "two", 82)):
            self.enrol(agent, pod, ns)
            self.serve(self.ads.session(), port)
        self.until(lambda: agent.call("dump")["ready"])
        self.assertEqual((self.backend(red), self.backend(blue)), ("old", "new"))
        agent.stop()
        self.assertEqual(len([n for n in os.listdir(self.folder) if n.startswith("cache.")]), 2)
        self.ads.stop()
        # Nobody answers: each kind has what was served to it, and a kind that was not there has nothing.
        agent.start()
        self.enrol(agent, red, "two")
        self.enrol(agent, blue, "one")
        self.enrol(agent, self.pods["twin"], "three")
        self.until(lambda: self.configured(agent, "red") and self.configured(agent, "blue"))
        self.assertEqual((self.backend(red), self.backend(blue)), ("new", "old"))
        self.assertFalse(self.configured(agent, "twin"))
        self.assertEqual({r["status"] for r in agent.call("dump", "clusters")["resources"]}, {"stale"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
