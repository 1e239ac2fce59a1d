#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The house rules that a machine can see: licence lines, direction of includes, unfinished merges, size of files. Prints what breaks one.
set -eu
cd "$(dirname "$0")/../.."
bad=0

complain() {
	echo "$1"
	bad=1
}

sources() {
	git ls-files -- "$@" 2>/dev/null | while read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

# Everything that is text of a program names its licence in the first three lines; what runs in the kernel carries the kernel's.
while read -r file; do
	case $file in
	bpf/* | *.bpf.c) want='GPL-2.0-only OR BSD-2-Clause' ;;
	*) want='Apache-2.0' ;;
	esac
	head -n 3 "$file" | grep -qE "SPDX-License-Identifier: $want( \*/)?$" || complain "$file: no line 'SPDX-License-Identifier: $want'"
done < <(sources '*.c' '*.h' '*.py' '*.sh' '*.go' '*.proto' '*CMakeLists.txt' '*.cmake' '.ci/run')

# folder: pattern of what its files may not include. proto <- xds <- agent; bpf/abi <- bpf/engine <- agent.
forbid() {
	local found
	found=$(sources "$1/*.c" "$1/*.h" | xargs -r grep -nE "^#[[:space:]]*include[[:space:]]+[<\"]($2)" || true)
	[ -z "$found" ] || complain "includes in the wrong direction:
$found"
}
forbid proto 'xds/|agent/|bpf/'
forbid xds 'agent/|bpf/'
forbid bpf 'agent/|xds/|envoy/|jansson'
forbid bpf/abi 'bpf/engine/|bpf/maps'

found=$(git grep -lE '^(<{7}|>{7}) ' || true)
[ -z "$found" ] || complain "a merge that is not finished: $found"

while read -r file; do
	bash -n "$file" || complain "$file: bash cannot read it"
done < <(sources '*.sh' '.ci/run')

while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 1000 ] || complain "$file: $lines lines; 1,000 is the limit"
done < <(sources '*.c' '*.h' '*.py' '*.sh')
[ $bad = 0 ] && echo "tree: licence lines, includes and sizes are in order"
exit $bad
