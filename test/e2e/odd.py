# SPDX-License-Identifier: Apache-2.0
"""Sends that a BPF program sees late, twice, in part or not at all: odd.py FORM ADDRESS PATH; prints the statuses and bodies as JSON."""
import json
import select
import socket
import sys

MSG_FASTOPEN, TCP_FASTOPEN_CONNECT, IPPROTO_MPTCP = 0x20000000, 30, 262
PORT, TIMES, BODY = 80, 3, 8 << 20


def get(path, i=0):
    return f"GET {path}?i={i} HTTP/1.1\r\nHost: odd.test\r\n\r\n".encode()


def tcp(proto=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
    s.settimeout(10)
    return s


class Answers:
    """Reads answers with a content-length one after the other."""

    def __init__(self, s):
        self.sock, self.buf = s, b""

    def next(self):
        while b"\r\n\r\n" not in self.buf:
            self._more()
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        length = next(int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length"))
        while len(self.buf) < length:
            self._more()
        body, self.buf = self.buf[:length], self.buf[length:]
        return [int(head.split(b" ")[1]), body.decode("latin-1")]

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.buf += data


def each(connect_and_send):
    """A connection for each request."""
    out = []
    for i in range(TIMES):
        with connect_and_send(i) as s:
            out.append(Answers(s).next())
    return out


def tfo_sendto(where, path):
    def one(i):
        s = tcp()
        s.sendto(get(path, i), MSG_FASTOPEN, where)
        return s
    return each(one)


def tfo_connect(where, path):
    def one(i):
        s = tcp()
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect(where)
        s.sendall(get(path, i))
        return s
    return each(one)


def syn_sent(where, path):
    def one(i):
        s = tcp()
        s.setblocking(False)
        try:
            s.connect(where)
        except BlockingIOError:
            pass
        s.setblocking(True)
        s.settimeout(None)
        s.send(get(path, i))
        return s
    return each(one)


def oob(where, path):
    """The last byte is urgent: it is not in the stream, the head is complete only with the byte sent after it."""
    def one(i):
        s = tcp()
        s.connect(where)
        s.send(get(path, i), socket.MSG_OOB)
        s.send(b"\n")
        return s
    return each(one)


def mptcp(where, path):
    def one(i):
        s = tcp(IPPROTO_MPTCP)
        s.connect(where)
        s.sendall(get(path, i))
        return s
    return each(one)


def partial(where, path):
    """Large bodies by non-blocking sends that stop half-way; then a small request on the same connection."""
    with tcp() as s:
        s.connect(where)
        s.setblocking(False)
        out, answers = [], Answers(s)
        for size in (BODY, BODY, 0):
            data = memoryview(f"POST {path} HTTP/1.1\r\nHost: odd.test\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
            while data:
                select.select([], [s], [], 10)
                try:
                    data = data[s.send(data[:1 << 20]):]
                except BlockingIOError:
                    pass
            s.settimeout(10)
            out.append(answers.next())
            s.setblocking(False)
        return out


def pipelined(where, path):
    """Two behind a slow one, each in a send of its own."""
    with tcp() as s:
        s.connect(where)
        s.send(get(path, "0&ms=400"))
        for i in range(1, TIMES):
            s.send(get(path, i))
        answers = Answers(s)
        return [answers.next() for _ in range(TIMES)]


def bound(where, path):
    """One local port for connections to several captured addresses."""
    out, held = [], []
    for i in range(TIMES):
        s = tcp()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", 41234))
        s.connect((where[0].rsplit(".", 1)[0] + f".{i + 1}", where[1]))
        s.sendall(get(path, i))
        out.append(Answers(s).next())
        held.append(s)
    for s in held:
        s.close()
    return out


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]((sys.argv[2], PORT), sys.argv[3])))
