# SPDX-License-Identifier: Apache-2.0
"""What a killed run leaves behind is removed by the next one; what belongs to a living one stays."""
import glob
import os
import signal
import subprocess
import sys
import unittest

import mesh
import world as lab

# A world with a pod, and a process that outlives its parent's death: it is a grandchild.
CHILD = """
import sys, world
w = world.World(subnet=75).__enter__()
pod = w.pod("left")
shell = w.start(["sh", "-c", "sleep 300 & echo $!; wait"], pod, stdout=-1)
print(w.cgroup, w.dir, shell.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
"""


def there(paths):
    """Those that exist; a process that nobody has waited for yet is none."""
    def is_there(path):
        try:
            with open(f"{path}/stat", encoding="utf-8") as f:
                return f.read().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return os.path.exists(path) and not path.startswith("/proc/")
    return [path for path in paths if is_there(path)]


class Leftovers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        mesh.setUpModule_skips()

    def begin(self):
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 cwd=os.path.dirname(os.path.abspath(__file__)))
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        cgroup, folder, pid = child.stdout.readline().split()
        return child, [cgroup, cgroup + "-plain", folder, f"{lab.NETNS_DIR}/weft-{child.pid}-left",
                       f"{lab.NETNS_DIR}/weft-{child.pid}-bridge", f"/proc/{pid}"]

    def test_of_the_dead_go_of_the_living_stay(self):
        self.addCleanup(lab.sweep)
        killed, left = self.begin()
        living, held = self.begin()
        with lab.World():
            self.assertEqual(there(left + held), left + held)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        with lab.World():
            self.assertEqual(there(left), [])
            self.assertEqual(there(held), held)
        os.kill(living.pid, signal.SIGKILL)
        living.wait()
        lab.sweep()
        self.assertEqual(there(held), [])

    def test_other_names_stay(self):
        """Only `weft-PID` and what follows a dash: a folder of another kind is somebody's."""
        gone = subprocess.Popen(["true"])
        gone.wait()
        root = lab.cgroup2_root()
        names = [os.path.join(root, n) for n in (f"weft-{gone.pid}x", f"other-weft-{gone.pid}", f"weft-x{gone.pid}")]
        for name in names:
            os.mkdir(name)
            self.addCleanup(os.rmdir, name)
        lab.sweep()
        self.assertEqual(sorted(glob.glob(f"{root}/*weft-*{gone.pid}*")), sorted(names))


if __name__ == "__main__":
    unittest.main()
