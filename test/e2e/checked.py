#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server whose health is set from outside: checked.py NAME PORT STATE. STATE is a file with a JSON object, read at each request:
`status` and `headers` (lines) of /hc, `silent` (no answer), `silent_new` (none to /hc?new), `serving` (gRPC), `pong` (what TCP says to any bytes).

PORT: HTTP/1.1; /hc is the check, /log the last check that was asked for (JSON), anything else says who answers, with the header lines
`other`. PORT + 1: TCP. PORT + 2: gRPC, with grpcio."""
import http.server
import json
import socketserver
import sys
import threading
import time

NAME, PORT, STATE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LAST = {}


def state():
    with open(STATE, encoding="utf-8") as f:
        return json.load(f)


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, lines=()):
        self.send_response_only(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-backend", NAME)
        for name, value in lines:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        now = state()
        if self.path == "/log":
            self.answer(200, json.dumps(LAST).encode())
        elif not self.path.startswith("/hc"):
            self.answer(200, NAME.encode(), now.get("other", ()))
        else:
            LAST.update(line=self.requestline, headers=[list(h) for h in self.headers.items()])
            while state().get("silent_new" if self.path == "/hc?new" else "silent"):
                time.sleep(0.05)
            self.answer(now.get("status", 200), b"fine", now.get("headers", ()))

    do_POST = do_GET


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(4096):
            pong = state().get("pong", "PONG")
            if pong:
                self.request.sendall(pong.encode())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128


def grpc_start(port):
    try:
        import concurrent.futures
        import grpc
    except ImportError:
        return

    class Health(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method != "/grpc.health.v1.Health/Check":
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01" if state().get("serving", True) else b"\x08\x02")

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=(Health(),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    globals()["_grpc"] = server


grpc_start(PORT + 2)
threading.Thread(target=TcpServer(("0.0.0.0", PORT + 1), Tcp).serve_forever, daemon=True).start()
Server(("0.0.0.0", PORT), Http).serve_forever()
