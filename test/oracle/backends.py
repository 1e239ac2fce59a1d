# SPDX-License-Identifier: Apache-2.0
"""Echo backends: one loopback port per (cluster, endpoint), all served by one thread.

A backend answers 200 with `x-backend-cluster`, `x-backend-endpoint` and a JSON body that repeats the request line, the
headers in order and the body as they arrived. A request may ask for something else by header:
`x-backend-status: 503`, `x-backend-delay-ms: 200`, `x-backend-header: name: value` (may repeat), `x-backend-close: 1`
(close without an answer), `x-backend-script: ...` (wire.py). A connection that begins as HTTP/2 is one (h2_backend.py).
"""
import asyncio
import base64
import json
import socket
import threading

import h2_backend
import wire

END = b"\r\n\r\n"


class Backends:
    def __init__(self, keys, host="127.0.0.1"):
        self.ports, self._held, self._servers = {}, [], []
        self.seen = {}  # by x-mirror-id: what came, at which cluster
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        for key in keys:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, 0))
            self.ports[key] = s.getsockname()[1]
            if key[1].startswith("dead"):
                self._held.append(s)  # bound, never listening: a connection is refused and the number stays ours
            else:
                self._run(self._serve(key, s))

    def _run(self, coro):
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result(5)

    async def _serve(self, key, sock):
        self._servers.append(await asyncio.start_server(lambda r, w: self._session(key, r, w), sock=sock, backlog=1024, limit=1 << 22))

    async def _session(self, key, reader, writer):
        try:
            while await self._exchange(key, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, key, reader, writer):
        head = (await reader.readuntil(END)).decode("latin-1")
        if head.startswith("PRI * HTTP/2.0"):
            await reader.readexactly(6)
            await h2_backend.Session(key, reader, writer, self.seen).run()
            return False
        line, *fields = head[:-4].split("\r\n")
        headers = [[k, v.strip(" \t")] for k, _, v in (f.partition(":") for f in fields)]
        first = {k.lower(): v for k, v in reversed(headers)}
        if "x-backend-script" in first:
            script = json.loads(base64.b64decode(first["x-backend-script"]))
            return await wire.play(script, lambda: _body(reader, first), reader, writer)
        body = await _body(reader, first)
        method, path, version = (line.split(" ") + ["", ""])[:3]
        if "x-mirror-id" in first:
            self.seen.setdefault(first["x-mirror-id"], []).append(
                {"cluster": key[0], "method": method, "path": path, "headers": headers, "body": body.decode("latin-1")})
        if first.get("x-backend-delay-ms"):
            await asyncio.sleep(int(first["x-backend-delay-ms"]) / 1000)
        if first.get("x-backend-close"):
            return False
        echo = json.dumps({"method": method, "path": path, "version": version, "headers": headers,
                           "body": body.decode("latin-1")}).encode()
        reply = [f"HTTP/1.1 {first.get('x-backend-status', '200')} Echo", f"x-backend-cluster: {key[0]}",
                 f"x-backend-endpoint: {key[1]}", "content-type: application/json", f"content-length: {len(echo)}"]
        reply += [v for k, v in headers if k.lower() == "x-backend-header"]
        writer.write("\r\n".join(reply).encode("latin-1") + END + (b"" if method == "HEAD" else echo))
        await writer.drain()
        return True

    def close(self):
        async def down():
            for s in self._servers:
                s.close()
            for t in asyncio.all_tasks():
                if t is not asyncio.current_task():
                    t.cancel()
        try:
            self._run(down())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2)
            for s in self._held:
                s.close()


async def _body(reader, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        out = b""
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                while (await reader.readuntil(b"\r\n")) != b"\r\n":
                    pass
                return out
            out += await reader.readexactly(size)
            await reader.readexactly(2)
    return await reader.readexactly(int(headers.get("content-length") or 0))
