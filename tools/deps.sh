#!/bin/sh
# Installs the Debian 12 packages that the build and the tests need; does nothing when all are there.
# --dev adds what fmt, lint and the program tests need; --bench what the benchmarks compare with; --engines the container
# engines that tests/engines checks.
set -eu

packages="bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib
  g++ lld make git python3
  libabsl-dev libseccomp-dev libcapstone-dev libspdlog-dev libfmt-dev
  busybox-static iproute2 libgtest-dev libgmock-dev libbenchmark-dev nlohmann-json3-dev libcli11-dev"
if [ "${1:-}" = "--dev" ]; then
  packages="$packages clang clang-format clang-tidy debootstrap dpkg-dev"
fi

if [ "${1:-}" = "--bench" ]; then
  packages="$packages debootstrap dpkg-dev runc crun"
fi

if [ "${1:-}" = "--engines" ]; then
  packages="$packages containerd docker.io tini podman catatonit netavark uidmap fuse-overlayfs
    containernetworking-plugins iptables python3-grpcio"
fi

missing=""
for package in $packages; do
  case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" in
    installed) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -z "$missing" ] && exit 0

echo "installing:$missing" >&2
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
export DEBIAN_FRONTEND=noninteractive
# The package lists of a fresh image may be absent or stale; retry once with new ones.
# shellcheck disable=SC2086 # word splitting wanted
$as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
  $as_root apt-get update -qq >&2
  $as_root apt-get install -qq -y --no-install-recommends $missing >&2
}
