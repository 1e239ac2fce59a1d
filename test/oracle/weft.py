#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks weft what Envoy was asked, on three sides, and prints where the answers differ: see README.md.

    weft.py [DIR | CASE...] [--side explain,kernel,agent,check] [--live [--envoy PATH]] [--strict]

explain: `weft-agent explain` on the case's file. kernel: real requests, judged by the programs first. agent: the same
with the first byte sent alone, which no program judges. check: what weft does not do is refused by name.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

import casefile
import diff
import oracle
from envoy import find_envoy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import world as lab  # noqa: E402  (the path is set above)

SIDES = ("check", "explain", "kernel", "agent")
# Details of answers that a decision alone cannot know: the request was sent on, and something happened then.
UPSTREAM = ("upstream_", "response_timeout", "via_upstream", "request_timeout")

DEVIATED = [0]  # how many answers of deviations were seen
FAILED = []  # (side, case, its differences)
SHOWN = 6  # differences of a case, and
WIDTH = 300  # how much of each, in the summary: a log's last lines are to name every case that failed


def coverage():
    with open(os.path.join(HERE, "coverage.yaml"), encoding="utf-8") as f:
        return casefile.yaml.safe_load(f)


class Case:
    """One case file, with what of it is asked."""

    def __init__(self, path, cover):
        self.path, self.case = path, casefile.load(path)
        name = self.case["name"]
        part = cover["partly"].get(name, {})
        known = name in cover["covered"] or part or name in cover["excluded"] or name in cover["verdicts"]
        # A case from elsewhere is asked whole.
        self.asked = name in cover["covered"] or bool(part) or not known
        self.excluded = cover["excluded"].get(name)
        self.verdicts = cover["verdicts"].get(name)
        self.fields, self.left_out = part.get("fields", []), part.get("requests", [])
        self.named = part.get("named", {})
        self.deviations = cover["deviations"].get(name, {})
        self.in_kernel = cover["in_kernel"].get(name, 0)
        self.short = self._shorten()

    def _shorten(self):
        short = casefile.without(self.case, self.fields, self.left_out)
        names = set(casefile.listener_names(short))
        short["requests"] = [r for r in short["requests"] if r.get("listener") in names | {None}]
        self.left_out = self.left_out + [r["name"] for r in self.case["requests"] if r.get("listener") not in names | {None}]
        return short

    def want(self, args):
        if args.live:
            got = oracle.run_case(self.case, find_envoy(args.envoy))
        else:
            with open(oracle.golden_path(self.path), encoding="utf-8") as f:
                got = json.load(f)
        names = {r["name"] for r in self.short["requests"]}
        return dict(got, results=[r for r in got.get("results", []) if r["name"] in names], refused=None)


def still_world(case):
    """Ports that stand for themselves, for questions that nobody connects for."""
    ports = {n: 10000 + i for i, n in enumerate(casefile.listener_names(case))}
    return casefile.World(ports, {k: 20000 + i for i, k in enumerate(casefile.backend_keys(case))}, "127.99.0.1", "10.98.0.1")


def agent_command(*words):
    return subprocess.run([lab.find_agent(), *words], capture_output=True, text=True, timeout=30, check=False)


# ---- explain ----

def explain_case(c, args):
    world = still_world(c.short)
    want = {r["name"]: r for r in c.want(args)["results"]}
    with tempfile.TemporaryDirectory(prefix="weft-oracle-") as folder:
        config = casefile.write_bootstrap(folder, c.short, world)
        lines, asked = [], 0
        for req in c.short["requests"]:
            if "raw" in req or "h2" in req or "wire" in req or "repeat" in req or str(req.get("http", 1.1)) != "1.1" or _depends_on_before(want[req["name"]]) or not req.get("explain", True):
                continue
            if req.get("host", "") is None:
                continue  # explain always has a host
            asked += 1
            lines += [f"{req['name']}: {x}" for x in _explain_one(c, req, want[req["name"]], world, config)]
        return lines, asked


def _depends_on_before(want):
    """Limits: explain takes neither tokens nor places. Internal redirects: nor does it know what an endpoint answers."""
    return want.get("details") == "internal_redirect" or want.get("status") == 429 or "rate_limited" in want.get("details", "") or "overflow" in want.get("details", "")


def _explain_one(c, req, want, world, config):
    listener = req.get("listener") or casefile.listener_names(c.short)[0]
    words = ["explain", "--json", "--config", config, "--listener", listener, "--method", req.get("method", "GET"),
             "--path", world.text(req.get("path", "/")), "--host", world.text(str(req.get("host", "oracle.test"))), "--source", "127.0.0.1"]
    for k, v in req.get("headers") or []:
        words += ["--header", f"{k}: {world.text(str(v))}"]
    if "body" in req and not any(k.lower() == "transfer-encoding" for k, _ in req.get("headers") or []):
        words += ["--header", f"content-length: {len(req['body'])}"]
    done = agent_command(*words)
    try:
        got = json.loads(done.stdout)
    except ValueError:
        return [f"explain failed: {(done.stdout + done.stderr).strip()[:300]}"]
    if "error" in got:
        return [f"explain failed: {got['error']}"]
    got = world.back(got)
    if want["status"] == 0:
        return [] if got.get("action") in ("tcp", "refused", "forward") else [f"closed expected, explain says {got.get('action')}"]
    if "cluster" in want or any(want.get("details", "").startswith(u) for u in UPSTREAM):
        return _compare_forward(want, got)
    return _compare_reply(req, want, got)


def _compare_forward(want, got):
    if got.get("action") not in ("forward", "tcp"):
        return [f"forward expected, explain says {got.get('action')} {got.get('status')}"]
    clusters = [got["cluster"]] if "cluster" in got else [x["name"] for x in got.get("weighted_clusters", [])]
    return [] if want.get("cluster", clusters[0]) in clusters else [f"cluster {want['cluster']} expected, explain says {clusters}"]


def _compare_reply(req, want, got):
    lines = []
    if got.get("status") != want["status"]:
        lines.append(f"status {want['status']} expected, explain says {got.get('action')} {got.get('status')}")
    body = "" if req.get("method") == "HEAD" else got.get("body", "")
    if "status" in got and "headers" in got and body != want.get("body", ""):
        lines.append(f"body {want.get('body', '')!r} expected, explain says {body!r}")
    location = next((v for k, v in want.get("response_headers", []) if k == "location"), None)
    if got.get("location") != location:
        lines.append(f"location {location} expected, explain says {got.get('location')}")
    return lines


# ---- check ----

def check_case(c):
    with tempfile.TemporaryDirectory(prefix="weft-oracle-") as folder:
        if c.verdicts is not None:
            return _verdicts(c, folder)
        def check(case):
            return agent_command("check", casefile.write_bootstrap(folder, case, still_world(case)))
        if c.excluded:
            return _must_refuse(c.excluded["field"], check(c.case)), 1
        done = check(c.short)
        lines = [] if done.returncode == 0 else [f"check says {done.returncode}: {(done.stdout + done.stderr).strip()[:600]}"]
        for field in c.fields:  # each alone: one refusal must not hide another
            if c.named.get(field, field) is None:
                continue
            case = casefile.without(c.case, set(c.fields) - {field}, [])
            lines += _must_refuse(c.named.get(field, field), check(case))
        return lines, 1 + len(c.fields)


def _must_refuse(field, done):
    if done.returncode == 0:
        return [f"{field} is accepted without being applied"]
    if done.returncode != 1:
        return [f"check ended with {done.returncode}: {done.stderr.strip()[:200]}"]
    # A value (RING_HASH) is named in the reason, a field in the path; either is in the text.
    return [] if field.lower() in done.stdout.lower() else [f"refused, but {field} is not named: {done.stdout.strip()[:400]}"]


def _verdicts(c, folder):
    """Each resource alone: accepted or refused as Envoy does."""
    with open(oracle.golden_path(c.path), encoding="utf-8") as f:
        golden = {(v["type"], v["name"]): v for v in json.load(f)["verdicts"]}
    world = still_world(c.case)
    resources, lines, asked = casefile.expand(c.case, world), [], 0
    for kind in ("clusters", "endpoints", "routes", "listeners"):
        for r in resources[kind]:
            name = r.get("cluster_name" if kind == "endpoints" else "name", "")
            if (kind, name) not in golden:
                continue
            asked += 1
            path = casefile.write_yaml(os.path.join(folder, "one.yaml"), {"resources": [dict({"@type": casefile.XDS_TYPES[kind]}, **r)]})
            done = agent_command("check", path)
            accepted = done.returncode == 0
            if done.returncode not in (0, 1):
                lines.append(f"{kind} {name!r}: check ended with {done.returncode}: {done.stderr.strip()[:200]}")
                continue
            if accepted == golden[(kind, name)]["accepted"] or (not accepted and f"{kind} {name}" in c.verdicts):
                continue
            lines.append(f"{kind} {name!r}: Envoy {'accepts' if not accepted else 'refuses'} it "
                         f"({golden[(kind, name)].get('message', '')[:120]}), check says {done.returncode} {done.stdout.strip()[:200]}")
    return lines, asked


# ---- real requests ----

class Inside:
    """The worker process in the pod, and an agent for each case."""

    def __init__(self, world):
        self.world, self.pod = world, world.pod("client")
        command = [sys.executable, os.path.join(HERE, "worker.py"), self.pod.address]
        self.process = world.start(command, self.pod, stdout=subprocess.PIPE, stderr=None, text=True, talk=True)
        self.answer()
        self.answered = {"kernel": 0, "agent": 0}

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended")
        return json.loads(line)

    def ask(self, what):
        print(json.dumps(what), file=self.process.stdin, flush=True)
        return self.answer()

    def run(self, c, split, due):
        """due: the answers that the case's requests are to get."""
        with tempfile.TemporaryDirectory(prefix="weft-oracle-") as folder:
            config = self.ask({"case": os.path.abspath(c.path), "fields": c.fields, "requests": c.left_out, "due": due,
                               "split": split, "dir": folder})["config"]
            try:
                with lab.Agent(self.world, config, ("--access-log-dir", folder), pods=[self.pod]) as agent:
                    got = self.ask({"go": True})
                    counted = agent.stats()["decisions"]["outcomes"]
                    for side, n in counted.items():
                        self.answered[side] += sum(n.values()) if isinstance(n, dict) else n
                    # connections that connect() sends straight to an endpoint are nobody's exchanges
                    kernel = sum(v for k, v in counted["kernel"].items() if k != "none" and not k.startswith("refused_"))
                    kernel -= agent.stats()["decisions"]["classes"]["l4"]
                    if not split and kernel < c.in_kernel:
                        got["problem"] = f"{kernel} exchanges were decided by the kernel, not {c.in_kernel}: {counted}"
                    if split and kernel:
                        got["problem"] = f"{kernel} exchanges were decided by the kernel: {counted['kernel']}"
                    return got
            except lab.AgentFailed as e:
                if "results" not in locals().get("got", {}):
                    self.ask({"go": False})
                return {"problem": str(e)[:1500]}


def ask_weft(c, side, inside, args):
    want = dict(c.want(args), verdicts=[])
    got = inside.run(c, side == "agent", {r["name"]: r for r in want["results"] if r["name"] not in c.deviations})
    lines = [got["problem"]] if "problem" in got else []
    if "results" in got:
        # only the agent's side has a log
        lines += diff.answers(c.short, want, got, strict=args.strict,
                              ignore=() if side == "agent" else diff.NOTES, notes=side == "agent")
        lines = without_deviations(c, lines, got)
    return lines, len(c.short["requests"])


def without_deviations(c, lines, got):
    """The differences that nobody wants. A deviation that is none, or not the stricter answer it is said to be, is one."""
    have = {r["name"]: r for r in got["results"]}
    for name, kept in c.deviations.items():
        if name not in {r["name"] for r in c.short["requests"]}:
            continue
        rest = [x for x in lines if not x.startswith(name + ": ")]
        if len(rest) == len(lines):
            rest.append(f"{name}: answered as Envoy does, but coverage.yaml has it among the deviations")
        last = (have[name].get("responses") or [{"status": 0}])[-1] if name in have else {"status": 0}
        if not kept.get("more") and 0 < last.get("status", 0) < 400:
            rest.append(f"{name}: to be stricter than Envoy, but the answer is {last['status']}")
        lines = rest
        DEVIATED[0] += 1
    return lines


# ---- all ----

def run_side(side, cases, args, inside, skipped):
    bad = 0
    for c in cases:
        if side != "check" and (not c.asked or not c.short["requests"]):
            skipped.append((side, c))
            continue
        began = time.monotonic()
        if side == "check":
            lines, asked = check_case(c)
        elif side == "explain":
            lines, asked = explain_case(c, args)
        else:
            lines, asked = ask_weft(c, side, inside, args)
        bad += bool(lines)
        if lines:
            FAILED.append((side, c.case["name"], lines))
        print(f"{'FAIL' if lines else 'ok  '} {side:7} {c.case['name']} ({asked}) {time.monotonic() - began:.1f}s" + "".join("\n       " + x for x in lines), flush=True)
    return bad


def summary(failed):
    """The failures once more, in few lines."""
    for side, name, lines in failed:
        print(f"FAILED {side} {name}")
        for line in lines[:SHOWN]:
            print("       " + (line if len(line) <= WIDTH else line[:WIDTH] + "..."))
        if len(lines) > SHOWN:
            print(f"       and {len(lines) - SHOWN} more")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="*", default=[os.path.join(HERE, "cases")], help="folder or files (default: cases)")
    ap.add_argument("--side", default=",".join(SIDES), help="comma-separated; default all")
    ap.add_argument("--live", action="store_true", help="ask a real Envoy now instead of reading CASE.golden.json")
    ap.add_argument("--envoy", help="path of the Envoy binary, for --live")
    ap.add_argument("--strict", action="store_true", help="compare also the headers Envoy adds by itself")
    ap.add_argument("--subnet", type=int, default=76, help="10.SUBNET.0.0/16 is the pod's; runs side by side need their own")
    args = ap.parse_args()
    sides = args.side.split(",")
    if set(sides) - set(SIDES):
        ap.error(f"sides are {', '.join(SIDES)}")
    paths = [p for x in args.cases for p in (sorted(glob.glob(x + "/*.yaml")) if os.path.isdir(x) else [x])]
    cover = coverage()
    cases = [Case(p, cover) for p in paths]
    skipped = []
    bad = sum(run_side(s, cases, args, None, skipped) for s in SIDES[:2] if s in sides)
    if {"kernel", "agent"} & set(sides):
        with lab.World(subnet=args.subnet) as world:
            inside = Inside(world)
            bad += sum(run_side(s, cases, args, inside, skipped) for s in SIDES[2:] if s in sides)
            print(f"exchanges decided: {inside.answered}")
    print(f"{DEVIATED[0]} answers kept stricter than Envoy's, as coverage.yaml says")
    summary(FAILED)
    print(f"{len(cases) * len(sides) - bad - len(skipped)} passed, {bad} failed, {len(skipped)} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except lab.Missing as e:
        print(f"SKIP oracle: {e}")
        sys.exit(77)
