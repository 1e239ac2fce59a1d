#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent against go-control-plane's servers. Usage: test_control_plane.sh AGENT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
CONTROL_PLANE=$("$here/go_build.sh" control-plane control-plane)
cd "$here"
WEFT_AGENT=$1 CONTROL_PLANE=$CONTROL_PLANE PYTHONDONTWRITEBYTECODE=1 exec python3 -m unittest -v test_control_plane
