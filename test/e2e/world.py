# SPDX-License-Identifier: Apache-2.0
"""Network namespaces joined by a bridge, a cgroup, and processes in them: made for one run, gone when it is left.

    with World() as world:
        client = world.pod("client")              # 10.77.0.1, fd77::1, behind a veth and a bridge
        world.start(["nginx", ...], pod=client)   # a process in the pod's network namespace and in the world's cgroup
        with Agent(world, config) as agent: ...

The bridge is in a namespace of its own: nothing outside of the run's own namespaces is touched. Needs root. Processes
are ended by their id; namespaces and cgroup folders carry the id of the test's process in their names, and the next run
removes what a killed one left.
"""
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
NETNS_DIR = "/run/netns"
START_S = 20.0
STOP_S = 5.0


class Missing(Exception):
    """Something the machine lacks: the test is skipped and says so."""


def run(*command, check=True, **kw):
    """Output of a command that must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False, **kw)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def cgroup2_root():
    with open("/proc/mounts", encoding="ascii") as f:
        for line in f:
            _, where, kind = line.split(" ")[:3]
            if kind == "cgroup2":
                return where
    raise Missing("no cgroup v2 hierarchy is mounted")


def enter(netns):
    """Moves the calling thread into a network namespace, by path."""
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + netns)
    finally:
        os.close(fd)


_TAG = re.compile(r"weft-(\d+)(-.*)?")


def _dead(folder):
    """[(pid, path)] of what worlds of processes that live no more left in a folder."""
    try:
        found = [(_TAG.fullmatch(name), name) for name in os.listdir(folder)]
    except FileNotFoundError:
        return []
    return [(int(m[1]), os.path.join(folder, name)) for m, name in found if m and not os.path.exists(f"/proc/{m[1]}")]


def _sweep_cgroup(top):
    """Whether a dead world's cgroup is gone. Its processes are ended by their ids; one that is in another pid namespace reads as 0:
    that world's process may live there, and all of it stays."""
    folders = [folder for folder, _, _ in os.walk(top, topdown=False)]
    pids = []
    for folder in folders:
        try:
            with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as f:
                pids += [int(line) for line in f]
        except FileNotFoundError:  # another run sweeps too
            continue
    if 0 in pids:
        return False
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for folder in folders:
        _remove_cgroup(folder)
    return not os.path.exists(top)


def sweep():
    """Removes cgroups, namespaces and folders of worlds whose process was killed; those of living processes stay."""
    kept = {pid for pid, path in _dead(cgroup2_root()) if not _sweep_cgroup(path)}
    for pid, path in _dead(NETNS_DIR):
        if pid not in kept:
            run("ip", "netns", "del", os.path.basename(path), check=False)
    for pid, path in _dead(tempfile.gettempdir()):
        if pid not in kept and os.lstat(path).st_uid == 0:
            shutil.rmtree(path, ignore_errors=True)


class Pod:
    """One enrolled or plain namespace. address: IPv4, address6: IPv6."""

    def __init__(self, name, netns, address, address6):
        self.name, self.netns, self.address, self.address6 = name, netns, address, address6
        self.path = os.path.join(NETNS_DIR, netns)


class World:
    def __init__(self, subnet=77):
        if os.geteuid() != 0:
            raise Missing("needs root")
        sweep()
        self.tag = f"weft-{os.getpid()}"
        self.subnet = subnet
        self.pods = {}
        self._children = []
        self._namespaces = []
        self._cgroups = []
        self.dir = tempfile.mkdtemp(prefix=self.tag + "-")
        os.chmod(self.dir, 0o755)
        self.cgroup = os.path.join(cgroup2_root(), self.tag)
        self.plain = self.cgroup + "-plain"  # a folder beside it, for processes that no agent governs

    def __enter__(self):
        try:
            for folder in (self.cgroup, self.cgroup + "/pods", self.cgroup + "/node", self.plain):
                os.mkdir(folder)
                self._cgroups.append(folder)
            self._netns("bridge")
            self._ip("bridge", "link", "add", "br0", "type", "bridge")
            self._ip("bridge", "link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def _netns(self, name):
        full = f"{self.tag}-{name}"
        run("ip", "netns", "add", full)
        self._namespaces.append(full)
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def _ip(self, name, *words):
        run("ip", "-n", f"{self.tag}-{name}", *words)

    def pod(self, name):
        """A namespace with one veth to the bridge and a default route, so that any address can be asked for."""
        n = len(self.pods) + 1
        pod = Pod(name, self._netns(name), f"10.{self.subnet}.0.{n}", f"fd{self.subnet}::{n}")
        self.pods[name] = pod
        bridge = f"{self.tag}-bridge"
        run("ip", "-n", bridge, "link", "add", f"v{n}", "type", "veth", "peer", "name", "eth0", "netns", pod.netns)
        self._ip("bridge", "link", "set", f"v{n}", "master", "br0", "up")
        self._ip(name, "addr", "add", f"{pod.address}/16", "dev", "eth0")
        self._ip(name, "addr", "add", f"{pod.address6}/64", "dev", "eth0", "nodad")
        self._ip(name, "link", "set", "eth0", "up")
        self._ip(name, "route", "add", "default", "dev", "eth0")
        self._ip(name, "-6", "route", "add", "default", "dev", "eth0")
        return pod

    def start(self, command, pod=None, cgroup="pods", name=None, talk=False, **kw):
        """A child process; its output goes to a file of its name in the world's folder unless said otherwise.

        talk: it gets a pipe as standard input."""
        name = name or os.path.basename(command[0])
        if "stdout" not in kw:
            # The child holds the file; ours closes with this call.
            with open(os.path.join(self.dir, f"{name}.log"), "ab") as log:
                return self.start(command, pod, cgroup, name, talk, stdout=log, stderr=log, **kw)
        # Programs put the child where it belongs, not a function between fork and exec: with that Python forks in full, which
        # aborts a gRPC server of the same process that closes a connection just then (grpcio 1.51, test_xds).
        place = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", 'echo $$ >"$0" && exec "$@"',
                 os.path.join(self.cgroup, cgroup, "cgroup.procs")]
        if pod:
            place += ["nsenter", "--net=" + pod.path]
        child = subprocess.Popen(place + list(command), stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                                 start_new_session=True, **kw)
        self._children.append(child)
        return child

    def output(self, command, pod=None, timeout=60, cgroup="pods"):
        """(exit status, standard output) of a command that ends by itself."""
        child = self.start(command, pod, cgroup, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, _ = child.communicate(timeout=timeout)
        finally:
            self.stop(child, signal.SIGKILL)
        return child.returncode, out.decode("utf-8", "replace")

    def stop(self, child, sig=signal.SIGTERM):
        """Ends a child (and what it started in its session); waits for it."""
        if child.poll() is None:
            for s in (sig, signal.SIGKILL):
                try:
                    os.killpg(child.pid, s)
                    child.wait(STOP_S)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except ProcessLookupError:
                    child.wait(STOP_S)
                    break
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        if child in self._children:
            self._children.remove(child)
        return child.returncode

    def inside(self, pod, function, *args):
        """Result of a Python function run by a thread in the pod's namespace (its sockets are the pod's).

        The thread belongs to this process, which is in no cgroup of the world: use `Client` for governed connections.
        """
        box = {}

        def work():
            try:
                enter(pod.path)
                box["value"] = function(*args)
            except BaseException as e:  # handed to the caller below
                box["error"] = e
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in box:
            raise box["error"]
        return box["value"]

    def wait_port(self, pod, port, address=None, limit_s=START_S):
        end = time.monotonic() + limit_s
        while True:
            try:
                self.inside(pod, lambda: socket.create_connection((address or pod.address, port), 1).close())
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def log(self, name):
        try:
            with open(os.path.join(self.dir, f"{name}.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def close(self):
        for child in list(self._children):
            self.stop(child)
        for name in reversed(self._namespaces):
            run("ip", "netns", "del", name, check=False)
        for folder in reversed(self._cgroups):
            _remove_cgroup(folder)
        shutil.rmtree(self.dir, ignore_errors=True)


def _remove_cgroup(folder):
    """The kernel takes a moment until the last process has left it."""
    for _ in range(100):
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
    print(f"left behind: {folder}")


def find_agent():
    """The binary in WEFT_AGENT, which ctest and run.sh set; else that of the release build."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.environ.get("WEFT_AGENT") or os.path.join(top, "build", "release", "weft-agent")
    if not os.access(path, os.X_OK):
        raise Missing(f"{path} is not built")
    return path


class AgentFailed(Exception):
    pass


class Agent:
    """A running `weft-agent run`; leaving it ends it. Its own sockets are in the governed cgroup, as on a real node."""

    def __init__(self, world, config=None, options=(), name="agent", pods=(), wrap=()):
        self.world, self.binary, self.name = world, find_agent(), name
        self.admin = os.path.join(world.dir, name + ".sock")
        self._command = [*wrap, self.binary, "run", "--cgroup", world.cgroup, "--admin", self.admin, *options]
        if config:
            self._command += ["--config", config]
        self._pods = pods
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        with open(os.path.join(self.world.dir, self.name + ".log"), "ab") as log:
            self.process = self.world.start(self._command, cgroup="node", name=self.name, stdout=subprocess.PIPE, stderr=log)
        line = self._first_line()
        if not line.startswith("weft-agent ready"):
            status = self.stop(signal.SIGKILL)
            raise AgentFailed(f"not ready (exit {status}): {line} {self.world.log(self.name)[-2000:]}")
        for pod in self._pods:
            self.add(pod)

    def _first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        return self.process.stdout.readline().decode("utf-8", "replace") if ready else ""

    def stop(self, sig=signal.SIGTERM):
        process, self.process = self.process, None
        if process is None:
            return None
        return self.world.stop(process, sig)

    def call(self, *words, check=True):
        done = subprocess.run([self.binary, *words, "--admin", self.admin, "--json"], capture_output=True, text=True, timeout=30,
                              check=False)
        if check and done.returncode != 0:
            raise AgentFailed(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        try:
            return json.loads(done.stdout or done.stderr)
        except ValueError:
            raise AgentFailed(f"{' '.join(words)}: not JSON: {done.stdout}{done.stderr}") from None

    def add(self, pod, *options):
        return self.call("pod", "add", "--netns", pod.path, "--name", pod.name, "--namespace", "test", *options)

    def remove(self, pod, *options):
        return self.call("pod", "remove", "--name", pod.name, "--namespace", "test", *options)

    def stats(self):
        return self.call("dump", "stats")

    def explain(self, *words):
        return self.call("explain", *words)

    def wait_epoch(self, above, limit_s=5.0):
        """Waits until a configuration newer than epoch `above` is in force; its epoch."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            epoch = self.call("dump")["epoch"]
            if epoch > above:
                return epoch
            time.sleep(0.02)
        raise AgentFailed(f"no configuration newer than {above} within {limit_s} s: {self.world.log(self.name)[-2000:]}")


def number(text, pattern):
    found = re.search(pattern, text)
    return float(found[1].replace(",", "")) if found else None
