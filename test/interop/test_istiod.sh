#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The client against Istio's own xDS server, from files. Usage: test_istiod.sh ADS_CLIENT BUILD_FOLDER
# The server is built on the first run (minutes, a Go toolchain, its modules) and kept in BUILD_FOLDER.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
client=$1
build=$2
server=$build/istiod-local

skip() {
	echo "SKIP: $1"
	exit 77
}

build_server() {
	command -v go >/dev/null || skip "no Go toolchain, needed to build istiod-local"
	if ! go -C "$here/istiod-local" list -deps . >/dev/null 2>"$build/modules.log"; then
		tail -n 3 "$build/modules.log"
		skip "the Go modules of istiod-local are not available"
	fi
	# Into another name first: an interrupted build must not look like a finished one.
	go -C "$here/istiod-local" build -p 2 -tags=vtprotobuf -ldflags="-s -w" -o "$server.new" .
	mv "$server.new" "$server"
}

mkdir -p "$build"
for source in main.go go.mod go.sum; do
	if [ ! -x "$server" ] || [ "$here/istiod-local/$source" -nt "$server" ]; then
		build_server
		break
	fi
done
cd "$here"
ADS_CLIENT=$client ISTIOD_LOCAL=$server PYTHONDONTWRITEBYTECODE=1 exec python3 -m unittest -v test_istiod
