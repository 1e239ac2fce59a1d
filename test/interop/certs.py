# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made with the openssl command in a folder of the test's own."""
import os
import subprocess

CONFIG = """[ca]
default_ca = d
[d]
database = %(folder)s/index.txt
serial = %(folder)s/serial
new_certs_dir = %(folder)s
default_md = sha256
default_crl_days = 1
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
[req]
distinguished_name = dn
[dn]
"""


def _run(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A certificate authority; its files are in `folder`."""

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        open(self.path("index.txt"), "w").close()
        with open(self.path("serial"), "w") as f:
            f.write("01\n")
        with open(self.path("conf"), "w") as f:
            f.write(CONFIG % {"folder": self.folder})
        self.pem = self.path("ca.pem")
        _run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-config", self.path("conf"), "-subj", "/CN=" + name, "-keyout", self.path("ca.key"), "-out", self.pem,
             "-addext", "basicConstraints=critical,CA:TRUE")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, san, since=None, until=None):
        """(certificate, key) as paths; times as YYYYMMDDHHMMSSZ."""
        cert, key, request = self.path(name + ".pem"), self.path(name + ".key"), self.path(name + ".csr")
        _run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config",
             self.path("conf"), "-subj", "/CN=" + name, "-addext", "subjectAltName=" + san, "-keyout", key, "-out", request)
        dates = ["-startdate", since, "-enddate", until] if until else ["-days", "1"]
        _run("ca", "-batch", "-notext", "-config", self.path("conf"), "-cert", self.pem, "-keyfile", self.path("ca.key"),
             "-in", request, "-out", cert, *dates)
        return cert, key

    def revoke(self, cert):
        _run("ca", "-config", self.path("conf"), "-cert", self.pem, "-keyfile", self.path("ca.key"), "-revoke", cert)

    def revocations(self, path):
        """Writes what is revoked now."""
        _run("ca", "-config", self.path("conf"), "-cert", self.pem, "-keyfile", self.path("ca.key"), "-gencrl", "-out", path)
        return path


def read(path):
    with open(path, "rb") as f:
        return f.read()
