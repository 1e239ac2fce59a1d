#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every test: sudo test/run.sh [--label LABEL]... [--no-deps]
#   --label L    only these: check unit golden fuzz sanitize socket e2e interop oracle vm
#   --no-deps    do not install packages
# Ends with one table; exit 0 only if nothing failed. What could not run is shown as skipped, with its reason in the log.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
labels=()
deps=1
while [ $# -gt 0 ]; do
	case $1 in
	--no-deps) deps= ;;
	--label)
		[ $# -gt 1 ] || exit 2
		labels+=("$2")
		shift
		;;
	*)
		sed -n '3,6s/^# \{0,1\}//p' "$0"
		exit 2
		;;
	esac
	shift
done
logs=$top/build/logs
rm -rf "$logs"
mkdir -p "$logs"
summary=()
failed=0

finish() {
	echo
	printf '%s\n' "${summary[@]}"
	echo
	# ctest's own closing lines
	grep -hE '^[0-9]+% tests passed' "$logs"/*.log
	[ $failed = 0 ] && echo "all passed" || echo "FAILED; logs are in $logs"
	exit $failed
}

wanted() {
	[ ${#labels[@]} -eq 0 ] || printf '%s\n' "${labels[@]}" | grep -qx "$1"
}

# The last lines of each test that failed, which in ctest's output stand where it ended.
said_by_failed() {
	awk '/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / { flush(); failed = /\*\*\*/ && !/\*\*\*Skipped/; n = 0 }
		/^ +Start +[0-9]+: / { next }
		/^[0-9]+% tests passed/ { flush(); failed = 0 }
		failed { line[n++ % 40] = $0 }
		function flush(  i) { if (failed) for (i = n > 40 ? n - 40 : 0; i < n; i++) print line[i % 40] }' "$1"
}

# step NAME COMMAND...: runs it, keeps its output, notes time and result. 77 is a skip.
step() {
	local name=$1 began=$SECONDS status=0 word=ok
	shift
	echo "== $name"
	"$@" >"$logs/$name.log" 2>&1 || status=$?
	if [ $status = 77 ]; then
		word=skipped
		grep -h SKIP "$logs/$name.log"
	elif [ $status != 0 ]; then
		word=FAILED
		failed=1
		tail -n 60 "$logs/$name.log"
		said_by_failed "$logs/$name.log"
	fi
	summary+=("$(printf '%-24s %-8s %5d s' "$name" $word $((SECONDS - began)))")
	[ $status = 0 ] || [ $status = 77 ]
}

build() {
	cmake --preset "$1" "${@:2}" && cmake --build "build/$1"
}

# tests BUILD NAME CTEST-ARGUMENTS...: the tests of a build, with ctest's own list in the log.
tests() {
	local dir=$1 name=$2
	shift 2
	step "$name" ctest --test-dir "build/$dir" --output-on-failure --no-tests=error "$@"
	grep -hE '\*\*\*Skipped|\(Skipped\)|SKIP' "$logs/$name.log" | sort -u | sed 's/^/   /'
}

clang_build() {
	cmake -S . -B build/clang -G Ninja -DCMAKE_C_COMPILER=clang-16 -DCMAKE_BUILD_TYPE=Release && cmake --build build/clang
}

[ -z "$deps" ] || step deps deploy/deps.sh --tests || finish
! wanted check || step check test/check/tree.sh
step build-release build release || finish
if wanted check; then
	step build-clang clang_build
fi
! wanted unit || tests release unit -L '^unit$' -j 2
! wanted golden || tests release golden -L '^golden$' -j 2
! wanted socket || tests release socket -L '^socket$'
! wanted oracle || tests release oracle -L '^oracle$' -j 5
! wanted e2e || tests release e2e -L '^e2e$' -j 2
! wanted interop || tests release interop -L '^interop$'
! wanted vm || tests release vm -L '^vm$'
if wanted sanitize; then
	if step build-asan build asan; then
		tests asan asan-unit -L '^(unit|golden|fuzz)$' -j 2
	fi
	if step build-tsan build tsan; then
		tests tsan tsan-unit -L '^unit$' -R 'proxy|store|cell|compile' -j 2
	fi
fi
if wanted fuzz && step build-fuzz build fuzz; then
	tests fuzz fuzz -L '^fuzz$' -j 2
fi
finish
