# SPDX-License-Identifier: Apache-2.0
"""`check`: exit 0, or 1 with lines resource: field: reason."""

import os
import tempfile
import unittest

from agent import DATA, GOOD, run, run_json


class Check(unittest.TestCase):
    def refused(self, name):
        path = os.path.join(DATA, name)
        status, out, _ = run("check", path)
        self.assertEqual(status, 1, out)
        lines = out.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertEqual(len(line.split(": ", 2)), 3, line)
        status, answer = run_json("check", path)
        self.assertEqual(status, 1)
        self.assertEqual(answer["error"]["code"], "failed")
        self.assertEqual(len(answer["error"]["causes"]), len(lines))
        return answer["error"]["causes"]

    def test_good(self):
        status, out, err = run("check", GOOD)
        self.assertEqual((status, err), (0, ""), out)
        status, answer = run_json("check", GOOD)
        self.assertEqual(status, 0)
        self.assertTrue(answer["accepted"])
        self.assertEqual(answer["resources"]["listeners"], 3)
        self.assertEqual(answer["resources"]["clusters"], 3)
        self.assertEqual(sorted(answer["fields"]), ["agent", "kernel", "without_effect"])

    def test_fields(self):
        """What of a configuration is applied where, as a line, by message, and as JSON."""
        text = """{resources: [
          {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a, connect_timeout: 1s, alt_stat_name: x},
          {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: b, connect_timeout: 2s}]}"""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(text)
            f.flush()
            status, answer = run_json("check", f.name)
            self.assertEqual(status, 0, answer)
            cluster = "envoy.config.cluster.v3.Cluster"
            self.assertEqual(answer["fields"], {"kernel": {cluster: {"name": 2}}, "agent": {cluster: {"connect_timeout": 2}},
                                                "without_effect": {cluster: {"alt_stat_name": 1}}})
            self.assertEqual([(n["resource"], n["field"]) for n in answer["not_applied"]], [("Cluster/a", "alt_stat_name")])
            out = run("check", f.name)[1]
            self.assertIn("fields: kernel 2 agent 2 without_effect 1\n", out)
            self.assertNotIn("connect_timeout", out)
            self.assertIn(f"agent: {cluster}: connect_timeout 2\n", run("check", "--fields", f.name)[1])

    def test_unknown_condition(self):
        cause = self.refused("bad_match.yaml")[0]
        self.assertIn("no_such_condition", cause["field"] + cause["reason"])

    def test_bad_value(self):
        cause = self.refused("bad_value.yaml")[0]
        self.assertIn("connect_timeout", cause["field"])

    def test_syntax(self):
        self.assertIn("bad_syntax.yaml", self.refused("bad_syntax.yaml")[0]["resource"])

    def test_duplicate(self):
        causes = self.refused("duplicate.yaml")
        self.assertTrue(any("c" in cause["resource"] for cause in causes))

    def test_unreadable(self):
        status, out, _ = run("check", "/tmp/weft-no-such.yaml")
        self.assertEqual(status, 1)
        self.assertIn("No such file", out)

    def test_image_full(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write("resources:\n")
            for i in range(6000):
                f.write('- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, '
                        f'name: cluster-{i}-{"x" * 120}, type: STATIC}}\n')
            f.flush()
            status, answer = run_json("check", "--image-size", "1M", f.name)
            self.assertEqual(status, 1, answer)
            self.assertEqual(run("check", f.name)[0], 0)


if __name__ == "__main__":
    unittest.main()
