#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job as a user sees it: deploy/demo.py, all of its expectations. WEFT_AGENT: the binary.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() {
	echo "SKIP demo: $1"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "needs root"
grep -q ' cgroup2 ' /proc/mounts || skip "no cgroup v2 hierarchy is mounted"
for tool in wrk nginx curl; do
	command -v $tool >/dev/null || skip "$tool is not installed (deploy/deps.sh --tests)"
done
python=$("$here/../python.sh" yaml) || exit 77
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/../../deploy/demo.py"
