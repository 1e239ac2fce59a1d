#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The client against Istio's own xDS server, from files. Usage: test_istiod.sh ADS_CLIENT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ISTIOD_LOCAL=$("$here/istiod.sh")
cd "$here"
ADS_CLIENT=$1 ISTIOD_LOCAL=$ISTIOD_LOCAL PYTHONDONTWRITEBYTECODE=1 exec python3 -m unittest -v test_istiod
