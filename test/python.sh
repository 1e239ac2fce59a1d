#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints a python3 that has the modules named; exit 1 with a SKIP line when there is none.
for python in python3 /usr/bin/python3; do
	if "$python" -c "$(printf 'import %s\n' "$@")" 2>/dev/null; then
		command -v "$python"
		exit 0
	fi
done
echo "SKIP: no python3 with $* (deploy/deps.sh --tests)" >&2
exit 1
