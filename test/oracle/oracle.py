#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a real Envoy what it does with a case: see README.md.

    oracle.py run CASE... [--golden | --check] [--out FILE] [-j N] [--envoy PATH]
    oracle.py validate CASE... [--envoy PATH]       which resources Envoy accepts, and what it says of the others
    oracle.py expand CASE                           the case's config as complete Envoy resources
"""
import argparse
import concurrent.futures
import json
import os
import sys
import time

import casefile
import client
import diff
from backends import Backends
from envoy import Envoy, find_envoy, hold_port, own_address

HOST = "127.0.0.1"


class Stage:
    """Ports and echo backends of one case, for as long as the case runs."""

    def __init__(self, case, host=HOST, backend_host=None):
        self.backends = Backends(casefile.backend_keys(case), backend_host or host)
        held = {n: hold_port(host) for n in casefile.listener_names(case)}
        self.sockets = [s for s, _ in held.values()]
        self.world = casefile.World({n: p for n, (_, p) in held.items()}, self.backends.ports, host, backend_host, own_address())

    def addresses(self):
        return {n: (self.world.host, p) for n, p in self.world.ports.items()}

    def release_ports(self):
        for s in self.sockets:
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.release_ports()
        self.backends.close()


def run_case(case, binary):
    """{case, results, refused}: what Envoy did with each request and what it said of resources it refused."""
    began = time.monotonic()
    out = {"case": case["name"]}
    if case.get("validate"):
        out["verdicts"] = validate_case(case, binary)
    if case["requests"]:
        out.update(_ask(case, binary))
    out["seconds"] = round(time.monotonic() - began, 2)
    return out


def _ask(case, binary):
    with Stage(case) as stage:
        resources = casefile.expand(case, stage.world, access_log="access")
        with Envoy(binary, resources, case["config"].get("runtime")) as envoy:
            if not envoy.wait_ready():
                with open(envoy.log, encoding="utf-8", errors="replace") as f:
                    return {"error": "Envoy did not start: " + f.read()[-2000:]}
            refused = envoy.refusals()
            for name, port in stage.world.ports.items():
                if not envoy.wait_port(HOST, port, 0.3 if refused else 3.0):
                    refused = refused or [f"listener {name} never came up"]
            runner = client.Runner(stage.addresses(), stage.world.text, stage.backends.seen)
            results = runner.run_all(case)
            join_log(results, envoy.access_records)
            forget_choice(case, results)
            out = {"results": stage.world.back(results)}
            if refused:
                out["refused"] = stage.world.back(refused)
            return out


def join_log(results, read, wait_s=0.4, due=None):
    """Puts what the access log says of each request to its result; read: the records by port, as they are now.

    due: recorded results by name; as many records as those have are waited for."""
    wanted = [r["_port"] for r in results if r.get("_port")]
    end = time.monotonic() + wait_s  # a request that never became a stream has no record
    records = read()
    while any(not _of_connection(records, p, wanted) for p in wanted) and time.monotonic() < end:
        time.sleep(0.02)
        records = read()
    end = time.monotonic() + client.LIMIT_S
    while wait_s and time.monotonic() < end and any(
            len(_of_connection(records, r.get("_port"), wanted)) < _records(due, r) for r in results):
        time.sleep(0.02)
        records = read()
    if wait_s and records:
        time.sleep(0.1)  # what the end of a connection says comes last
        records = read()
    for r in results:
        recs = _of_connection(records, r.pop("_port", None), wanted)
        notes = [{k: v for k, v in x.items() if v not in (None, "-", "")} for x in recs]
        for x in notes:
            x.pop("code", None)
            x.pop("at", None)
            if x.get("details") == "via_upstream":
                del x["details"]
        if "responses" in r:
            if any(notes):
                r["log"] = notes
        elif notes:
            r.update(notes[0])


def _records(due, result):
    one = (due or {}).get(result["name"], {})
    return len(one.get("log", [])) or int(bool(diff.NOTES & one.keys()))


def _of_connection(records, key, keys):
    """Those of one connection: from when it was made on, until its port was taken again."""
    if not key:
        return []
    port, began = key
    after = min((k[1] for k in keys if k[0] == port and k[1] > began), default=began + 1e9)
    before = max((k[1] for k in keys if k[0] == port and k[1] < began), default=0)
    # the clocks of loops are late; a port may come again soon
    first, end = (at - min(0.05, (at - last) / 2) for last, at in ((before, began), (began, after)))
    return [x for x in records.get(port, []) if first <= float(x["at"]) < end]


def forget_choice(case, results):
    """The endpoint is only an answer where there was no choice, or where the case says it is determined."""
    by_name = {r["name"]: r for r in case["requests"]}
    many = {}
    for cluster, _ in casefile.backend_keys(case):
        many[cluster] = many.get(cluster, 0) + 1
    for r in results:
        for x in [r] + r.get("responses", []):
            if many.get(x.get("cluster"), 1) > 1 and not by_name[r["name"]].get("pin_endpoint"):
                x.pop("endpoint", None)


def validate_case(case, binary):
    """Each resource on its own in front of Envoy, delivered as xDS: [{type, name, accepted, message}]."""
    keys = [k for k in casefile.backend_keys(case)]
    ports = {n: 10000 + i for i, n in enumerate(casefile.listener_names(case))}
    world = casefile.World(ports, {k: 20000 + i for i, k in enumerate(keys)})
    res = casefile.expand(case, world)
    shown = "listeners" in case["config"]
    jobs = [(kind, r) for kind in ("clusters", "endpoints", "routes", "listeners") for r in res[kind]
            if kind != "listeners" or shown]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda j: _verdict(j[0], j[1], res, binary), jobs))


def _verdict(kind, resource, res, binary):
    alone = {"listeners": [], "routes": [], "clusters": [], "endpoints": []}
    name = resource.get("cluster_name" if kind == "endpoints" else "name", "")
    held = []
    if kind == "listeners":
        alone["routes"] = res["routes"]
        resource = json.loads(json.dumps(resource))
        _free_port(resource, held)
    elif kind == "routes":
        s, port = hold_port(HOST)
        held.append(s)
        world = casefile.World({"probe": port}, {})
        probe = {"config": {"listeners": [{"name": "probe", "hcm": {"route": name}}], "routes": []}}
        alone["listeners"] = casefile.expand(probe, world)["listeners"]
        hcm = alone["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        hcm["rds"]["route_config_name"] = name or "unnamed"
        if not name:
            resource = dict(resource)
    elif kind == "endpoints":
        alone["clusters"] = [{"name": name or "unnamed", "type": "EDS"}]
    alone[kind] = [resource]
    try:
        with Envoy(binary, alone) as envoy:
            up = envoy.wait_ready()
            messages = envoy.refusals()
            counted = up and any(n for k, n in envoy.stats().items() if k.endswith("update_rejected"))
            out = {"type": kind, "name": name, "accepted": up and not messages and not counted}
            if messages:
                out["message"] = _steady_message(messages[0], held)
            elif not up:
                out["message"] = envoy.last_words()
            return out
    finally:
        for s in held:
            s.close()


def _steady_message(text, held):
    for s in held:
        text = text.replace(str(s.getsockname()[1]), "${port}")
    return text


def _free_port(listener, held):
    sa = (listener.get("address") or {}).get("socket_address")
    if isinstance(sa, dict) and isinstance(sa.get("port_value"), int) and 10000 <= sa["port_value"] < 11000:
        s, sa["port_value"] = hold_port(HOST)
        held.append(s)


def golden_path(case_path):
    return case_path.rsplit(".", 1)[0] + ".golden.json"


def dump(obj):
    """JSON with one result a line where it fits, to keep goldens readable in a diff."""
    lines = []
    for k, v in obj.items():
        if isinstance(v, list) and v:
            body = ",\n".join("  " + json.dumps(x, ensure_ascii=True) for x in v)
            lines.append(f" {json.dumps(k)}: [\n{body}\n ]")
        else:
            lines.append(f" {json.dumps(k)}: {json.dumps(v)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["run", "validate", "expand"])
    ap.add_argument("cases", nargs="+")
    ap.add_argument("--golden", action="store_true", help="write each case's answers beside it as CASE.golden.json")
    ap.add_argument("--check", action="store_true", help="compare with CASE.golden.json; exit status 1 on a difference")
    ap.add_argument("--out", help="write all answers to this file (default: standard output)")
    ap.add_argument("--envoy", help="path of the Envoy binary")
    ap.add_argument("-j", type=int, default=2, help="cases at a time (default 2)")
    args = ap.parse_args()
    cases = [(p, casefile.load(p)) for p in args.cases]
    if args.what == "expand":
        for _, case in cases:
            with Stage(case) as stage:
                print(json.dumps(casefile.expand(case, stage.world), indent=1))
        return 0
    binary = find_envoy(args.envoy)
    one = run_case if args.what == "run" else lambda c, b: {"case": c["name"], "verdicts": validate_case(c, b)}
    return _all(cases, one, binary, args)


def _all(cases, one, binary, args):
    bad, outs = 0, []
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        answers = pool.map(lambda pc: one(pc[1], binary), cases)
        for (path, case), out in zip(cases, answers):
            seconds = out.pop("seconds", None)
            outs.append(out)
            if "error" in out:
                bad += 1
                print(f"{path}: {out['error']}", file=sys.stderr)
            if args.golden:
                with open(golden_path(path), "w", encoding="utf-8") as f:
                    f.write(dump(out))
            if args.golden or args.check:
                found = [] if args.golden else _differences(path, case, out)
                bad += bool(found)
                print(f"{'FAIL' if found else 'ok  '} {os.path.basename(path)} {seconds}s")
                for line in found:
                    print("     " + line)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as f:
            json.dump(outs, f, indent=1)
    elif not (args.golden or args.check):
        for out in outs:
            print(dump(out), end="")
    return 1 if bad else 0


def _differences(path, case, out):
    try:
        with open(golden_path(path), encoding="utf-8") as f:
            golden = json.load(f)
    except OSError:
        return ["no golden file"]
    return diff.answers(case, golden, out, strict=True)


if __name__ == "__main__":
    sys.exit(main())
