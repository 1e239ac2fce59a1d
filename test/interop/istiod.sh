#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of istiod-local, built when its sources are newer: minutes the first time, with a Go toolchain and the modules of go.sum.
# Exit 77 with a SKIP line where it cannot be had. One build at a time, kept in build/istiod.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build/istiod
server=$build/istiod-local

skip() {
	echo "SKIP: $1" >&2
	exit 77
}

current() {
	[ -x "$server" ] || return 1
	for source in main.go go.mod go.sum; do
		[ ! "$here/istiod-local/$source" -nt "$server" ] || return 1
	done
}

mkdir -p "$build"
exec 9>"$build/lock"
flock 9
if ! current; then
	command -v go >/dev/null || skip "no Go toolchain, needed to build istiod-local"
	if ! go -C "$here/istiod-local" list -deps . >/dev/null 2>"$build/modules.log"; then
		tail -n 3 "$build/modules.log" >&2
		skip "the Go modules of istiod-local are not available"
	fi
	# Into another name first: an interrupted build must not look like a finished one.
	go -C "$here/istiod-local" build -p 2 -tags=vtprotobuf -ldflags="-s -w" -o "$server.new" . >&2
	mv "$server.new" "$server"
fi
cd "$build"
echo "$(pwd)/istiod-local"
