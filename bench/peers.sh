#!/bin/bash
# Unpacks Debian's gVisor (bookworm-backports) into build/gvisor, where its runsc cannot be mistaken for ours, and prints the
# path of the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/gvisor
binary=$folder/usr/bin/runsc
if [ ! -x "$binary" ]; then
  # The mirror that this machine's apt uses; lists of its own, so that the machine's are left as they are.
  site=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "bookworm" { print $2; exit }')
  [ -n "$site" ] || { echo "bench/peers.sh: apt's sources name no mirror for bookworm" >&2; exit 1; }
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/none"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site bookworm-backports main" >"$folder/apt/sources.list"
  options=(-o "Dir::Etc::SourceList=$folder/apt/sources.list" -o "Dir::Etc::SourceParts=$folder/apt/none"
    -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
  apt-get -qq "${options[@]}" update >&2
  (cd "$folder/apt" && apt-get -qq "${options[@]}" download runsc >&2)
  dpkg-deb --extract "$folder"/apt/*.deb "$folder"
  rm -rf "$folder/apt"
fi
echo "$binary"
