# SPDX-License-Identifier: Apache-2.0
"""What wrk cannot ask for, weft and Envoy in turn: HTTP/2 and gRPC (h2load), a large body (curl), latency at a given rate, idle HTTP/2 connections."""
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import config
import world as lab

HERE = os.path.dirname(os.path.abspath(__file__))
STREAMS = 100
CLIENTS = (1, 8)
BIG = 1 << 30
LOAD = 0.8
IDLE = 500


@dataclass
class Place:
    """Where a client meets one of the two."""
    pod: object
    address: str
    port: int
    cgroup: str
    process: int  # of the proxy

    def output(self, world, command):
        status, out = world.output(command, self.pod, cgroup=self.cgroup, timeout=120)
        if status != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {status}\n{out}")
        return out


def turns(weft, envoy, slices, measure):
    """[(weft's, Envoy's)], one right after the other, each first in every second turn; the first turn warms up."""
    pairs = []
    for i in range(slices + 1):
        first, second = (weft, envoy) if i % 2 else (envoy, weft)
        a, b = measure(first), measure(second)
        pairs.append((a, b) if first is weft else (b, a))
    return pairs[1:]


def median_ratio(pairs, more_is_better=True):
    return statistics.median((w / e) if more_is_better else (e / w) for w, e in pairs)


def show(name, unit, pairs):
    w, e = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(f"{name:34} weft {w:12.1f}  Envoy {e:12.1f} {unit}")


def h2load(world, place, clients, host, path, *more):
    """Requests/s; every one answered by 2xx."""
    out = place.output(world, ["h2load", "-t1", f"-c{clients}", f"-m{STREAMS}", "-D1", f"--connect-to={place.address}:{place.port}", *more,
                               f"http://{host}{path}"])
    failed = lab.number(out, r"(\d+) failed")
    good, other = lab.number(out, r"(\d+) 2xx"), sum(lab.number(out, rf"(\d+) {x}xx") or 0 for x in (3, 4, 5))
    if failed or other or not good:
        raise RuntimeError(f"h2load: not all were answered well:\n{out}")
    return lab.number(out, r"([\d.]+) req/s")


def http2(world, weft, envoy, slices):
    """The worse of one connection and of several, 100 streams on each; plain requests and gRPC calls, HTTP/2 on both sides of the proxy."""
    message = os.path.join(world.dir, "message")
    with open(message, "wb") as f:
        f.write(config.GRPC_MESSAGE)
    kinds = {"h2_vs_envoy_rps": (config.PATH,),
             "grpc_vs_envoy_rps": (config.GRPC_PATH, "-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers")}
    results = {}
    for name, words in kinds.items():
        worst = []
        for clients in CLIENTS:
            pairs = turns(weft, envoy, slices, lambda p, c=clients, w=words: h2load(world, p, c, config.H2_HOST, *w))
            show(f"{name.split('_', 1)[0]}, {clients} x {STREAMS} streams", "requests/s", pairs)
            worst.append(median_ratio(pairs))
        results[name] = min(worst)
    return results


def download(world, place):
    """Bytes/s of one large response."""
    out = place.output(world, ["curl", "-sS", "-o", "/dev/null", "-H", f"Host: {config.HOST}", "-w", "%{http_code} %{size_download} %{speed_download}",
                               f"http://{place.address}:{place.port}{config.BIG_PATH}"])
    code, size, speed = out.split()
    if code != "200" or int(size) != BIG:
        raise RuntimeError(f"large body: {out}")
    return float(speed)


def large_body(world, weft, envoy, slices):
    pairs = turns(weft, envoy, slices, lambda p: download(world, p))
    show("1 GiB body", "bytes/s", pairs)
    return {"body_1gib_vs_envoy": median_ratio(pairs)}


def p99(world, place, rate):
    """The 99th percentile (us) of requests that come at a fixed rate over 16 connections of HTTP/1.1; the first fifth is not counted."""
    log = os.path.join(world.dir, "latency")
    if os.path.exists(log):
        os.unlink(log)
    place.output(world, ["h2load", "--h1", "-t1", "-c16", "-D3", f"--rps={max(rate // 16, 1)}", f"--log-file={log}",
                         f"--connect-to={place.address}:{place.port}", f"http://{config.HOST}{config.PATH}"])
    with open(log, encoding="ascii") as f:
        rows = sorted((int(start), int(status), int(us)) for start, status, us, *_ in map(str.split, f))
    rows = rows[len(rows) // 5:]
    if not rows or any(status != 200 for _, status, _ in rows):
        raise RuntimeError(f"latency: {len(rows)} answers, not all 200")
    times = sorted(us for _, _, us in rows)
    return times[len(times) * 99 // 100]


def latency(world, weft, envoy, slices):
    """At four fifths of what Envoy can do: the same load for both."""
    most = statistics.median(h2load(world, envoy, 16, config.HOST, config.PATH, "--h1") for _ in range(3))
    rate = int(most * LOAD)
    pairs = turns(weft, envoy, slices, lambda p: p99(world, p, rate))
    show(f"p99 at {rate} requests/s", "us", pairs)
    return {"envoy_p99_vs_weft": median_ratio(pairs, more_is_better=False)}


def question_us(world, place):
    """What asking the rate limit service, which always says OK, adds to a request: with 16 connections, one request at a time on each."""
    asked = replace(place, port=place.port + config.ASKED)
    plain, with_it = (h2load(world, p, 16, config.HOST, config.PATH, "--h1", "-m1") for p in (place, asked))
    return 1e6 / with_it - 1e6 / plain


def global_limit(world, weft, envoy, slices):
    pairs = turns(weft, envoy, slices, lambda p: question_us(world, p))
    show("global limit, added", "us/request", pairs)
    return {"global_limit_added_vs_envoy": median_ratio(pairs)}


def idle(world, place, memory_bytes):
    """Bytes for each of IDLE HTTP/2 connections that have had one answer and wait."""
    holder = world.start([sys.executable, os.path.join(HERE, "idle.py"), place.address, str(place.port), str(IDLE), config.HOST, config.PATH, "h2"],
                         place.pod, place.cgroup, stdout=subprocess.PIPE, stderr=None, talk=True, text=True)
    if holder.stdout.readline().strip() != "ready":
        raise RuntimeError("idle.py did not start")
    time.sleep(0.3)
    before = memory_bytes([place.process])
    print("go", file=holder.stdin, flush=True)
    answer = holder.stdout.readline().strip()
    if answer != f"open {IDLE}":
        raise RuntimeError(f"idle.py: {answer}")
    time.sleep(0.5)
    return holder, (memory_bytes([place.process]) - before) / IDLE


def idle_memory(world, weft, envoy, memory_bytes):
    """All held open until the last measurement, or memory that was given back would be used again, unseen."""
    held, pairs = [], []
    try:
        for _ in range(5):
            pair = []
            for place in (weft, envoy):
                holder, size = idle(world, place, memory_bytes)
                held.append(holder)
                pair.append(size)
            pairs.append(pair)
    finally:
        for holder in held:
            world.stop(holder)
    show("idle HTTP/2 connection", "bytes", pairs)
    return {"envoy_h2_idle_memory_vs_weft": median_ratio(pairs, more_is_better=False)}


def compare(world, weft, envoy, slices, memory_bytes):
    if not shutil.which("h2load"):
        print("SKIP HTTP/2: h2load is not installed (deploy/deps.sh --tests)")
        return {}
    return dict(http2(world, weft, envoy, slices), **large_body(world, weft, envoy, min(slices, 3)), **latency(world, weft, envoy, slices),
                **global_limit(world, weft, envoy, slices),
                **idle_memory(world, weft, envoy, memory_bytes))
