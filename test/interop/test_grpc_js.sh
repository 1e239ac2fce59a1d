#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gRPC's xDS client for node against the scripted server.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../python.sh" grpc) || exit 77
NODE_PATH=$("$here/grpc_js.sh")
cd "$here"
NODE_PATH=$NODE_PATH PYTHONDONTWRITEBYTECODE=1 exec "$python" -m unittest -v test_grpc_js
