# SPDX-License-Identifier: Apache-2.0
"""Client status discovery in the situation of test_status.py, with Python's gRPC as client. WEFT_AGENT names the executable."""
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

from scripted_ads import CDS, EDS, HCM, LDS, RDS, ROUTER, Server, ads_source, eds_cluster, field, parse
from test_status import NO_SOURCE, Situation, free_port

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from agent import GOOD, Daemon, run  # noqa: E402

SERVICE = "/envoy.service.status.v3.ClientStatusDiscoveryService/"
STATES = {1: "REQUESTED", 2: "DOES_NOT_EXIST", 3: "ACKED", 4: "NACKED", 5: "RECEIVED_ERROR", 6: "TIMEOUT"}


def text_of(fields, number):
    return fields.get(number, [b""])[0].decode()


def moment(data):
    f = parse(data)
    return f[1][0] + f.get(2, [0])[0] / 1e9


class Generic:
    """A ClientConfig.GenericXdsConfig."""

    def __init__(self, data):
        f = parse(data)
        self.type_url, self.name, self.version = text_of(f, 1), text_of(f, 2), text_of(f, 3)
        self.any = parse(f[4][0]) if 4 in f else None
        self.updated = moment(f[5][0]) if 5 in f else None
        self.status = STATES[f.get(7, [0])[0]]
        error = parse(f[8][0]) if 8 in f else None
        self.error = error and (text_of(error, 3), text_of(error, 4), moment(error[2][0]))
        self.failed = error and 1 in error
        self.static = f.get(9, [0])[0] == 1


class Status:
    """A ClientConfig."""

    def __init__(self, data):
        f = parse(data)
        self.node = text_of(parse(f[1][0]), 1) if 1 in f else None
        self.all = [Generic(x) for x in f.get(3, [])]
        self.scope = text_of(f, 4)

    def one(self, kind, name):
        return next(x for x in self.all if (x.type_url, x.name) == (kind, name))


def clients(data):
    """The ClientConfigs of a ClientStatusResponse."""
    return [Status(x) for x in parse(data).get(1, [])]


def matcher(number, text, fold=False):
    """A request for nodes whose id fits. 1: exact, 2: prefix, 3: suffix, 7: contains"""
    return field(1, field(1, field(number, text) + (field(6, 1) if fold else b"")))


class Csds(Situation):
    PORT = free_port()
    ARGS = ["--csds", "127.0.0.1:%d" % PORT]

    def setUp(self):
        self.channel = grpc.insecure_channel("127.0.0.1:%d" % self.PORT)
        self.addCleanup(self.channel.close)
        self.fetch = self.channel.unary_unary(SERVICE + "FetchClientStatus")
        self.stream = self.channel.stream_stream(SERVICE + "StreamClientStatus")

    def test_states(self):
        status, = clients(self.fetch(b"", timeout=10))
        self.assertEqual((status.node, status.scope), ("node-1", "127.0.0.1:%d" % self.server.port))
        self.assertEqual({(x.type_url, x.name): (x.status, x.version) for x in status.all}, {
            (CDS, "ok"): ("NACKED", "1"), (CDS, "static"): ("ACKED", "1"), (CDS, "hollow"): ("ACKED", "1"),
            (CDS, "bad"): ("NACKED", ""), (CDS, "new"): ("ACKED", "3"),
            (EDS, "ok"): ("ACKED", "7"), (EDS, "hollow"): ("DOES_NOT_EXIST", ""), (EDS, "new"): ("REQUESTED", ""),
            (LDS, "main"): ("NACKED", "1"), (LDS, "waits"): ("ACKED", "1"),
            (RDS, "table"): ("ACKED", "1"), (RDS, "missing"): ("REQUESTED", "")})
        self.assertFalse([x.name for x in status.all if x.static])

    def test_contents(self):
        status, = clients(self.fetch(b"", timeout=10))
        for x in status.all:
            self.assertEqual(x.any is not None, x.name not in ("bad", "missing") and (x.type_url, x.name) not in
                             ((EDS, "hollow"), (EDS, "new")), x.name)
            self.assertEqual(x.updated is not None, x.any is not None, x.name)
        ok = status.one(CDS, "ok")
        self.assertEqual(ok.any, {1: [CDS.encode()], 2: [eds_cluster("ok")]})
        why, version, when = ok.error
        self.assertIn("eds_cluster_config", why)
        self.assertEqual(version, "2")
        self.assertLess(abs(when - time.time()), 600)
        self.assertIsNone(status.one(CDS, "static").error)
        status, = clients(self.fetch(field(3, 1), timeout=10))  # exclude_resource_contents
        self.assertEqual([x.any for x in status.all], [None] * 12)
        self.assertEqual(status.one(CDS, "ok").error[1], "2")

    def test_matchers(self):
        for request, found in [(matcher(1, "node-1"), 1), (matcher(1, "node-2"), 0), (matcher(2, "node"), 1),
                               (matcher(3, "-1"), 1), (matcher(3, "-2"), 0), (matcher(7, "ode"), 1), (matcher(1, "NODE-1"), 0),
                               (matcher(1, "NODE-1", True), 1), (matcher(5, field(2, "n.*1")), 1), (matcher(5, field(2, "n")), 0),
                               (matcher(1, "x") + matcher(1, "node-1"), 1)]:
            self.assertEqual(len(clients(self.fetch(request, timeout=10))), found, request)
        metadata = field(1, field(2, field(2, field(1, "k"))))
        for request in (metadata, field(1, field(1, b"")), b"\xff"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.fetch(request, timeout=10)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_stream(self):
        """Each request is answered; the client ends it."""
        asked = queue.Queue()
        answers = self.stream(iter(asked.get, None), timeout=30)
        for _ in range(3):
            asked.put(b"")
            self.assertEqual(len(clients(next(answers))), 1)
        asked.put(field(3, 1))
        self.assertIsNone(clients(next(answers))[0].one(CDS, "ok").any)
        asked.put(None)
        self.assertEqual(list(answers), [])
        self.assertEqual(answers.code(), grpc.StatusCode.OK)
        answers = self.stream(iter([b"\xff"]), timeout=30)
        with self.assertRaises(grpc.RpcError) as caught:
            next(answers)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_many_clients(self):
        """More at once than there are places, some of which stay and some of which are cut off."""
        waiting = [self.stream(iter(queue.Queue().get, None)) for _ in range(3)]
        answers = [self.fetch.future(b"", timeout=60) for _ in range(20)]
        for i, answer in enumerate(answers):
            if i % 5 == 4:
                answer.cancel()
            else:
                self.assertEqual(len(clients(answer.result())), 1)
        for call in waiting:
            call.cancel()
        self.assertEqual(len(clients(self.fetch(b"", timeout=10))), 1)

    def test_other_methods(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel.unary_unary(SERVICE + "Other")(b"", timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class AsGrpc(Situation):
    """gRPC's own xDS client, and what it says of itself, in each state."""

    PORT = free_port()
    ARGS = ["--csds", "127.0.0.1:%d" % PORT]
    CLIENT = """
import sys, time, grpc
from grpc._cython import cygrpc
channel = grpc.insecure_channel("xds:///svc")
future = channel.unary_unary("/a/b").future(b"")
sys.stdin.read(1)
sys.stdout.buffer.write(cygrpc.dump_xds_configs())
sys.stdout.flush()
sys.stdin.read(1)
"""

    @staticmethod
    def script(s):
        """svc and table ACKED; of three clusters one ACKED, one NACKED, one not there; endpoints REQUESTED."""
        hcm = field(2, "in") + field(3, field(1, ads_source()) + field(2, "table")) + field(
            5, field(1, "envoy.filters.http.router") + field(4, field(1, ROUTER)))
        api = field(1, "svc") + field(19, field(1, field(1, HCM) + field(2, hcm)))
        entries = b"".join(field(3, field(1, field(1, "/" + c)) + field(2, field(1, c))) for c in ("ok", "bad", "gone"))
        table = field(1, "table") + field(2, field(1, "all") + field(2, "svc") + entries)
        assert s.next(LDS).names == ["svc"]
        s.send(LDS, "l1", "1", [api])
        seen = [s.next(), s.next()]
        assert {(r.type_url, r.nonce) for r in seen} == {(LDS, "l1"), (RDS, "")}, seen
        s.send(RDS, "r1", "1", [table])
        while True:
            r = s.next()
            if r.type_url == CDS and set(r.names) == {"ok", "bad", "gone"}:
                break
        s.send(CDS, "c1", "1", [eds_cluster("ok"), eds_cluster("bad"), eds_cluster("gone")])
        s.send(CDS, "c2", "2", [eds_cluster("ok"), eds_cluster("bad")])
        s.send(CDS, "c3", "3", [eds_cluster("ok"), field(1, "bad") + NO_SOURCE])
        while True:
            r = s.next()
            if r.type_url == CDS and r.nonce == "c3" and r.error:
                break

    def test_states(self):
        server = Server()
        self.addCleanup(server.stop)
        config = {"xds_servers": [{"server_uri": "127.0.0.1:%d" % server.port, "channel_creds": [{"type": "insecure"}],
                                   "server_features": ["xds_v3"]}], "node": {"id": "node-1"}}
        client = subprocess.Popen([sys.executable, "-c", self.CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env=dict(os.environ, GRPC_XDS_BOOTSTRAP_CONFIG=json.dumps(config)))
        self.addCleanup(lambda: (client.kill(), client.wait(), client.stdin.close(), client.stdout.close()))
        self.script(server.session())
        client.stdin.write(b"1")
        client.stdin.flush()
        theirs = self.states([client.stdout.read1(1 << 20)])  # a ClientConfig
        with grpc.insecure_channel("127.0.0.1:%d" % self.PORT) as channel:
            ours = self.states(parse(channel.unary_unary(SERVICE + "FetchClientStatus")(b"", timeout=10))[1])
        self.assertEqual({k: v for k, v in ours.items() if k in theirs}, theirs)
        self.assertEqual(sorted(theirs), ["ACKED", "DOES_NOT_EXIST", "NACKED", "REQUESTED"])

    @staticmethod
    def states(configs):
        """Which fields a resource has in each state."""
        out = {}
        for config in configs:
            for x in parse(config).get(3, []):
                f, error = parse(x), parse(parse(x)[8][0]) if 8 in parse(x) else {}
                name = STATES[f[7][0]]
                if name == "NACKED" and 4 not in f:
                    continue  # gRPC has no such here
                if name == "DOES_NOT_EXIST":  # gRPC shows what it had before, the agent's never were there
                    f = {k: v for k, v in f.items() if k not in (3, 4, 5)}
                out.setdefault(name, set()).add((tuple(sorted(f)), tuple(sorted(error))))
        return out


class Static(unittest.TestCase):
    """Files alone, over a unix socket."""

    def test_files(self):
        with tempfile.TemporaryDirectory(prefix="weft-csds-") as folder:
            path = os.path.join(folder, "csds")
            with Daemon("--no-kernel", "--config", GOOD, "--csds", path):
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                with grpc.insecure_channel("unix:" + path) as channel:
                    status, = clients(channel.unary_unary(SERVICE + "FetchClientStatus")(b"", timeout=10))
                self.assertIsNone(status.node)
                self.assertTrue(status.all and all(x.static and x.status == "ACKED" and x.any for x in status.all))
            self.assertFalse(os.path.exists(path))

    def test_refused_addresses(self):
        for address_ in ("10.0.0.1:80", "127.0.0.1", "x"):
            with tempfile.TemporaryDirectory(prefix="weft-csds-") as folder:
                status, _, err = run("run", "--no-kernel", "--config", GOOD, "--admin", os.path.join(folder, "a"), "--csds", address_)
            self.assertEqual(status, 1)
            self.assertIn("loopback", err)


if __name__ == "__main__":
    unittest.main()
