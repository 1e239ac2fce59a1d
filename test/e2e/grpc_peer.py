#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gRPC peers, by grpcio: `grpc_peer.py serve PORT [NAME]`, `grpc_peer.py call JOB` (JSON; the result as JSON on standard output).

The service takes and gives bytes: Echo (unary), Count (one request, n messages), Chat (an answer to each message, while the
stream is open), Upload (many messages, their size), Fail (the status that is asked for). A job: `address`, `port`, `method`,
and what that method takes; `metadata`, `timeout`."""
import concurrent.futures
import json
import sys
import threading

import grpc

SERVICE = "weft.test.Peer"


class Peer(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name
        self.failed, self.lock = {}, threading.Lock()

    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        kinds = {"Echo": (grpc.unary_unary_rpc_method_handler, self.echo), "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
                 "Count": (grpc.unary_stream_rpc_method_handler, self.count), "Chat": (grpc.stream_stream_rpc_method_handler, self.chat),
                 "Upload": (grpc.stream_unary_rpc_method_handler, self.upload)}
        make, do = kinds.get(name, (None, None))
        return make(do) if make else None

    def echo(self, request, context):
        context.set_trailing_metadata((("x-peer", context.peer().split(":")[0]),))
        context.send_initial_metadata((("x-first", "1"), ("x-server", self.name)))
        return request

    def fail(self, request, context):
        """As often as asked for with the status asked for, then not."""
        key, code, times = json.loads(request)
        with self.lock:
            n = self.failed[key] = self.failed.get(key, 0) + 1
        if n <= times:
            context.abort(next(c for c in grpc.StatusCode if c.value[0] == code), "as asked")
        return str(n).encode()

    def count(self, request, context):
        n, size = json.loads(request)
        for i in range(n):
            yield b"%d" % i + b"." * size

    def chat(self, requests, context):
        for r in requests:
            yield b"re: " + r

    def upload(self, requests, context):
        return str(sum(len(r) for r in requests)).encode()


def serve(port, name):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=64))
    server.add_generic_rpc_handlers((Peer(name),))
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    server.wait_for_termination()


def echo(channel, job):
    call = channel.unary_unary(f"/{SERVICE}/Echo")
    metadata = tuple(map(tuple, job.get("metadata", ())))
    results = [call.future(b"%d" % i + b"x" * job.get("size", 0), timeout=20, metadata=metadata) for i in range(job.get("n", 1))]
    whole = [r.result() == b"%d" % i + b"x" * job.get("size", 0) for i, r in enumerate(results)]
    return {"n": sum(whole), "first": dict(results[0].initial_metadata()).get("x-first"),
            "trailer": dict(results[0].trailing_metadata()).get("x-peer"),
            "servers": sorted({dict(r.initial_metadata()).get("x-server") for r in results})}


def fail(channel, job):
    call = channel.unary_unary(f"/{SERVICE}/Fail")
    return {"answer": call(json.dumps(job["fail"]).encode(), timeout=20, metadata=tuple(map(tuple, job.get("metadata", ())))).decode()}


def count(channel, job):
    call = channel.unary_stream(f"/{SERVICE}/Count")
    got = [len(m) for m in call(json.dumps([job["n"], job["size"]]).encode(), timeout=30)]
    return {"n": len(got), "bytes": sum(got)}


def chat(channel, job):
    """Each message goes out when the answer to the one before is there."""
    turn, answers = threading.Semaphore(1), []

    def messages():
        for i in range(job["n"]):
            turn.acquire()
            yield b"m%d" % i
    for m in channel.stream_stream(f"/{SERVICE}/Chat")(messages(), timeout=30):
        answers.append(m.decode())
        turn.release()
    return {"answers": answers}


def upload(channel, job):
    call = channel.stream_unary(f"/{SERVICE}/Upload")
    return {"bytes": int(call((b"u" * job["size"] for _ in range(job["n"])), timeout=30))}


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
        return
    job = json.loads(sys.argv[2])
    do = {"Echo": echo, "Fail": fail, "Count": count, "Chat": chat, "Upload": upload}[job["method"]]
    try:
        with grpc.insecure_channel(f"{job['address']}:{job['port']}",
                                   options=(("grpc.enable_retries", 0), ("grpc.default_authority", job.get("host", "grpc.test")))) as channel:
            print(json.dumps(do(channel, job)))
    except grpc.RpcError as e:
        print(json.dumps({"status": e.code().value[0], "details": e.details()}))


if __name__ == "__main__":
    main()
