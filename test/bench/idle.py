# SPDX-License-Identifier: Apache-2.0
"""Opens connections, has one answer on each, and keeps them: idle.py ADDRESS PORT COUNT HOST PATH [h2]."""
import resource
import socket
import sys

END_STREAM, SETTINGS_ACK = 1, 1
DATA, HEADERS, SETTINGS = 0, 1, 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header field in HPACK, literal, without indexing (RFC 7541 section 6.2.2); lengths below 127."""
    return b"\0" + b"".join(bytes((len(x),)) + x.encode() for x in (name, value))


def ask1(s, host, path):
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return s.recv(4096).startswith(b"HTTP/1.1 200")


def exactly(s, n):
    out = b""
    while len(out) < n:
        piece = s.recv(n - len(out))
        if not piece:
            raise ConnectionError("closed")
        out += piece
    return out


def ask2(s, host, path):
    head = b"".join(literal(*x) for x in ((":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)))
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(HEADERS, END_STREAM | 4, 1, head))
    while True:
        top = exactly(s, 9)
        kind, flags, stream = top[3], top[4], int.from_bytes(top[5:9], "big")
        exactly(s, int.from_bytes(top[:3], "big"))
        if kind == SETTINGS and not flags & SETTINGS_ACK:
            s.sendall(frame(SETTINGS, SETTINGS_ACK, 0))
        if stream == 1:
            if kind not in (DATA, HEADERS):
                return False
            if flags & END_STREAM:
                return kind == DATA  # a body came: not an answer of the proxy's own without one


def main():
    address, port, count, host, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    ask = ask2 if sys.argv[6:] == ["h2"] else ask1
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
    held = []
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        s = socket.create_connection((address, port), 5)
        if not ask(s, host, path):
            break
        held.append(s)
    print(f"open {len(held)}", flush=True)
    sys.stdin.readline()


main()
