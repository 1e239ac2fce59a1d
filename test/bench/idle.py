# SPDX-License-Identifier: Apache-2.0
"""Opens connections, has one answer on each, and keeps them: idle.py ADDRESS PORT COUNT HOST PATH."""
import resource
import socket
import sys

address, port, count, host, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
held = []
print("ready", flush=True)
sys.stdin.readline()
for _ in range(count):
    s = socket.create_connection((address, port), 5)
    s.sendall(request)
    if not s.recv(4096).startswith(b"HTTP/1.1 200"):
        break
    held.append(s)
print(f"open {len(held)}", flush=True)
sys.stdin.readline()
