#!/bin/sh
# Bazel runs a script with no extension knowledge; the work is in smoke_test.py.
exec python3 bench/smoke_test.py "$@"
