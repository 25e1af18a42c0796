#!/bin/sh
# usage: bench/run.sh RUNSC PLATFORM: runs every built benchmark natively and then as a guest, one after the other.
set -eu
runsc=$1
platform=$2
for source in bench/*.cc; do
  [ -e "$source" ] || { echo "no benchmarks yet" >&2; exit 0; }
  program=$PWD/bazel-bin/bench/$(basename "$source" .cc)
  echo "== $(basename "$program"), native"
  "$program"
  echo "== $(basename "$program"), $platform"
  "$runsc" --platform="$platform" do "$program"
done
