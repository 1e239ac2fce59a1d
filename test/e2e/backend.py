# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server with manners on request: backend.py NAME PORT [CERTIFICATE KEY]. Listens on every address of its namespace, with a
certificate by TLS.

Answers with `x-backend: NAME`. ?ms=N waits, on any path; paths: /close and /reset end the connection without an answer; /status?code=N; /bytes?n=N
sends N bytes of a known pattern (chunked with &chunked=1); a POST is answered with the length and SHA-256 of its body; /flaky?n=N&key=K
ends the connection the first N times; /count?key=K says how often. Anything else: NAME and the request's path; with ?echo=1 also its headers,
and ?send=NAME:VALUE (which may be repeated) is a header of the answer. ?down=NAME on any path: 503 from the backend of that name.
/requests says how many requests of other paths there were, and the headers of the last one.
"""
import asyncio
import collections
import hashlib
import json
import resource
import socket
import ssl
import struct
import sys
import urllib.parse

NAME = sys.argv[1]
SEEN = collections.Counter()
LAST = {"total": 0, "last": None}
PATTERN = bytes(range(256)) * 256


def pattern(n):
    """n bytes, in pieces."""
    while n > 0:
        yield PATTERN[:min(n, len(PATTERN))]
        n -= len(PATTERN)


async def read_body(reader, headers):
    digest, length = hashlib.sha256(), 0
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            digest.update(await reader.readexactly(size))
            length += size
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return digest, length
    left = int(headers.get("content-length") or 0)
    while left:
        data = await reader.read(min(left, 1 << 16))
        if not data:
            raise ConnectionError
        digest.update(data)
        left -= len(data)
        length += len(data)
    return digest, length


def head(status, length, *more):
    lines = [f"HTTP/1.1 {status} Whatever", f"x-backend: {NAME}", *more]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def exchange(reader, writer):
    """False: the connection is over."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = text[:-4].split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
    digest, length = await read_body(reader, headers)
    method, target, _ = line.split(" ")
    url = urllib.parse.urlsplit(target)
    q = dict(urllib.parse.parse_qsl(url.query))
    if url.path == "/requests":
        body = json.dumps(LAST).encode()
        writer.write(head(200, len(body)) + body)
        return headers.get("connection") != "close"
    LAST.update(total=LAST["total"] + 1, last=headers)
    if "ms" in q:
        await asyncio.sleep(int(q["ms"]) / 1000)
    if url.path == "/close":
        return False
    if url.path == "/reset":
        reset(writer)
        return False
    if url.path == "/flaky":
        SEEN[q["key"]] += 1
        if SEEN[q["key"]] <= int(q["n"]):
            reset(writer)
            return False
    if url.path == "/bytes":
        chunked = "chunked" in q
        writer.write(head(200, None if chunked else int(q["n"])))
        for piece in pattern(int(q["n"])):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        return True
    answer = {"name": NAME, "path": target, "length": length, "sha256": digest.hexdigest(), "seen": SEEN[q.get("key")]}
    if "echo" in q:
        answer["headers"] = headers
    body = json.dumps(answer).encode()
    status = 503 if q.get("down") == NAME else int(q.get("code", 200))
    more = urllib.parse.parse_qs(url.query).get("send", [])
    writer.write(head(status, len(body), *more) + (b"" if method == "HEAD" else body))
    await writer.drain()
    return True


async def session(reader, writer):
    try:
        while await exchange(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    tls = None
    if len(sys.argv) > 3:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(sys.argv[3], sys.argv[4])
    server = await asyncio.start_server(session, None, int(sys.argv[2]), backlog=4096, limit=1 << 20, ssl=tls)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
