# SPDX-License-Identifier: Apache-2.0
"""Every threshold of circuit breakers under contention: clients of two processes at once, of which one sends heads that the kernel
judges and the other heads that only the agent can. What reaches the endpoint is counted there: never above the limit. However
the exchanges end, every place comes back: the next round is admitted as many again."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

PORTS = (8090, 8091, 8092, 8093)
EACH = 12  # requests of a process for each limit, all at once
N = 2 * EACH
LIMIT = {"default": 3, "high": 5}
WAITS = {"default": 4, "high": 6}  # max_pending_requests
POOLS = {"default": 2, "high": 3}
LIMIT_S = 30.0
ENDINGS = ("open", "close", "reset", "kill", "endpoint", "late", "open")
ALL = ("rq_active", "rq_pending", "retry_active")


def thresholds(**limits):
    """limits: a number or {priority: number}, for both priorities."""
    return [dict({"priority": p.upper(), "track_remaining": True}, **{k: v[p] if isinstance(v, dict) and p in v else v for k, v in limits.items()})
            for p in LIMIT]


class Contention(Mesh):
    """kinds: name of a cluster -> its circuit_breakers."""

    kinds, tcp, ending = {}, {}, None
    tried_again = ("retries", "least", "share")
    retry = {"retry_on": "5xx", "num_retries": 1}

    @classmethod
    def resources(cls):
        command = [sys.executable, os.path.join(HERE, "gate.py"), "server", *map(str, PORTS)]
        cls.gate = cls.world.start(command, cls.servers[0], stdout=subprocess.PIPE, stderr=None, talk=True)
        for port in PORTS:
            cls.world.wait_port(cls.servers[0], port)
        at = [(cls.servers[0].address, p) for p in PORTS]
        clusters, routes = [], []
        for name, limits in cls.kinds.items():
            clusters.append(r.cluster(name, *(at if name == "pools" else at[:1]), circuit_breakers=limits))
            for p in LIMIT:
                more = {"priority": p.upper(), **({"retry_policy": cls.retry} if name in cls.tried_again else {})}
                routes += [r.route(f"/{name}/{p}/late", name, timeout="0.4s", **more), r.route(f"/{name}/{p}", name, timeout="0s", **more)]
        listeners = [r.http("main", VIP, 80, [dict(r.host("h", ["*"], *routes), include_request_attempt_count=True)])]
        for i, (name, limits) in enumerate(cls.tcp.items()):
            clusters.append(r.cluster(name, at[0], circuit_breakers=limits))
            listeners.append(r.tcp(name, VIP, 81 + i, name))
        return r.bootstrap(listeners, clusters)

    def setUp(self):
        self.clients = [self.client_new() for _ in range(2)]
        self.addCleanup(self.clients_end)

    def client_new(self):
        command = [sys.executable, os.path.join(HERE, "gate.py"), "client", VIP]
        return self.world.start(command, self.client, stdout=subprocess.PIPE, stderr=None, talk=True)

    def clients_end(self, sig=signal.SIGTERM):
        while self.clients:
            self.world.stop(self.clients.pop(), sig)

    def tell(self, peer, do, **more):
        peer.stdin.write(json.dumps(dict(more, do=do)).encode() + b"\n")
        peer.stdin.flush()
        return json.loads(peer.stdout.readline())

    def ask(self, paths, do="ask", besides=False, **more):
        for split, peer in enumerate(self.clients):
            self.tell(peer, do, besides=besides, lots=[dict(more, path=p, n=EACH, split=bool(split), **({"port": port} if port else {})) for p, port in paths.items()])

    def answers(self, do="count"):
        """{path: {answer: n}} of both clients."""
        total = {}
        for got in [self.tell(peer, do) for peer in self.clients]:
            for path, counts in got.items():
                sums = total.setdefault(path, {})
                for k, n in counts.items():
                    sums[k] = sums.get(k, 0) + n
        return total

    def cells(self):
        """{cluster: its cell}"""
        return {c["name"]: c for c in self.agent.stats()["cells"] if c["kind"] == "cluster"}

    def until(self, want, look):
        """look() until it is what is wanted."""
        end = time.monotonic() + LIMIT_S
        while (got := look()) != want and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(got, want, f"round {self.ending!r}")

    def free(self):
        """Nothing is held any more, at the endpoint or in a breaker; of HTTP connections idle ones may stay."""
        self.until({}, lambda: self.tell(self.gate, "state")["inside"])
        words = {**{n: ALL for n in self.kinds}, **{n: (*ALL, "cx_active") for n in self.tcp}}
        self.until({}, lambda: {f"{n} {k}": c[k] for n, c in self.cells().items() for k in words.get(n, ()) if c[k]})

    def rounds(self, expected, ports=None):
        """expected: {path: (inside, answers by now)}."""
        paths = {p: (ports or {}).get(p) for p in expected}
        for self.ending in ENDINGS:
            if self.ending == "late":
                self.late(paths)
                continue
            # the endpoint learns late who is gone, and may have seen the next one before
            self.tell(self.gate, "forget")
            self.ask(paths)
            self.until(expected, lambda: self.now(paths))
            self.held()
            most = self.tell(self.gate, "state")["most"]
            self.assertEqual({p: most[p] for p in paths}, {p: inside for p, (inside, _) in expected.items()})
            getattr(self, "end_" + self.ending)(expected)
            self.free()

    def now(self, paths):
        got = self.answers()
        inside = self.tell(self.gate, "state")["inside"]
        return {p: (inside.get(p, 0), got.get(p, {})) for p in paths}

    def held(self):
        """What gauges have to say of a round."""

    def end_open(self, expected):
        self.tell(self.gate, "open")
        got = self.answers("rest")
        self.tell(self.gate, "shut")
        for path, (_, others) in expected.items():
            self.assertEqual(got[path], {"200": N - sum(others.values()), **others}, path)

    def end_close(self, _):
        self.answers("close")

    def end_reset(self, _):
        self.answers("reset")

    def end_kill(self, _):
        self.clients_end(signal.SIGKILL)
        self.setUp()

    def end_endpoint(self, expected):
        """Those inside are reset; whoever waited for their places is let through."""
        self.tell(self.gate, "reset")
        self.tell(self.gate, "open")
        got = self.answers("rest")
        self.tell(self.gate, "shut")
        for path in expected:
            self.assertEqual(sum(got[path].values()), N)
            self.assertNotEqual(set(got[path]), {"200"})

    def late(self, paths):
        """A timeout ends those that are held, and those that wait."""
        late = {p.replace(f"/{k}/", f"/{k}/late/"): None for p, port in paths.items() for k in LIMIT if f"/{k}/" in p and not port}
        if not late:
            return
        self.ask(late)
        got = self.answers("rest")
        for path in late:
            self.assertEqual(sum(got[path].values()), N)
            self.assertLessEqual(set(got[path]), {"503", "504"})
            self.assertGreater(got[path].get("504", 0), 0)
        self.free()

    def gauges(self, cluster, word):
        """{priority: places that are left}"""
        breakers = self.cells()[cluster]["circuit_breakers"]
        return {p: breakers[p]["remaining_" + word] for p in LIMIT}


def over(n):
    return {"503": n} if n else {}


def budget(percent, least):
    return [dict(t, max_retries=0, retry_budget={"budget_percent": {"value": percent}, "min_retry_concurrency": least[p]})
            for p, t in zip(LIMIT, thresholds())]


class Requests(Contention):
    kinds = {"requests": {"thresholds": thresholds(max_requests=LIMIT)},
             "retries": {"thresholds": thresholds(max_retries=LIMIT)},
             "least": {"thresholds": budget(0, LIMIT)},
             "share": {"thresholds": budget(25, {p: 0 for p in LIMIT})}}
    tcp = {"l4": {"thresholds": [{"max_connections": 3}]}, "l4-host": {"per_host_thresholds": [{"max_connections": 5}]}}

    def test_requests_and_retries(self):
        def held():
            words = {"requests": "rq", "retries": "retries", "least": "retries"}
            self.assertEqual({k: self.gauges(k, w) for k, w in words.items()}, {k: {p: 0 for p in LIMIT} for k in words})
        self.held = held
        again = {"requests": "", "retries": "/again", "least": "/again"}
        self.rounds({f"/{k}/{p}{again[k]}/": (n, over(N - n)) for k in again for p, n in LIMIT.items()})

    def test_budget(self):
        """A quarter of what is active, which grows with the retries themselves: at least of those that were held before, at most of all."""
        steady, again = "/share/default/", "/share/default/again/"
        for self.ending in (e for e in ENDINGS if e != "late"):
            self.ask({steady: None})
            self.until((N, {}), lambda: self.now([steady])[steady])
            self.ask({again: None}, besides=True)
            self.until(N, lambda: sum(sum(x.values()) if isinstance(x, dict) else x for x in self.now([again])[again]))
            inside, others = self.now([again])[again]
            self.assertEqual(others, {"503": N - inside})
            self.assertTrue(N // 4 <= inside <= N // 2, inside)
            getattr(self, "end_" + self.ending)({again: (inside, others)})
            self.free()

    def test_churn(self):
        """Places that come and go: at no moment more than the limit at the endpoint, nobody is refused for nothing afterwards."""
        paths = {f"/requests/{p}/churn/": None for p in LIMIT}
        before = self.outcomes()
        self.ask(paths, "churn", times=30)
        most = self.tell(self.gate, "state")["most"]
        for p, n in LIMIT.items():
            self.assertLessEqual(most[f"/requests/{p}/churn/"], n)
        got = self.answers()
        for path in paths:
            self.assertGreater(got[path].get("200", 0), 0)
            self.assertGreater(got[path].get("503", 0), 0)
        grown = self.outcomes(before)
        for side in ("kernel", "agent"):
            self.assertGreater(grown[side].get("overflow", 0), 0, grown)
        # an endpoint learns later than the breaker that a client is gone: only what is left is told
        self.ask(paths, "churn", times=30, cut=5)
        self.free()
        self.assertEqual(self.gauges("requests", "rq"), LIMIT)

    def test_l4(self):
        """connect() takes the places of a cluster, the agent those of an endpoint."""
        ports = {"/l4/": 81, "/l4-host/": 82}

        def held():
            cells = self.cells()
            self.assertEqual((cells["l4"]["cx_active"], cells["l4-host"]["cx_active"]), (3, 5))
        self.held = held
        self.rounds({"/l4/": (3, {"refused": N - 3}), "/l4-host/": (5, {"closed": N - 5})}, ports)


class Waiting(Contention):
    """Connections and who waits for them. One worker: each has pools of its own, which may all open their first connection (Envoy's rule)."""

    options = ("--workers", "1")
    kinds = {"pending": {"thresholds": thresholds(max_connections=LIMIT, max_pending_requests=WAITS)},
             "connections": {"thresholds": thresholds(max_connections=LIMIT)},
             **{"host-" + p: {"thresholds": thresholds(), "per_host_thresholds": [{"priority": p.upper(), "max_connections": n}]} for p, n in LIMIT.items()}}

    def test_connections(self):
        waits = {"pending": sum(WAITS.values()), "connections": 2 * N - sum(LIMIT.values()), **{"host-" + p: N - n for p, n in LIMIT.items()}}

        def held():
            self.until(waits, lambda: {k: c["rq_pending"] for k, c in self.cells().items() if k in waits})
            cells = self.cells()
            self.assertEqual({k: cells[k]["cx_active"] for k in waits}, {k: LIMIT.get(k[5:], sum(LIMIT.values())) for k in waits})
            self.assertEqual((self.gauges("pending", "cx"), self.gauges("connections", "cx"), self.gauges("pending", "pending")), ({p: 0 for p in LIMIT},) * 3)
        self.held = held
        self.rounds({**{f"/pending/{p}/": (n, over(N - n - WAITS[p])) for p, n in LIMIT.items()}, **{f"/connections/{p}/": (n, {}) for p, n in LIMIT.items()},
                     **{f"/host-{p}/{p}/": (n, {}) for p, n in LIMIT.items()}})


class Pools(Contention):
    """Four endpoints, fewer pools: of all workers together."""

    kinds = {"pools": {"thresholds": thresholds(max_connection_pools=POOLS)}}

    def test_pools(self):
        paths = {f"/pools/{p}/": None for p in LIMIT}
        for self.ending in ENDINGS:
            if self.ending == "late":
                self.late(paths)
            else:
                self.ask(paths)
                self.until({p: N for p in paths}, lambda: {p: n + sum(a.values()) for p, (n, a) in self.now(paths).items()})
                self.assertEqual(self.gauges("pools", "cx_pools"), {p: 0 for p in LIMIT})
                ports, now = self.tell(self.gate, "state")["ports"], self.now(paths)
                for p, n in POOLS.items():
                    inside, others = now[f"/pools/{p}/"]
                    self.assertEqual(others, {"503": N - inside})
                    self.assertTrue(0 < len(ports[f"/pools/{p}/"]) <= n, ports)
                getattr(self, "end_" + self.ending)(now)
                self.free()
            self.tell(self.gate, "drop")
            self.until(POOLS, lambda: self.gauges("pools", "cx_pools"))


if __name__ == "__main__":
    unittest.main()
