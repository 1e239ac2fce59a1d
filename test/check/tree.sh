#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The house rules that a machine can see: licence lines, direction of includes, unfinished merges, size of files and functions.
# Prints what breaks one.
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

# A file is one concern: past 600 lines it is split at a seam, 50 more are for what is on its way.
while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 650 ] || complain "$file: $lines lines; 650 is the limit"
done < <(sources '*.c' '*.h' '*.py' '*.sh')

# A function fits a screen, or two: 80 lines between its braces.
found=$(sources 'agent/*.[ch]' 'xds/*.[ch]' 'bpf/*.[ch]' | xargs -r awk '
	FNR == 1 { open = 0 }
	/^{/ { open = FNR }
	/^}/ { if (open && FNR - open > 81) print FILENAME ":" open ": " FNR - open - 1 " lines"; open = 0 }')
[ -z "$found" ] || complain "functions of more than 80 lines:
$found"
[ $bad = 0 ] && echo "tree: licence lines, includes and sizes are in order"
exit $bad
