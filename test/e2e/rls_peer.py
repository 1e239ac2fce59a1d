#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rate limit service by grpcio: `rls_peer.py PORT`. A descriptor's entry `rls` holds a script (test/oracle/rls.py); what has none counts by
`LIMITS`, in one window that never ends. What scripts ask for beside what they do there:

    deadline: true      response header x-deadline: how many ms the question's deadline leaves, -1 for none
    first: N            N entries of initial metadata
    cancelled: NAME     the end of this question, if it comes before its answer, is counted under the name; `{"count": NAME}` says
                        in x-count how many there were"""
import concurrent.futures
import os
import sys
import threading

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "oracle"))
import rls  # noqa: E402  (the path is set above)

LIMITS = {
    "e2e": [{"key": "user", "value": "tin", "rate_limit": {"unit": "day", "requests_per_unit": 3}},
            {"key": "user", "value": "gold", "rate_limit": {"unit": "day", "requests_per_unit": 200}},
            {"key": "user", "value": "free", "rate_limit": {"unlimited": True}},
            {"key": "user", "value": "watched", "rate_limit": {"unit": "day", "requests_per_unit": 0}, "shadow_mode": True}],
    "connections": [{"key": "to", "value": "83", "rate_limit": {"unit": "day", "requests_per_unit": 2}},
                    {"key": "to", "value": "84", "rate_limit": {"unit": "day", "requests_per_unit": 2}}],
}


class Service(grpc.GenericRpcHandler):
    def __init__(self):
        self.limits, self.lock = rls.Limits(LIMITS, clock=lambda: 0), threading.Lock()
        self.cancelled, self.end = {}, threading.Event()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer) if details.method == rls.PATH else None

    def answer(self, request, context):
        question = rls.decode(request, rls.REQUEST)
        script = rls.Script.of(question)
        if script is None:
            with self.lock:
                return self.limits.answer(question)
        more = script.setdefault("response_headers_to_add", [])
        if script.get("deadline"):
            left = context.time_remaining()
            more.append({"key": "x-deadline", "value": str(-1 if left is None else int(left * 1000))})
        if "count" in script:
            with self.lock:
                more.append({"key": "x-count", "value": str(self.cancelled.get(script["count"], 0))})
        for i in range(script.get("many", 0)):
            more.append({"key": f"x-{i}", "value": "v" * script.get("long", 1)})
        if script.get("first"):
            context.send_initial_metadata(tuple((f"x-first-{i}", "v") for i in range(script["first"])))
        if script.get("grpc_status"):
            context.abort(next(c for c in grpc.StatusCode if c.value[0] == script["grpc_status"]), script.get("grpc_message", ""))
        if script.get("cancelled"):
            self.wait(script["cancelled"], context)
        return script.answer(question, [])

    def wait(self, name, context):
        """Until the caller has gone."""
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(60)
        with self.lock:
            self.cancelled[name] = self.cancelled.get(name, 0) + 1


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((Service(),))
    server.add_insecure_port(f"[::]:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
