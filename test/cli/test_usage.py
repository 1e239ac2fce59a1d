# SPDX-License-Identifier: Apache-2.0
"""Exit status and errors, in words and as JSON."""

import unittest

from agent import GOOD, run, run_json

COMMANDS = ["run", "pod add", "pod remove", "pod list", "check", "explain", "dump", "probe",
            "version"]


class Usage(unittest.TestCase):
    def test_help(self):
        status, out, _ = run("--help")
        self.assertEqual(status, 0)
        for command in COMMANDS:
            self.assertIn(command, out)

    def test_help_of_each_command(self):
        for command in COMMANDS:
            status, out, _ = run(*command.split(), "--help")
            self.assertEqual(status, 0, command)
            self.assertIn(f"usage: weft-agent {command}", out)
            self.assertIn("--json", out)

    def test_nothing(self):
        self.assertEqual(run()[0], 2)

    def test_usage_errors(self):
        for args in (["fly"], ["pod"], ["pod", "fly"], ["check"], ["check", "a", "b"],
                     ["check", "a", "--fly"], ["run"], ["run", "--config", "a", "--workers", "many"],
                     ["run", "--config", "a", "--image-size", "3M"],
                     ["run", "--config", "a", "--log-level", "loud"],
                     ["explain"], ["explain", "--config", "a", "--pod", "b"],
                     ["explain", "--config", GOOD, "--source", "here"],
                     ["pod", "add", "--name", "x"],
                     ["pod", "add", "--name", "x", "--netns", "/a", "--pid", "1"],
                     ["pod", "add", "--name", "x", "--netns", "/a", "--label", "novalue"],
                     ["dump", "everything"]):
            status, out, err = run(*args)
            self.assertEqual(status, 2, args)
            self.assertEqual(out, "", args)
            self.assertEqual(len(err.splitlines()), 1, err)
            status, answer = run_json(*args)
            self.assertEqual(status, 2, args)
            self.assertEqual(answer["error"]["code"], "usage", args)
            self.assertTrue(answer["error"]["message"])

    def test_no_daemon(self):
        for args in (["pod", "list"], ["dump"], ["dump", "stats"],
                     ["pod", "remove", "--name", "x"],
                     ["pod", "add", "--name", "x", "--netns", "/proc/self/ns/net"],
                     ["explain", "--pod", "x"]):
            args = [*args, "--admin", "/tmp/weft-no-such.sock"]
            status, _, err = run(*args)
            self.assertEqual(status, 3, args)
            self.assertEqual(len(err.splitlines()), 1, err)
            status, answer = run_json(*args)
            self.assertEqual(status, 3, args)
            self.assertEqual(answer["error"]["code"], "unreachable")

    def test_version(self):
        status, answer = run_json("version")
        self.assertEqual(status, 0)
        self.assertEqual(run("--version")[1], f"weft-agent {answer['version']}\n")

    def test_no_such_namespace(self):
        status, answer = run_json("pod", "add", "--name", "x", "--netns", "/tmp/weft-no-netns")
        self.assertEqual(status, 1)
        self.assertIn("No such file", answer["error"]["message"])


if __name__ == "__main__":
    unittest.main()
