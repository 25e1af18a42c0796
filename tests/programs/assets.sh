#!/bin/bash
# Makes what cases need beside their script, once, under build/assets, and prints that folder.
#
# usage: tests/programs/assets.sh [zlib] [lua] [deb] [elf32]
set -euo pipefail
cd "$(dirname "$0")/../.."
assets=$PWD/build/assets
mkdir -p "$assets"

# $1: a package whose upstream sources become $assets/$2.
fetch_source() {
  local site apt=$assets/apt
  site=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "bookworm" { print $2; exit }')
  mkdir -p "$apt/lists/partial" "$apt/none" "$assets/$2.new"
  # Its own lists, so that the machine's apt is left as it is; deb-src is rarely enabled.
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site bookworm main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=$apt/none" -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
  apt-get -qq "${options[@]}" update >&2
  (cd "$assets/$2.new" && apt-get -qq "${options[@]}" source --download-only "$1" >&2)
  dpkg-source --no-check --skip-patches --extract "$assets/$2.new"/*.dsc "$assets/$2.new/src" >&2
  mv "$assets/$2.new/src" "$assets/$2"
  rm -rf "$assets/$2.new" "$apt"
}

# A real C project with a configure script, a makefile and tests of its own.
make_zlib() { fetch_source zlib zlib; }

# About 30 C files and one makefile: what the benchmarks compile.
make_lua() { fetch_source lua5.4 lua; }

# A small package with a maintainer script, a configuration file and a program.
make_deb() {
  local tree=$assets/deb.new/tree
  mkdir -p "$tree/DEBIAN" "$tree/usr/bin" "$tree/etc" "$tree/usr/share/doc/sandbox-hello"
  cat >"$tree/DEBIAN/control" <<'CONTROL'
Package: sandbox-hello
Version: 1.0
Architecture: all
Maintainer: runsc tests <nobody@example.org>
Description: a package for the program tests
CONTROL
  echo /etc/sandbox-hello.conf >"$tree/DEBIAN/conffiles"
  printf '#!/bin/sh\nset -e\n[ "$1" != configure ] || echo "configured $DPKG_MAINTSCRIPT_PACKAGE"\n' >"$tree/DEBIAN/postinst"
  printf '#!/bin/sh\n. /etc/sandbox-hello.conf\necho "hello, $name"\n' >"$tree/usr/bin/sandbox-hello"
  echo "name=sandbox" >"$tree/etc/sandbox-hello.conf"
  echo "nothing to see" >"$tree/usr/share/doc/sandbox-hello/README"
  chmod 755 "$tree/DEBIAN/postinst" "$tree/usr/bin/sandbox-hello"
  mkdir "$assets/deb.new/out"
  dpkg-deb --root-owner-group --build "$tree" "$assets/deb.new/out/sandbox-hello.deb" >&2
  mv "$assets/deb.new/out" "$assets/deb"
  rm -rf "$assets/deb.new"
}

# A 32-bit program that needs no library, so that no 32-bit packages are needed to make it: exit(7).
make_elf32() {
  mkdir -p "$assets/elf32.new"
  printf '.globl _start\n_start: movl $1,%%eax\nmovl $7,%%ebx\nint $0x80\n' >"$assets/elf32.new/exit7.s"
  gcc -m32 -nostdlib -static -no-pie -o "$assets/elf32.new/exit7" "$assets/elf32.new/exit7.s"
  mv "$assets/elf32.new" "$assets/elf32"
}

for asset in "$@"; do
  [ -e "$assets/$asset" ] && continue
  rm -rf "$assets/$asset.new"
  "make_$asset"
done
echo "$assets"
