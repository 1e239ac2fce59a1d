# SPDX-License-Identifier: Apache-2.0
"""The client, in both variants, against istiod-local (environment variable ISTIOD_LOCAL) with its example mesh."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from client import Client

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "istiod-local", "example")
NODE = "sidecar~10.1.0.5~web.shop~shop.svc.cluster.local"
METADATA = """{"NAMESPACE": "shop", "SERVICE_ACCOUNT": "web", "INSTANCE_IPS": "10.1.0.5",
"CLUSTER_ID": "Kubernetes", "LABELS": {"app": "web"}}"""
TYPES = {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"}
WAIT = 30
CLUSTER = "outbound|8080|v2|reviews.shop.svc.cluster.local"


class Istiod(unittest.TestCase):
    maxDiff = None
    VARIANT = ()

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.istio = os.path.join(self.folder.name, "istio")
        shutil.copytree(os.path.join(EXAMPLE, "istio"), self.istio)
        self.reader = threading.Thread(target=lambda: None)
        self.reader.start()
        self.server = subprocess.Popen(
            [os.environ["ISTIOD_LOCAL"], "-k8s", os.path.join(EXAMPLE, "k8s"), "-istio", self.istio,
             "-listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.stop_server)
        log = []
        for line in self.server.stdout:  # its log, among which is the address
            log.append(line)
            if line.startswith("ready "):
                break
        else:
            self.fail("istiod-local did not start: %s" % "".join(log[-10:]))
        self.reader = threading.Thread(target=lambda: [None for _ in self.server.stdout], daemon=True)
        self.reader.start()
        self.client = Client(line.split()[1], "--node", NODE, "--metadata", METADATA, *self.VARIANT)
        self.addCleanup(self.stop_client)

    def stop_client(self):
        self.assertEqual(self.client.quit(), 0, "exit status of the client")

    def stop_server(self):
        self.server.kill()
        self.server.wait()
        self.reader.join()
        self.server.stdout.close()

    def wait(self, condition):
        """The first dump that meets the condition."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            d = self.client.dump()
            if condition(d):
                return d
            time.sleep(0.2)
        self.fail("not reached: %s" % d)

    @staticmethod
    def has(dump, kind, name):
        return any((i["type"], i["name"]) == (kind, name) for i in dump["items"])

    def test_serves_and_updates(self):
        d = self.wait(lambda d: d["complete"])
        bad = [i for i in d["items"] if i["status"] != "ACKED"]
        self.assertEqual(bad, [])
        self.assertEqual({i["type"] for i in d["items"]}, TYPES)
        self.assertEqual(d["nacks"], 0)
        self.assertTrue(self.has(d, "Cluster", CLUSTER))
        self.assertTrue(self.has(d, "ClusterLoadAssignment", CLUSTER))
        self.assertTrue(self.has(d, "RouteConfiguration", "8080"))
        self.assertGreaterEqual(d["responses"], 4)
        self.assertEqual(d["acks"], d["responses"])
        self.update_routes()
        self.remove_a_subset()

    def edit(self, old, new):
        path = os.path.join(self.istio, "shop.yaml")
        with open(path) as f:
            text = f.read()
        self.assertIn(old, text)
        with open(path, "w") as f:
            f.write(text.replace(old, new))
        self.client.drain()
        self.server.send_signal(signal.SIGHUP)

    def update_routes(self):
        def routes(event):
            return event["resources"]["RouteConfiguration"]["8080"]["hash"]

        before = routes(self.client.last("publish"))
        self.edit("weight: 90", "weight: 80")
        self.client.event("publish", lambda e: routes(e) != before)
        self.assertEqual(self.client.dump()["nacks"], 0)

    def remove_a_subset(self):
        """A subset that no rule names any more: cluster and endpoints go, in make-before-break order."""
        self.edit("  - {name: v2, labels: {version: v2}}\n", "")
        d = self.wait(lambda d: not self.has(d, "Cluster", CLUSTER))
        self.assertFalse(self.has(d, "ClusterLoadAssignment", CLUSTER))
        self.assertEqual(d["nacks"], 0)


class IstiodSotw(Istiod):
    VARIANT = ("--variant", "sotw")


if __name__ == "__main__":
    unittest.main(verbosity=2)
