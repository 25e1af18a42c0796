#!/usr/bin/env python3
"""Fails when a header does not compile alone.

A header whose own source or test includes it first is proved by that compile. The others are compiled here, each alone,
in parallel; what passed is remembered, for all clones of this user, by the contents of the header and of all it includes
of ours.
"""

import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
FLAGS = ["-std=c++20", "-fsyntax-only", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-DSPDLOG_COMPILED_LIB",
         "-DSPDLOG_FMT_EXTERNAL", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-unused-parameter",
         "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-const-variable"]
SKIP = {"build", "docs"}


def headers(root):
    for top, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in SKIP and not f.startswith((".", "bazel-"))]
        yield from (os.path.relpath(os.path.join(top, f), root) for f in sorted(files) if f.endswith(".h"))


def text(path):
    try:
        return open(path, errors="replace").read()
    except OSError:
        return ""


def proved(header):
    """Whether the header's own source or test has it as its first include."""
    for suffix in (".cc", "_test.cc"):
        first = INCLUDE.search(text(header[:-len(".h")] + suffix))
        if first and first.group(2) == header:
            return True
    return False


def fingerprint(header):
    seen, todo, digest = set(), [header], hashlib.sha256(" ".join(FLAGS).encode())
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        body = text(path)
        digest.update(path.encode() + b"\0" + body.encode())
        todo.extend(name for quote, name in INCLUDE.findall(body) if quote == '"')
    return digest.hexdigest()


def compile_alone(header):
    result = subprocess.run(["g++", *FLAGS, "-I.", "-include", header, "-x", "c++", "/dev/null"],
                            capture_output=True, text=True)
    return header, result.returncode == 0, result.stderr


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    stamps = os.path.join(os.path.expanduser("~"), ".cache/runsc_header_check")
    os.makedirs(stamps, exist_ok=True)
    everything = list(headers("."))
    todo = {h: os.path.join(stamps, fingerprint(h)) for h in everything if not proved(h)}
    todo = {h: stamp for h, stamp in todo.items() if not os.path.exists(stamp)}
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for header, good, errors in pool.map(compile_alone, todo):
            if good:
                open(todo[header], "w").close()
            else:
                failed.append(header)
                print(f"{header} does not compile alone:\n{errors}")
    print(f"{len(everything)} headers, {len(todo)} compiled here, {len(failed)} failed {failed}")
    return 1 if failed or not everything else 0


if __name__ == "__main__":
    sys.exit(main())
