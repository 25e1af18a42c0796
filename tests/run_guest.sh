#!/bin/sh
# Bazel runs a script with no extension knowledge; the work is in run_guest.py.
exec python3 tests/run_guest.py "$@"
