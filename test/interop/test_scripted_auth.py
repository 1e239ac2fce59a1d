# SPDX-License-Identifier: Apache-2.0
"""Who the control plane is and who the client is: TLS, names, client certificates, tokens; files that are replaced."""
import os
import shutil
import subprocess
import tempfile
import unittest

import grpc

from certs import Authority, read
from client import Client
from scripted_ads import CDS, LDS, Server

NAME = "istiod.istio-system.svc"
URI = "spiffe://cluster.local/ns/istio-system/sa/istiod"


class ScriptedAuth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("no openssl command")
        cls.folder = tempfile.mkdtemp(prefix="weft-auth-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.ca = Authority(cls.folder, "good")
        cls.other = Authority(cls.folder, "other")
        cls.identity = cls.ca.issue("istiod", "DNS:%s,URI:%s,IP:127.0.0.1" % (NAME, URI))

    def setUp(self):
        self.client = self.server = None

    def tearDown(self):
        status = self.client.quit() if self.client else 0
        if self.server:
            self.server.stop()
        self.assertEqual(status, 0, "exit status of the client")

    def listen(self, identity=None, client_ca=None, target="127.0.0.1:0"):
        cert, key = identity or self.identity
        self.server = Server(target, grpc.ssl_server_credentials(
            [(read(key), read(cert))], read(client_ca) if client_ca else None, bool(client_ca)))

    def connect(self, *args, ca=None):
        self.client = Client("127.0.0.1:%d" % self.server.port, "--ca", ca or self.ca.pem, *args)

    def works(self):
        s = self.server.session()
        s.next(CDS)
        s.send(CDS, "n1")
        s.ack(CDS, "n1")
        return s

    def refused(self, text):
        """Attempt after attempt fails for that reason, and nothing was asked of the server."""
        for _ in range(2):
            self.assertIn(text, self.client.event("disconnected")["why"])
        self.assertTrue(self.server.sessions.empty())

    def replace(self, path, source):
        shutil.copy(source, path + ".new")
        os.replace(path + ".new", path)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    # ---- the server ----

    def test_address_is_a_name_of_the_certificate(self):
        self.listen()
        self.connect()
        self.works()

    def test_server_name_and_allowed_names(self):
        self.listen(self.ca.issue("dns-only", "DNS:%s,URI:%s" % (NAME, URI)))
        self.connect("--sni", NAME)
        self.works()
        self.client.quit()
        self.connect("--sni", "anything.example", "--san", URI)
        self.works()
        self.client.quit()
        self.connect("--sni", NAME, "--san", URI + "x")
        self.refused("CN=dns-only does not have the name " + URI + "x")
        self.client.quit()
        self.connect()
        self.refused("does not have the name 127.0.0.1")

    def test_wrong_authority(self):
        self.listen()
        self.connect(ca=self.other.pem)
        self.refused("CN=istiod: unable to get local issuer certificate (authorities of %s)" % self.other.pem)

    def test_expired_server(self):
        self.listen(self.ca.issue("old", "IP:127.0.0.1", "20200101000000Z", "20200102000000Z"))
        self.connect()
        self.refused("CN=old: certificate has expired")

    def test_plaintext_client_of_a_tls_server(self):
        self.listen()
        self.client = Client("127.0.0.1:%d" % self.server.port)
        self.client.event("disconnected")
        self.client.event("disconnected")
        self.assertTrue(self.server.sessions.empty())

    def test_authority_is_replaced(self):
        self.listen()
        ca = os.path.join(self.folder, "ca-rotates.pem")
        shutil.copy(self.other.pem, ca)
        self.connect(ca=ca)
        self.refused("unable to get local issuer")
        os.unlink(ca)
        why = self.client.event("disconnected", lambda e: "no credentials" in e["why"])["why"]
        self.assertEqual(why, "no credentials: %s: No such file or directory" % ca)
        self.replace(ca, self.ca.pem)
        self.works()

    def test_revoked_server(self):
        """A list that is replaced counts from the next stream on; a chain without a list is refused, as in Envoy."""
        ca = Authority(self.folder, "revokes")
        identity = ca.issue("taken-back", "IP:127.0.0.1")
        clean, crl = ca.revocations(ca.path("clean.crl")), ca.path("now.crl")
        self.replace(crl, clean)
        self.listen(identity)
        self.connect("--crl", crl, ca=ca.pem)
        s = self.works()
        ca.revoke(identity[0])
        self.replace(crl, ca.revocations(ca.path("revoked.crl")))
        s.next(LDS)
        s.send(CDS, "n2")
        s.ack(CDS, "n2")  # the stream of the moment goes on
        s.close()
        self.client.event("disconnected")
        self.refused("CN=taken-back: certificate revoked (revocations of %s)" % crl)
        # Those of another authority say nothing of this one.
        self.replace(crl, self.other.revocations(self.other.path("crl")))
        self.client.event("disconnected", lambda e: "CN=taken-back: unable to get certificate CRL (revocations of %s)" % crl in e["why"])
        self.replace(crl, clean)
        self.server.session().next(CDS)

    # ---- the client ----

    def test_server_demands_a_certificate(self):
        self.listen(client_ca=self.ca.pem)
        self.connect()
        self.client.event("disconnected")
        self.client.event("disconnected")
        self.assertTrue(self.server.sessions.empty())
        self.client.quit()
        cert, key = self.ca.issue("node", "URI:spiffe://cluster.local/ns/a/sa/b")
        self.connect("--cert", cert, "--key", key)
        self.assertEqual(self.works().peer["x509_common_name"], [b"node"])

    def test_certificate_is_replaced(self):
        self.listen(client_ca=self.ca.pem)
        cert, key = os.path.join(self.folder, "r.pem"), os.path.join(self.folder, "r.key")
        first, second = self.ca.issue("first", "DNS:first"), self.ca.issue("second", "DNS:second")
        shutil.copy(first[0], cert)
        shutil.copy(first[1], key)
        self.connect("--cert", cert, "--key", key)
        s = self.works()
        self.assertEqual(s.peer["x509_common_name"], [b"first"])
        # Half of the new pair: the stream stays, the next one waits for the other half.
        self.replace(cert, second[0])
        s.close()
        self.client.event("disconnected", lambda e: "%s: is not the key of the certificate %s" % (key, cert) in e["why"])
        self.replace(key, second[1])
        self.assertEqual(self.server.session().peer["x509_common_name"], [b"second"])

    def test_token_is_read_for_each_stream(self):
        self.listen()
        token = self.file("token", "aaa.bbb.ccc\n")
        self.connect("--token", token, "--header", "clusterid=Kubernetes")
        s = self.works()
        self.assertEqual(s.metadata["authorization"], "Bearer aaa.bbb.ccc")
        self.assertEqual(s.metadata["clusterid"], "Kubernetes")
        self.file("token", "ddd.eee.fff")
        s.close()
        s = self.server.session()
        self.assertEqual(s.metadata["authorization"], "Bearer ddd.eee.fff")
        os.unlink(token)
        s.close()
        self.client.event("disconnected", lambda e: e["why"] == "no credentials: %s: No such file or directory" % token)
        self.file("token", "two words")
        self.client.event("disconnected", lambda e: "is no bearer token: character 4" in e["why"])
        self.file("token", "ggg")
        self.assertEqual(self.server.session().metadata["authorization"], "Bearer ggg")

    def test_token_does_not_reach_the_wrong_server(self):
        self.listen()
        self.connect("--token", self.file("token", "secret"), ca=self.other.pem)
        self.refused("unable to get local issuer")

    def test_token_in_plaintext_only_when_asked_for(self):
        self.server = Server()
        address, token = "127.0.0.1:%d" % self.server.port, self.file("token", "abc")
        p = subprocess.run([os.environ["ADS_CLIENT"], address, "--token", token], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((p.returncode, p.stderr), (1, token + ": is not sent without TLS\n"))
        self.client = Client(address, "--token-plaintext", token)
        self.assertEqual(self.works().metadata["authorization"], "Bearer abc")


if __name__ == "__main__":
    unittest.main()
