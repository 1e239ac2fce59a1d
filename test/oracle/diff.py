# SPDX-License-Identifier: Apache-2.0
"""Differences between two sets of answers to the same case."""
import collections
import math

# Kept in the answers because they are what Envoy did; not compared unless asked, because another proxy may well differ here.
OWN_REQUEST = {"x-request-id", "x-forwarded-proto", "x-envoy-expected-rq-timeout-ms", "x-envoy-internal", "x-forwarded-for",
               "x-envoy-original-path", "x-envoy-original-host", "x-envoy-attempt-count", "x-envoy-external-address"}
OWN_RESPONSE = {"server"}
NOTES = {"flags", "details", "route", "log"}


def answers(case, want, got, strict=False, ignore=(), notes=False):
    """Lines saying what differs; `strict` compares headers Envoy adds by itself, `notes` what access logs say."""
    strict = (strict, notes or strict)
    lines = []
    asked = {r["name"]: r for r in case["requests"]}
    have = {r["name"]: r for r in got.get("results", [])}
    for w in want.get("results", []):
        g = have.get(w["name"])
        if g is None:
            lines.append(f"{w['name']}: no answer")
            continue
        lines += [f"{w['name']}: {x}" for x in _result(w, g, asked.get(w["name"], {}), strict, set(ignore))]
    if strict[0]:
        lines += _verdicts(want.get("verdicts", []), got.get("verdicts", []))
        if want.get("refused") != got.get("refused"):
            lines.append(f"refused: {want.get('refused')} / {got.get('refused')}")
    return lines


def _verdicts(want, got):
    have = {(v["type"], v["name"]): v for v in got}
    return [f"{w['type']} {w['name']}: {w} / {have.get((w['type'], w['name']))}" for w in want
            if have.get((w["type"], w["name"])) != w]


def _result(w, g, req, strict, ignore):
    if "counts" in w:
        return _counts(w, g, req)
    if "h2" in req and "log" in w and "log" in g:  # streams end in no order of each other
        w, g = (dict(x, log=sorted(x["log"], key=str)) for x in (w, g))
    if req.get("notes") is False:
        ignore = ignore | NOTES
    if "responses" in w:
        a, b = w["responses"], g.get("responses", [])
        out = [f"{len(a)} responses expected, {len(b)} came" ] if len(a) != len(b) else []
        for i, (x, y) in enumerate(zip(a, b)):
            out += [f"response {i + 1}: {d}" for d in _fields(x, y, strict, ignore)]
        return out + _fields({k: v for k, v in w.items() if k != "responses"}, {k: v for k, v in g.items() if k != "responses"}, strict, ignore)
    return _fields(w, g, strict, ignore)


def _fields(w, g, strict, ignore):
    out = []
    strict, notes = strict
    for k in dict.fromkeys([*w, *g]):
        if k in ignore or (not notes and k in NOTES):
            continue
        a, b = w.get(k), g.get(k)
        if k == "endpoint" and (a is None or b is None):
            continue
        if k in ("upstream_headers", "response_headers"):
            skip = set() if strict else (OWN_REQUEST if k == "upstream_headers" else OWN_RESPONSE)
            a, b = _by_name(a, skip), _by_name(b, skip)
            out += [f"{k} {n}: {a.get(n)} expected, got {b.get(n)}" for n in dict.fromkeys([*a, *b]) if a.get(n) != b.get(n)]
        elif k in ("took_ms", "end_ms") and a is not None:
            # what must not come sooner; a busy machine may take longer
            if b is None or b < 0.75 * a - 100 or (strict and b > 1.3 * a + 100):
                out.append(f"{k}: {a} expected, got {b}")
        elif k == "end" and a == "reset" and b == "fin":
            pass  # bytes that nobody read make a reset of Envoy's close(); read and dropped they make none
        elif a != b:
            out.append(f"{k}: {a!r} expected, got {b!r}")
    return out


def _by_name(headers, skip):
    out = collections.OrderedDict()
    for k, v in headers or []:
        if k not in skip:
            out.setdefault(k, []).append(v)
    return out


def _counts(w, g, req):
    a, b, n = w["counts"], g.get("counts", {}), w["repeat"]
    if w.get("sequence", g.get("sequence")) != g.get("sequence"):
        return [f"sequence {w['sequence']} expected, got {g.get('sequence')}"]
    if not req.get("random"):
        return [] if a == b else [f"counts {a} expected, got {b}"]
    out = []
    for k in dict.fromkeys([*a, *b]):
        # The expected share is the one the case states; where it states none, the one measured.
        p = req["random"].get(k, 0) if isinstance(req["random"], dict) else (a.get(k, 0) / n)
        slack = 5 * math.sqrt(max(p * (1 - p), 0) * n * (1 if isinstance(req["random"], dict) else 2))
        slack += 3 if 0 < p < 1 else 0  # shares of a few in a thousand are not normal
        if abs(b.get(k, 0) - p * n) > slack:
            out.append(f"count of {k!r}: {p * n:.0f} ± {slack:.0f} expected, got {b.get(k, 0)}")
    return out
