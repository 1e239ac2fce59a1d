#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Benchmarks: run.sh [--json FILE] [--quick] [--envoy PATH] [--only SIDE,...]. Needs root. WEFT_AGENT: the binary, else build/release.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../python.sh" yaml) || exit 77
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/bench.py" "$@"
