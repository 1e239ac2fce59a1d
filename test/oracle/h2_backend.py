# SPDX-License-Identifier: Apache-2.0
"""An echo backend's side of an HTTP/2 connection. A request asks for what happens by the headers of backends.py, and by
`x-backend-frames`: a JSON list of what is sent in place of the echo, each `{headers: [...], end: true}` (as in a case),
`{data: text, end: true}`, `{rst: code}`, `{goaway: last stream}`, `{deaf: true}` (no PING on this connection is answered any
more) or `{close: true}`; `early: true` in its first: before the request's body is there."""
import asyncio
import json

import h2
import rls


class _Stream:
    def __init__(self, headers):
        self.headers, self.body, self.trailers, self.done = headers, b"", [], False


class Session:
    def __init__(self, key, reader, writer, seen):
        self.key, self.reader, self.writer, self.seen = key, reader, writer, seen
        self.streams, self.inflater, self.block, self.tasks = {}, h2.Inflater(), b"", set()
        self.room, self.window, self.first = 65535, {}, 65535
        self.more, self.deaf = asyncio.Condition(), False

    async def run(self):
        self.writer.write(h2.frame(h2.SETTINGS, 0, 0))
        try:
            while True:
                head = await self.reader.readexactly(9)
                n, stream = int.from_bytes(head[:3], "big"), int.from_bytes(head[5:], "big") & 0x7fffffff
                await self._frame(head[3], head[4], stream, await self.reader.readexactly(n))
                await self.writer.drain()
        finally:
            for t in self.tasks:
                t.cancel()

    async def _frame(self, kind, flags, stream, p):
        if kind == h2.SETTINGS and not flags & h2.ACK:
            for i in range(0, len(p), 6):
                if int.from_bytes(p[i:i + 2], "big") == 4:
                    self.first = int.from_bytes(p[i + 2:i + 6], "big")
            self.writer.write(h2.frame(h2.SETTINGS, h2.ACK, 0))
        elif kind == h2.PING and not flags & h2.ACK and not self.deaf:
            self.writer.write(h2.frame(h2.PING, h2.ACK, 0, p))
        elif kind == h2.WINDOW:
            async with self.more:
                if stream:
                    self.window[stream] = self.window.get(stream, self.first) + int.from_bytes(p, "big")
                else:
                    self.room += int.from_bytes(p, "big")
                self.more.notify_all()
        elif kind in (h2.HEADERS, h2.CONTINUATION):
            if kind == h2.HEADERS:
                self.ends = flags & h2.END_STREAM
                p = p[5:] if flags & h2.PRIO else p
            self.block += p
            if flags & h2.END_HEADERS:
                self._headers(stream, self.inflater.headers(self.block))
                self.block = b""
                self._end(stream, self.ends)
        elif kind == h2.DATA:
            s = self.streams.get(stream)
            if s:
                s.body += p
                if p:
                    self.writer.write(h2.frame(h2.WINDOW, 0, 0, len(p).to_bytes(4, "big")) +
                                      h2.frame(h2.WINDOW, 0, stream, len(p).to_bytes(4, "big")))
            self._end(stream, flags & h2.END_STREAM)

    def _headers(self, stream, headers):
        if stream in self.streams:
            self.streams[stream].trailers = headers
            return
        self.streams[stream] = s = _Stream(headers)
        s.first = {k: v for k, v in reversed(headers)}
        s.frames = json.loads(s.first.get("x-backend-frames", "[]"))
        if s.frames and s.frames[0].get("early"):
            self._begin(stream, s)

    def _end(self, stream, ends):
        s = self.streams.get(stream)
        if ends and s and not s.done:
            self._begin(stream, s)

    def _begin(self, stream, s):
        s.done = True
        task = asyncio.ensure_future(self._answer(stream, s))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, stream, s):
        if s.first.get("x-backend-delay-ms"):
            await asyncio.sleep(int(s.first["x-backend-delay-ms"]) / 1000)
        if s.first.get("x-backend-close"):
            self.writer.close()
        elif s.frames:
            await self._play(stream, s.frames)
        elif s.first.get(":path") == rls.PATH:
            await self._limit(stream, s)
        else:
            await self._echo(stream, s)

    async def _play(self, stream, frames):
        for f in frames:
            if "headers" in f:
                self.writer.write(h2.frames_bytes([dict(f, stream=stream)], lambda v: v))
            elif "data" in f:
                await self._data(stream, f["data"].encode("latin-1") * f.get("times", 1), f.get("end"))
            elif "rst" in f:
                self.writer.write(h2.frame(h2.RST, 0, stream, f["rst"].to_bytes(4, "big")))
            elif "goaway" in f:
                self.writer.write(h2.frame(h2.GOAWAY, 0, 0, f["goaway"].to_bytes(4, "big") + bytes(4)))
            elif "deaf" in f:
                self.deaf = True
            elif "wait_ms" in f:
                await self.writer.drain()
                await asyncio.sleep(f["wait_ms"] / 1000)
            elif "close" in f:
                self.writer.close()
                return
        await self.writer.drain()

    async def _limit(self, stream, s):
        """A rate limit service's answer, as the question's own script says."""
        question = rls.decode(rls.message(s.body), rls.REQUEST)
        script = rls.Script.of(question) or rls.Script()
        if "note" in script:
            self.seen.setdefault(("asked", script["note"]), set()).add(rls.shown(question))
        if "number" in script:
            n = self.seen[("number", script["number"])] = self.seen.get(("number", script["number"]), 0) + 1
            script["response_headers_to_add"] = script.get("response_headers_to_add", []) + [{"key": "x-rls-number", "value": str(n)}]
        answer = script.answer(question, [h for h in s.headers if h[0] != "x-request-id"])
        data = bytes.fromhex(script["data"]) if "data" in script else answer
        data = bytes.fromhex(script["raw"]) if "raw" in script else rls.framed(data)
        if script.get("delay_ms"):
            await asyncio.sleep(script["delay_ms"] / 1000)
        if script.get("close"):
            self.writer.close()
            return
        if "rst" in script:
            self.writer.write(h2.frame(h2.RST, 0, stream, script["rst"].to_bytes(4, "big")))
            return
        if script.get("goaway"):
            self.writer.write(h2.frame(h2.GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4)))
        head = [[":status", str(script.get("http_status", 200))], ["content-type", script.get("content_type", "application/grpc")]]
        end = [["grpc-status", str(script.get("grpc_status", 0))], ["grpc-message", script.get("grpc_message", "")]]
        ends = h2.END_HEADERS | h2.END_STREAM
        if script.get("grpc_status") and not script.get("late"):
            self.writer.write(h2.frame(h2.HEADERS, ends, stream, h2.literal(head + end)))
            return
        self.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, h2.literal(head)))
        await self._data(stream, data, bool(script.get("bare")))
        if not script.get("bare"):
            self.writer.write(h2.frame(h2.HEADERS, ends, stream, h2.literal(end)))

    async def _echo(self, stream, s):
        method, path = s.first.get(":method", ""), s.first.get(":path", "")
        plain = [[k, v] for k, v in s.headers if not k.startswith(":")]
        # what HTTP/1.1 has no place for stands among the headers
        headers = [["host", s.first[":authority"]]] if ":authority" in s.first else []
        headers += [["x-h2" + k.replace(":", "-"), v] for k, v in s.headers if k in (":scheme", ":protocol")] + plain
        headers += [["x-h2-trailer", f"{k}: {v}"] for k, v in s.trailers]
        if "x-mirror-id" in s.first:
            self.seen.setdefault(s.first["x-mirror-id"], []).append(
                {"cluster": self.key[0], "method": method, "path": path, "headers": headers, "body": s.body.decode("latin-1")})
        echo = json.dumps({"method": method, "path": path, "version": "HTTP/2", "headers": headers,
                           "body": s.body.decode("latin-1")}).encode()
        reply = [[":status", s.first.get("x-backend-status", "200")], ["x-backend-cluster", self.key[0]],
                 ["x-backend-endpoint", self.key[1]], ["content-type", "application/json"], ["content-length", str(len(echo))]]
        reply += [[p.strip() for p in v.split(":", 1)] for k, v in plain if k == "x-backend-header"]
        if path.startswith("/asked/"):
            reply += [["x-rls-asked", q] for q in sorted(self.seen.get(("asked", path[7:]), []))]
        alone = method == "HEAD"
        self.writer.write(h2.frame(h2.HEADERS, h2.END_HEADERS | (h2.END_STREAM if alone else 0), stream, h2.literal(reply)))
        if not alone:
            await self._data(stream, echo, True)
        await self.writer.drain()

    async def _data(self, stream, body, end):
        while True:
            n = min(len(body), h2.FRAME_MAX)
            async with self.more:
                while n and min(self.room, self.window.get(stream, self.first)) <= 0:
                    await self.more.wait()
                n = min(n, self.room, self.window.get(stream, self.first)) if n else 0
                self.room -= n
                self.window[stream] = self.window.get(stream, self.first) - n
            part, body = body[:n], body[n:]
            self.writer.write(h2.frame(h2.DATA, h2.END_STREAM if end and not body else 0, stream, part))
            await self.writer.drain()
            if not body:
                return
