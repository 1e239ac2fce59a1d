# SPDX-License-Identifier: Apache-2.0
"""An agent's xDS server that a test writes the responses of (the scripted one of the interoperation tests), and pods behind it."""
import os
import sys
import tempfile
import unittest

import world as lab
from mesh import HERE, Mesh, setUpModule_skips

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))
try:
    import scripted_ads as ads
except ImportError:
    ads = None

# The script's resources name 10.0.0.1 for everything: the first pod of subnet 0.
ADDRESS, LISTENER = "10.0.0.1", 8080


class Scripted(Mesh):
    """A world for each class: a server pod with `backends` (name and port of each); a new server and folder for each test."""

    backends = ()

    @classmethod
    def setUpClass(cls):
        setUpModule_skips()
        if ads is None:
            raise unittest.SkipTest("no grpcio for this python3 (deploy/deps.sh --tests)")
        cls.world = lab.World(subnet=0).__enter__()
        cls.addClassCleanup(cls.world.close)
        cls.server = cls.world.pod("server")
        for name, port in cls.backends:
            cls.world.start([sys.executable, os.path.join(HERE, "backend.py"), name, str(port)], cls.server, name="backend-" + name)
            cls.world.wait_port(cls.server, port)

    def setUp(self):
        self.ads = ads.Server()
        self.addCleanup(lambda: self.ads.stop())
        folder = tempfile.TemporaryDirectory(prefix="weft-ads-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
