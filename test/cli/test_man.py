# SPDX-License-Identifier: Apache-2.0
"""The man page and README name the options that there are, and no others."""
import os
import re
import unittest

from agent import ROOT, run

COMMANDS = ("run", "pod add", "pod remove", "pod list", "check", "explain", "dump", "probe")
OPTION = r"(?<![\w-])--[a-z][a-z0-9-]*"
# Of other programs, in README.
OTHERS = {"--preset", "--build"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def helped(command):
    """Options that the command's help lists."""
    out = run(*command.split(), "--help")[1]
    return set(re.findall(r"^  (--[a-z0-9-]+)", out, re.M))


def manual():
    """{command: the text of its section}; "": what stands before them all. Options without the page's escapes."""
    parts = re.split(r'^\.SS "([^"]*)"$', read("deploy", "weft-agent.8").replace("\\-", "-"), flags=re.M)
    sections = {"": parts[0]}
    for name, text in zip(parts[1::2], parts[2::2]):
        sections[re.sub(r" [\[A-Z].*", "", name)] = re.split(r"^\.SH ", text, flags=re.M)[0]
    return sections


class Man(unittest.TestCase):
    def test_every_option_of_help_stands_in_its_section(self):
        sections = manual()
        for command in COMMANDS:
            known = set(re.findall(OPTION, sections[""] + sections[command]))
            self.assertEqual(helped(command) - known, set(), command)

    def test_every_option_that_is_described_is_there(self):
        sections = manual()
        for command in COMMANDS:
            described = set(re.findall(r"^\.TP\n\.BI? (--[a-z0-9-]+)", sections[command], re.M))
            self.assertEqual(described - helped(command), set(), command)

    def test_texts_name_options_that_are_there(self):
        every = set().union(*(helped(c) for c in COMMANDS))
        self.assertEqual(set(re.findall(OPTION, "\n".join(manual().values()))) - every, set())
        self.assertEqual(set(re.findall(OPTION, read("README.md"))) - every - OTHERS, set())

    def test_every_option_of_the_daemon_is_described(self):
        described = set(re.findall(r"^\.TP\n\.BI? (--[a-z0-9-]+)", manual()["run"], re.M))
        self.assertEqual(helped("run") - described, {"--json", "--help"})


if __name__ == "__main__":
    unittest.main()
