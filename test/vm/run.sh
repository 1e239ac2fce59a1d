#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Boots Debian's kernels in QEMU (software emulation) and runs guest.sh there with weft-agent:
#   run.sh AGENT WORK [SERIES...]      SERIES: 6.1 6.12 (both when none is named)
# AGENT: the weft-agent binary of a build; its weft-verify reports how many instructions the kernel's verifier walked.
# WORK: a folder for kernels (kept) and images.
# Exit 0: every kernel passed; 77: something that is needed is missing (said); 1: a kernel failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
agent=$(realpath "$1")
verify=$(dirname "$agent")/agent/kernel/weft-verify
work=$2
shift 2
series=("$@")
[ -x "$verify" ] || { echo "run.sh: $verify is not built" >&2; exit 2; }
[ ${#series[@]} -gt 0 ] || series=(6.1 6.12)
mkdir -p "$work"
work=$(cd "$work" && pwd)

skip() {
	echo "SKIP vm: $1"
	exit 77
}

for tool in qemu-system-x86_64 busybox cpio ip dpkg-deb apt-get; do
	command -v "$tool" >/dev/null || skip "$tool is not installed"
done


# The newest cloud kernel of a series that the package lists know; unpacked once.
kernel_get() {
	local name=$1 pattern package
	case $name in
	6.1) pattern='^linux-image-6\.1\.0-[0-9]+-cloud-amd64(-unsigned)?$' ;;
	6.12) pattern='^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64(-unsigned)?$' ;;
	*) echo "unknown series $name" >&2 && return 2 ;;
	esac
	if ! ls "$work/$name"/boot/vmlinuz-* >/dev/null 2>&1; then
		package=$(apt-cache pkgnames linux-image-6 | grep -E "$pattern" | sort -V | tail -1)
		[ -n "$package" ] || return 1
		mkdir -p "$work/$name"
		(cd "$work/$name" && apt-get download -qq "$package" 2>/dev/null) || return 1
		dpkg-deb -x "$work/$name"/linux-image-*.deb "$work/$name"
		rm -f "$work/$name"/linux-image-*.deb
	fi
	ls "$work/$name"/boot/vmlinuz-*
}

# A binary with the libraries it is linked to.
copy_binary() {
	local root=$1 file=$2 lib
	install -D "$file" "$root/bin/$(basename "$file")"
	ldd "$file" | awk '$3 ~ /^\// {print $3} $1 ~ /^\// {print $1}' | while read -r lib; do
		[ -e "$root$lib" ] || install -D "$lib" "$root$lib"
	done
}

root_make() {
	local root=$work/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,cg,run,etc,www}
	install "$(command -v busybox)" "$root/bin/busybox"
	copy_binary "$root" "$agent"
	copy_binary "$root" "$verify"
	copy_binary "$root" "$(command -v ip)"
	mv "$root/bin/ip" "$root/bin/netcfg" # busybox has an ip of its own, without netns; "ip*" names are commands to it
	install "$here/guest.sh" "$root/bin/guest.sh"
	install -m 644 "$here/guest.yaml" "$root/etc/weft.yaml"
	echo hello >"$root/www/index.html"
	cat >"$root/init" <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		mount -t bpf bpf /sys/fs/bpf
		mount -t cgroup2 cgroup2 /cg
		mount -t tmpfs run /run
		echo "VM kernel $(uname -r)"
		sh /bin/guest.sh && echo VM-PASSED || echo VM-FAILED
		poweroff -f
	INIT
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"
}

boot() {
	timeout "${WEFT_VM_TIMEOUT:-240}" qemu-system-x86_64 -accel tcg -cpu max -m 2048 -smp 2 \
		-nographic -no-reboot -nic none -kernel "$1" -initrd "$work/initrd.gz" \
		-append "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off" </dev/null | tr -d '\r'
}

root_make
result=0
ran=0
for name in "${series[@]}"; do
	if ! kernel=$(kernel_get "$name"); then
		echo "SKIP vm $name: no kernel package of this series can be had"
		continue
	fi
	ran=$((ran + 1))
	echo "== $name: $(basename "$kernel")"
	boot "$kernel" | tee "$work/$name.log" | sed 's/^/   /'
	grep -q '^VM-PASSED' "$work/$name.log" || result=1
done
[ "$ran" -gt 0 ] || exit 77
exit $result
