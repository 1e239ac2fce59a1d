# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes and deploy/Dockerfile: what stands there is right, and the binary runs by that command line."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from agent import AGENT, ROOT, Daemon

try:
    import yaml
except ImportError:
    yaml = None
DEPLOY = os.path.join(ROOT, "deploy")


def manifests():
    with open(os.path.join(DEPLOY, "kubernetes", "weft.yaml"), encoding="utf-8") as f:
        return {d["kind"]: d for d in yaml.safe_load_all(f)}


def substituted(text, env):
    """As the kubelet writes $(NAME)."""
    return re.sub(r"\$\(([A-Z_]+)\)", lambda m: env[m[1]], text)


@unittest.skipUnless(yaml, "needs PyYAML (python3-yaml)")
class Manifests(unittest.TestCase):
    def setUp(self):
        self.docs = manifests()
        self.pod = self.docs["DaemonSet"]["spec"]["template"]
        self.container, = self.pod["spec"]["containers"]
        self.options = dict(a[2:].split("=", 1) for a in self.container["args"][1:])

    def test_kinds_and_names(self):
        self.assertEqual(set(self.docs), {"Namespace", "ServiceAccount", "DaemonSet"})
        for kind in ("ServiceAccount", "DaemonSet"):
            self.assertEqual(self.docs[kind]["metadata"]["namespace"], self.docs["Namespace"]["metadata"]["name"])
        self.assertEqual(self.docs["DaemonSet"]["apiVersion"], "apps/v1")
        self.assertEqual(self.pod["spec"]["serviceAccountName"], self.docs["ServiceAccount"]["metadata"]["name"])
        selector = self.docs["DaemonSet"]["spec"]["selector"]["matchLabels"]
        self.assertLessEqual(selector.items(), self.pod["metadata"]["labels"].items())
        self.assertEqual(self.docs["DaemonSet"]["spec"]["updateStrategy"]["type"], "RollingUpdate")
        self.assertEqual(self.pod["spec"]["tolerations"], [{"operator": "Exists"}])

    def test_istios_conventions(self):
        self.assertEqual(self.options["xds"], "istiod.istio-system.svc:15012")
        self.assertEqual(self.options["xds-cluster-id"], "Kubernetes")
        volumes = {v["name"]: v for v in self.pod["spec"]["volumes"]}
        token = volumes["istio-token"]["projected"]["sources"][0]["serviceAccountToken"]
        self.assertEqual(token["audience"], "istio-ca")
        self.assertEqual(volumes["istiod-ca-cert"]["configMap"]["name"], "istio-ca-root-cert")
        self.assertEqual(self.options["xds-token-file"], os.path.join(self.mounted("istio-token"), token["path"]))
        self.assertEqual(self.options["xds-ca"], os.path.join(self.mounted("istiod-ca-cert"), "root-cert.pem"))

    def mounted(self, volume):
        return next(m["mountPath"] for m in self.container["volumeMounts"] if m["name"] == volume)

    def test_volumes_hold_what_is_used(self):
        self.assertEqual({m["name"] for m in self.container["volumeMounts"]}, {v["name"] for v in self.pod["spec"]["volumes"]})
        for option, volume in (("cgroup", "cgroup"), ("admin", "admin"), ("xds-cache", "cache")):
            path = self.mounted(volume)
            self.assertTrue(self.options[option] == path or self.options[option].startswith(path + "/"), option)
            self.assertFalse(next(m for m in self.container["volumeMounts"] if m["name"] == volume).get("readOnly"))
        netns = next(m for m in self.container["volumeMounts"] if m["name"] == "netns")
        self.assertEqual(netns["mountPropagation"], "HostToContainer")

    def test_probes_ask_the_admin_address(self):
        address, port = self.options["admin-http"].rsplit(":", 1)
        self.assertTrue(self.pod["spec"]["hostNetwork"])
        for probe, path in (("readinessProbe", "/ready"), ("livenessProbe", "/server_info")):
            self.assertEqual(self.container[probe]["httpGet"], {"host": address, "port": int(port), "path": path})

    def test_the_binary_runs_by_it(self):
        """Every option as it stands; paths and the address of the probes are moved into a folder of this test."""
        folder = tempfile.mkdtemp(prefix="weft-deploy-")
        self.addCleanup(shutil.rmtree, folder)
        args = [substituted(a, {"NODE_NAME": "node-1"}) for a in self.container["args"]]
        self.assertEqual(args.pop(0), "run")
        moved = {"xds-ca": "root.pem", "xds-token-file": "token", "xds-cache": "xds", "admin": "admin.sock", "admin-http": "http"}
        args = [f"--{o}={os.path.join(folder, moved[o])}" if (o := a[2:].split("=")[0]) in moved else a for a in args]
        # A certificate has to be one: that of an authority of its own.
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=root", "-days", "2",
                        "-keyout", os.path.join(folder, "key"), "-out", os.path.join(folder, "root.pem")], check=True, capture_output=True)
        with open(os.path.join(folder, "token"), "w", encoding="ascii") as f:
            f.write("token")
        kept = [a for a in args if not a.startswith(("--admin=", "--cgroup="))]  # Daemon has its own; without a kernel part none is used
        with Daemon("--no-kernel", *kept) as daemon:
            status, out = daemon.call("dump")
            # Streams come with pods, and nobody is enrolled.
            self.assertEqual((status, out["sources"]), (0, {"xds": {"streams": []}}))
            self.assertEqual(self.get(folder, "/server_info"), 200)
            self.assertEqual(self.get(folder, "/ready"), 200)

    @staticmethod
    def get(folder, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(os.path.join(folder, "http"))
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return int(s.recv(4096).split()[1])

    def test_security(self):
        context = self.container["securityContext"]
        self.assertEqual(context["capabilities"], {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN", "PERFMON", "SYS_ADMIN"]})
        self.assertNotIn("privileged", context)
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertNotIn("hostPID", self.pod["spec"])


class Image(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(DEPLOY, "Dockerfile"), encoding="utf-8") as f:
            self.text = f.read()

    def test_libraries_of_the_binary_are_installed(self):
        """Each library that the binary names is of a package that the last stage installs."""
        if not shutil.which("dpkg-query"):
            self.skipTest("no dpkg")
        packages = set(re.search(r"--no-install-recommends \\\n\t(.*) \\\n", self.text)[1].split())
        needed = re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(["readelf", "-d", AGENT], check=True, capture_output=True, text=True).stdout)
        if any("san" in n for n in needed):
            self.skipTest("a build with a sanitizer")
        owners = {}
        for library in needed:
            out = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True, check=False).stdout
            owners[library] = {line.split(":")[0] for line in out.splitlines()}
        missing = [n for n, o in owners.items() if not o & (packages | {"libc6"})]
        self.assertEqual(missing, [])
        self.assertEqual(packages - set().union(*owners.values()), {"libssl3"} - set().union(*owners.values()))

    def test_it_builds(self):
        def has_base(builder):
            return shutil.which(builder) and subprocess.run([builder, "pull", "debian:12"], capture_output=True, check=False).returncode == 0
        builder = next((b for b in ("docker", "podman", "buildah") if has_base(b)), None)
        if not builder:
            self.skipTest("no docker, podman or buildah that has debian:12")
        subprocess.run([builder, "build", "-f", os.path.join(DEPLOY, "Dockerfile"), ROOT], check=True)


if __name__ == "__main__":
    unittest.main()
