# SPDX-License-Identifier: Apache-2.0
"""The daemon without its kernel part: start, reload, admin, dump, stop."""

import json
import os
import shutil
import signal
import socket
import tempfile
import unittest

from agent import DATA, GOOD, Daemon, run, run_json


KEPT = """
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: inside
  traffic_direction: INBOUND
  address: {socket_address: {address: 0.0.0.0, port_value: 15006}}
  filter_chains:
  - filters:
    - name: tcp
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: inside
        cluster: the-cluster
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: the-cluster
  type: EDS
  eds_cluster_config: {service_name: the-service, eds_config: {ads: {}}}
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: the-service
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
"""


class WithFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-config-")
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "mesh.yaml")
        shutil.copy(GOOD, self.path)

    def daemon(self):
        return Daemon("--no-kernel", "--config", self.path)

    @staticmethod
    def loads(daemon, key):
        return daemon.call("dump")[1]["sources"]["file"][key]

    def replace(self, text):
        """As an editor: a new file renamed over the old one."""
        new = self.path + ".new"
        with open(new, "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(new, self.path)

    def test_dump(self):
        with self.daemon() as daemon:
            for what, n in (("listeners", 3), ("clusters", 3), ("endpoints", 1), ("routes", 0)):
                status, answer = daemon.call("dump", what)
                self.assertEqual(status, 0)
                self.assertEqual(len(answer["resources"]), n, what)
                self.assertTrue(answer["agree"], answer["differences"])
                self.assertTrue(all(r["in_kernel"] for r in answer["resources"]), answer)
            for what in ("pods", "connections", "stats", "image"):
                status, answer = daemon.call("dump", what)
                self.assertEqual((status, answer["what"]), (0, what))
            for what in ("listeners", "stats", "pods"):
                self.assertEqual(run("dump", what, "--admin", daemon.admin)[0], 0)
            self.assertEqual(run("dump", "--admin", daemon.admin)[0], 0)

    def test_dump_of_what_is_kept(self):
        """An inbound listener is accepted and not used; endpoints go by the name of their service and of their cluster."""
        self.replace(KEPT)
        with self.daemon() as daemon:
            answer = daemon.call("dump", "listeners")[1]
            self.assertTrue(answer["agree"], answer["differences"])
            self.assertEqual([(r["name"], r["in_kernel"], r["state"]) for r in answer["resources"]],
                             [("inside", False, "kept, not used (inbound)")])
            self.assertIn("kept, not used (inbound)", run("dump", "listeners", "--admin", daemon.admin)[1])
            answer = daemon.call("dump", "endpoints")[1]
            self.assertTrue(answer["agree"], answer["differences"])
            self.assertEqual([(r["service_name"], r["clusters"], r["in_kernel"]) for r in answer["resources"]],
                             [("the-service", ["the-cluster"], True)])
            self.assertEqual([(k["service_name"], k["cluster"]) for k in answer["kernel"]],
                             [("the-service", "the-cluster")])
            text = run("dump", "endpoints", "--admin", daemon.admin)[1]
            self.assertIn("the-service", text)
            self.assertIn("the-cluster", text)

    def test_node(self):
        """Options count before the bootstrap, which counts where there are none."""
        hcm = """
node: {id: from-file, cluster: file}
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 10.0.0.1, port_value: 80}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: l
          add_user_agent: true
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}
"""
        for options, want in (((), ("from-file", "file")), (("--node-id", "me", "--node-cluster", "us"), ("me", "us"))):
            self.replace(hcm)
            with Daemon("--no-kernel", "--config", self.path, *options) as daemon:
                text = json.dumps(daemon.call("dump", "image")[1])
                self.assertIn(f'"user_agent": {{"cluster": "{want[1]}", "node": "{want[0]}"}}', text)
                if options:
                    continue
                self.replace(hcm.replace("cluster: file", "cluster: other"))
                daemon.wait(lambda: '"cluster": "other"' in json.dumps(daemon.call("dump", "image")[1]))

    def test_bad_file_keeps_the_old(self):
        with self.daemon() as daemon:
            epoch = daemon.call("dump")[1]["epoch"]
            with open(os.path.join(DATA, "bad_match.yaml"), encoding="utf-8") as f:
                self.replace(f.read())
            daemon.wait(lambda: self.loads(daemon, "failures") == 1)
            answer = daemon.call("dump")[1]
            self.assertEqual(answer["epoch"], epoch)
            self.assertEqual(answer["resources"]["listeners"], 3)
            self.assertTrue(answer["sources"]["file"]["causes"])
            self.assertIn("no_such_condition", daemon.log())
            # And a good one is taken again.
            with open(GOOD, encoding="utf-8") as f:
                self.replace(f.read().replace("name: refusing", "name: renamed"))
            daemon.wait(lambda: self.loads(daemon, "causes") == [])
            names = [r["name"] for r in daemon.call("dump", "listeners")[1]["resources"]]
            self.assertIn("renamed", names)

    def test_written_in_place(self):
        with self.daemon() as daemon:
            before = self.loads(daemon, "loads")
            with open(self.path, "a", encoding="utf-8") as f:
                f.write("# changed\n")
            daemon.wait(lambda: self.loads(daemon, "loads") > before)

    def test_other_files_do_not_matter(self):
        with self.daemon() as daemon:
            before = self.loads(daemon, "loads")
            with open(os.path.join(self.folder.name, "other"), "w", encoding="utf-8"):
                pass
            with self.assertRaises(AssertionError):
                daemon.wait(lambda: self.loads(daemon, "loads") > before, seconds=0.5)

    def test_hangup(self):
        with self.daemon() as daemon:
            before = self.loads(daemon, "loads")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait(lambda: self.loads(daemon, "loads") > before)

    def test_stop(self):
        with self.daemon() as daemon:
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(os.path.exists(daemon.admin))

    def test_second_agent(self):
        with self.daemon() as daemon:
            status, out, err = run("run", "--no-kernel", "--config", self.path, "--admin",
                                   daemon.admin)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("in use", err)
            self.assertEqual(len(err.splitlines()), 1, err)
            self.assertEqual(daemon.call("dump")[0], 0)

    def test_killed_agent_leaves_nothing_in_the_way(self):
        with self.daemon() as daemon:
            daemon.process.kill()
            daemon.process.wait()
            self.assertTrue(os.path.exists(daemon.admin))
            self.assertEqual(run("dump", "--admin", daemon.admin)[0], 3)
            with Daemon("--no-kernel", "--config", self.path, admin=daemon.admin) as second:
                self.assertIsNotNone(second)

    def test_pods_need_the_kernel(self):
        with self.daemon() as daemon:
            status, answer = daemon.call("pod", "add", "--name", "x", "--netns",
                                         "/proc/self/ns/net")
            self.assertEqual(status, 1)
            self.assertIn("--no-kernel", answer["error"]["message"])
            status, answer = daemon.call("explain", "--pod", "x")
            self.assertEqual(status, 1)
            self.assertIn("x is not enrolled", answer["error"]["message"])
            self.assertEqual(daemon.call("pod", "list"), (0, []))
            self.assertEqual(daemon.call("pod", "remove", "--name", "x")[0], 1)

    def test_hostile_client(self):
        with self.daemon() as daemon:
            for text in (b"\n", b"{}\n", b"\xff\xfe\n", b"x" * 1000, b"{\"command\": \"fly\"}\n"):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(daemon.admin)
                    s.sendall(text)
            self.assertEqual(daemon.call("dump")[0], 0)


class Start(unittest.TestCase):
    def one_line(self, *args):
        status, out, err = run("run", *args)
        self.assertEqual(status, 1, err)
        self.assertEqual(out, "")
        self.assertEqual(len(err.splitlines()), 1, err)
        return err

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-start-")
        self.addCleanup(self.folder.cleanup)
        self.admin = os.path.join(self.folder.name, "admin.sock")

    def test_unreadable_file(self):
        err = self.one_line("--no-kernel", "--admin", self.admin, "--config", "/tmp/weft-none")
        self.assertIn("No such file", err)

    def test_bad_file(self):
        status, out, err = run("run", "--no-kernel", "--admin", self.admin, "--config",
                               os.path.join(DATA, "bad_match.yaml"))
        self.assertEqual(status, 1)
        self.assertIn("no_such_condition", out + err)

    def test_bad_metadata(self):
        err = self.one_line("--no-kernel", "--admin", self.admin, "--xds", "127.0.0.1:1",
                            "--node-metadata", "[1]")
        self.assertIn("must be a JSON object", err)

    def test_bad_address(self):
        status, answer = run_json("run", "--no-kernel", "--admin", self.admin, "--xds", "a b")
        self.assertEqual(status, 1)
        self.assertEqual(answer["error"]["code"], "failed")

    def test_credentials_of_xds(self):
        """Options that say nothing alone, and a token that would go in the open, are mistakes of the command line."""
        xds = ("--xds", "127.0.0.1:1")
        for args, text in (
                (("--config", GOOD, "--xds-ca", "system"), "need --xds"),
                (("--config", GOOD, "--xds-cluster-id", "c"), "need --xds"),
                (("--config", GOOD, "--xds-cache", "c"), "need --xds"),
                (("--config", GOOD, "--xds-sotw"), "need --xds"),
                (("--config", GOOD, "--xds-separate"), "need --xds"),
                ((*xds, "--xds-views", "all"), "is auto, node or pod"),
                ((*xds, "--xds-sni", "n"), "need --xds-ca"),
                ((*xds, "--xds-san", "n"), "need --xds-ca"),
                ((*xds, "--xds-crl", "n"), "need --xds-ca"),
                ((*xds, "--xds-cert", "c", "--xds-key", "k"), "need --xds-ca"),
                ((*xds, "--xds-ca", "system", "--xds-key", "k"), "need each other"),
                ((*xds, "--xds-token-file", "t"), "--xds-token-file needs --xds-ca"),
                ((*xds, "--xds-token-plaintext"), "is for --xds-token-file without --xds-ca"),
                ((*xds, "--xds-ca", "system", "--xds-token-file", "t", "--xds-token-plaintext"), "without --xds-ca")):
            status, _, err = run("run", "--no-kernel", "--admin", self.admin, *args)
            self.assertEqual(status, 2, err)
            self.assertIn(text, err)

    def test_files_of_credentials(self):
        """They are read at the start: what is wrong with them is seen at once."""
        empty = os.path.join(self.folder.name, "empty")
        open(empty, "w", encoding="utf-8").close()
        xds = ("--no-kernel", "--admin", self.admin, "--xds", "127.0.0.1:1")
        self.assertIn("/none.pem: No such file or directory", self.one_line(*xds, "--xds-ca", "/none.pem"))
        self.assertIn(empty + ": is empty", self.one_line(*xds, "--xds-ca", empty))
        self.assertIn(GOOD + ": has no certificate", self.one_line(*xds, "--xds-ca", GOOD))
        self.assertIn(empty + ": is empty", self.one_line(*xds, "--xds-ca", "system", "--xds-crl", empty))
        self.assertIn(GOOD + ": has no revocation list", self.one_line(*xds, "--xds-ca", "system", "--xds-crl", GOOD))
        self.assertIn(empty + ": is empty", self.one_line(*xds, "--xds-token-plaintext", "--xds-token-file", empty))
        self.assertIn("is no bearer token", self.one_line(*xds, "--xds-token-plaintext", "--xds-token-file", GOOD))
        self.assertIn("cluster id: has a character", self.one_line(*xds, "--xds-cluster-id", "a\nb"))
        self.assertIn("is required for TLS on a unix socket", self.one_line(
            "--no-kernel", "--admin", self.admin, "--xds", "unix:///x", "--xds-ca", "system"))

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_not_a_cgroup(self):
        err = self.one_line("--admin", self.admin, "--config", GOOD, "--cgroup", "/tmp")
        self.assertIn("not a cgroup2 folder", err)
        err = self.one_line("--admin", self.admin, "--config", GOOD, "--cgroup", "/tmp/weft-none")
        self.assertIn("No such file", err)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_not_root(self):
        os.chmod(self.folder.name, 0o777)
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status, _, err = run("run", "--admin", self.admin, "--config", GOOD)
            os._exit(0 if status == 1 and "must be run as root" in err else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_xds_server_away(self):
        # Nothing answers there: the agent serves what it has, and says that it tries.
        with Daemon("--no-kernel", "--xds", "127.0.0.1:1", "--node-metadata", "{}") as daemon:
            status, answer = daemon.call("dump")
            self.assertEqual(status, 0)
            self.assertFalse(answer["sources"]["xds"]["connected"])
            daemon.wait(lambda: "xds stream ended" in daemon.log())
            self.assertEqual(daemon.call("dump", "clusters")[1]["resources"], [])


if __name__ == "__main__":
    unittest.main()
