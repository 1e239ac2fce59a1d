# SPDX-License-Identifier: Apache-2.0
"""VirtualService of Istio's own control plane, with traffic: what each part of it does to a request, as Istio documents it."""
import json
import time
import unittest

from istio_mesh import IstioMesh


class Routes(IstioMesh):
    def status(self, service, path="/", **job):
        got = self.ask(service, path, **job)
        return got.get("status", got)

    def body(self, got):
        self.assertEqual(got.get("status"), 200, got)
        return json.loads(got["body"])

    def test_match(self):
        self.assertEqual(self.ask("match")["headers"]["x-backend"], "v1")
        self.assertEqual(self.ask("match", headers={"end-user": "jason"})["headers"]["x-backend"], "v2")
        self.assertEqual(self.ask("match", headers={"end-user": "jasons"})["headers"]["x-backend"], "v1")
        for status, path, job in (
                (201, "/app/x", {"headers": {"User-Agent": "Some Mobile/1"}}), (200, "/app/x", {"headers": {"User-Agent": "Some Desktop/1"}}),
                (200, "/other", {"headers": {"User-Agent": "Some Mobile/1"}}),
                (202, "/without", {}), (200, "/without", {"headers": {"x-debug": "1"}}),
                (203, "/", {"method": "PUT"}), (206, "/?version=2", {}), (200, "/?version=22", {}), (206, "/?a=1&version=2", {}),
                (207, "/item/12", {}), (200, "/item/a", {}), (200, "/item/12/x", {}), (208, "/LoWer/x", {}), (200, "/upper", {}),
                (226, "/", {"host": "match.shop:80"}), (200, "/", {"host": "match.shop.svc"}), (200, "/scheme", {}),
                (220, "/source", {}), (200, "/other", {}), (222, "/port", {})):
            with self.subTest(path=path, job=job):
                self.assertEqual(self.status("match", path, **job), status)

    def test_hosts_of_a_service(self):
        """Its names, short and long, with and without port, and its address; another host has another virtual host."""
        for host in ("match", "match.shop", "match.shop.svc", "match.shop.svc.cluster.local", "match:80", "MATCH.shop.svc.cluster.local:80", "10.96.0.13"):
            self.assertEqual(self.status("match", "/item/1", host=host), 207, host)
        self.assertEqual(self.status("match", "/item/1", host="plain"), 200)

    def test_weights(self):
        self.assertEqual(self.split("weights", 400), {"200 v1": 0.75, "200 v2": 0.25})

    def split(self, service, n, path="/"):
        """The share of each answer in n requests; within four standard deviations of the nearest quarter it is that."""
        counts = self.load(service, path, n)
        out = {}
        for k, v in counts.items():
            want = round(4 * v / n) / 4
            self.assertLess(abs(v - want * n), 4 * (n * want * (1 - want)) ** 0.5 + 0.5, counts)
            out[k] = want
        return out

    def load(self, service, path, n, **job):
        s = self.service(service)
        got = self.job("load", **dict({"address": s.vip, "port": s.port, "host": service, "path": path, "requests": n, "connections": 1}, **job))
        self.assertEqual(got["errors"], {})
        return got["counts"]

    def test_fault_abort(self):
        self.assertEqual(self.status("abort"), 200)
        got = self.ask("abort", headers={"end-user": "jason"})
        self.assertEqual((got["status"], got["body"]), (555, "fault filter abort"))
        self.assertEqual(sum(self.split("abort", 400, "/half").values()), 1)
        self.assertLess(self.load("abort", "/half", 400)["555 -"], 300)
        got = self.ask("abort", "/grpc", headers={"content-type": "application/grpc"})
        self.assertEqual((got["status"], got["headers"]["grpc-status"]), (200, "14"))

    def test_fault_delay(self):
        took = []
        for headers in ({}, {"end-user": "jason"}):
            began = time.monotonic()
            self.assertEqual(self.status("delay", "/", headers=headers), 200)
            took.append(time.monotonic() - began)
        self.assertGreater(took[1], 0.3)
        s = self.service("delay")
        self.assertGreaterEqual(self.job("load", address=s.vip, port=s.port, host="delay", headers={"end-user": "jason"}, requests=1)["longest_ms"], 300)

    def test_retries(self):
        self.assertEqual(self.body(self.ask("retry", "/flaky?n=1&key=r1"))["path"], "/flaky?n=1&key=r1")
        # attempts: 0 stands for no retry at all, in place of Istio's two.
        self.assertEqual(self.status("retry", "/flaky?n=1&key=none1"), 503)
        # Status codes that retryOn names; what it does not name is not tried again.
        self.assertEqual(self.requests("v1", "v2", lambda: self.assertEqual(self.status("retry", "/status?code=429"), 429)), 4)
        self.assertEqual(self.requests("v1", "v2", lambda: self.assertEqual(self.status("retry", "/status?code=500"), 500)), 1)
        # Istio's policy where the user has none: a connection that nobody takes is tried elsewhere, an answer is an answer.
        self.assertEqual(self.requests("v1", "v2", lambda: self.assertEqual(self.status("plain", "/status?code=503"), 503)), 1)

    def requests(self, *rest):
        """How many requests backends got while the last argument ran."""
        *pods, run = rest
        before = sum(self.total(p) for p in pods)
        run()
        return sum(self.total(p) for p in pods) - before

    def test_mirror(self):
        before = self.total("v2")
        for i in range(5):
            self.assertEqual(self.ask("mirror", f"/m{i}")["headers"]["x-backend"], "v1")
        self.until(lambda: self.total("v2") - before >= 5)
        self.assertEqual(self.total("v2") - before, 5)
        self.assertEqual(self.last("v2")["host"], "mirror")

    def test_rewrite(self):
        got = self.body(self.ask("rewrite", "/ratings/7?echo=1"))
        self.assertEqual((got["path"], got["headers"]["host"]), ("/v1/bookRatings7?echo=1", "ratings.example"))
        self.assertEqual(self.body(self.ask("rewrite", "/ratings?echo=1"))["path"], "/v1/bookRatings?echo=1")
        self.assertEqual(self.body(self.ask("rewrite", "/service/foo/v1/api?echo=1"))["path"], "/v1/api/instance/foo?echo=1")
        got = self.body(self.ask("rewrite", "/else?echo=1"))
        self.assertEqual((got["path"], got["headers"]["host"]), ("/else?echo=1", "rewrite"))

    def test_redirect(self):
        for path, status, location in (
                ("/v1/getProductRatings", 301, "http://newratings.default.svc.cluster.local/v1/bookRatings"),
                ("/secure/a?b=1", 308, "https://redirect:8443/secure/a?b=1"), ("/derived", 307, "https://redirect/derived"),
                ("/old/a?b=1", 302, "http://redirect/new?b=1")):
            got = self.ask("redirect", path)
            self.assertEqual((got["status"], got["headers"].get("location")), (status, location), path)
        self.assertEqual(self.status("redirect", "/nowhere"), 404)

    def test_direct_response(self):
        got = self.ask("direct", "/json")
        self.assertEqual((got["status"], got["body"], got["headers"]["content-type"]), (503, '{"error": "gone"}', "application/json"))
        got = self.ask("direct", "/bytes")
        self.assertEqual((got["status"], got["body"]), (200, "hello"))
        self.assertEqual(self.ask("direct")["status"], 404)

    def test_header_operations(self):
        sent = "&".join(f"send={h}" for h in ("x-answer:old", "x-more:first", "x-gone:1", "x-secret:1"))
        got = self.ask("headers", "/?echo=1&" + sent, headers={"x-set": "0", "x-add": "1", "x-remove": "1", "x-keep": "1"})
        headers = self.body(got)["headers"]
        self.assertEqual({k: headers.get(k) for k in ("x-set", "x-both", "x-destination", "x-remove", "x-keep")},
                         {"x-set": "1", "x-both": "route", "x-destination": "3", "x-remove": None, "x-keep": "1"})
        self.assertEqual(headers["x-add"], "2")  # the backend keeps the last of two
        self.assertEqual({k: got["headers"].get(k) for k in ("x-answer", "x-more", "x-gone", "x-secret")},
                         {"x-answer": "set", "x-more": "added", "x-gone": None, "x-secret": None})

    def test_timeout(self):
        self.assertEqual(self.status("timeout", "/short?ms=1500"), 504)
        self.assertEqual(self.status("timeout", "/short"), 200)
        self.assertEqual(self.status("timeout", "/long?ms=600"), 200)

    def test_delegate(self):
        self.assertEqual(self.ask("delegate", "/productpage/v1/x")["headers"]["x-backend"], "v1")
        self.assertEqual(self.ask("delegate", "/productpage/v2")["headers"]["x-backend"], "v2")
        self.assertEqual(self.body(self.ask("delegate", "/reviews/1?echo=1"))["path"], "/inner/1?echo=1")
        self.assertEqual(self.status("delegate", "/none"), 404)

    def test_cors(self):
        ask = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
        got = self.ask("cors", method="OPTIONS", headers=ask)
        self.assertEqual((got["status"], got["headers"]["access-control-allow-origin"], got["headers"]["access-control-allow-methods"],
                          got["headers"]["access-control-max-age"]), (200, "https://example.com", "POST,GET", "86400"))
        got = self.ask("cors", headers={"Origin": "https://a.example.org"})
        self.assertEqual((got["headers"]["access-control-allow-origin"], got["headers"]["access-control-expose-headers"]), ("https://a.example.org", "x-backend"))
        self.assertNotIn("access-control-allow-origin", self.ask("cors", headers={"Origin": "https://evil.test"})["headers"])


if __name__ == "__main__":
    unittest.main()
