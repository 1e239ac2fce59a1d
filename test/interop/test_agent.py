# SPDX-License-Identifier: Apache-2.0
"""The agent as a whole, without its kernel part, against the scripted server. WEFT_AGENT names the executable."""
import os
import shutil
import sys
import tempfile
import unittest

import grpc

from certs import Authority, read
from scripted_ads import CDS, LDS, RDS, Server, listener, route, static_cluster

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import Daemon  # noqa: E402


def serve(s, version="1"):
    """A cluster, a listener and its routes, each acknowledged."""
    s.next(CDS)
    s.send(CDS, "c" + version, [("web", version, static_cluster("web"))])
    s.ack(CDS, "c" + version)
    s.next(LDS)
    s.send(LDS, "l" + version, [("main", version, listener("main", 8080, "routes"))])
    s.next(RDS)
    s.ack(LDS, "l" + version)
    s.send(RDS, "r" + version, [("routes", version, route("routes", "web"))])
    s.ack(RDS, "r" + version)


class WithServer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weft-agent-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = None

    def tearDown(self):
        if self.server:
            self.server.stop()

    def daemon(self, *args):
        return Daemon("--no-kernel", "--xds", "127.0.0.1:%d" % self.server.port, *args)

    @staticmethod
    def names(daemon, kind):
        return [r["name"] for r in daemon.call("dump", kind)[1]["resources"]]


@unittest.skipUnless(shutil.which("openssl"), "no openssl command")
class Authentication(WithServer):
    def test_all_credentials(self):
        ca = Authority(self.folder, "ca")
        cert, key = ca.issue("istiod", "DNS:istiod.istio-system.svc")
        own_cert, own_key = ca.issue("node", "DNS:node")
        token = os.path.join(self.folder, "token")
        with open(token, "w", encoding="utf-8") as f:
            f.write("a.b.c\n")
        self.server = Server(credentials=grpc.ssl_server_credentials([(read(key), read(cert))], read(ca.pem), True))
        with self.daemon("--xds-ca", ca.pem, "--xds-sni", "any.example", "--xds-san", "no.example", "--xds-san",
                         "istiod.istio-system.svc", "--xds-cert", own_cert, "--xds-key", own_key, "--xds-token-file", token,
                         "--xds-cluster-id", "Kubernetes") as daemon:
            s = self.server.session()
            self.assertEqual((s.metadata["authorization"], s.metadata["clusterid"]), ("Bearer a.b.c", "Kubernetes"))
            self.assertEqual(s.peer["x509_common_name"], [b"node"])
            serve(s)
            source = daemon.call("dump")[1]["sources"]["xds"]
            self.assertTrue(source["connected"] and source["tls"])
            self.assertEqual(self.names(daemon, "listeners"), ["main"])

    def test_wrong_server(self):
        ca, other = Authority(self.folder, "ca"), Authority(self.folder, "other")
        cert, key = ca.issue("istiod", "IP:127.0.0.1")
        self.server = Server(credentials=grpc.ssl_server_credentials([(read(key), read(cert))]))
        with self.daemon("--xds-ca", other.pem) as daemon:
            text = "unable to get local issuer certificate (authorities of %s)" % other.pem
            daemon.wait(lambda: text in daemon.log())
            self.assertIn(text, daemon.call("dump")[1]["sources"]["xds"]["last_error"])
        self.assertTrue(self.server.sessions.empty())


if __name__ == "__main__":
    unittest.main()
