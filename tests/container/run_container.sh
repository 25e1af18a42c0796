#!/bin/sh
# Bazel runs a script with no extension knowledge; the work is in the Python file named by the argument.
exec python3 "$@"
