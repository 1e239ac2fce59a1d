# SPDX-License-Identifier: Apache-2.0
"""gRPC's xDS client for node (environment variable NODE_PATH: its packages) against the scripted server, so that not both ends are weft's: what the
other tests take for a control plane is one to a client that others wrote. State of the world, the only variant that client has."""
import json
import os
import select
import subprocess
import tempfile
import unittest
from concurrent import futures

import scripted_ads as ads
from scripted_ads import CDS, EDS, LDS, RDS, field

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET, WAIT_S = "echo.test", 60
ads.TIMEOUT = WAIT_S  # node takes its time to start


class Backend:
    """A gRPC server whose every method answers the server's name."""

    def __init__(self, name):
        answer = grpc_handler(name.encode())
        self.server = ads.grpc.server(futures.ThreadPoolExecutor(max_workers=2), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((answer,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()


def grpc_handler(body):
    return ads.grpc.method_handlers_generic_handler("test.Echo", {"Name": ads.grpc.unary_unary_rpc_method_handler(lambda request, context: body)})


def cluster(name):
    return field(1, name) + field(2, 3) + field(3, field(1, ads.ads_source()))


def cla(name, *backends):
    """gRPC takes only localities with a weight."""
    hosts = b"".join(field(2, field(1, field(1, ads.address(b.port, "127.0.0.1")))) for b in backends)
    return field(1, name) + field(2, field(1, field(1, "here")) + hosts + field(3, field(1, 1)))


class GrpcJs(unittest.TestCase):
    def setUp(self):
        self.one, self.two = Backend("one"), Backend("two")
        self.addCleanup(self.one.stop)
        self.addCleanup(self.two.stop)
        self.server = ads.Server()
        self.addCleanup(lambda: self.server.stop())
        bootstrap = {"xds_servers": [{"server_uri": "127.0.0.1:%d" % self.server.port, "channel_creds": [{"type": "insecure"}],
                                      "server_features": ["xds_v3"]}],
                     "node": {"id": "grpc-js", "cluster": "test", "locality": {}}}
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as f:
            json.dump(bootstrap, f)
        self.addCleanup(os.unlink, f.name)
        self.client = subprocess.Popen(["node", os.path.join(HERE, "grpc-js", "client.js"), "xds:///" + TARGET], text=True, bufsize=1,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, GRPC_XDS_BOOTSTRAP=f.name))
        self.addCleanup(self.stop)

    def stop(self):
        self.client.kill()
        self.client.wait()
        self.client.stdin.close()
        self.client.stdout.close()

    def ask(self):
        self.client.stdin.write("/test.Echo/Name\n")

    def told(self):
        ready, _, _ = select.select([self.client.stdout], [], [], WAIT_S)
        self.assertTrue(ready, "no answer of the client")
        return json.loads(self.client.stdout.readline())

    def call(self):
        self.ask()
        return self.told()

    def until(self, name):
        """Calls until a backend answers: a client that accepted endpoints has yet to connect to them."""
        for _ in range(1000):
            told = self.call()
            self.assertEqual(told["code"], 0, told)
            if told["body"] == name:
                return
        self.fail("never answered: " + name)

    def first(self, s, kind, *names, version=""):
        r = s.next(kind)
        self.assertEqual((r.names, r.version, r.nonce, r.error), (list(names), version, "", None))
        return r

    def serve(self):
        """A call that waits for everything, which comes step by step."""
        self.ask()
        s = self.server.session()
        self.assertEqual(self.first(s, LDS, TARGET).node[1], [b"grpc-js"])
        s.send(LDS, "n1", "l1", [ads.api_listener(TARGET, "table")])
        s.ack(LDS, "n1", "l1")
        self.first(s, RDS, "table")
        s.send(RDS, "n2", "r1", [ads.route("table", "web")])
        s.ack(RDS, "n2", "r1")
        self.first(s, CDS, "web")
        s.send(CDS, "n3", "c1", [cluster("web")])
        s.ack(CDS, "n3", "c1")
        self.first(s, EDS, "web")
        s.send(EDS, "n4", "e1", [cla("web", self.one)])
        s.ack(EDS, "n4", "e1")
        self.assertEqual(self.told(), {"code": 0, "details": "", "body": "one"})
        return s

    def test_changes_are_followed(self):
        s = self.serve()
        # Other endpoints; then another cluster, asked for with the nonce of the last response.
        s.send(EDS, "n5", "e2", [cla("web", self.two)])
        s.ack(EDS, "n5", "e2")
        self.until("two")
        s.send(RDS, "n6", "r2", [ads.route("table", "more")])
        s.ack(RDS, "n6", "r2")
        r = s.next(CDS)
        self.assertIn("more", r.names)
        self.assertEqual((r.nonce, r.version), ("n3", "c1"))
        s.send(CDS, "n7", "c2", [cluster("web"), cluster("more")])
        s.ack(CDS, "n7", "c2")
        r = s.next(EDS)
        self.assertIn("more", r.names)
        self.assertEqual((r.nonce, r.version), ("n5", "e2"))
        s.send(EDS, "n8", "e3", [cla("web", self.two), cla("more", self.one)])
        s.ack(EDS, "n8", "e3")
        self.until("one")

    def test_refused_and_taken_again(self):
        s = self.serve()
        # A listener without routes, a route without a path, a cluster without discovery, a locality that is none: what was before serves on.
        bad = {LDS: field(1, TARGET) + field(19, field(1, field(1, ads.HCM) + field(2, b""))),
               RDS: field(1, "table") + field(2, field(1, "v") + field(2, "*") + field(3, field(2, field(1, "web")))),
               CDS: field(1, "web") + field(2, 0), EDS: field(1, "web") + field(2, field(3, field(1, 1)))}
        for kind, good, version in ((LDS, ads.api_listener(TARGET, "table"), "l"), (RDS, ads.route("table", "web"), "r"),
                                    (CDS, cluster("web"), "c"), (EDS, cla("web", self.one), "e")):
            with self.subTest(kind):
                s.send(kind, "bad", version + "2", [bad[kind]])
                r = s.next(kind)
                self.assertEqual((r.nonce, r.version), ("bad", version + "1"))
                self.assertTrue(r.error)
                self.assertEqual(self.call()["body"], "one")
                s.send(kind, "good", version + "3", [good])
                s.ack(kind, "good", version + "3")
        self.assertEqual(self.call()["body"], "one")

    def test_stream_ends_and_comes_again(self):
        s = self.serve()
        s.close()
        s = self.server.session()
        asked = {r.type_url: r for r in (s.next() for _ in range(4))}
        self.assertEqual({k: r.names for k, r in asked.items()}, {LDS: [TARGET], RDS: ["table"], CDS: ["web"], EDS: ["web"]})
        self.assertEqual({r.nonce for r in asked.values()}, {""})
        self.assertEqual(self.call()["body"], "one")
        s.send(EDS, "m1", "e2", [cla("web", self.two)])
        s.ack(EDS, "m1", "e2")
        self.until("two")


if __name__ == "__main__":
    unittest.main()
