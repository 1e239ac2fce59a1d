# SPDX-License-Identifier: Apache-2.0
"""A server of go-control-plane's (environment variable CONTROL_PLANE), what happens at it, and resources in JSON for its snapshots."""
import json
import os
import subprocess
import threading
import time

TYPE = "type.googleapis.com/"
CDS = TYPE + "envoy.config.cluster.v3.Cluster"
EDS = TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = TYPE + "envoy.config.listener.v3.Listener"
RDS = TYPE + "envoy.config.route.v3.RouteConfiguration"
HCM = TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "router", "typed_config": {"@type": TYPE + "envoy.extensions.filters.http.router.v3.Router"}}
LUA = {"name": "script", "typed_config": {"@type": TYPE + "envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": "x"}}}
SOURCE = {"ads": {}, "resource_api_version": "V3"}
WAIT_S = 60


def socket_address(address, port):
    return {"socket_address": {"address": address, "port_value": port}}


def cluster(name, timeout="1s"):
    return {"@type": CDS, "name": name, "type": "EDS", "connect_timeout": timeout, "eds_cluster_config": {"eds_config": SOURCE}}


def endpoints(name, *hosts):
    """hosts: (address, port)"""
    return {"@type": EDS, "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(*h)}} for h in hosts]}]}


def listener(name, address, port, table, *filters):
    manager = {"@type": HCM, "stat_prefix": name, "rds": {"route_config_name": table, "config_source": SOURCE}, "http_filters": [*filters, ROUTER]}
    return {"@type": LDS, "name": name, "address": socket_address(address, port), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}


def table(name, **clusters):
    """Routes by path: /KEY to that cluster, `all` what is left."""
    paths = [({"prefix": "/" + k}, c) for k, c in clusters.items() if k != "all"] + [({"prefix": "/"}, clusters["all"])]
    return {"@type": RDS, "name": name, "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
        {"match": match, "route": {"cluster": c}} for match, c in paths]}]}


class ControlPlane:
    """The process; `events` in order, each read by the line."""

    def __init__(self, *options):
        self.events = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen([os.environ["CONTROL_PLANE"], *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.address = self.event(lambda e: e["event"] == "ready")["address"]

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()

    def event(self, what, after=0):
        """The first event that fits, of those at index `after` and on."""
        end = time.monotonic() + WAIT_S
        with self.changed:
            while True:
                for e in self.events[after:]:
                    if what(e):
                        return e
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise AssertionError("no such event; last: %s" % self.events[-12:])
                self.changed.wait(min(left, 1))

    def set(self, node, version, resources=(), **generate):
        """Snapshot of a node; how many events there were before."""
        before = len(self.events)
        command = {"node": node, "version": version}
        command.update({"generate": generate} if generate else {"resources": list(resources)})
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        done = self.event(lambda e: e["event"] == "set", before)
        assert (done["version"], done["error"]) == (version, ""), done
        return before

    def seen(self, kind, after=0):
        with self.changed:
            return [e for e in self.events[after:] if e["event"] == kind]

    def nacks(self, after=0):
        return [e for e in self.seen("request", after) if e["error"]]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
