#!/bin/bash
# Everything that judges style: all checks run, and the exit status tells whether one failed.
cd "$(dirname "$0")/.." || exit 1
failed=0
check() {
  echo "== $1"
  shift
  "$@" || failed=1
}

mapfile -t files < <(git ls-files '*.cc' '*.h')
mapfile -t sources < <(git ls-files '*.cc' ':!tools/bazel')

check "format" clang-format --dry-run --Werror "${files[@]}"
check "layers and headers" bazel test //tools:all
check "clang lock analysis" bazel build --config=clang --keep_going //...
tidy() { printf '%s\0' "${sources[@]}" | xargs -0 -P2 -n4 sh -c 'clang-tidy --quiet "$@" -- -std=c++20 -I. -D_GNU_SOURCE -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL 2>/dev/null' sh; }
check "clang-tidy" tidy
exit $failed
