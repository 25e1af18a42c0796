#!/bin/sh
# Bazel's entry to run.py, which works on the source tree: the root file system is kept under its build/ folder.
runsc=$(realpath "$1")
exec "$(realpath tests/programs/run.py)" --runsc "$runsc" --diff
