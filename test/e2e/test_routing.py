# SPDX-License-Identifier: Apache-2.0
"""Where requests go, who answers them, and that explain and the counters say the same."""
import math
import unittest

import resources as r
from mesh import BACKEND_PORT, VIP, VIP6, Mesh


class Routing(Mesh):
    @classmethod
    def resources(cls):
        hosts = [
            r.host("shop", ["shop.test"],
                   r.route("/", "v2", r.with_header("x-version", "2")),
                   r.answer("/teapot", 418, "short and stout\n"),
                   {"match": {"path": "/old"}, "redirect": {"path_redirect": "/new", "response_code": "FOUND"}},
                   r.route("/empty", "empty"), r.route("/nowhere", "nowhere"),
                   r.route("/v1", "v1"), r.route("/six", "v1-six"),
                   r.route("/", {"v1": 90, "v2": 10})),
        ]
        return r.bootstrap(
            [r.http("main", VIP, 80, hosts), r.http("six", VIP6, 80, hosts), r.tcp("tcp", VIP, 81, "v2"), r.tcp("tcp-six", VIP6, 81, "v2-six"),
             r.tcp("black", VIP, 82, "empty")],
            [r.cluster("v1", cls.endpoint("v1")), r.cluster("v2", cls.endpoint("v2")), r.cluster("v1-six", cls.endpoint("v1", True)),
             r.cluster("v2-six", cls.endpoint("v2", True)), r.cluster("empty")])

    def test_split_by_weight(self):
        n = 2000
        got = self.job("load", connections=8, requests=n // 8)
        self.assertEqual(got["errors"], {})
        self.assertEqual(got["requests"], n)
        self.assertEqual(set(got["counts"]), {"200 v1", "200 v2"})
        slack = 5 * math.sqrt(n * 0.9 * 0.1)
        self.assertAlmostEqual(got["counts"]["200 v1"], 0.9 * n, delta=slack)

    def test_header_route(self):
        got = self.job("load", connections=4, requests=100, headers={"X-Version": "2"})
        self.assertEqual((got["counts"], got["errors"]), ({"200 v2": 400}, {}))

    def test_kernel_answers_what_needs_no_endpoint(self):
        before = self.counters()["outcomes"]
        got = self.job("load", path="/teapot", requests=50)
        self.assertEqual((got["counts"], got["errors"]), ({"418 -": 50}, {}))
        grown = self.outcomes(before)
        self.assertEqual(grown["kernel"].get("direct_response"), 50, grown)
        self.assertEqual(grown["agent"], {}, grown)

    def test_split_head_is_the_agents_and_answered_the_same(self):
        before = self.outcomes()
        whole, cut = self.get("/teapot"), self.get("/teapot", split=True)
        for answer in (whole, cut):
            answer["headers"].pop("date")
        self.assertEqual(whole, cut | {"peer_port": whole["peer_port"]})
        grown = self.outcomes(before)
        self.assertEqual([grown["kernel"].get("direct_response"), grown["agent"].get("direct_response")], [1, 1], grown)

    def test_every_request_is_counted_once(self):
        before = self.outcomes()
        for split in (False, True):
            self.job("load", path="/v1", connections=4, requests=25, split=split)
        grown = self.outcomes(before)
        self.assertEqual(sum(grown["kernel"].values()) + sum(grown["agent"].values()), 200, grown)

    def test_redirect(self):
        got = self.get("/old")
        self.assertEqual((got["status"], got["headers"]["location"]), (302, "http://shop.test/new"))

    def test_local_replies(self):
        self.assertEqual(self.get("/", host="nobody.test")["status"], 404)
        got = self.get("/empty")
        self.assertEqual((got["status"], got["body"]), (503, "no healthy upstream"))
        self.assertEqual(self.get("/nowhere")["status"], 503)

    def test_ipv6(self):
        got = self.get("/six", address=VIP6)
        self.assertEqual((got["status"], got["headers"]["x-backend"]), (200, "v1"))
        self.assertEqual((got["peer"], got["peer_port"]), (VIP6, 80))

    def test_ipv4_mapped(self):
        got = self.get("/v1", mapped=True)
        self.assertEqual((got.get("status"), got.get("peer")), (200, "::ffff:" + VIP), got)
        self.assertEqual(self.get("/teapot", mapped=True).get("status"), 418)

    def test_the_app_sees_the_address_it_asked_for(self):
        got = self.get("/v1")
        self.assertEqual((got["peer"], got["peer_port"]), (VIP, 80))

    def test_l4(self):
        for address in (VIP, VIP6):
            got = self.get("/x", address=address, port=81)
            self.assertEqual((got["status"], got["headers"]["x-backend"]), (200, "v2"))

    def test_l4_without_endpoint_is_refused(self):
        self.assertEqual(self.get(port=82)["error"], "ConnectionRefusedError")
        self.assertGreater(self.outcomes()["kernel"].get("refused_no_endpoint", 0), 0)

    def test_unmanaged_traffic_is_untouched(self):
        address, _ = self.endpoint("v1")
        got = self.get("/direct", address=address, port=BACKEND_PORT)
        self.assertEqual((got["status"], got["peer"]), (200, address))
        self.assertNotIn("server", got["headers"])

    def test_explain_says_what_happens(self):
        for path, status in (("/teapot", 418), ("/old", 302), ("/empty", 503)):
            said = self.agent.explain("--pod", "client", "--listener", "main", "--host", "shop.test", "--path", path)
            self.assertEqual(said["status"], status, said)
            self.assertEqual(self.get(path)["status"], status)
        said = self.agent.explain("--pod", "client", "--listener", f"{VIP}:80", "--host", "shop.test", "--header", "x-version: 2")
        self.assertEqual((said["action"], said["cluster"]), ("forward", "v2"))

    def test_dump_agrees_with_the_kernel(self):
        for what in ("listeners", "routes", "clusters", "endpoints"):
            self.assertTrue(self.agent.call("dump", what)["agree"], what)


if __name__ == "__main__":
    unittest.main()
