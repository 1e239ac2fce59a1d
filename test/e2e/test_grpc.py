# SPDX-License-Identifier: Apache-2.0
"""gRPC from a pod to a server, by grpcio on both sides: each kind of call, trailers, statuses, retries, what is not there."""
import json
import os
import sys
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

try:
    import grpc  # noqa: F401
except ImportError:
    grpc = None

PORT = 9000
PEER = os.path.join(HERE, "grpc_peer.py")
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def speaks(**config):
    return {"typed_extension_protocol_options": {OPTIONS: dict({"@type": "type.googleapis.com/" + OPTIONS}, **config)}}


@unittest.skipUnless(grpc, "needs grpcio (python3-grpcio)")
class Grpc(Mesh):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for pod in cls.servers:
            cls.world.start([sys.executable, PEER, "serve", str(PORT)], pod, name="grpc-" + pod.name)
        for pod in cls.servers:
            cls.world.wait_port(pod, PORT)

    @classmethod
    def resources(cls):
        peer = [(cls.endpoint(n)[0], PORT) for n in ("v1", "v2")]
        h2 = speaks(explicit_http_config={"http2_protocol_options": {}})
        retry = {"retry_on": "unavailable,cancelled", "num_retries": 3, "retry_back_off": {"base_interval": "0.005s"}}
        hosts = [
            r.host("grpc", ["grpc.test"], r.route("/", "grpc")),
            r.host("client", ["client.test"], r.route("/", "client")),
            r.host("retry", ["retry.test"], r.route("/", "grpc", retry_policy=retry)),
            r.host("two", ["two.test"], r.route("/", "two")),
            r.host("dead", ["dead.test"], r.route("/", "dead")),
            r.host("few", ["few.test"], r.route("/", "few")),
            r.host("h1", ["h1.test"], r.route("/", "h1")),
        ]
        one = speaks(explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 1}})
        return r.bootstrap([r.http("main", VIP, 80, hosts)], [
            r.cluster("grpc", peer[0], **h2),
            r.cluster("client", peer[0], **speaks(use_downstream_protocol_config={})),
            r.cluster("two", *peer, **h2),
            r.cluster("dead", (peer[0][0], 9), **h2),
            r.cluster("few", peer[0], **one),
            r.cluster("h1", cls.endpoint("v1")),
        ])

    def call(self, method, host="grpc.test", **job):
        job = dict({"address": VIP, "port": 80, "method": method, "host": host}, **job)
        status, out = self.world.output([sys.executable, PEER, "call", json.dumps(job)], pod=self.client)
        self.assertEqual(status, 0, out)
        return json.loads(out.splitlines()[-1])

    def test_unary(self):
        for host in ("grpc.test", "client.test", "two.test", "few.test"):
            got = self.call("Echo", host, n=100, size=1000)
            self.assertEqual((got["n"], got["first"]), (100, "1"), host)
            self.assertRegex(got["trailer"], "^ipv[46]$")

    def test_large_messages(self):
        self.assertEqual(self.call("Echo", n=3, size=3 << 20)["n"], 3)

    def test_streams(self):
        self.assertEqual(self.call("Count", n=2000, size=1000), {"n": 2000, "bytes": sum(len(str(i)) + 1000 for i in range(2000))})
        self.assertEqual(self.call("Upload", n=500, size=10000), {"bytes": 5000000})
        self.assertEqual(self.call("Chat", n=50), {"answers": [f"re: m{i}" for i in range(50)]})

    def test_statuses_reach_the_client(self):
        for code in (1, 5, 14, 16):
            self.assertEqual(self.call("Fail", fail=[f"status-{code}", code, 1]), {"status": code, "details": "as asked"})

    def test_retries_by_status(self):
        # an answer of trailers alone has its status in the head, where Envoy looks for it
        self.assertEqual(self.call("Fail", "retry.test", fail=["retry-14", 14, 2]), {"answer": "3"})
        self.assertEqual(self.call("Fail", "retry.test", fail=["retry-1", 1, 1]), {"answer": "2"})
        self.assertEqual(self.call("Fail", "retry.test", fail=["retry-5", 5, 1])["status"], 5)
        self.assertEqual(self.call("Fail", "retry.test", fail=["retry-late", 14, 9]), {"status": 14, "details": "as asked"})

    def test_no_endpoint_no_route(self):
        got = self.call("Echo", "dead.test")
        self.assertEqual(got["status"], 14)
        self.assertIn("remote connection failure", got["details"])
        self.assertEqual(self.call("Echo", "nobody.test")["status"], 12)

    def test_http1_clients_and_servers(self):
        # a server of HTTP/1.1 behind a cluster that speaks HTTP/1.1 is no gRPC server, and says so by its status
        self.assertEqual(self.call("Echo", "h1.test")["status"], 2)

    def test_connections_are_shared(self):
        before = self.agent.stats()["proxy"]["upstream_total"]
        self.assertEqual(self.call("Echo", n=400)["n"], 400)
        # one a worker at most, where each call would have had one
        self.assertLessEqual(self.agent.stats()["proxy"]["upstream_total"] - before, os.cpu_count())


if __name__ == "__main__":
    unittest.main()
