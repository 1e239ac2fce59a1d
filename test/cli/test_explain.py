# SPDX-License-Identifier: Apache-2.0
"""`explain --config`: what the engine decides, on data/good.yaml."""

import unittest

from agent import GOOD, run, run_json


def explain(*args, listener="main", host="shop.test"):
    words = ["explain", "--config", GOOD]
    if listener:
        words += ["--listener", listener]
    if host:
        words += ["--host", host]
    status, answer = run_json(*words, *args)
    assert status == 0, answer
    return answer


class Explain(unittest.TestCase):
    def test_forward(self):
        answer = explain("--path", "/api/x?q=1")
        self.assertEqual(answer["action"], "forward")
        self.assertEqual(answer["virtual_host"], "shop")
        self.assertEqual(answer["route"], {"index": 7, "name": "api"})
        self.assertEqual(answer["cluster"], "v1")
        self.assertEqual(answer["details"], "via_upstream")
        self.assertEqual(answer["timeout_ms"], 3000)
        self.assertTrue(answer["steps"])

    def test_listener_by_address(self):
        self.assertEqual(explain("--path", "/api", listener="10.96.0.10:80")["cluster"], "v1")

    def test_not_a_separated_prefix(self):
        answer = explain("--path", "/apix")
        self.assertEqual((answer["action"], answer["status"]), ("local_reply", 404))
        self.assertEqual(answer["details"], "route_not_found")
        self.assertEqual(answer["body"], "")

    def test_header(self):
        answer = explain("--path", "/", "--header", "X-Beta: 1")
        self.assertEqual((answer["route"]["name"], answer["cluster"]), ("beta", "v2"))

    def test_weighted(self):
        answer = explain("--path", "/split/x")
        self.assertEqual(answer["action"], "forward")
        self.assertEqual(answer["weighted_clusters"],
                         [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}])

    def test_redirect(self):
        answer = explain("--path", "/old?a=b")
        self.assertEqual((answer["action"], answer["status"]), ("redirect", 302))
        self.assertEqual(answer["location"], "http://shop.test/new?a=b")

    def test_direct_response(self):
        answer = explain("--path", "/tea")
        self.assertEqual((answer["action"], answer["status"]), ("direct_response", 418))
        self.assertEqual(answer["body"], "short and stout\n")
        self.assertEqual(answer["details"], "direct_response")
        self.assertIn(["content-type", "text/plain"], answer["headers"])

    def test_unknown_cluster(self):
        answer = explain("--path", "/gone")
        self.assertEqual((answer["action"], answer["status"]), ("local_reply", 503))
        self.assertEqual(answer["details"], "cluster_not_found")

    def test_no_endpoint(self):
        answer = explain("--path", "/empty")
        self.assertEqual((answer["action"], answer["status"]), ("local_reply", 503))
        self.assertEqual(answer["details"], "no_healthy_upstream")
        self.assertEqual(answer["body"], "no healthy upstream")

    def test_limit_is_not_used_up(self):
        for _ in range(5):
            self.assertEqual(explain("--path", "/limited")["action"], "forward")

    def test_wildcard_host(self):
        self.assertEqual(explain("--path", "/api", host="a.shop.test")["virtual_host"], "shop")

    def test_other_host(self):
        answer = explain("--path", "/api", host="other.test")
        self.assertEqual((answer["action"], answer["status"]), ("local_reply", 404))
        self.assertNotIn("virtual_host", answer)

    def test_normalised_path(self):
        self.assertEqual(explain("--path", "/x/../api")["route"]["name"], "api")

    def test_fragment(self):
        answer = explain("--path", "/a#b")
        self.assertEqual((answer["action"], answer["status"]), ("local_reply", 400))
        self.assertEqual(answer["details"], "path_normalization_failed")

    def test_method(self):
        self.assertEqual(explain("--path", "/api", "--method", "FLY")["status"], 400)

    def test_tcp(self):
        answer = explain(listener="tcp", host=None)
        self.assertEqual((answer["action"], answer["cluster"]), ("tcp", "v1"))

    def test_refused(self):
        answer = explain(listener="refusing", host=None)
        self.assertEqual(answer["action"], "refused")
        self.assertEqual(answer["details"], "refused_no_endpoint")

    def test_passthrough(self):
        answer = explain(listener="192.0.2.1:99", host=None)
        self.assertEqual(answer["action"], "passthrough")

    def test_wrong_questions(self):
        for args in (["--listener", "none"], [], ["--listener", "main", "--header", "no colon"],
                     ["--listener", "main", "--path", "/a b"],
                     ["--listener", "main", "--method", "G T"],
                     ["--listener", "main", "--host", "a\r\nx: y"]):
            status, answer = run_json("explain", "--config", GOOD, *args)
            self.assertEqual(status, 1, args)
            self.assertIn("message", answer["error"])

    def test_plain(self):
        status, out, _ = run("explain", "--config", GOOD, "--listener", "main", "--host",
                             "shop.test", "--path", "/tea")
        self.assertEqual(status, 0)
        self.assertIn("action: direct_response\n", out)
        self.assertIn("status: 418\n", out)
        self.assertIn("steps:\n", out)


if __name__ == "__main__":
    unittest.main()
