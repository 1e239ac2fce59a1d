# SPDX-License-Identifier: Apache-2.0
"""Sends one case's requests and describes what came back. Knows nothing of who answers.

HTTP/1 is written byte by byte on plain sockets so that malformed input stays malformed, and so are HTTP/2 frames (h2.py);
HTTP/2 requests go through curl.
"""
import collections
import concurrent.futures
import json
import re
import socket
import subprocess
import threading
import time

import h2
import hello
import wire

LIMIT_S = 6.0       # longest wait for an answer that must come
IDLE_S = 0.7        # a raw request that stays unanswered for so long gets no answer
SETTLE_S = 0.12     # how long to look for answers nobody asked for
QUIET = {"date", "content-length", "x-envoy-upstream-service-time", "transfer-encoding", "connection",
         "x-backend-cluster", "x-backend-endpoint", "keep-alive"}


class Connection:
    """split_first: the first byte goes in a send of its own, so that no program sees a whole head."""

    split_first = False

    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=LIMIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A port may serve again: with the time it is this connection's alone.
        self.port = (self.sock.getsockname()[1], time.time())
        self.buf, self.eof = b"", False

    def send(self, data, split=0, gap_s=0.0):
        try:
            if not split:
                if self.split_first:
                    self.sock.sendall(data[:1])
                    data = data[1:]
                self.sock.sendall(data)
                return
            for i in range(0, len(data), split):
                self.sock.sendall(data[i:i + split])
                if gap_s:
                    time.sleep(gap_s)
        except ConnectionError:
            pass  # the peer has already answered and closed; its answer is still to be read

    def _more(self, wait_s):
        if self.eof:
            return False
        self.sock.settimeout(max(wait_s, 0.001))
        try:
            data = self.sock.recv(65536)
        except (socket.timeout, BlockingIOError):
            return False
        except ConnectionError:
            data = b""
        self.eof = not data
        self.buf += data
        return bool(data)

    def response(self, method, wait_s):
        """Next final response as a dict, or None when none (complete) came in time."""
        end = time.monotonic() + wait_s
        while True:
            r, used = parse_response(self.buf, method, self.eof)
            if r:
                self.buf = self.buf[used:]
                if r["status"] >= 200 or r["status"] == 101:
                    return r
                continue
            if not self._more(end - time.monotonic()) and (self.eof or time.monotonic() >= end):
                r, used = parse_response(self.buf, method, True)
                self.buf = self.buf[used:] if r else self.buf
                return r

    def closed(self, wait_s):
        end = time.monotonic() + wait_s
        while not self.eof and time.monotonic() < end:
            self._more(end - time.monotonic())
        return self.eof

    def close(self):
        self.sock.close()


def parse_response(buf, method, eof):
    head, sep, rest = buf.partition(b"\r\n\r\n")
    if not sep:
        return None, 0
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers = [[k.lower(), v.strip()] for k, _, v in (x.partition(":") for x in lines[1:])]
    first = {k: v for k, v in reversed(headers)}
    r = {"status": status, "headers": headers, "version": lines[0].split(" ")[0]}
    if method == "HEAD" or status in (204, 304) or status < 200:
        body, used = b"", 0
    elif "chunked" in first.get("transfer-encoding", ""):
        body, used = dechunk(rest)
    elif "content-length" in first:
        used = int(first["content-length"])
        body = rest[:used] if len(rest) >= used else None
    else:
        body, used = (rest, len(rest)) if eof else (None, 0)
    if body is None:
        return None, 0
    r["body"] = body.decode("utf-8", "backslashreplace")
    return r, len(head) + 4 + used


def dechunk(data):
    out, at = b"", 0
    while True:
        nl = data.find(b"\r\n", at)
        if nl < 0:
            return None, 0
        size = int(data[at:nl].split(b";")[0], 16)
        if size == 0:
            end = data.find(b"\r\n", nl + 2)
            return (out, end + 2) if end >= 0 else (None, 0)
        if len(data) < nl + 2 + size + 2:
            return None, 0
        out += data[nl + 2:nl + 2 + size]
        at = nl + 2 + size + 2


def request_bytes(req, text):
    if "raw" in req:
        parts = req["raw"] if isinstance(req["raw"], list) else [req["raw"]]
        return b"".join(_part(p, text) for p in parts)
    body = text(str(req.get("body", ""))).encode("latin-1")
    headers = [[k, text(str(v))] for k, v in req.get("headers") or []]
    names = {k.lower() for k, _ in headers}
    lines = [f"{req.get('method', 'GET')} {text(req.get('path', '/'))} HTTP/{req.get('http', 1.1)}"]
    if req.get("host", "oracle.test") is not None:
        lines.append("Host: " + text(str(req.get("host", "oracle.test"))))
    lines += [f"{k}: {v}" for k, v in headers]
    if "body" in req and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _part(p, text):
    if isinstance(p, dict) and "hello" in p:
        return hello.make(p["hello"] or {})
    if isinstance(p, dict):
        return b"".join(p["repeat"].replace("%d", str(i)).encode("latin-1") for i in range(p["times"]))
    return text(p).encode("latin-1")


def describe(r, single=True):
    """What a response says, without what differs from run to run."""
    if r is None:
        return {"status": 0}
    first = {k: v for k, v in reversed(r["headers"])}
    out = {"status": r["status"]}
    cluster = first.get("x-backend-cluster")
    if cluster:
        out["cluster"], out["endpoint"] = cluster, first.get("x-backend-endpoint")
    out["response_headers"] = [[k, _steady(k, v) if k in ("x-request-id", "set-cookie") else v] for k, v in r["headers"] if k not in QUIET and not (k == "content-type" and cluster)]
    if not cluster:
        if r["body"]:
            out["body"] = r["body"]
    else:
        _echo(r["body"], out)
    if first.get("connection", "").lower() == "close":
        out["closed"] = True
    return out


def _echo(body, out):
    try:
        echo = json.loads(body)
    except ValueError:
        return
    out["upstream_method"], out["upstream_path"] = echo["method"], echo["path"]
    out["upstream_host"] = next((v for k, v in echo["headers"] if k.lower() == "host"), None)
    out["upstream_headers"] = [[k.lower(), _steady(k, v)] for k, v in echo["headers"] if k.lower() != "host"]
    if echo["body"]:
        out["upstream_body"] = echo["body"]


def _steady(name, value):
    if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", value):
        return "<uuid>"
    if name.lower() == "set-cookie":  # one that is made has the connection's addresses in it
        return re.sub(r'="[0-9a-f]{16}"', '="<made>"', value)
    return "<ms>" if name.lower() == "x-envoy-upstream-service-time" else value


def arrived(out, due):
    """Whether all that is due has come. due: a recorded result, or nothing; it says how long to wait, not what is right."""
    parts = ("status", "body", "incomplete", "open", "reset", "trailers")
    have, want = ([[r.get(k) for k in parts] for r in x.get("responses", [])] for x in (out, due))
    return not due or (have == want and all(out.get(k) == due[k] for k in ("closed", "goaway", "pings") if due.get(k)) and
                       (due.get("end", "open") == "open" or out["end"] != "open"))


class Runner:
    """Runs requests against {listener name: (host, port)}; `text` fills placeholders in."""

    def __init__(self, addresses, text, seen=None, due=None, back=lambda out: out):
        """seen: Backends.seen, for requests with `mirrors`. due: recorded results by name, which are waited for on a busy machine;
        back: gives a result the form of recorded ones."""
        self.addresses, self.text, self.seen, self.due, self.back = addresses, text, seen, due or {}, back
        self.default = next(iter(addresses))

    def run_all(self, case):
        """In the order of the file; eight at a time if the case says `parallel: true`."""
        if not case.get("parallel"):
            return [self.run(r) for r in case["requests"]]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(self.run, case["requests"]))

    def run(self, req):
        if "wait_ms" in req:
            time.sleep(req["wait_ms"] / 1000)
        try:
            return self._run(req)
        except ConnectionRefusedError:
            # What a proxy shows by closing an accepted connection, connect() itself can say.
            if "wire" in req:
                return {"name": req["name"], "responses": [], "end": "fin"}
            nothing = {"responses": []} if "raw" in req or "h2" in req else {"status": 0}
            return {"name": req["name"], **nothing, "closed": True}
        except OSError as e:
            return {"name": req["name"], "error": f"{type(e).__name__}: {e.strerror or e}"}

    def _run(self, req):
        if "raw" in req:
            return self._raw(req)
        if "h2" in req:
            return self._h2(req)
        if "wire" in req:
            return self._wire(req)
        if "repeat" in req:
            return self._repeated(req)
        if "mirrors" in req:
            req = dict(req, headers=[*(req.get("headers") or []), ["x-mirror-id", req["name"]]])
        out, port = self._one(req)
        if "mirrors" in req:
            out["mirrored"] = self._mirrored(req)
        return dict({"name": req["name"]}, **out, _port=port)

    def _mirrored(self, req):
        """What other backends got: of the `mirrors` expected at the mirror clusters, those that came in time."""
        due = len(self.due.get(req["name"], {}).get("mirrored", []))
        end = time.monotonic() + (LIMIT_S if due >= req["mirrors"] else IDLE_S)
        while True:
            got = [m for m in list(self.seen.get(req["name"], [])) if m["cluster"].startswith("mirror")]
            if len(got) > req["mirrors"] or time.monotonic() > end:
                break
            if len(got) == req["mirrors"]:
                end = min(end, time.monotonic() + SETTLE_S)  # one more than expected may still come
            time.sleep(0.01)
        out = [dict(m, headers=sorted([k.lower(), _steady(k, v)] for k, v in m["headers"])) for m in got]
        return sorted(out, key=lambda m: (m["cluster"], m["headers"]))

    def _address(self, req):
        return self.addresses[req.get("listener", self.default)]

    def _one(self, req, conn=None):
        if str(req.get("http", 1.1)) == "2":
            return self._curl(req)
        own = conn is None
        conn = conn or Connection(self._address(req))
        try:
            conn.send(request_bytes(req, self.text), req.get("split", 0), req.get("gap_ms", 0) / 1000)
            r = conn.response(req.get("method", "GET"), req.get("limit_ms", LIMIT_S * 1000) / 1000)
            out = describe(r)
            if r is None:
                out["closed"] = conn.eof
            return out, conn.port
        finally:
            if own:
                conn.close()

    def _raw(self, req):
        want, conn, due = req.get("responses", 1), Connection(self._address(req)), self.due.get(req["name"], {})
        try:
            data = request_bytes(req, self.text)
            conn.send(data, req.get("split", 0), req.get("gap_ms", 0) / 1000)
            if req.get("half_close"):
                conn.sock.shutdown(socket.SHUT_WR)
            methods = req.get("methods") or [data.lstrip(b"\r\n").split(b" ")[0].decode("latin-1")]
            got = []
            while True:
                method = methods[len(got)] if len(got) < len(methods) else "GET"
                r = conn.response(method, LIMIT_S if len(got) < len(due.get("responses", [])) else IDLE_S if len(got) < want else SETTLE_S)
                if r is None:
                    break
                got.append(describe(r))
            closed = bool(got and got[-1].pop("closed", False)) or (conn.closed(LIMIT_S) if due.get("closed") else conn.eof)
            out = {"name": req["name"], "responses": got, "closed": closed, "_port": conn.port}
            if conn.buf:
                out["left_over"] = conn.buf[:200].decode("latin-1")
            return out
        finally:
            conn.close()

    def _h2(self, req):
        conn = Connection(self._address(req))
        try:
            due, out = self.due.get(req["name"], {}), {}

            def over(a):
                out.clear()
                out.update(_of_streams(a, req, conn))
                return arrived(self.back(out), due)
            h2.talk(conn, req, self.text, (IDLE_S, SETTLE_S, LIMIT_S), over)
            return out
        finally:
            conn.close()

    def _wire(self, req):
        conn, due = Connection(self._address(req)), self.due.get(req["name"], {})
        try:
            return wire.run(req, conn, self.text, QUIET, lambda out: arrived(self.back(out), due))
        finally:
            conn.close()

    def _repeated(self, req):
        n, width, by = req["repeat"], req.get("concurrency", 1), req.get("count_by", ["status", "cluster"])
        counts = collections.Counter()
        if width > 1:
            ended = [threading.Event() for _ in range(n)]
            with concurrent.futures.ThreadPoolExecutor(width) as pool:
                outs = [o for o, _ in pool.map(lambda i: self._staggered(req, i, ended), range(n))]
        else:
            outs = self._in_turn(req, n)
        keys = [" ".join(_key(o, f) for f in by) for o in outs]
        counts.update(keys)
        out = {"name": req["name"], "repeat": n, "counts": dict(sorted(counts.items()))}
        if req.get("sequence"):
            out["sequence"] = keys
        return out

    def _staggered(self, req, i, ended):
        """`in_order`: each begins when the one before it has reached its endpoint, or has ended."""
        try:
            if not req.get("in_order"):
                return self._one(req)
            mark = f"{req['name']}#"
            limit = time.monotonic() + LIMIT_S
            while i and f"{mark}{i - 1}" not in self.seen and not ended[i - 1].is_set() and time.monotonic() < limit:
                time.sleep(0.002)
            return self._one(dict(req, headers=[*(req.get("headers") or []), ["x-mirror-id", f"{mark}{i}"]]))
        finally:
            ended[i].set()

    def _in_turn(self, req, n):
        """Repetitions share a connection while it lasts, unless the request says `fresh: true`."""
        conn = None
        for _ in range(n):
            if str(req.get("http", 1.1)) == "2":
                yield self._curl(req)[0]
                continue
            if conn is None or conn.eof or req.get("fresh"):
                if conn:
                    conn.close()
                try:
                    conn = Connection(self._address(req))
                except ConnectionRefusedError:  # what Envoy shows as a connection that is closed
                    conn = None
                    yield {"status": 0, "closed": True}
                    continue
            out, _ = self._one(req, conn)
            if out.get("closed"):
                conn.eof = True
            yield out
        if conn:
            conn.close()

    def _curl(self, req):
        host, port = self._address(req)
        cmd = ["curl", "-s", "-i", "--http2-prior-knowledge", "--max-time", str(LIMIT_S), "--path-as-is", "-X",
               req.get("method", "GET"), "--request-target", self.text(req.get("path", "/")), "-w", "%{stderr}%{local_port}",
               "-H", "Host: " + self.text(str(req.get("host", "oracle.test"))), "-H", "User-Agent:", "-H", "Accept:"]
        if req.get("method") == "HEAD":
            cmd.append("-I")
        for k, v in req.get("headers") or []:
            cmd += ["-H", f"{k}: {self.text(str(v))}" if str(v) else f"{k};"]
        if "body" in req:
            cmd += ["--data-binary", self.text(str(req["body"])), "-H", "Content-Type:" if not any(
                k.lower() == "content-type" for k, _ in req.get("headers") or []) else "x-none;"]
        began = time.time()
        done = subprocess.run(cmd + [f"http://{host}:{port}/"], capture_output=True, timeout=LIMIT_S + 2)
        local = done.stderr.decode().strip()
        raw = done.stdout
        raw = re.sub(rb"^HTTP/2 ", b"HTTP/2 ", raw)
        r, _ = parse_response(raw, req.get("method", "GET"), True)
        out = describe(r)
        if r is None:
            out["closed"] = True
        return out, (int(local), began) if local.isdigit() else None


def _of_streams(a, req, conn):
    """The result of an HTTP/2 connection. a: h2.Answers."""
    got = []
    for n in sorted(a.streams):
        s = a.streams[n]
        out = {"status": 0}
        heads = [dict(h).get(":status", "") for h in s["headers"]]
        final = next((h for h, c in zip(s["headers"], heads) if c.isdigit() and int(c) >= 200), None)
        if final:
            out = describe({"status": int(dict(final)[":status"]), "body": s["body"].decode("utf-8", "backslashreplace"),
                            "headers": [h for h in final if not h[0].startswith(":")]})
        if [c for c in heads if c.startswith("1")]:
            out["interim"] = [int(c) for c in heads if c.startswith("1")]
        if final and s["headers"][-1] is not final:
            out["trailers"] = s["headers"][-1]
        for k in ("reset",) if "reset" in s else ():
            out[k] = s[k]
        if not s["ended"] and "reset" not in s:
            out["open"] = True
        got.append(dict({"stream": n}, **out))
    out = {"name": req["name"], "responses": got, "closed": conn.eof, "_port": conn.port}
    if a.goaway:
        out["goaway"] = a.goaway
    if a.pings:
        out["pings"] = a.pings
    return out


def _key(out, field):
    v = out.get(field)
    if v is None and field not in out:
        v = dict((k, x) for k, x in out.get("response_headers", [])).get(field)
    return "-" if v is None else str(v)
