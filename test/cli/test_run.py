# SPDX-License-Identifier: Apache-2.0
"""The whole agent on this machine's kernel: its own cgroup and network namespace, real requests.

        namespace weft-cli-PID, below cgroup weft-cli-PID
        curl ── 10.96.0.10:80 ──▶ (captured) agent ──▶ 10.99.0.1:8080 python http.server
"""

import os
import subprocess
import sys
import tempfile
import unittest

from agent import Daemon, run

NAME = f"weft-cli-{os.getpid()}"

CONFIG = """
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 10.96.0.10, port_value: 80}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {path: /direct}
                direct_response: {status: 200, body: {inline_string: "said by weft"}}
              - match: {prefix: /}
                route: {cluster: backend}
  - name: tcp
    address: {socket_address: {address: 10.96.0.11, port_value: 8080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: backend
  - name: nobody
    address: {socket_address: {address: 10.96.0.12, port_value: 8080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: BlackHoleCluster
  clusters:
  - name: backend
    type: STATIC
    load_assignment:
      cluster_name: backend
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.99.0.1, port_value: 8080}}}}]}]
  - {name: BlackHoleCluster, type: STATIC}
"""

BACKEND = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"backend saw {self.path} for {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("10.99.0.1", 8080), Handler)
print("ready", flush=True)
server.serve_forever()
"""


def cgroup_root():
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == "cgroup2":
                return words[1]
    return None


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


@unittest.skipIf(os.geteuid() != 0 or not cgroup_root(), "needs root and cgroup v2")
class Run(unittest.TestCase):
    def setUp(self):
        self.cgroup = os.path.join(cgroup_root(), NAME)
        os.mkdir(self.cgroup)
        self.addCleanup(os.rmdir, self.cgroup)
        ip("netns", "add", NAME)
        self.addCleanup(ip, "netns", "del", NAME)
        ip("-n", NAME, "link", "set", "lo", "up")
        ip("-n", NAME, "addr", "add", "10.99.0.1/32", "dev", "lo")
        backend = subprocess.Popen(self.inside(sys.executable, "-c", BACKEND),
                                   stdout=subprocess.PIPE)
        self.addCleanup(backend.stdout.close)
        self.addCleanup(backend.wait)
        self.addCleanup(backend.kill)
        self.assertEqual(backend.stdout.readline(), b"ready\n")
        config = tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False)
        self.addCleanup(os.unlink, config.name)
        with config:
            config.write(CONFIG)
        self.config = config.name

    def inside(self, *command):
        """The command in the namespace and the cgroup: one process, so that it can be killed."""
        join = f"echo $$ > {self.cgroup}/cgroup.procs && exec ip netns exec {NAME} \"$@\""
        return ["sh", "-c", join, "sh", *command]

    def curl(self, *args):
        done = subprocess.run(self.inside("curl", "-s", "-m", "5", "-w", "\n%{http_code}", *args),
                              capture_output=True, text=True, timeout=30, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status or 0), body

    def daemon(self):
        return Daemon("--config", self.config, "--cgroup", self.cgroup)

    def add(self, daemon):
        status, answer = daemon.call("pod", "add", "--netns", f"/run/netns/{NAME}", "--name", "shop",
                                     "--label", "app=shop")
        self.assertEqual(status, 0, answer)
        return answer

    def test_traffic(self):
        with self.daemon() as daemon:
            # Not enrolled: there is no route to that address.
            self.assertNotEqual(self.curl("http://10.96.0.10/x")[0], 0)
            pod = self.add(daemon)
            self.assertEqual(pod["ipv4"], "10.99.0.1")
            self.assertEqual(self.curl("http://10.96.0.10/x"),
                             (0, 200, "backend saw /x for 10.96.0.10"), daemon.log())
            self.assertEqual(self.curl("http://10.96.0.10/direct"), (0, 200, "said by weft"))
            self.assertEqual(self.curl("http://10.96.0.11:8080/y"),
                             (0, 200, "backend saw /y for 10.96.0.11:8080"))
            self.assertEqual(self.curl("http://10.96.0.12:8080/")[0], 7)
            # Unmanaged traffic is untouched.
            self.assertEqual(self.curl("http://10.99.0.1:8080/z"),
                             (0, 200, "backend saw /z for 10.99.0.1:8080"))
            self.dumps(daemon)
            self.explains(daemon)
            status, _ = daemon.call("pod", "remove", "--name", "shop", "--drain", "0")
            self.assertEqual(status, 0)
            self.assertNotEqual(self.curl("http://10.96.0.10/x")[0], 0)
            self.assertEqual(daemon.stop(), 0, daemon.log())

    def dumps(self, daemon):
        for what in ("listeners", "clusters", "endpoints", "routes"):
            status, answer = daemon.call("dump", what)
            self.assertEqual((status, answer["agree"]), (0, True), answer)
        status, answer = daemon.call("dump", "stats")
        self.assertEqual(status, 0)
        backend = [c for c in answer["cells"] if c["kind"] == "cluster" and c["name"] == "backend"]
        self.assertEqual(len(backend), 1, answer["cells"])
        self.assertGreaterEqual(backend[0]["rq_total"], 1)
        self.assertGreaterEqual(answer["proxy"]["exchanges_total"], 1)
        self.assertTrue(daemon.call("dump")[1]["programs"])
        self.assertEqual(run("dump", "pods", "--admin", daemon.admin)[0], 0)

    def explains(self, daemon):
        status, answer = daemon.call("explain", "--pod", "shop", "--listener", "web", "--path", "/x")
        self.assertEqual((status, answer["action"], answer["cluster"]), (0, "forward", "backend"))
        status, answer = daemon.call("explain", "--pod", "shop", "--listener", "10.96.0.12:8080")
        self.assertEqual((status, answer["action"], answer["details"]),
                         (0, "refused", "refused_blackhole"))

    def test_enrolled_twice(self):
        with self.daemon() as daemon:
            self.add(daemon)
            status, answer = daemon.call("pod", "add", "--netns", f"/run/netns/{NAME}", "--name",
                                         "other")
            self.assertEqual(status, 1)
            self.assertIn("is enrolled as default/shop", answer["error"]["message"])

    def test_pod_by_process_goes_with_it(self):
        sleeper = subprocess.Popen(self.inside("sleep", "60"))
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        with self.daemon() as daemon:
            inode = os.stat(f"/run/netns/{NAME}").st_ino
            daemon.wait(lambda: os.stat(f"/proc/{sleeper.pid}/ns/net").st_ino == inode)
            status, answer = daemon.call("pod", "add", "--pid", str(sleeper.pid), "--name", "p")
            self.assertEqual(status, 0, answer)
            self.assertEqual(self.curl("http://10.96.0.10/direct")[1], 200)
            sleeper.kill()
            sleeper.wait()
            daemon.wait(lambda: all(p["phase"] != "active"
                                    for p in daemon.call("pod", "list")[1]))

    def test_second_agent_on_the_node(self):
        with self.daemon() as daemon, tempfile.TemporaryDirectory() as folder:
            status, out, err = run("run", "--config", self.config, "--cgroup", self.cgroup, "--admin",
                                   os.path.join(folder, "admin.sock"))
            self.assertEqual((status, out), (1, ""), err)
            self.assertEqual(len(err.splitlines()), 1, err)
            self.assertEqual(daemon.call("dump")[0], 0)

    def test_killed_agent(self):
        with self.daemon() as daemon:
            self.add(daemon)
            daemon.process.kill()
            daemon.process.wait()
            # As without weft, at once.
            self.assertEqual(self.curl("http://10.99.0.1:8080/z")[1], 200)
        with self.daemon() as daemon:
            self.add(daemon)
            self.assertEqual(self.curl("http://10.96.0.10/direct")[1], 200)

    def test_privileges(self):
        with self.daemon() as daemon:
            kept = 1 << 39 | 1 << 12 | 1 << 38 | 1 << 21
            for task in os.listdir(f"/proc/{daemon.process.pid}/task"):
                with open(f"/proc/{daemon.process.pid}/task/{task}/status", encoding="ascii") as f:
                    words = dict(line.split(":", 1) for line in f)
                for key in ("CapPrm", "CapEff", "CapBnd", "CapInh"):
                    self.assertEqual(int(words[key], 16) & ~kept, 0, (task, key))
                self.assertEqual(words["NoNewPrivs"].strip(), "1")

    def test_probe(self):
        status, out, _ = run("probe")
        self.assertEqual(status, 0, out)


if __name__ == "__main__":
    unittest.main()
