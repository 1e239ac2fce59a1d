# SPDX-License-Identifier: Apache-2.0
"""The demonstration that demo.sh runs: three pods, real traffic, what was expected and what was seen."""
import json
import math
import os
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for folder in ("test/oracle", "test/e2e"):
    sys.path.insert(0, os.path.join(TOP, folder))
import casefile  # noqa: E402  (the path is set above)
import envoy as envoy_tool  # noqa: E402
import resources as r  # noqa: E402
import world as lab  # noqa: E402

VIP, WEB, HOST = "10.99.0.1", 8080, "shop.test"
TOKENS, PLACES = 100, 5
ENVOY_PORT = 10000
CLIENT = os.path.join(TOP, "test/e2e/client.py")


def nginx(world, pod):
    """A real nginx that says which version it is; /slow takes about two seconds."""
    folder = os.path.join(world.dir, "nginx-" + pod.name)
    os.makedirs(folder)
    temp = " ".join(f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(os.path.join(folder, "nginx.conf"), "w", encoding="utf-8") as f:
        f.write(f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000; {temp}
    server {{
        listen {WEB} backlog=4096;
        default_type text/plain;
        add_header x-backend {pod.name};
        location /slow {{ limit_rate 100; return 200 "{'slow and steady ' * 16}"; }}
        location / {{ return 200 "hello from {pod.name}\\n"; }}
    }}
}}
""")
    world.start(["nginx", "-p", folder, "-c", os.path.join(folder, "nginx.conf")], pod, world.plain, name="nginx-" + pod.name)
    world.wait_port(pod, WEB)


def configuration(v1, v2, weights, address=VIP, port=80):
    endpoints = {"v1": (v1.address, WEB), "v2": (v2.address, WEB)}
    shop = r.host("shop", [HOST],
                  r.route("/", "v2", r.with_header("x-version", "2")),
                  r.limited(r.route("/limited", "v1"), TOKENS),
                  r.route("/slow", "slow"),
                  r.answer("/forbidden", 403, "not for you\n"),
                  r.route("/v1", "v1"),
                  r.route("/", weights))
    return r.bootstrap([r.http("shop", address, port, [shop])],
                       [r.cluster("v1", endpoints["v1"]), r.cluster("v2", endpoints["v2"]),
                        r.cluster("slow", endpoints["v1"], **r.breaker(max_requests=PLACES))])


class Demo:
    def __init__(self, world):
        self.world = world
        self.client, self.v1, self.v2 = (world.pod(n) for n in ("client", "v1", "v2"))
        self.failed = []
        self.config = os.path.join(world.dir, "config", "weft.yaml")
        os.mkdir(os.path.dirname(self.config))

    # ---- telling ----

    @staticmethod
    def title(text):
        print(f"\n== {text}", flush=True)

    def expect(self, what, expected, seen, ok=None):
        ok = expected == seen if ok is None else ok
        print(f"   {'ok  ' if ok else 'FAIL'} {what}: expected {expected}, seen {seen}", flush=True)
        if not ok:
            self.failed.append(what)

    # ---- doing ----

    def begin(self, do="load", cgroup="pods", **job):
        job = dict({"do": do, "address": VIP, "host": HOST}, **job)
        return self.world.start([sys.executable, CLIENT, json.dumps(job)], self.client, cgroup, stdout=subprocess.PIPE, stderr=None)

    def finish(self, child):
        try:
            out, _ = child.communicate(timeout=60)
        finally:
            self.world.stop(child)
        return json.loads(out)

    def load(self, **job):
        return self.finish(self.begin(**job))

    def curl(self, *words):
        print("   $ curl " + " ".join(w if " " not in w else f"'{w}'" for w in words))
        _, out = self.world.output(["curl", "-s", "-i", "--max-time", "10", *words], self.client)
        print("".join(f"     {line}\n" for line in out.replace("\r", "").strip().split("\n")), end="")
        return out

    def write(self, weights):
        casefile.write_yaml(self.config, configuration(self.v1, self.v2, weights))

    # ---- the parts ----

    def routes(self):
        self.title("One route by header, the rest split 90 to 10")
        self.curl("-H", f"Host: {HOST}", "-H", "x-version: 2", f"http://{VIP}/")
        got = self.load(connections=4, requests=100, headers={"x-version": "2"})
        self.expect("400 requests with x-version: 2", {"200 v2": 400}, got["counts"])
        n = 2000
        got = self.load(connections=8, requests=n // 8)
        share, slack = got["counts"].get("200 v1", 0), 5 * math.sqrt(n * 0.09)
        self.expect(f"{n} requests split", f"{0.9 * n:.0f} ± {slack:.0f} to v1, no error", f"{share} to v1, {sum(got['errors'].values())} errors",
                    abs(share - 0.9 * n) <= slack and share + got["counts"].get("200 v2", 0) == n)

    def limits(self, agent):
        self.title(f"A rate limit of {TOKENS} requests a day; two processes, 20 connections, half of them with heads only the agent can judge")
        before = agent.stats()["decisions"]["outcomes"]
        both = [self.begin(path="/limited", connections=10, requests=20, split=split) for split in (False, True)]
        counts = {}
        for child in both:
            for k, v in self.finish(child)["counts"].items():
                counts[k] = counts.get(k, 0) + v
        self.expect("400 requests", {"200 v1": TOKENS, "429 -": 400 - TOKENS}, dict(sorted(counts.items())))
        after = agent.stats()["decisions"]["outcomes"]
        split = {s: after[s].get("rate_limited", 0) - before[s].get("rate_limited", 0) for s in after}
        self.expect("who said 429", f"{400 - TOKENS} in all, some by each", split, sum(split.values()) == 400 - TOKENS and min(split.values()) > 0)
        self.curl("-H", f"Host: {HOST}", f"http://{VIP}/limited")
        self.title(f"A circuit breaker of {PLACES} requests; 20 slow ones at once")
        got = self.load(path="/slow", connections=20, requests=1, count=["x-backend", "x-envoy-overloaded"])
        self.expect("20 at once", {"200 v1 -": PLACES, "503 - true": 20 - PLACES}, dict(sorted(got["counts"].items())))
        got = self.load(path="/slow", connections=PLACES, requests=1)
        self.expect(f"{PLACES} at once, afterwards", {"200 v1": PLACES}, got["counts"])

    def change(self, agent):
        self.title("The configuration changes while traffic runs: everything to v2")
        child = self.begin(connections=8, seconds=4)
        time.sleep(1.5)
        epoch = agent.call("dump")["epoch"]
        self.write({"v1": 0, "v2": 100})
        agent.wait_epoch(epoch)
        got = self.finish(child)
        self.expect("requests that failed during the change", 0, sum(got["errors"].values()) + sum(
            v for k, v in got["counts"].items() if not k.startswith("200 ")))
        print(f"        {got['requests']} requests: {got['counts']}")
        got = self.load(connections=4, requests=100)
        self.expect("400 requests afterwards", {"200 v2": 400}, got["counts"])
        with open(self.config + ".bad", "w", encoding="utf-8") as f:
            bad = configuration(self.v1, self.v2, {"v1": 100, "v2": 0})
            bad["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"][
                "virtual_hosts"][0]["routes"][0]["route"]["hedge_policy"] = {"hedge_on_per_try_timeout": True}
            json.dump(bad, f)
        os.rename(self.config + ".bad", self.config)
        time.sleep(1)
        got = self.load(connections=4, requests=100)
        self.expect("400 requests after a file with a field that weft cannot apply", {"200 v2": 400}, got["counts"])
        for line in self.world.log("agent").splitlines():
            if "hedge_policy" in line:
                print("        agent: " + line[:200])
                break
        else:
            self.expect("the agent names the field", "hedge_policy in its log", "nothing", False)
        self.write({"v1": 90, "v2": 10})
        time.sleep(1)

    def speed(self):
        self.title("Requests per second: wrk, one thread, 32 connections, 3 s each")
        # The port by its number: wrk looks its name up, and a small Debian has no /etc/services.
        sides = [("no mesh", f"http://{self.v1.address}:{WEB}/", self.world.plain), ("weft, forwarded", f"http://{VIP}:80/v1", "pods"),
                 ("weft, 403 in the kernel", f"http://{VIP}:80/forbidden", "pods")]
        binary = self.envoy()
        if binary:
            boot = casefile.write_yaml(os.path.join(self.world.dir, "envoy.yaml"), configuration(
                self.v1, self.v2, {"v1": 90, "v2": 10}, "127.0.0.1", ENVOY_PORT))
            child = self.world.start([binary, "-c", boot, "--concurrency", str(os.cpu_count()), "--disable-hot-restart", "--use-dynamic-base-id",
                                      "-l", "error"], self.client, self.world.plain, name="envoy")
            self.world.wait_port(self.client, ENVOY_PORT, "127.0.0.1")
            sides.append(("Envoy, forwarded", f"http://127.0.0.1:{ENVOY_PORT}/v1", self.world.plain))
        seen = {}
        for name, url, cgroup in sides:
            _, out = self.world.output(["wrk", "-t1", "-c32", "-d3s", "-H", f"Host: {HOST}", url], self.client, cgroup=cgroup)
            seen[name] = lab.number(out, r"Requests/sec:\s+([\d.]+)") or 0
            if not seen[name]:
                print("        wrk: " + out.strip())
            print(f"        {name:26}{seen[name]:10.0f} requests/s   {seen[name] / max(seen['no mesh'], 1):5.2f} x no mesh")
        if binary:
            self.world.stop(child)
        else:
            print("        Envoy is not installed (deploy/deps.sh --envoy): not compared")
        self.expect("every side answered", "more than 0", min(seen.values()), min(seen.values()) > 0)

    @staticmethod
    def envoy():
        try:
            return envoy_tool.find_envoy(os.path.join(TOP, "build", "envoy", "bin", "envoy"))
        except SystemExit:
            return None

    def show(self, agent):
        self.title("Who decided what, and why exchanges went to the agent")
        decisions = agent.stats()["decisions"]
        for side in ("kernel", "agent"):
            print(f"   {side}: " + ", ".join(f"{k} {v}" for k, v in decisions["outcomes"][side].items() if v))
        print("   handed to the agent: " + ", ".join(f"{k} {v}" for k, v in decisions["handed"].items() if v))
        self.expect("the kernel answered itself", "more than 0", decisions["outcomes"]["kernel"].get("direct_response", 0),
                    decisions["outcomes"]["kernel"].get("direct_response", 0) > 0)
        for words in (["dump", "--admin", agent.admin], ["explain", "--admin", agent.admin, "--pod", "client", "--listener", "shop",
                                                         "--host", HOST, "--path", "/", "--header", "x-version: 2"]):
            self.title("weft-agent " + " ".join(w if " " not in w else f"'{w}'" for w in words))
            done = subprocess.run([agent.binary, *words], capture_output=True, text=True, timeout=20, check=False)
            print("".join(f"   {line}\n" for line in (done.stdout + done.stderr).splitlines()), end="")
            self.expect("exit status", 0, done.returncode)


def keep(demo, agent):
    demo.title("Left running; Ctrl-C ends it")
    print(f"""   a shell in the client pod:
     sudo sh -c 'echo $$ > {demo.world.cgroup}/pods/cgroup.procs; exec ip netns exec {demo.client.netns} bash'
     curl -i -H 'Host: {HOST}' http://{VIP}/
   the configuration, reloaded when it changes: {demo.config}
   the agent: {agent.binary} dump stats --admin {agent.admin}""", flush=True)
    try:
        while agent.process.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass


def main():
    if not shutil.which("wrk") or not shutil.which("nginx"):
        raise lab.Missing("wrk and nginx are needed (deploy/deps.sh --tests)")
    began = time.monotonic()
    with lab.World(subnet=79) as world:
        demo = Demo(world)
        demo.title("Three pods: client, v1 and v2 (nginx), joined by a bridge; the client is enrolled")
        nginx(world, demo.v1)
        nginx(world, demo.v2)
        demo.write({"v1": 90, "v2": 10})
        with lab.Agent(world, demo.config, pods=[demo.client]) as agent:
            print(f"   the agent runs from {demo.config}; {HOST} is {VIP}, an address nobody has")
            demo.routes()
            demo.limits(agent)
            demo.change(agent)
            demo.speed()
            demo.show(agent)
            demo.title(f"{len(demo.failed)} expectations failed, {time.monotonic() - began:.0f} s" + "".join(f"\n   FAIL {x}" for x in demo.failed))
            if "--keep" in sys.argv[1:]:
                keep(demo, agent)
    return 1 if demo.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (lab.Missing, lab.AgentFailed) as e:
        print(f"demo: {e}", file=sys.stderr)
        sys.exit(1)
