# SPDX-License-Identifier: Apache-2.0
"""Peers that break the rules: faults.py server PORT, a server that does what the path's first segment says, and faults.py client JOB, clients."""
import json
import os
import random
import socket
import struct
import sys
import threading
import time

ENOUGH = 64 << 20  # a flood ends here, if nobody has ended it before


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def flood(s, piece):
    sent = 0
    try:
        while sent < ENOUGH:
            s.sendall(piece)
            sent += len(piece)
    except OSError:
        pass


def head_of(s):
    """The bytes of a request's head, b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return b""
        data += piece
    return data


OK = b"HTTP/1.1 200 OK\r\nx-backend: faults\r\ncontent-length: 2\r\n\r\nok"


def serve(s):
    while True:
        data = head_of(s)
        if not data:
            s.close()
            return
        what = data.split(b" ", 2)[1].decode().split("/")[1].split("?")[0]
        if what == "stall":
            time.sleep(3)
            s.close()
        elif what == "reset-before":
            reset(s)
        elif what == "reset-inside":
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-le")
            time.sleep(0.02)
            reset(s)
        elif what == "reset-after":
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome")
            time.sleep(0.02)
            reset(s)
        elif what == "early":
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome")
            s.close()
        elif what == "close":
            s.close()
        elif what == "garbage":
            s.sendall(os.urandom(512).replace(b"H", b"h") + b"\r\n\r\n")
            time.sleep(0.2)
            s.close()
        elif what == "bad-chunk":
            s.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
            time.sleep(0.2)
            s.close()
        elif what == "informational":
            flood(s, b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n" * 500)
            s.close()
        elif what == "long-head":
            s.sendall(b"HTTP/1.1 200 OK\r\n")
            flood(s, b"x-more: " + b"y" * 1000 + b"\r\n")
            s.close()
        elif what == "half":
            s.sendall(OK)
            s.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            s.close()
        elif what == "twice":
            s.sendall(OK + OK)
            continue
        elif what == "slow":
            time.sleep(0.4)
            s.sendall(OK)
            continue
        elif what == "large":
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n")
            flood_left = 8388608
            while flood_left:
                piece = b"z" * min(flood_left, 65536)
                s.sendall(piece)
                flood_left -= len(piece)
            continue
        else:
            s.sendall(OK)
            continue
        return


def serve_one(s):
    try:
        serve(s)
    except OSError:
        s.close()


def server(port):
    listening = socket.create_server(("", port), backlog=4096)
    while True:
        s, _ = listening.accept()
        threading.Thread(target=serve_one, args=(s,), daemon=True).start()


# ---- clients ----

def connect(job):
    s = socket.create_connection((job["address"], 80), 10)
    s.settimeout(10)
    return s


def request(job, path=None):
    return f"GET {path or job['path']} HTTP/1.1\r\nHost: {job['host']}\r\n\r\n".encode()


def read_all(s, most=1 << 20):
    data = b""
    try:
        while len(data) < most:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except OSError:
        pass
    return data


def status(data):
    return data.split(b" ", 2)[1].decode("latin-1") if data.startswith(b"HTTP/1.") else "none"


def ask(job):
    """One request on a connection of its own, read to the end: "503", or "200 cut" where the body is not whole."""
    with connect(job) as s:
        s.sendall(request(job))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = s.recv(65536)
            if not piece:
                return status(data)
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        want = int(next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0"))
        while len(body) < want:
            try:
                piece = s.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return status(data) + " cut"
            body += piece
        return status(data)


def at_once(job, n, call):
    out, threads = [], []
    for _ in range(n):
        threads.append(threading.Thread(target=lambda: out.append(call(job))))
        threads[-1].start()
    for t in threads:
        t.join()
    return {k: out.count(k) for k in sorted(set(out))}


def slowloris(job):
    """Heads that never end: the server gives up, within its request_headers_timeout."""
    held = [connect(job) for _ in range(job["n"])]
    for s in held:
        s.sendall(b"GET / HTTP/1.1\r\nhost: ")
    end = time.monotonic() + 8
    got = []
    for s in held:
        try:
            while time.monotonic() < end:
                s.sendall(b"a")
                time.sleep(0.01)
                s.setblocking(False)
                try:
                    data = s.recv(4096)
                    got.append(status(data))
                    break
                except BlockingIOError:
                    s.setblocking(True)
        except OSError:
            got.append("closed")
        s.close()
    return {k: got.count(k) for k in sorted(set(got))}


def resets(job):
    """Connections that ask and are gone: by RST, at once or in the middle of the answer."""
    for i in range(job["n"]):
        s = connect(job)
        s.sendall(request(job)[:random.Random(i).choice((1, 20, 10000))])
        if i % 3 == 0:
            time.sleep(0.002)
        reset(s)
    return {"done": job["n"]}


def half_close(job):
    with connect(job) as s:
        s.sendall(request(job))
        s.shutdown(socket.SHUT_WR)
        return {status(read_all(s)): 1}


def long_head(job):
    with connect(job) as s:
        try:
            s.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n")
            for _ in range(4000):
                s.sendall(b"x-more: " + b"y" * 1000 + b"\r\n")
        except OSError:
            pass
        return {status(read_all(s)): 1}


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A field of HPACK, without an index."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def fields(job):
    return b"\x82\x86" + literal(b":path", job["path"].encode()) + literal(b":authority", job["host"].encode())


def h2(job, settings=b""):
    s = connect(job)
    s.sendall(PREFACE + frame(4, 0, 0, settings))
    return s


def drained(s, seconds=1.0):
    """What comes, until it ends or nothing more does."""
    s.settimeout(seconds)
    return read_all(s)


def hpack_bomb(job):
    """One large field in the table, named again by a byte each: kilobytes that would be megabytes."""
    with h2(job) as s:
        large = b"\x40\x01x\x7f\x91\x1e" + b"v" * 3984
        block = fields(job) + large + b"\xbe" * 15000
        parts = [block[i:i + 16000] for i in range(0, len(block), 16000)]
        try:
            for n in range(50):
                s.sendall(frame(1, 1 | (4 if len(parts) == 1 else 0), 1 + 2 * n, parts[0]))
                for i, p in enumerate(parts[1:], 2):
                    s.sendall(frame(9, 4 if i == len(parts) else 0, 1 + 2 * n, p))
        except OSError:
            pass
        return {"answered": int(b"ok" in drained(s))}


def continuations(job):
    """A head that never ends, in frames."""
    sent = 0
    with h2(job) as s:
        try:
            s.sendall(frame(1, 1, 1, fields(job)))
            for _ in range(4000):
                s.sendall(frame(9, 0, 1, literal(b"x", b"v" * 100) * 100))
                sent += 1
        except OSError:
            pass
        return {"ended": int(sent < 4000)}


def rapid_reset(job):
    with h2(job) as s:
        try:
            for n in range(job["n"]):
                s.sendall(frame(1, 5, 1 + 2 * n, fields(job)) + frame(3, 0, 1 + 2 * n, b"\0\0\0\x08"))
        except OSError:
            pass
        drained(s, 0.5)
    return {"done": 1}


def starved(job):
    """Windows of nothing: answers wait, and no more of them than fits is read from the endpoint."""
    with h2(job, struct.pack(">HI", 4, 0)) as s:
        for n in range(job["n"]):
            s.sendall(frame(1, 5, 1 + 2 * n, fields(job)))
        drained(s, 1.0)
    return {"done": 1}


def mixed(job):
    """Faults by chance, until the time is over."""
    rnd = random.Random(job["seed"])
    kinds = (resets, half_close, rapid_reset, starved, hpack_bomb)
    end, done = time.monotonic() + job["seconds"], 0
    while time.monotonic() < end:
        path = rnd.choice(job["paths"])
        try:
            if rnd.random() < 0.7:
                ask(dict(job, path=path))
            else:
                rnd.choice(kinds)(dict(job, path="/large" if rnd.random() < 0.2 else "/", n=rnd.randint(1, 20)))
        except OSError:
            pass
        done += 1
    return {"done": done}


def run(job):
    do = job["do"]
    if do == "ask":
        return at_once(job, job.get("n", 1), ask)
    if do == "mixed":
        parts = [dict(job, seed=job["seed"] * 100 + i) for i in range(job["n"])]
        out = []
        threads = [threading.Thread(target=lambda p=p: out.append(mixed(p)["done"])) for p in parts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return {"done": sum(out)}
    return {f.__name__: f for f in (slowloris, resets, half_close, long_head, hpack_bomb, continuations, rapid_reset, starved)}[do](job)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        server(int(sys.argv[2]))
    else:
        print(json.dumps(run(json.loads(sys.argv[2]))))
