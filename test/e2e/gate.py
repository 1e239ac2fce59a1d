# SPDX-License-Identifier: Apache-2.0
"""Requests that are held: gate.py server PORT..., an endpoint that keeps them until it is told, and gate.py client ADDRESS.

Both read commands from standard input, a JSON object a line with what to `do`, and answer each by a line of JSON. The server:
state ({inside: {path: n}, most: {path: the most there ever were}, ports: {path: [of those inside]}}), open and shut (the gate), reset (those inside),
drop (every connection), forget (what `most` there were). A path with /again/ is answered 503 at the first attempt; one with /churn/ is held for a moment only.
The client: ask (lots of {path, n, split, port}; besides: what was asked before goes on), count ({path: {answer: n}}), close or reset (its connections), rest (waits for every answer; the counts),
churn (n clients that ask `times` each, and one of `cut` times reset their connection instead of reading the answer; the counts)."""
import asyncio
import collections
import json
import socket
import struct
import sys

LIMIT_S = 60.0


def cut(writer):
    """Ends a connection with a RST."""
    s = writer.get_extra_info("socket")
    if s and s.fileno() >= 0:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Server:
    def __init__(self):
        self.inside, self.most, self.writers = {}, collections.Counter(), set()
        self.gate = asyncio.Event()

    async def session(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self.exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def exchange(self, reader, writer):
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path, status = line.split(" ")[1], 200
        if "/again/" in path and "x-envoy-attempt-count: 1" in fields:
            status = 503
        else:
            held = self.inside.setdefault(path, set())
            held.add(writer)
            self.most[path] = max(self.most[path], len(held))
            try:
                if not await self.hold(path, reader):
                    return False
            finally:
                held.discard(writer)
        writer.write(f"HTTP/1.1 {status} Held\r\ncontent-length: 2\r\n\r\nok".encode())
        await writer.drain()
        return True

    async def hold(self, path, reader):
        """False: whoever asked is gone."""
        if "/churn/" in path:
            await asyncio.sleep(0.001)
            return True
        waits = [asyncio.ensure_future(x) for x in (self.gate.wait(), reader.read(1))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[0].done()
        finally:
            for w in waits:
                w.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def do(self, job):
        what = job["do"]
        if what in ("open", "shut"):
            (self.gate.set if what == "open" else self.gate.clear)()
        elif what == "reset":
            for w in [w for held in self.inside.values() for w in held]:
                cut(w)
        elif what == "forget":
            self.most.clear()
        elif what == "drop":
            for w in list(self.writers):
                w.close()
        ports = {p: sorted({w.get_extra_info("sockname")[1] for w in held}) for p, held in self.inside.items()}
        return {"inside": {p: len(h) for p, h in self.inside.items() if h}, "most": self.most, "ports": ports}


class Client:
    def __init__(self, address):
        self.address, self.tasks = address, []
        self.begin()

    def begin(self):
        for t in self.tasks:
            t.cancel()
        self.counts, self.tasks, self.writers = collections.defaultdict(collections.Counter), [], []

    async def connect(self, port):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(self.address, port), LIMIT_S)
        self.writers.append(writer)
        return reader, writer

    async def send(self, writer, path, split):
        data = f"GET {path} HTTP/1.1\r\nhost: gate.test\r\n\r\n".encode()
        if split:  # no program sees the head in one piece
            writer.write(data[:1])
            await writer.drain()
            await asyncio.sleep(0)
            data = data[1:]
        writer.write(data)

    async def answer(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((int(x.split(":")[1]) for x in head.split("\r\n") if x.startswith("content-length:")), 0)
        await reader.readexactly(length)
        return head.split(" ")[1], "connection: close" in head

    async def one(self, lot, conn):
        try:
            reader, writer = conn or await self.connect(lot.get("port", 80))
            await self.send(writer, lot["path"], lot.get("split"))
            key, _ = await self.answer(reader)
        except (OSError, asyncio.IncompleteReadError) as e:
            key = "refused" if isinstance(e, ConnectionRefusedError) else "closed"
        self.counts[lot["path"]][key] += 1

    async def ask(self, job):
        if not job.get("besides"):
            self.begin()
        lots = [lot for lot in job["lots"] for _ in range(lot["n"])]
        # requests contend, not handshakes; where connections contend nobody has one yet
        conns = [None if "port" in lot else await self.connect(80) for lot in lots]
        self.tasks += [asyncio.ensure_future(self.one(lot, c)) for lot, c in zip(lots, conns)]

    async def churn(self, job):
        async def one(lot, n):
            conn = None
            for i in range(lot["times"]):
                conn = conn or await self.connect(80)
                try:
                    await self.send(conn[1], lot["path"], lot.get("split"))
                    if "cut" in lot and (i + n) % lot["cut"] == 0:
                        cut(conn[1])
                        conn = None
                        continue
                    key, close = await self.answer(conn[0])
                except (OSError, asyncio.IncompleteReadError):
                    key, close = "closed", True
                self.counts[lot["path"]][key] += 1
                conn = None if close else conn
        self.begin()
        await asyncio.wait_for(asyncio.gather(*(one(lot, n) for lot in job["lots"] for n in range(lot["n"]))), LIMIT_S)

    async def do(self, job):
        what = job["do"]
        if what in ("ask", "churn"):
            await getattr(self, what)(job)
        elif what in ("close", "reset"):
            for t in self.tasks:
                t.cancel()
            for w in self.writers:
                (cut if what == "reset" else type(w).close)(w)
        elif what == "rest":
            await asyncio.wait_for(asyncio.gather(*self.tasks), LIMIT_S)
            for w in self.writers:
                w.close()
        return self.counts


async def serve(peer):
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await peer.do(json.loads(line))), flush=True)


async def main():
    if sys.argv[1] == "client":
        await serve(Client(sys.argv[2]))
        return
    server = Server()
    for port in sys.argv[2:]:
        await asyncio.start_server(server.session, None, int(port), backlog=1024)
    await serve(server)


if __name__ == "__main__":
    asyncio.run(main())
