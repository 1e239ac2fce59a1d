#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pairs measured in one run: see README.md.   bench.py [--json FILE] [--quick] [--envoy PATH] [--only SIDE,...]"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import against_envoy
import config

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("e2e", "oracle"):
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), folder))
import casefile  # noqa: E402
import envoy as envoy_tool  # noqa: E402
import world as lab  # noqa: E402
from floor import Floor  # noqa: E402

VIP, TCP_VIP, WEB, WEB_H2, PORT = "10.99.0.1", "10.99.0.2", 8080, 8081, 80
ENVOY_PORT, HAPROXY_PORT = 10000, 10001
CONNECTIONS = (16, 64)
IDLE = 2500
HZ = os.sysconf("SC_CLK_TCK")


class Side:
    def __init__(self, name, pod, address, port, path=config.PATH, status="2xx", host=config.HOST, cgroup="pods"):
        self.name, self.pod, self.url = name, pod, f"http://{address}:{port}{path}"
        self.status, self.host, self.cgroup = status, host, cgroup
        self.rps = {c: [] for c in CONNECTIONS}
        self.cpu = {c: [] for c in CONNECTIONS}


def busy_ticks():
    """Ticks in which any CPU did anything (user, nice, system, irq, softirq)."""
    with open("/proc/stat", encoding="ascii") as f:
        t = [int(x) for x in f.readline().split()[1:]]
    return t[0] + t[1] + t[2] + t[5] + t[6]


# No two requests are the same: what is refused is judged each time (bpf/again.h).
DIFFERENT = """
local n = 0
function request()
  n = n + 1
  wrk.headers["x-n"] = n
  return wrk.format()
end
"""


def slice_of(world, side, connections, seconds, *more):
    before = busy_ticks()
    status, out = world.output(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Host: {side.host}", *more, side.url], side.pod,
                               cgroup=side.cgroup)
    busy = (busy_ticks() - before) / HZ
    requests = lab.number(out, r"(\d+) requests in")
    other = lab.number(out, r"Non-2xx or 3xx responses: (\d+)") or 0
    wrong = other if side.status == "2xx" else (requests or 0) - other
    if status != 0 or not requests or wrong > 1 or "Socket errors" in out:
        raise RuntimeError(f"{side.name}: {wrong} answers are not {side.status}:\n{out}")
    return lab.number(out, r"Requests/sec:\s+([\d.]+)"), 1e6 * busy / requests


# Sides that are compared stand beside each other, so that what else the machine does meets both.
ORDER = ("weft bypass", "no mesh", "weft l4", "Envoy 429", "weft 429", "floor 429", "Envoy", "weft captured", "HAProxy")


def measure(world, sides, slices, seconds):
    row = [sides[name] for name in ORDER if name in sides]
    for c in CONNECTIONS:
        for side in row:  # pools and caches filled, nobody starts cold
            slice_of(world, side, c, 1)
        for _ in range(slices):
            row.reverse()
            for side in row:
                rps, cpu = slice_of(world, side, c, seconds)
                side.rps[c].append(rps)
                side.cpu[c].append(cpu)


def ratio(sides, name, to):
    """Median of the ratios of slices that ran beside each other, of both numbers of connections; each by itself is printed."""
    a, b = sides.get(name), sides.get(to)
    if not a or not b:
        return None
    pairs = {c: [x / y for x, y in zip(a.rps[c], b.rps[c])] for c in CONNECTIONS}
    print(f"{name} to {to}: " + ", ".join(f"{statistics.median(v):.2f} with {c} connections" for c, v in pairs.items()))
    return statistics.median(x for v in pairs.values() for x in v)


def cpu_ratio(sides, name, to):
    """How many requests of `name` one of `to` costs in CPU: says what one busy thread of wrk, which bounds the rate, does not."""
    a, b = sides.get(name), sides.get(to)
    if not a or not b:
        return None
    return statistics.median(y / x for c in CONNECTIONS for x, y in zip(a.cpu[c], b.cpu[c]))


def print_table(sides):
    print(f"{'side':16}" + "".join(f"{f'c{c} req/s':>12}{'x no mesh':>11}{'CPU us/req':>12}" for c in CONNECTIONS))
    for s in sides.values():
        row = f"{s.name:16}"
        for c in CONNECTIONS:
            base = sides.get("no mesh")
            x = statistics.median(a / b for a, b in zip(s.rps[c], base.rps[c])) if base else float("nan")
            row += f"{statistics.median(s.rps[c]):12.0f}{x:11.2f}{statistics.median(s.cpu[c]):12.1f}"
        print(row)


# ---- routes and memory ----

def program_cost(world, pod, host, seconds, different=True):
    """Nanoseconds of one run of the sk_msg program, from the kernel's own statistics; different: of requests that are judged."""
    def counted():
        programs = json.loads(lab.run("bpftool", "-j", "prog", "show"))
        mine = [p for p in programs if p.get("type") == "sk_msg"]
        return sum(p.get("run_time_ns", 0) for p in mine), sum(p.get("run_cnt", 0) for p in mine)
    side = Side(host, pod, VIP, PORT, "/last", "429", f"{host}.test")
    more = ["-s", write(world, "different.lua", DIFFERENT)] if different else []
    slice_of(world, side, 16, 1, *more)
    t0, n0 = counted()
    slice_of(world, side, 16, seconds, *more)
    t1, n1 = counted()
    return (t1 - t0) / max(n1 - n0, 1)


def set_statistics(value):
    """Whether the kernel counts what programs cost; returns what it was."""
    with open("/proc/sys/kernel/bpf_stats_enabled", "r+", encoding="ascii") as f:
        before = f.read().strip()
        f.seek(0)
        f.write(value)
    return before


def routes_ratio(world, pod, slices, kind, number):
    """To 10 routes; asks for the last of them."""
    before = set_statistics("1")
    try:
        pairs = [tuple(program_cost(world, pod, f"{kind}-{n}", 1) for n in (config.FEW, number)) for _ in range(slices)]
        again = statistics.median(program_cost(world, pod, f"{kind}-{number}", 1, different=False) for _ in range(slices))
    finally:
        set_statistics(before)
    few, many = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(f"sk_msg program: {few:.0f} ns with {config.FEW} routes, {many:.0f} ns with {number} ({kind}), {again:.0f} ns for the same request again")
    return statistics.median(b / a for a, b in pairs)


def field_bytes(path, name):
    with open(path, encoding="ascii") as f:
        return 1024 * int(next(x for x in f if x.startswith(name + ":")).split()[1])


def memory_bytes(processes):
    """What connections take: the kernel's slabs, and what the processes between and behind them have allocated. Not all of
    the machine's memory: what else runs moves that by more than some thousand connections do."""
    return field_bytes("/proc/meminfo", "Slab") + sum(field_bytes(f"/proc/{p}/status", "RssAnon") for p in processes)


def family(pid):
    """A process and its children (nginx: the workers)."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [pid] + [int(x) for x in f.read().split()]


def idle_bytes(world, held, processes, pod, address, port, cgroup):
    """Memory per connection that has had one answer and waits. They stay open until the last measurement: memory that
    earlier ones gave back would be used again, unseen."""
    holder = world.start([sys.executable, os.path.join(HERE, "idle.py"), address, str(port), str(IDLE), config.HOST, config.PATH],
                         pod, cgroup, stdout=subprocess.PIPE, stderr=None, talk=True, text=True)
    held.append(holder)
    if holder.stdout.readline().strip() != "ready":
        raise RuntimeError("idle.py did not start")
    time.sleep(0.3)
    before = memory_bytes(processes)
    print("go", file=holder.stdin, flush=True)
    answer = holder.stdout.readline().strip()
    if answer != f"open {IDLE}":
        raise RuntimeError(f"idle.py: {answer}")
    time.sleep(0.5)
    return (memory_bytes(processes) - before) / IDLE


def memory(world, plain, client, agent, nginx):
    held, pairs = [], []
    processes = family(nginx.pid) + [agent.process.pid]
    try:
        for _ in range(5):
            pairs.append((idle_bytes(world, held, processes, plain, world.pods["server"].address, WEB, world.plain),
                          idle_bytes(world, held, processes, client, VIP, PORT, "pods")))
    finally:
        for holder in held:
            world.stop(holder)
    base, mine = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(f"memory per idle connection: {base:.0f} bytes without mesh (both ends), {mine:.0f} captured (app's end and agent's)")
    return mine - base


# ---- set-up ----

def write(world, name, text):
    path = os.path.join(world.dir, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def start_others(world, client, server, args, sides):
    """Where Envoy listens, if it does."""
    envoy = None
    threads = str(os.cpu_count())
    binary = args.envoy or _envoy_or_none()
    if binary and args.wants("Envoy"):
        boot = casefile.write_yaml(os.path.join(world.dir, "envoy.yaml"), config.envoy("127.0.0.1", ENVOY_PORT, server.address, WEB, WEB_H2))
        child = world.start([binary, "-c", boot, "--concurrency", threads, "--disable-hot-restart", "--use-dynamic-base-id", "-l", "warning"],
                            client, world.plain, name="envoy")
        world.wait_port(client, ENVOY_PORT, "127.0.0.1")
        sides["Envoy"] = Side("Envoy", client, "127.0.0.1", ENVOY_PORT, cgroup=world.plain)
        sides["Envoy 429"] = Side("Envoy 429", client, "127.0.0.1", ENVOY_PORT, config.LIMITED, "429", cgroup=world.plain)
        envoy = against_envoy.Place(client, "127.0.0.1", ENVOY_PORT, world.plain, child.pid)
    else:
        print("SKIP side Envoy: not installed (deploy/deps.sh --envoy)")
    if shutil.which("haproxy") and args.wants("HAProxy"):
        routes = os.path.join(world.dir, "routes.map")
        text, table = config.haproxy(HAPROXY_PORT, server.address, WEB, routes, threads)
        write(world, "routes.map", table)
        world.start(["haproxy", "-db", "-f", write(world, "haproxy.cfg", text)], client, world.plain)
        world.wait_port(client, HAPROXY_PORT, "127.0.0.1")
        sides["HAProxy"] = Side("HAProxy", client, "127.0.0.1", HAPROXY_PORT, cgroup=world.plain)
    else:
        print("SKIP side HAProxy: not installed (deploy/deps.sh --tests)")
    return envoy


def _envoy_or_none():
    top = os.path.dirname(os.path.dirname(HERE))
    try:
        return envoy_tool.find_envoy(os.path.join(top, "build", "envoy", "bin", "envoy"))
    except SystemExit:
        return None


def start_server(world, server):
    for name, content in ((config.GRPC_PATH, config.GRPC_MESSAGE), (config.RLS_PATH, config.RLS_MESSAGE), (config.BIG_PATH, None)):
        path = world.dir + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content) if content else f.truncate(against_envoy.BIG)
    nginx = world.start(["nginx", "-p", world.dir, "-c", write(world, "nginx.conf", config.nginx(WEB, WEB_H2, world.dir))], server, world.plain)
    world.wait_port(server, WEB)
    return nginx


def bench(world, args):
    server, plain, other, client = (world.pod(n) for n in ("server", "plain", "proxies", "client"))
    nginx = start_server(world, server)
    sides = {"no mesh": Side("no mesh", plain, server.address, WEB, cgroup=world.plain)}
    envoy = start_others(world, other, server, args, sides)
    results = {}
    if not args.wants("weft"):
        measure(world, sides, args.slices, args.seconds)
        print_table(sides)
        return results
    tables = os.path.join(os.path.dirname(lab.find_agent()), "test", "bench", "bench_flat")
    boot = casefile.write_yaml(os.path.join(world.dir, "weft.yaml"), config.envoy(VIP, PORT, server.address, WEB, WEB_H2, TCP_VIP, tables))
    least = Floor(world, os.path.join(os.path.dirname(lab.find_agent()), "bpf", "bench_floor.bpf.o"))
    # Of the idle connections each has one to the app and one to the endpoint: more than a pod's usual share may be.
    with least, lab.Agent(world, boot, ["--pod-files", str(7 * IDLE)], pods=[client]) as agent:
        sides["floor 429"] = Side("floor 429", plain, server.address, WEB, config.LIMITED, "429", cgroup=least.cgroup)
        sides["weft captured"] = Side("weft captured", client, VIP, PORT)
        sides["weft 429"] = Side("weft 429", client, VIP, PORT, config.LIMITED, "429")
        sides["weft l4"] = Side("weft l4", client, TCP_VIP, PORT)
        sides["weft bypass"] = Side("weft bypass", client, server.address, WEB)
        measure(world, sides, args.slices, args.seconds)
        print_table(sides)
        print("exchanges: " + json.dumps(agent.stats()["decisions"]["outcomes"]))
        results["agent_path_vs_envoy_rps"] = ratio(sides, "weft captured", "Envoy")
        results["agent_path_vs_haproxy_rps"] = ratio(sides, "weft captured", "HAProxy")
        results["kernel_429_vs_envoy_429_rps"] = ratio(sides, "weft 429", "Envoy 429")
        results["kernel_429_vs_floor_rps"] = ratio(sides, "weft 429", "floor 429")
        results["floor_429_vs_envoy_429_rps"] = ratio(sides, "floor 429", "Envoy 429")
        results["kernel_429_vs_envoy_429_cpu"] = cpu_ratio(sides, "weft 429", "Envoy 429")
        results["l4_vs_nomesh_rps"] = ratio(sides, "weft l4", "no mesh")
        results["bypass_vs_nomesh_rps"] = ratio(sides, "weft bypass", "no mesh")
        if envoy:
            weft = against_envoy.Place(client, VIP, PORT, "pods", agent.process.pid)
            results.update(against_envoy.compare(world, weft, envoy, args.slices, memory_bytes))
        results["routes_1000_vs_10"] = routes_ratio(world, client, args.slices, "routes", config.MANY)
        results["routes_10000_vs_10"] = routes_ratio(world, client, args.slices, "flat", config.VERY_MANY)
        results["memory_per_idle_connection_bytes"] = memory(world, plain, client, agent, nginx)
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--json", metavar="FILE", help="write {\"ratios\": [{\"name\", \"ratio\"}]}")
    ap.add_argument("--quick", action="store_true", help="3 slices a side: to see that it works, not to quote")
    ap.add_argument("--envoy", metavar="PATH", help="Envoy's binary; else that of deploy/deps.sh --envoy or PATH")
    ap.add_argument("--only", default="Envoy,HAProxy,weft", help="sides beside `no mesh` (default: all)")
    args = ap.parse_args()
    args.slices, args.seconds = (3, 1) if args.quick else (7, 1)
    args.wants = args.only.split(",").__contains__
    if not shutil.which("wrk") or not shutil.which("nginx"):
        raise lab.Missing("wrk and nginx are needed (deploy/deps.sh --tests)")
    with lab.World(subnet=78) as world:
        results = {k: v for k, v in bench(world, args).items() if v is not None}
    for name, value in results.items():
        print(f"{name:34} {value:10.3f}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({"ratios": [{"name": k, "ratio": round(v, 4)} for k, v in results.items()]}, f, indent=1)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except lab.Missing as e:
        print(f"SKIP bench: {e}")
        sys.exit(77)
