# SPDX-License-Identifier: Apache-2.0
"""A rate limit service (envoy.service.ratelimit.v3.RateLimitService), without sockets: bytes in, bytes out.

Two ways to be told what to answer. A descriptor entry with the key `rls` holds a script (JSON), see `Script`. Else
the `Limits` given: domains and trees of descriptors as the reference service has them.
"""
import json
import struct
import time

PATH = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
UNITS = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK"]
SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 604800, "MONTH": 2592000, "YEAR": 31536000}
CODES = ["UNKNOWN", "OK", "OVER_LIMIT"]

# ---- the wire: {number: (name, kind)}, kind a message's table, "text", "bytes", "int" or a list of an enum's names ----

WRAPPED = {1: ("value", "int")}
TIME = {1: ("seconds", "int"), 2: ("nanos", "int")}
HEADER = {1: ("key", "text"), 2: ("value", "text"), 3: ("raw_value", "bytes")}
ENTRY = {1: ("key", "text"), 2: ("value", "text")}
OVERRIDE = {1: ("requests_per_unit", "int"), 2: ("unit", UNITS)}
DESCRIPTOR = {1: ("entries", [ENTRY]), 2: ("limit", OVERRIDE), 3: ("hits_addend", WRAPPED), 4: ("is_negative_hits", "int")}
REQUEST = {1: ("domain", "text"), 2: ("descriptors", [DESCRIPTOR]), 3: ("hits_addend", "int")}
LIMIT = {1: ("requests_per_unit", "int"), 2: ("unit", UNITS), 3: ("name", "text")}
QUOTA = {1: ("requests", "int"), 2: ("valid_until", TIME), 3: ("id", "text")}
STATUS = {1: ("code", CODES), 2: ("current_limit", LIMIT), 3: ("limit_remaining", "int"), 4: ("duration_until_reset", TIME),
          5: ("quota", QUOTA)}
VALUE = {1: ("null_value", "int"), 2: ("number_value", "double"), 3: ("string_value", "text"), 4: ("bool_value", "int")}
FIELD = {1: ("key", "text"), 2: ("value", VALUE)}
STRUCT = {1: ("fields", [FIELD])}
VALUE[5] = ("struct_value", STRUCT)
VALUE[6] = ("list_value", {1: ("values", [VALUE])})
RESPONSE = {1: ("overall_code", CODES), 2: ("statuses", [STATUS]), 3: ("response_headers_to_add", [HEADER]),
            4: ("request_headers_to_add", [HEADER]), 5: ("raw_body", "bytes"), 6: ("dynamic_metadata", STRUCT), 7: ("quota", QUOTA)}


def _varint(n):
    n, out = n & (1 << 64) - 1, b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def _is_enum(kind):
    return isinstance(kind, list) and isinstance(kind[0], str)


def encode(what, table):
    """A message of the table from {name: value}; enums by name or number."""
    numbers = {name: (n, kind) for n, (name, kind) in table.items()}
    out = b""
    for name, value in what.items():
        n, kind = numbers[name]
        for v in value if isinstance(kind, list) and not _is_enum(kind) else [value]:
            out += _field(n, kind[0] if isinstance(kind, list) and not _is_enum(kind) else kind, v)
    return out


def _field(n, kind, v):
    if kind == "double":
        return _varint(n << 3 | 1) + struct.pack("<d", v)
    if kind == "int" or _is_enum(kind):
        return _varint(n << 3) + _varint(kind.index(v) if isinstance(v, str) else int(v))
    data = encode(v, kind) if isinstance(kind, dict) else v.encode() if isinstance(v, str) else bytes(v)
    return _varint(n << 3 | 2) + _varint(len(data)) + data


def _take(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return n, at


def decode(data, table):
    out, at = {}, 0
    while at < len(data):
        tag, at = _take(data, at)
        if tag & 7 == 0:
            v, at = _take(data, at)
        elif tag & 7 == 2:
            n, at = _take(data, at)
            v, at = data[at:at + n], at + n
        elif tag & 7 == 1:
            v, at = struct.unpack("<d", data[at:at + 8])[0], at + 8
        else:
            v, at = data[at:at + 4], at + 4
        name, kind = table.get(tag >> 3, (f"unknown-{tag >> 3}", "bytes"))
        if _is_enum(kind):
            out[name] = kind[v]
        elif isinstance(kind, list):
            out.setdefault(name, []).append(decode(v, kind[0]))
        else:
            out[name] = decode(v, kind) if isinstance(kind, dict) else v.decode("latin-1") if kind == "text" else v
    return out


def struct_of(what):
    """A Struct of a plain dictionary."""
    return {"fields": [{"key": k, "value": _value(v)} for k, v in what.items()]}


def _value(v):
    if v is None:
        return {"null_value": 0}
    if isinstance(v, bool):
        return {"bool_value": v}
    if isinstance(v, (int, float)):
        return {"number_value": v}
    if isinstance(v, dict):
        return {"struct_value": struct_of(v)}
    if isinstance(v, list):
        return {"list_value": {"values": [_value(x) for x in v]}}
    return {"string_value": v}


# ---- what is answered ----

class Script(dict):
    """What one request asks for: fields of a RateLimitResponse (`dynamic_metadata` a plain object), and

    ask: true            response header x-rls-asked repeats the question (but for this script)
    note: NAME           keeps the question: a request for /asked/NAME of the service gets all different ones so
    number: NAME         response header x-rls-number: how many questions with that name there have been
    heads: true          ... x-rls-heads the question's own headers, sorted
    delay_ms, grpc_status, grpc_message, http_status, rst: CODE, close: true, goaway: true, content_type
    raw: "hex"           in place of the message with its five bytes before it
    data: "hex"          in place of the message
    pad: N               N bytes more of raw_body
    """

    FIELDS = {name for name, _ in RESPONSE.values()}

    @classmethod
    def of(cls, question):
        for d in question.get("descriptors", []):
            for e in d.get("entries", []):
                if e.get("key") == "rls":
                    return cls(json.loads(e.get("value") or "{}"))
        return None

    def answer(self, question, heads):
        out = {"overall_code": "OK"}
        out.update({k: v for k, v in self.items() if k in self.FIELDS})
        if "dynamic_metadata" in out:
            out["dynamic_metadata"] = struct_of(out["dynamic_metadata"])
        if self.get("pad"):
            out["raw_body"] = out.get("raw_body", "") + "x" * self["pad"]
        if self.get("ask"):
            out.setdefault("response_headers_to_add", [])
            out["response_headers_to_add"] = out["response_headers_to_add"] + [
                {"key": "x-rls-asked", "value": shown(question)}]
        if self.get("heads"):
            out["response_headers_to_add"] = out.get("response_headers_to_add", []) + [
                {"key": "x-rls-heads", "value": json.dumps(sorted(heads), separators=(",", ":"))}]
        return encode(out, RESPONSE)


def shown(question):
    """The question as one line: scripts as `-`."""
    q = json.loads(json.dumps(question))
    for d in q.get("descriptors", []):
        for e in d.get("entries", []):
            if e.get("key") == "rls":
                e["value"] = "-"
    return json.dumps(q, separators=(",", ":"), sort_keys=True)


class Limits:
    """The reference service's rules: {domain: [{key, value, rate_limit: {unit, requests_per_unit, unlimited}, shadow_mode,
    descriptors: [...]}, ...]}. Of a list a node with the value goes before one without. Windows are the clock's."""

    def __init__(self, domains, clock=time.time):
        self.domains, self.clock, self.used, self.asked = domains, clock, {}, 0

    def _rule(self, domain, entries):
        nodes, rule = self.domains.get(domain, []), None
        for i, e in enumerate(entries):
            found = [n for n in nodes if n["key"] == e.get("key") and str(n.get("value", "")) == e.get("value")]
            found = found or [n for n in nodes if n["key"] == e.get("key") and not n.get("value")]
            if not found:
                return None
            rule, nodes = (found[0] if i == len(entries) - 1 else None), found[0].get("descriptors", [])
        return rule

    def _status(self, domain, d, hits):
        rule = self._rule(domain, d.get("entries", []))
        limit = (rule or {}).get("rate_limit")
        if "limit" in d:
            limit = {"unit": d["limit"].get("unit", "UNKNOWN"), "requests_per_unit": d["limit"].get("requests_per_unit", 0)}
        if not limit or limit.get("unlimited"):
            return {"code": "OK"} if not limit else {"code": "OK", "limit_remaining": 0xffffffff}
        unit, most = limit["unit"].upper(), limit["requests_per_unit"]
        now, window = self.clock(), SECONDS[unit]
        key = (domain, json.dumps(d.get("entries"), sort_keys=True), unit, int(now // window))
        add = d.get("hits_addend", {}).get("value", hits)
        self.used[key] = n = max(self.used.get(key, 0) + (-add if d.get("is_negative_hits") else add), 0)
        over = n > most
        return {"code": "OVER_LIMIT" if over and not (rule or {}).get("shadow_mode") else "OK",
                "current_limit": {"requests_per_unit": most, "unit": unit, "name": limit.get("name", "")},
                "limit_remaining": max(most - n, 0), "duration_until_reset": {"seconds": window - int(now) % window}}

    def answer(self, question):
        self.asked += 1
        hits = question.get("hits_addend") or 1
        statuses = [self._status(question.get("domain", ""), d, hits) for d in question.get("descriptors", [])]
        over = any(s["code"] == "OVER_LIMIT" for s in statuses)
        return encode({"overall_code": "OVER_LIMIT" if over else "OK", "statuses": statuses}, RESPONSE)


def message(body):
    """The message of a gRPC request's body."""
    return body[5:5 + int.from_bytes(body[1:5], "big")]


def framed(data):
    return b"\0" + len(data).to_bytes(4, "big") + data
