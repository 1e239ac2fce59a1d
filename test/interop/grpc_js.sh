#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the folder with the packages of grpc-js/package-lock.json, installed into build/grpc-js when that is newer. Exit 77 with a SKIP line
# where they cannot be had. One installation at a time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build/grpc-js

skip() {
	echo "SKIP: $1" >&2
	exit 77
}

command -v node >/dev/null || skip "no node, needed for grpc-js"
mkdir -p "$build"
exec 9>"$build/lock"
flock 9
if [ ! -e "$build/done" ] || [ "$here/grpc-js/package-lock.json" -nt "$build/done" ]; then
	command -v npm >/dev/null || skip "no npm, needed to install grpc-js"
	cp "$here/grpc-js/package.json" "$here/grpc-js/package-lock.json" "$build"
	if ! npm --prefix "$build" ci --ignore-scripts --no-audit --no-fund >"$build/npm.log" 2>&1; then
		tail -n 3 "$build/npm.log" >&2
		skip "the packages of grpc-js are not available"
	fi
	touch "$build/done"
fi
cd "$build/node_modules"
pwd
