# SPDX-License-Identifier: Apache-2.0
"""The client process inside a pod: client.py JOB, a JSON object; prints a JSON object. What a job says: see `load` and `once`."""
import asyncio
import collections
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import time

LIMIT_S = 20.0


def request(job, i=0):
    body = b"x" * job.get("body", 0)
    lines = [f"{job.get('method', 'POST' if body else 'GET')} {job.get('path', '/').replace('{i}', str(i))} HTTP/1.1",
             f"Host: {job.get('host', 'shop.test')}"]
    lines += [f"{k}: {v}" for k, v in job.get("headers", {}).items()]
    if body and job.get("chunked"):
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[j:j + 40000] for j in range(0, len(body), 40000))) + b"0\r\n\r\n"
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def response(reader):
    """{status, headers, length, sha256, body (its first 2000 bytes)}"""
    while True:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text[:-4].split("\r\n")
        status = int(line.split(" ")[1])
        if status >= 200:
            break
    headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
    digest, start, length = hashlib.sha256(), b"", 0
    async for piece in _pieces(reader, headers):
        digest.update(piece)
        start += piece[:2000 - len(start)]
        length += len(piece)
    return {"status": status, "headers": headers, "length": length, "sha256": digest.hexdigest(), "body": start.decode("latin-1")}


async def _pieces(reader, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return
    left = int(headers.get("content-length") or 0)
    while left:
        piece = await reader.read(min(left, 1 << 16))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


async def ask(conn, job, i):
    reader, writer = conn
    data = request(job, i)
    if job.get("split"):  # no program sees the head in one piece
        writer.write(data[:1])
        await writer.drain()
        await asyncio.sleep(0)
        data = data[1:]
    writer.write(data)
    return await asyncio.wait_for(response(reader), LIMIT_S)


async def connect(job):
    """tls: by TLS, this server's name asked for ("": none), its certificate not looked at."""
    tls = {}
    if "tls" in job:
        tls = {"ssl": ssl.create_default_context(), "server_hostname": job["tls"]}
        tls["ssl"].check_hostname = False
        tls["ssl"].verify_mode = ssl.CERT_NONE
    return await asyncio.wait_for(asyncio.open_connection(job["address"], job.get("port", 80), limit=1 << 20,
                                                          family=job.get("family", 0), **tls), LIMIT_S)


def key(job, r):
    """What is counted: the status and the headers the job names; the reader of the counts sees mixtures."""
    return " ".join([str(r["status"])] + [r["headers"].get(h, "-") for h in job.get("count", ["x-backend"])])


async def load(job):
    """`connections` clients send `requests` each, or for `seconds`; {counts, errors, requests, longest_ms}.

    until_eof: also ends when standard input does. fresh: a connection for each request. reconnect: errors are counted and the client goes on."""
    counts, errors, longest = collections.Counter(), collections.Counter(), [0.0]
    end = time.monotonic() + job["seconds"] if "seconds" in job else None
    over = threading.Event()
    if job.get("until_eof"):
        threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

    async def one(n):
        conn, i = None, 0
        while (time.monotonic() < end and not over.is_set()) if end else (i < job.get("requests", 1)):
            began = time.monotonic()
            try:
                if conn is None:
                    conn = await connect(job)
                r = await ask(conn, job, n * 1000000 + i)
                counts[key(job, r)] += 1
                if job.get("fresh") or r["headers"].get("connection") == "close":
                    conn[1].close()
                    conn = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError, IndexError) as e:
                errors[f"{type(e).__name__}: {str(e)[:80]}"] += 1
                if conn:
                    conn[1].close()
                conn = None
                if not job.get("reconnect"):
                    return
                await asyncio.sleep(0.005)
            longest[0] = max(longest[0], time.monotonic() - began)
            i += 1
            await asyncio.sleep(job.get("pause", 0))
        if conn:
            conn[1].close()
    await asyncio.gather(*(one(n) for n in range(job.get("connections", 1))))
    return {"counts": counts, "errors": errors, "requests": sum(counts.values()), "longest_ms": round(1000 * longest[0])}


async def once(job):
    """One request; its answer, or {"error"}. mapped: through an IPv6 socket to the IPv4-mapped address."""
    try:
        if job.get("mapped"):
            job = dict(job, address="::ffff:" + job["address"], family=socket.AF_INET6)
        conn = await connect(job)
        peer = conn[1].get_extra_info("peername")
        out = dict(await ask(conn, job, 0), peer=peer[0], peer_port=peer[1])
        conn[1].close()
        return out
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as e:
        return {"error": type(e).__name__, "errno": getattr(e, "errno", None)}


async def follow(job):
    """For each line of standard input, a name: asks each of `hosts` on its own connection until the answer's `server` is that name,
    and prints the list of the keys of those answers, or {"late": the last ones} after LIMIT_S."""
    conns = [await connect(job) for _ in job["hosts"]]
    lines = 0
    while name := (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip():
        end, keys = time.monotonic() + LIMIT_S, []
        for conn, host in zip(conns, job["hosts"]):
            while True:
                r = await ask(conn, dict(job, host=host), 0)
                if r["headers"].get("server") == name or time.monotonic() > end:
                    break
                await asyncio.sleep(0.001)
            keys.append(key(job, r))
        print(json.dumps(keys if time.monotonic() <= end else {"late": keys}), flush=True)
        lines += 1
    return {"lines": lines}


async def hold(job):
    """Opens `connections` and keeps them until standard input ends; {open, refused} at once."""
    out, kept = collections.Counter(), []
    for _ in range(job["connections"]):
        try:
            kept.append(await connect(job))
            out["open"] += 1
        except OSError:
            out["refused"] += 1
    print(json.dumps(out), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return out


async def wait(job):
    """`connections` send a request each; {open} at once, and after a line of standard input {counts}: of statuses, or errors' names.

    again: of one port, which another connection had and reset."""
    def opened(port):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.settimeout(LIMIT_S)
        s.bind(("", port))
        s.connect((job["address"], job.get("port", 80)))
        return s

    def answer(s):
        try:
            return s.recv(4096).decode("latin-1").split(" ")[1]
        except (OSError, IndexError) as e:
            return type(e).__name__
    port = 0
    if job.get("again"):
        first = opened(0)
        port = first.getsockname()[1]
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
    kept = [opened(port) for _ in range(job.get("connections", 1))]
    for i, s in enumerate(kept):
        s.sendall(request(job, i))
    print(json.dumps({"open": len(kept)}), flush=True)
    sys.stdin.readline()
    return {"counts": collections.Counter(answer(s) for s in kept)}


if __name__ == "__main__":
    JOB = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run({"load": load, "once": once, "hold": hold, "follow": follow, "wait": wait}[JOB["do"]](JOB))))
