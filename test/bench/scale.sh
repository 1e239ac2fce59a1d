#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Large mesh, many views: scale.sh [--quick] [--envoy PATH]. Needs root. WEFT_AGENT: the binary, else build/release.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() {
	echo "SKIP bench_scale: $1"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "needs root"
grep -q ' cgroup2 ' /proc/mounts || skip "no cgroup v2 hierarchy is mounted"
python=$("$here/../python.sh" grpc) || exit 77
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/scale.py" "$@"
