# SPDX-License-Identifier: Apache-2.0
"""Active health checks with real hosts that go bad and come back: the next request goes elsewhere, in the kernel too."""
import importlib.util
import json
import os
import sys
import time
import unittest

import resources as r
from mesh import HERE, VIP, Mesh

PORT = 8300
FAST = {"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2, "healthy_threshold": 2}
HTTP = dict(FAST, http_health_check={"path": "/hc", "host": "check.test", "request_headers_to_add": [
    {"header": {"key": "x-who", "value": "weft"}}]})
TCP = dict(FAST, tcp_health_check={"send": {"text": "50494E47"}, "receive": [{"text": "504F"}, {"text": "4E47"}]})
GRPC = dict(FAST, grpc_health_check={"service_name": "some"})
H2 = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http2_protocol_options": {}}}}}
NO_PANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}


class Health(Mesh):
    @classmethod
    def cluster(cls, name, offset=0, hosts=("v1", "v2"), ep=None, **more):
        c = r.cluster(name, *[(cls.world.pods[h].address, PORT + offset) for h in hosts], **more)
        for e in c["load_assignment"]["endpoints"]:
            for i in e["lb_endpoints"]:
                i["endpoint"].update(ep or {})
        return c

    @classmethod
    def resources(cls):
        names = ("web", "calm", "grpc", "tcp", "named", "off")
        return r.bootstrap(
            [r.http("main", VIP, 80, [r.host(n, [n + ".test"], r.route("/", n)) for n in names]), r.tcp("l4", VIP, 81, "web")],
            [cls.cluster("web", health_checks=[HTTP], **NO_PANIC),
             cls.cluster("calm", health_checks=[HTTP]),
             cls.cluster("tcp", 1, health_checks=[TCP], **NO_PANIC),
             cls.cluster("grpc", 2, health_checks=[GRPC], **NO_PANIC, **H2),
             cls.cluster("named", health_checks=[HTTP], ep={"health_check_config": {"port_value": PORT + 9, "hostname": "own.test"}}, **NO_PANIC),
             cls.cluster("off", health_checks=[HTTP], ep={"health_check_config": {
                 "port_value": PORT + 9, "disable_active_health_check": True}}, **NO_PANIC)])

    @classmethod
    def setUpClass(cls):
        cls.state = {}
        super().setUpClass()
        for pod in cls.servers:
            cls.state[pod.name] = os.path.join(cls.world.dir, pod.name + ".json")
            cls.set(pod.name)
            cls.world.start([sys.executable, os.path.join(HERE, "checked.py"), pod.name, str(PORT), cls.state[pod.name]], pod,
                            name="checked-" + pod.name)
        for pod in cls.servers:
            cls.world.wait_port(pod, PORT)

    @classmethod
    def set(cls, name, **state):
        path = cls.state[name]
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(state, f)
        os.replace(path + ".new", path)

    def setUp(self):
        for name in ("v1", "v2"):
            self.set(name)
        self.becomes("web", v1="healthy", v2="healthy")
        self.becomes("calm", v1="healthy", v2="healthy")

    def flags(self, cluster, offset=0):
        names = {f"{p.address}:{PORT + offset}": p.name for p in self.servers}
        return {names[h["host"]]: h["health_flags"] for h in self.agent.call("dump", "endpoints")["health"] if h["cluster"] == cluster}

    def becomes(self, cluster, offset=0, **flags):
        end = time.monotonic() + 20
        while self.flags(cluster, offset) != flags:
            self.assertLess(time.monotonic(), end, self.flags(cluster, offset))
            time.sleep(0.01)

    def stat(self, cluster):
        found, = [c for c in self.agent.stats()["health_check"] if c["cluster"] == cluster]
        return found

    def backends(self, n=8, **job):
        return sorted({self.get(**job).get("headers", {}).get("x-backend") for _ in range(n)})

    def settles(self, want, **job):
        """What is published may wait for the cluster's update_merge_window after what was published before."""
        end = time.monotonic() + 20
        while self.backends(**job) != want:
            self.assertLess(time.monotonic(), end)

    def test_http(self):
        """A host that answers 503 is out at once; two answers of 200 bring it back."""
        self.assertEqual(self.backends(host="web.test"), ["v1", "v2"])
        first = self.stat("web")
        self.set("v1", status=503)
        self.becomes("web", v1="/failed_active_hc", v2="healthy")
        self.settles(["v2"], host="web.test")
        before = self.counters()["outcomes"]
        self.assertEqual(self.backends(port=81), ["v2"])  # chosen in connect()
        self.assertEqual(self.outcomes(before), {"kernel": {"forward": 8}, "agent": {}})
        s = self.stat("web")
        self.assertEqual((s["healthy"], s["membership_healthy"], s["membership_total"]), (1, 1, 2))
        self.assertGreaterEqual(s["failure"], first["failure"] + 1)
        self.set("v2", status=503)
        self.becomes("web", v1="/failed_active_hc", v2="/failed_active_hc")
        self.settles([None], n=1, host="web.test")
        self.assertEqual(self.get(host="web.test")["body"], "no healthy upstream")
        self.assertEqual(self.backends(host="calm.test"), ["v1", "v2"])  # panic
        self.set("v1")
        self.becomes("web", v1="healthy", v2="/failed_active_hc")
        self.settles(["v1"], host="web.test")
        text = self.agent.call("dump", "stats")
        self.assertEqual(text["health_checks"]["unchecked"], 0)

    def test_timeout(self):
        """A host that does not answer counts twice, then it is out, and so flagged."""
        before = self.stat("web")["network_failure"]
        self.set("v2", silent=True)
        self.becomes("web", v1="healthy", v2="/failed_active_hc/active_hc_timeout")
        self.assertGreaterEqual(self.stat("web")["network_failure"] - before, 2)
        self.settles(["v1"], host="web.test")
        self.set("v2")
        self.becomes("web", v1="healthy", v2="healthy")
        self.settles(["v1", "v2"], host="web.test")

    def test_headers(self):
        """Degraded hosts are for when the others are not enough; what fails at once is excluded, also by a request's response."""
        self.set("v1", headers=[["x-envoy-degraded", "1"]])
        self.becomes("web", v1="/degraded_active_hc", v2="healthy")
        self.assertEqual((self.stat("web")["degraded"], self.stat("web")["membership_degraded"]), (1, 1))
        self.set("v1", status=500, headers=[["x-envoy-immediate-health-check-fail", "1"]])
        self.becomes("web", v1="/failed_active_hc/degraded_active_hc/excluded_via_immediate_hc_fail", v2="healthy")
        self.assertEqual(self.stat("web")["membership_excluded"], 1)
        self.set("v1")
        self.becomes("web", v1="healthy", v2="healthy")
        self.settles(["v1", "v2"], host="web.test")
        before = self.stat("web")["passive_failure"]
        self.set("v1", other=[["x-envoy-immediate-health-check-fail", "1"]], silent=True)
        while self.get(host="web.test")["headers"]["x-backend"] != "v1":
            pass
        end = time.monotonic() + 20
        while self.stat("web")["passive_failure"] == before:
            self.assertLess(time.monotonic(), end)
        self.assertIn("/excluded_via_immediate_hc_fail", self.flags("web")["v1"])
        self.settles(["v2"], host="web.test")

    def test_request(self):
        """The check as the host sees it."""
        self.assertEqual(json.loads(self.get("/log", host="web.test")["body"]), {"line": "GET /hc HTTP/1.1", "headers": [["host", "check.test"], ["user-agent", "Envoy/HC"],
                                                                         ["x-who", "weft"]]})

    def test_other_port(self):
        """Nobody listens at the port of the checks; where checks are off the host is as EDS says."""
        self.becomes("named", v1="/failed_active_hc", v2="/failed_active_hc")
        self.assertEqual(self.get(host="named.test")["status"], 503)
        self.assertEqual(self.backends(host="off.test"), ["v1", "v2"])
        self.assertEqual(self.stat("off")["attempt"], 0)

    def test_tcp(self):
        self.becomes("tcp", 1, v1="healthy", v2="healthy")
        self.set("v1", pong="NO")
        self.becomes("tcp", 1, v1="/failed_active_hc/active_hc_timeout", v2="healthy")
        self.set("v1")
        self.becomes("tcp", 1, v1="healthy", v2="healthy")

    @unittest.skipUnless(importlib.util.find_spec("grpc"), "grpcio is not there")
    def test_grpc(self):
        self.becomes("grpc", 2, v1="healthy", v2="healthy")
        self.set("v2", serving=False)
        self.becomes("grpc", 2, v1="healthy", v2="/failed_active_hc")
        self.set("v2")
        self.becomes("grpc", 2, v1="healthy", v2="healthy")

    def test_changed(self):
        """A check that changes: the cluster goes on with what it had until its hosts were checked anew."""
        self.settles(["v1", "v2"], host="web.test")
        resources = self.resources()
        cluster = next(c for c in resources["static_resources"]["clusters"] if c["name"] == "web")
        cluster["health_checks"] = [dict(HTTP, timeout="5s", http_health_check={"path": "/hc?new", "expected_statuses": [{"start": 204, "end": 205}]})]
        self.addCleanup(self.write, self.resources())
        for n in ("v1", "v2"):
            self.set(n, silent_new=True)
        epoch = self.agent.call("dump")["epoch"]
        self.write(resources)
        self.agent.wait_epoch(epoch)
        self.assertEqual(self.get(host="web.test")["status"], 200)
        for n in ("v1", "v2"):
            self.set(n)
        self.becomes("web", v1="/failed_active_hc", v2="/failed_active_hc")
        self.settles([None], n=1, host="web.test")

    def test_new_cluster(self):
        """A cluster that is new is not there until its hosts were checked; its route is."""
        resources = self.resources()
        hcm = resources["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        hcm["route_config"]["validate_clusters"] = True  # it waits, but it is known
        hcm["route_config"]["virtual_hosts"].append(r.host("late", ["late.test"], r.route("/", "late")))
        resources["static_resources"]["clusters"].append(
            self.cluster("late", health_checks=[dict(HTTP, timeout="5s", http_health_check={"path": "/hc?new"})], **NO_PANIC))
        self.addCleanup(self.write, self.resources())
        for n in ("v1", "v2"):
            self.set(n, silent_new=True)
        epoch = self.agent.call("dump")["epoch"]
        self.write(resources)
        self.agent.wait_epoch(epoch)
        answer = self.get(host="late.test")
        self.assertEqual((answer["status"], answer["body"]), (503, ""))  # NC; without healthy hosts it had a body
        self.assertEqual(self.get(host="web.test")["status"], 200)
        for n in ("v1", "v2"):
            self.set(n)
        self.settles(["v1", "v2"], host="late.test")


if __name__ == "__main__":
    unittest.main()
