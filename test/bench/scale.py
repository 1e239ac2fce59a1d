# SPDX-License-Identifier: Apache-2.0
"""A large mesh and many views: scale.py [--quick] [--envoy PATH]. Needs root. WEFT_AGENT: the binary, else build/release.

Pods of several kinds are enrolled, a scripted server serves each kind its own view of a generated mesh, then endpoints change, then everything
churns. Printed: the first complete configuration, what one changed endpoint costs, memory against Envoys with that configuration, and
what is left behind after the churn. Wrong results and growth are errors; times are printed only."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("e2e", "interop"):
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), folder))
import world as lab  # noqa: E402
try:
    import scripted_ads as ads  # noqa: E402
except ImportError:
    print("SKIP: no grpcio for this python3")
    sys.exit(77)

PORT, SUFFIX = 18080, ".shop.svc.cluster.local"
WAIT_S = 300


class Mesh:
    """Clusters, endpoints and routes as bytes; a part of the endpoints, and one cluster, is each view's own."""

    def __init__(self, services, endpoints, routes):
        self.services, self.endpoints, self.routes = services, endpoints, routes
        self.names = [f"outbound|80||s{i}{SUFFIX}" for i in range(services)]
        self.clusters = [(n, "1", ads.eds_cluster(n)) for n in self.names]
        self.common = [(n, "1", self.assignment(i, 0)) for i, n in enumerate(self.names)]
        self.listeners = [("main", "1", ads.listener("main", PORT, "routes", "127.0.0.1"))]  # Envoy has to bind it
        self.tables = [("routes", "1", self.table())]

    def assignment(self, i, shift):
        hosts = b""
        for j in range(self.endpoints):
            n = i * self.endpoints + j
            hosts += ads.field(2, ads.field(1, ads.field(1, ads.address(8080, f"10.{1 + (n >> 16) + shift % 200}.{n >> 8 & 255}.{n & 255}"))))
        return ads.field(1, self.names[i]) + ads.field(2, hosts)

    def table(self):
        out = ads.field(1, "routes")
        for i, name in enumerate(self.names):
            entries = b"".join(ads.field(3, ads.field(1, ads.field(1, f"/v{j}" if j else "/")) + ads.field(2, ads.field(1, name)))
                               for j in reversed(range(self.routes)))
            out += ads.field(2, ads.field(1, f"s{i}") + ads.field(2, f"s{i}{SUFFIX}") + ads.field(2, f"s{i}") + entries)
        return out

    def view(self, k):
        """Each type's resources of view k."""
        own = {self.names[i]: (self.names[i], "1", self.assignment(i, k + 1)) for i in range(k, self.services, 50)}
        name = f"view-{k}"
        return {ads.CDS: self.clusters + [(name, "1", ads.static_cluster(name))], ads.EDS: [own.get(e[0], e) for e in self.common],
                ads.LDS: self.listeners, ads.RDS: self.tables}


class Stream(threading.Thread):
    """Serves one session its view, each type when it is first asked for."""

    def __init__(self, session, resources):
        super().__init__(daemon=True)
        self.session, self.resources = session, resources
        self.last_sent, self.serial, self.lock = 0.0, 0, threading.Condition()
        self.acked, self.refused, self.bytes = {}, [], 0
        self.start()

    def send(self, kind, resources, removed=()):
        with self.lock:
            self.serial += 1
            nonce = str(self.serial)
            self.last_sent = time.monotonic()
        self.session.send(kind, nonce, resources, removed)
        return nonce

    def run(self):
        asked = set()
        while True:
            request = self.session.requests.get()
            if request is None:
                return
            with self.lock:
                if request.nonce:
                    self.acked[request.nonce] = time.monotonic()
                    if request.error is not None:
                        self.refused.append(request.error)
                    self.lock.notify_all()
            if request.nonce == "" and request.type_url in self.resources and request.type_url not in asked:
                asked.add(request.type_url)
                self.send(request.type_url, self.resources[request.type_url])

    def wait(self, nonce):
        """When the answer to a response came."""
        end = time.monotonic() + WAIT_S
        with self.lock:
            while nonce not in self.acked:
                assert self.lock.wait(end - time.monotonic()), "no answer"
            return self.acked[nonce]


def cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except FileNotFoundError:  # it has just ended
            pass
    return total


def status_kib(pid, key="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith(key + ":")).split()[1])


def memory_kib(pid):
    """(RSS without BPF maps, mapped BPF maps as a whole): the image and the state count with all they could hold."""
    rss, maps, of_map = 0, set(), None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                of_map = (words[4], words[0]) if "bpf-map" in line else None
                if of_map:
                    low, high = (int(x, 16) for x in words[0].split("-"))
                    maps.add((high - low) >> 10)
            elif words[0] == "Rss:" and not of_map:
                rss += int(words[1])
    return rss, sum(maps)


def until(what, limit=WAIT_S):
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "not reached"
        time.sleep(0.01)
    return time.monotonic()


class Scale:
    def __init__(self, args):
        self.quick = args.quick
        self.mesh = Mesh(200, 4, 2) if args.quick else Mesh(5000, 4, 2)
        self.views, self.pods_each = (3, 2) if args.quick else (10, 3)
        self.envoy = args.envoy

    def enrol(self, world, agent):
        streams = []
        for k in range(self.views):
            for i in range(self.pods_each):
                name = f"p{k}-{i}"
                path = os.path.join(lab.NETNS_DIR, world._netns(name))
                agent.call("pod", "add", "--netns", path, "--name", name, "--namespace", f"n{k}")
            # The server sees one stream for all of them.
            streams.append(self.server.session())
        assert self.server.sessions.empty()
        return streams

    def show(self, **more):
        for key, value in more.items():
            print(f"{key:26} {value:.3f}" if isinstance(value, float) else f"{key:26} {value}", flush=True)

    def accepted(self):
        for s in self.streams:
            assert not s.refused, s.refused[0]
        return True

    def first(self, agent, sessions):
        """Every view whole, served at once."""
        data = [self.mesh.view(k) for k in range(self.views)]
        began = time.monotonic()
        cpu = cpu_ns(agent.process.pid)
        self.streams = [Stream(s, d) for s, d in zip(sessions, data)]
        ready = until(lambda: self.accepted() and all(p["configured"] for p in agent.call("pod", "list")))
        last = max(s.last_sent for s in self.streams)
        self.show(first_s=ready - began, first_after_last_byte_s=ready - last,
                  first_cpu_ms=(cpu_ns(agent.process.pid) - cpu) / 1e6)

    def changes(self, agent, turns):
        """One endpoint set that all views have changes: from the message to the last answer, which is sent when it is in the kernel."""
        took = []
        cpu = cpu_ns(agent.process.pid)
        for turn in range(turns):
            i = (turn * 7919 + 49) % self.mesh.services
            i += (49 - i) % 50  # one that no view has of its own
            i = min(i, self.mesh.services - 1)
            resource = (self.mesh.names[i], f"c{turn}", self.mesh.assignment(i, turn + 1))
            time.sleep(0.05)  # longer than --xds-interval: each change comes alone
            began = time.monotonic()
            nonces = [(s, s.send(ads.EDS, [resource])) for s in self.streams]
            took.append(max(s.wait(n) for s, n in nonces) - began)
        cpu = (cpu_ns(agent.process.pid) - cpu) / 1e6 / turns
        took.sort()
        self.show(change_ms=1000 * took[turns // 2], change_p99_ms=1000 * took[turns * 99 // 100], change_cpu_ms=cpu)

    def churn(self, agent, turns):
        """Services come and go, routes and endpoints change; then all is as it was."""
        def turn(n):
            nonces = []
            for k, s in enumerate(self.streams):
                name = f"extra-{n % 5}"
                i = (n * 31 + k) % self.mesh.services
                nonces.append((s, s.send(ads.CDS, [(name, str(n), ads.static_cluster(name, "x" * (n % 7)))], [f"extra-{(n + 2) % 5}"])))
                nonces.append((s, s.send(ads.EDS, [(self.mesh.names[i], str(n), self.mesh.assignment(i, n))])))
            for s, nonce in nonces:
                s.wait(nonce)

        def rest():
            nonces = []
            for k, s in enumerate(self.streams):
                nonces.append((s, s.send(ads.CDS, [], [f"extra-{i}" for i in range(5)])))
                nonces.append((s, s.send(ads.EDS, self.mesh.view(k)[ads.EDS])))
            for s, nonce in nonces:
                s.wait(nonce)
            time.sleep(3)  # what was replaced is taken back within a tick or two
            stats = agent.stats()
            store = stats["store"]
            return {"objects": store["objects"], "image": store["image_used"], "contents": stats["resources"]["contents"],
                    "users": stats["resources"]["users"]}, status_kib(agent.process.pid)
        for n in range(turns):
            turn(n)
        before, rss = rest()
        for n in range(turns):
            turn(n + turns)
        after, rss_after = rest()
        assert before == after, (before, after)
        self.show(churn_updates=4 * turns * self.views, growth_kib=rss_after - rss, **after)
        # Memory that the allocator keeps is bounded; a leak of what one update has would be far more.
        assert rss_after - rss < 16384, (rss, rss_after)

    def envoy_kib(self):
        """Of one Envoy with the first view, in the same run."""
        bootstrap = {"node": {"id": "e", "cluster": "e"}, "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "cds_config": {"ads": {}, "resource_api_version": "V3"}, "lds_config": {"ads": {}, "resource_api_version": "V3"}},
            "static_resources": {"clusters": [{"name": "xds", "type": "STATIC", "connect_timeout": "5s", "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {
                        "http2_protocol_options": {}}}}, "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {
                            "address": {"socket_address": {"address": "127.0.0.1", "port_value": self.server.port}}}}]}]}}]}}
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="ascii") as f:
            json.dump(bootstrap, f)
            f.flush()
            with subprocess.Popen([self.envoy, "-c", f.name, "--concurrency", "2", "--disable-hot-restart", "-l", "critical"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                try:
                    until(lambda: process.poll() is not None or not self.server.sessions.empty())
                    stream = Stream(self.server.session(), self.mesh.view(0))
                    until(lambda: stream.serial >= 4 and len(stream.acked) >= 4)
                    assert not stream.refused, stream.refused
                    time.sleep(2)
                    return status_kib(process.pid)
                finally:
                    process.kill()

    def memory(self, agent):
        rss, maps = memory_kib(agent.process.pid)
        self.show(agent_rss_mib=rss / 1024, agent_maps_mib=maps / 1024)
        if not self.envoy:
            print("SKIP: memory of Envoy: no --envoy PATH")
            return
        one, pods = self.envoy_kib(), self.views * self.pods_each
        self.show(envoy_mib=one / 1024, envoys=pods, memory_ratio=(rss + maps) / (one * pods))

    def run(self):
        with lab.World(subnet=79) as world:
            self.server = ads.Server(streams=self.views + 8)
            try:
                agent = lab.Agent(world, options=["--xds", f"127.0.0.1:{self.server.port}", "--xds-views", "pod", "--image-size",
                                                  "32M" if self.quick else "128M", "--workers", "2"], name="scale")
                with agent:
                    self.first(agent, self.enrol(world, agent))
                    self.memory(agent)
                    self.changes(agent, 20 if self.quick else 200)
                    self.churn(agent, 5 if self.quick else 20)
                    self.accepted()
                    assert agent.call("dump", "clusters")["agree"]
            finally:
                self.server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--envoy")
    args = parser.parse_args()
    try:
        lab.find_agent()
        Scale(args).run()
    except lab.Missing as e:
        print("SKIP:", e)
        sys.exit(77)


if __name__ == "__main__":
    main()
