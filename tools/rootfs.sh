#!/bin/bash
# Makes the Debian bookworm root file system that the program tests run in, with debootstrap, and prints its path.
#
# usage: tools/rootfs.sh [NAME PACKAGES]            (needs root)
#
# Kept under build/NAME (default: rootfs), with PACKAGES (a,b,c) beside the usual ones; the mirror is the one this
# machine's apt uses. A root that was not finished is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD/build/${1:-rootfs}
suite=bookworm
packages=python3,perl,git,gcc,libc6-dev,make,sqlite3,procps,iproute2,xz-utils,file,bzip2,bsdextrautils,less,patch${2:+,$2}

if [ -e "$root/.complete" ]; then
  echo "$root"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "tools/rootfs.sh: debootstrap needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "tools/rootfs.sh: run tools/deps.sh --dev first" >&2; exit 1; }

mirror=$(apt-get indextargets --format '$(CODENAME) $(SITE) $(REPO_URI)' 'Created-By: Packages' |
  awk -v suite=$suite '$1 == suite { print $3; exit }')
[ -n "$mirror" ] || { echo "tools/rootfs.sh: apt's sources name no mirror for $suite" >&2; exit 1; }

rm -rf "$root"
mkdir -p "$root" build/debs
debootstrap --variant=minbase --cache-dir="$PWD/build/debs" --include="$packages" "$suite" "$root" "$mirror" >"$root.log" 2>&1 ||
  { tail -20 "$root.log" >&2; exit 1; }
# What a first start would do, so that both sides of a comparison find the same files.
rm -f "$root"/etc/resolv.conf "$root"/var/cache/apt/archives/*.deb
echo sandbox >"$root/etc/hostname"
printf '127.0.0.1 localhost sandbox\n::1 localhost\n' >"$root/etc/hosts"
touch "$root/.complete"
echo "$root"
