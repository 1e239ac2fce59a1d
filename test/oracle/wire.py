# SPDX-License-Identifier: Apache-2.0
"""Requests and answers byte by byte, both ends scripted: what `wire` and `backend` of a request mean (README.md)."""
import asyncio
import base64
import json
import re
import select
import socket
import struct
import time

QUIET_S = 0.7
LIMIT_S = 12.0
PLACE = b"%SCRIPT%"
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
NOTES = {}  # by name of the request: what its backend read


def parts_bytes(part, text):
    """A string, or {repeat: S, times: N}."""
    if isinstance(part, dict):
        return b"".join(part["repeat"].replace("%d", str(i)).encode("latin-1") for i in range(part["times"]))
    return text(part).encode("latin-1")


def script_line(script):
    return b"x-backend-script: " + base64.b64encode(json.dumps(script).encode()) + b"\r\n"


# ---- the backend's end ----

async def play(script, body, reader, writer):
    """Does what the script says after a head. True: the connection goes on with another head."""
    read, rest = b"", not any(isinstance(p, dict) and p.get("body") is not None for p in script)
    if rest:
        await body()
    for part in script:
        if isinstance(part, str) or "repeat" in part:
            writer.write(parts_bytes(part, lambda s: s))
            await writer.drain()
        elif "wait_ms" in part:
            await asyncio.sleep(part["wait_ms"] / 1000)
        elif "body" in part:
            read = await body() if part["body"] else b""
        elif "read" in part:
            read += await asyncio.wait_for(reader.readexactly(part["read"]), LIMIT_S)
        elif "read_end" in part:
            try:
                read += await asyncio.wait_for(reader.read(-1), LIMIT_S)
            except ConnectionError:
                read += b"(reset)"
        elif "note" in part:
            NOTES[part["note"]] = read.decode("latin-1")
        elif "say" in part:
            writer.write(b"[" + read + b"]")
            await writer.drain()
        elif part["end"] == "shut":
            writer.write_eof()
        else:
            return _close(writer, part["end"])
    return True


def _close(writer, how):
    if how == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return False


# ---- the client's end ----

class Talk:
    """One connection: sends parts in turn and takes in whatever comes meanwhile."""

    def __init__(self, sock, text, split_first):
        self.sock, self.text, self.split_first = sock, text, split_first
        self.buf, self.end, self.began, self.last, self.ended = b"", "open", time.monotonic(), None, None

    def _take(self, wait_s):
        if self.end != "open" or not select.select([self.sock], [], [], max(wait_s, 0))[0]:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            self.end, self.ended = "reset", time.monotonic()
            return True
        if data:
            self.last = time.monotonic()
        else:
            self.end, self.ended = "fin", time.monotonic()
        self.buf += data
        return True

    def _listen(self, wait_s):
        end = time.monotonic() + wait_s
        while self.end == "open" and time.monotonic() < end:
            self._take(end - time.monotonic())

    def send(self, data):
        at = 0
        while at < len(data):
            self._take(0)
            n = 1 if self.split_first and not at else 1 << 16
            if not select.select([], [self.sock], [], LIMIT_S)[1]:
                return
            try:
                at += self.sock.send(data[at:at + n])
            except ConnectionError:
                return  # answered and closed: the answer is still to be read

    def run(self, parts):
        for part in parts:
            if isinstance(part, str) or "repeat" in part:
                self.send(parts_bytes(part, self.text))
            elif "wait_ms" in part:
                self._listen(part["wait_ms"] / 1000)
            elif "shut" in part:
                self._shut()

    def listen(self, quiet_s, arrived):
        """Until nothing has come for quiet_s; as long as not all has arrived, until the limit."""
        end, still = time.monotonic() + LIMIT_S, False
        while self.end == "open" and time.monotonic() < end and not (still and arrived()):
            still = not self._take(quiet_s)

    def _shut(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # gone already


def answers(buf, methods, ended):
    """What stands in the bytes that came: [response], and what is left of them."""
    out, interim = [], []
    while b"\r\n\r\n" in buf and buf.startswith(b"HTTP/"):
        head, _, buf = buf.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = [[k.lower(), v.strip()] for k, _, v in (x.partition(":") for x in lines[1:])]
        status = int(lines[0].split(" ")[1])
        if status < 200 and status != 101:
            interim.append({"status": status, "response_headers": headers})
            continue
        r = {"first": lines[0], "status": status, "headers": headers, "interim": interim}
        interim = []
        if status == 101 and any(k == "upgrade" for k, _ in headers):
            r.update(framing="tunnel", body=buf.decode("latin-1"), whole=True)
            out.append(r)
            return out, b""
        method = methods[len(out)] if len(out) < len(methods) else "GET"
        buf = _body(r, buf, method, ended)
        out.append(r)
    if interim:
        out.append({"first": "", "status": 0, "headers": [], "interim": interim, "framing": "none", "body": "", "whole": False})
    return out, buf


def _body(r, buf, method, ended):
    first = {k: v for k, v in reversed(r["headers"])}
    r["whole"], body = True, b""
    if method == "HEAD" or r["status"] in (101, 204, 304):
        r["framing"] = "none"
    elif "chunked" in first.get("transfer-encoding", ""):
        r["framing"] = "chunked"
        body, buf, r["whole"], trailers = _chunks(buf)
        if trailers:
            r["trailers"] = trailers
    elif "content-length" in first:
        r["framing"] = "length"
        n = int(first["content-length"])
        body, buf, r["whole"] = buf[:n], buf[n:], len(buf) >= n
    else:
        r["framing"] = "close"
        body, buf, r["whole"] = buf, b"", ended == "fin"
    r["body"] = body.decode("latin-1")
    return buf


def _chunks(buf):
    out = b""
    while True:
        line, found, rest = buf.partition(b"\r\n")
        if not found:
            return out, b"", False, []
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        out += rest[:size]
        if len(rest) < size + 2:
            return out, b"", False, []
        buf = rest[size + 2:]
    trailers = []
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found or not line:
            return out, rest, bool(found), trailers
        trailers.append(line.decode("latin-1"))


SHOWN = 2000


def describe(r, quiet):
    """Chunks are one body; lengths and dates are left out."""
    out = {"status": r["status"], "framing": r["framing"],
           "response_headers": [[k, v] for k, v in r["headers"] if k not in quiet or k == "connection"]}
    body = UUID.sub("<uuid>", r["body"])
    if body:
        out["body"] = body if len(body) <= SHOWN else f"{len(body)} bytes: {body[:40]}...{body[-40:]}"
    if r["interim"]:
        out["interim"] = [[i["status"], sorted(i["response_headers"])] for i in r["interim"]]
    if not r["whole"]:
        out["incomplete"] = True
    if "trailers" in r:
        out["trailers"] = r["trailers"]
    return out


def run(req, connection, text, quiet, arrived):
    """connection: client.Connection. What came back, as a result; arrived(result): it is all that is waited for."""
    line = script_line(req["backend"]) if "backend" in req else b""
    fill = lambda s: text(s).replace(PLACE.decode(), line.decode())  # noqa: E731
    talk = Talk(connection.sock, fill, connection.split_first)
    first = fill(next((p for p in req["wire"] if isinstance(p, str)), ""))

    def result():
        got, rest = answers(talk.buf, req.get("methods") or [first.split(" ")[0]], talk.end)
        return {"name": req["name"], "responses": [describe(r, quiet) for r in got], "end": talk.end, "_port": connection.port}, rest
    talk.run(req["wire"])
    talk.listen(req.get("quiet_ms", QUIET_S * 1000) / 1000, lambda: arrived(result()[0]))
    out, rest = result()
    if req["name"] in NOTES:
        out["backend_read"] = NOTES.pop(req["name"])
    if rest:
        out["left_over"] = rest.decode("latin-1")[:SHOWN]
    for name, at in (("took_ms", talk.last), ("end_ms", talk.ended)):
        if req.get("timed") and at:
            out[name] = round((at - talk.began) * 1000)
    return out
