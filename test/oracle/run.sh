#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft against Envoy's answers: run.sh [DIR | CASE...] [options of weft.py]. WEFT_AGENT: the binary, else build/release.
# Exit 0: no difference; 77: something that is needed is missing (said).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../python.sh" yaml) || exit 77
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/weft.py" "$@"
