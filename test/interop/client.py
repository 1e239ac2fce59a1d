# SPDX-License-Identifier: Apache-2.0
"""Runs the ads_client executable (environment variable ADS_CLIENT) and reads its events."""
import json
import os
import queue
import subprocess
import threading
import time

TIMEOUT = 15


class Client:
    """The ads_client under test; its events in order."""

    def __init__(self, address, *args):
        self.process = subprocess.Popen(
            [os.environ["ADS_CLIENT"], address, "--backoff", "50,400", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        self.log = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def event(self, kind, condition=lambda e: True):
        """The next event of a kind that meets the condition; others are skipped."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                e = self.events.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError("no event %s; last: %s" % (kind, self.log[-5:])) from None
            self.log.append(e)
            if e["event"] == kind and condition(e):
                return e

    def drain(self):
        """Skips the events so far."""
        while not self.events.empty():
            self.log.append(self.events.get())

    def last(self, kind):
        """The newest event of a kind that was read or waits."""
        self.drain()
        return [e for e in self.log if e["event"] == kind][-1]

    def command(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def dump(self):
        self.command("dump")
        return self.event("dump")

    def quit(self):
        """Exit status; ends in bounded time or is killed."""
        try:
            self.command("quit")
            return self.process.wait(timeout=TIMEOUT)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
            return -1
        finally:
            self.process.stdin.close()
            self.process.stdout.close()
