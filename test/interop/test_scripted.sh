#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The client over real gRPC against a scripted server, alone and in the agent. Usage: test_scripted.sh ADS_CLIENT AGENT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for python in python3 /usr/bin/python3; do
	if "$python" -c 'import grpc' 2>/dev/null; then
		cd "$here"
		ADS_CLIENT=$1 WEFT_AGENT=$2 PYTHONDONTWRITEBYTECODE=1 exec "$python" -m unittest -v test_scripted_ads test_scripted_sotw test_scripted_separate test_scripted_auth test_agent test_status test_csds
	fi
done
echo "SKIP: no python3 with grpcio (Debian: python3-grpcio)"
exit 77
