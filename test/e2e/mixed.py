# SPDX-License-Identifier: Apache-2.0
"""Client of test_outcomes.py: mixed.py ADDRESS ROUNDS; many connections at once, each with its way to end. Prints what was sent, by kind."""
import collections
import concurrent.futures
import json
import socket
import struct
import sys
import time

HOST = "Host: out.test\r\n"
ANSWERED = {  # kind: request, statuses of its answer
    "direct": (f"GET /direct HTTP/1.1\r\n{HOST}\r\n", (403,)),
    "nowhere": (f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n", (404,)),
    "limited": (f"GET /limited HTTP/1.1\r\n{HOST}\r\n", (200, 429)),
    "forward": (f"GET /forward HTTP/1.1\r\n{HOST}\r\n", (200,)),
    "late": (f"GET /late?ms=1000 HTTP/1.1\r\n{HOST}\r\n", (504,)),
    "dead": (f"GET /dead HTTP/1.1\r\n{HOST}\r\n", (503,)),
    "broken": ("GET / HTTP/1.1\r\nno field\r\n\r\n", (400,)),
}
LEFT = {  # kind: what is sent before the client goes
    "reset": f"GET /forward?ms=1000 HTTP/1.1\r\n{HOST}\r\n",
    "closed": f"GET /forward?ms=1000 HTTP/1.1\r\n{HOST}\r\n",
    "half": f"GET /forward HTTP/1.1\r\n{HOST}",
}


def answered(address, kind, times):
    text, statuses = ANSWERED[kind]
    for _ in range(times):
        with socket.create_connection((address, 80), 20) as s:
            s.sendall(text.encode())
            head = b""
            while b"\r\n" not in head:
                more = s.recv(65536)
                if not more:
                    raise RuntimeError(f"{kind}: no answer")
                head += more
            if int(head.split(b" ")[1]) not in statuses:
                raise RuntimeError(f"{kind}: {head[:60]!r}")
    return kind, times


def left(address, kind, times):
    for _ in range(times):
        s = socket.create_connection((address, 80), 20)
        s.sendall(LEFT[kind].encode())
        time.sleep(0.1)  # it has come
        if kind == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    return kind, times


def main():
    address, rounds = sys.argv[1], int(sys.argv[2])
    sent = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        jobs = []
        for _ in range(rounds):
            jobs += [pool.submit(answered, address, k, 2 if k == "late" else 10) for k in ANSWERED]
            jobs += [pool.submit(left, address, k, 3) for k in LEFT]
        for job in jobs:
            kind, times = job.result()
            sent[kind] += times
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
