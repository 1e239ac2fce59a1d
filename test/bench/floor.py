# SPDX-License-Identifier: Apache-2.0
"""floor.bpf.c for the processes of one cgroup folder: the least that an answer in the kernel costs."""
import os

import world as lab


class Floor:
    """In force inside a `with`. Its programs live in a file system of its own, and end with it and with the cgroup folder."""

    def __init__(self, world, obj):
        if not os.path.exists(obj):
            raise lab.Missing(f"{obj} is not built")
        self.obj, self.cgroup = obj, world.plain + "-floor"
        self.pins = os.path.join(world.dir, "floor")

    def __enter__(self):
        os.mkdir(self.cgroup)
        os.mkdir(self.pins)
        lab.run("mount", "-t", "bpf", "bpf", self.pins)
        try:
            lab.run("bpftool", "prog", "loadall", self.obj, self.pins + "/prog", "pinmaps", self.pins + "/map")
            lab.run("bpftool", "prog", "attach", "pinned", self.pins + "/prog/answer", "msg_verdict", "pinned", self.pins + "/map/sock")
            lab.run("bpftool", "cgroup", "attach", self.cgroup, "sock_ops", "pinned", self.pins + "/prog/established")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        lab.run("umount", self.pins)
        os.rmdir(self.pins)
        os.rmdir(self.cgroup)
