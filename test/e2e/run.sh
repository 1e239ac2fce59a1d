#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# End-to-end tests: run.sh [test_file[.Class[.test]]...], all when none is named. WEFT_AGENT: the binary, else build/release.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() {
	echo "SKIP e2e: $1"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "needs root"
grep -q ' cgroup2 ' /proc/mounts || skip "no cgroup v2 hierarchy is mounted"
# With grpcio where it can be had: test_xds is skipped without.
python=$("$here/../python.sh" yaml grpc 2>/dev/null || "$here/../python.sh" yaml) || exit 77
cd "$here"
[ $# -gt 0 ] || set -- $(basename -s .py test_*.py)
# Istio's control plane, for those that need it; they skip themselves beside others when it cannot be had.
case $* in
test_istio*) ISTIOD_LOCAL=$(../interop/istiod.sh) || exit $? ;;
*test_istio*) ISTIOD_LOCAL=$(../interop/istiod.sh) || ISTIOD_LOCAL= ;;
*) ISTIOD_LOCAL= ;;
esac
case $* in
test_control_plane) CONTROL_PLANE=$(../interop/go_build.sh control-plane control-plane) || exit $? ;;
*test_control_plane*) CONTROL_PLANE=$(../interop/go_build.sh control-plane control-plane) || CONTROL_PLANE= ;;
*) CONTROL_PLANE= ;;
esac
case $* in
test_rate_service)
	command -v redis-server >/dev/null || skip "no redis-server (deploy/deps.sh --tests)"
	RATELIMIT=$(../interop/go_build.sh ratelimit-local ratelimit) || exit $?
	;;
*test_rate_service*) RATELIMIT=$(../interop/go_build.sh ratelimit-local ratelimit) || RATELIMIT= ;;
*) RATELIMIT= ;;
esac
export ISTIOD_LOCAL CONTROL_PLANE RATELIMIT
PYTHONDONTWRITEBYTECODE=1 exec "$python" -m unittest -v "$@"
