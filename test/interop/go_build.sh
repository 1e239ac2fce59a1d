#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Go program of this folder, built into build/FOLDER when its sources are newer; it needs a Go toolchain and the modules of
# its go.sum. Exit 77 with a SKIP line where it cannot be had. One build at a time. Usage: go_build.sh PROGRAM FOLDER [BUILD-OPTION...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1
sources=$here/$program
build=$here/../../build/$2
shift 2

skip() {
	echo "SKIP: $1" >&2
	exit 77
}

current() {
	[ -x "$build/$program" ] || return 1
	for source in main.go go.mod go.sum; do
		[ ! "$sources/$source" -nt "$build/$program" ] || return 1
	done
}

mkdir -p "$build"
exec 9>"$build/lock"
flock 9
if ! current; then
	command -v go >/dev/null || skip "no Go toolchain, needed to build $program"
	if ! go -C "$sources" list -deps . >/dev/null 2>"$build/modules.log"; then
		tail -n 3 "$build/modules.log" >&2
		skip "the Go modules of $program are not available"
	fi
	# Into another name first: an interrupted build must not look like a finished one.
	go -C "$sources" build -p 2 "$@" -ldflags="-s -w" -o "$build/$program.new" . >&2
	mv "$build/$program.new" "$build/$program"
fi
cd "$build"
echo "$(pwd)/$program"
