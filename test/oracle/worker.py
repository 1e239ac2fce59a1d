# SPDX-License-Identifier: Apache-2.0
"""The part of a run that is inside the pod: echo backends and client. Driven by weft.py, a line of JSON each way.

    {"case": PATH, "fields": [...], "requests": [...], "due": {...}, "split": bool, "dir": DIR}  ->  {"config": PATH}
    {"go": true}                                                                                ->  {"results": [...]}
    {"go": false}                                                                               ->  {}
"""
import json
import os
import socket
import sys

import casefile
import client
import oracle
from backends import Backends

# Nobody listens there: only a captured connection gets anywhere. As with Envoy, the client's address is 127.0.0.1.
LISTENER_HOST = "127.99.0.1"
FIRST_PORT = 8000


def tell(what):
    print(json.dumps(what), flush=True)


def knock(addresses):
    """One connection to each listener, as the run that made the goldens did while it waited for Envoy."""
    for address in addresses.values():
        try:
            socket.create_connection(address, 2).close()
        except OSError:
            pass  # refused: the listener's own business


def serve(job, host):
    case = casefile.without(casefile.load(job["case"]), job["fields"], job["requests"])
    backends = Backends(casefile.backend_keys(case), host)
    try:
        ports = {n: FIRST_PORT + i for i, n in enumerate(casefile.listener_names(case))}
        world = casefile.World(ports, backends.ports, LISTENER_HOST, host)
        # Replies of a listener that has a log are the agent's: the programs' own side goes without.
        log = os.path.join(job["dir"], "access") if job["split"] else None
        tell({"config": casefile.write_bootstrap(job["dir"], case, world, log)})
        if not json.loads(sys.stdin.readline())["go"]:
            tell({})
            return
        addresses = {n: (LISTENER_HOST, p) for n, p in ports.items()}
        knock(addresses)
        client.Connection.split_first = job["split"]
        results = client.Runner(addresses, world.text, backends.seen, job["due"], world.back).run_all(case)
        oracle.join_log(results, lambda: casefile.access_records(log) if log else {}, 0.4 if log else 0, job["due"])
        oracle.forget_choice(case, results)
        tell({"results": world.back(results)})
    finally:
        backends.close()


def main():
    tell({"ready": True})
    for line in sys.stdin:
        serve(json.loads(line), sys.argv[1])


if __name__ == "__main__":
    main()
