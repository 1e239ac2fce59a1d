#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Shows weft at work: installs what is needed, builds, makes three pods as network namespaces, sends real traffic.
#   sudo deploy/demo.sh            under 3 minutes on a built tree; exit 0 only if every expectation held
#   sudo deploy/demo.sh --keep     the same, and then leaves everything running until Ctrl-C
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "${1:-}" in
"" | --keep) ;;
*)
	sed -n '3,5s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
if [ "$(id -u)" != 0 ]; then
	echo "demo: needs root (network namespaces and BPF): sudo $0" >&2
	exit 1
fi
"$here/deps.sh" --tests
cd "$here/.."
if [ -z "${WEFT_AGENT:-}" ]; then
	cmake --preset release >/dev/null
	cmake --build --preset release --target weft-agent
	WEFT_AGENT=$PWD/build/release/weft-agent
fi
export WEFT_AGENT PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$here/demo.py" "$@"
