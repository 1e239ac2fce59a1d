# SPDX-License-Identifier: Apache-2.0
"""The binary under test and a daemon without kernel part, for the tests of this folder."""

import json
import os
import select
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
AGENT = os.environ.get("WEFT_AGENT", os.path.join(ROOT, "build", "release", "weft-agent"))
DATA = os.path.join(HERE, "data")
GOOD = os.path.join(DATA, "good.yaml")


def run(*args, timeout=60):
    """(exit status, standard output, standard error) of one command."""
    done = subprocess.run([AGENT, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def run_json(*args):
    """(exit status, JSON) of one command with --json."""
    status, out, err = run(*args, "--json")
    try:
        return status, json.loads(out)
    except ValueError:
        raise AssertionError(f"not JSON: {out!r} {err!r}") from None


class Daemon:
    """`weft-agent run` with its own admin socket; ended and cleaned up by its `with`."""

    def __init__(self, *args, admin=None):
        self.args = args
        self.folder = tempfile.TemporaryDirectory(prefix="weft-cli-")
        self.admin = admin or os.path.join(self.folder.name, "admin.sock")
        self.log_path = os.path.join(self.folder.name, "log")
        self.process = None

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([AGENT, "run", "--admin", self.admin, *self.args],
                                            stdout=subprocess.PIPE, stderr=log)
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("weft-agent ready admin="):
            log = self.log()
            self.__exit__()
            raise AssertionError(f"not ready: {line!r} {log}")
        return self

    def __exit__(self, *_):
        self.stop()
        self.process.stdout.close()
        self.folder.cleanup()

    def stop(self):
        """Exit status after SIGTERM (a daemon that hangs is killed)."""
        if self.process.poll() is not None:
            return self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def call(self, *args):
        return run_json(*args, "--admin", self.admin)

    def wait(self, what, seconds=10):
        """Until what() is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return
            time.sleep(0.05)
        raise AssertionError("waited in vain: " + self.log())
