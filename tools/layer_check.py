#!/usr/bin/env python3
"""Fails when an include points up the list of tools/layers.txt, sideways, or at no file."""

import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
SKIP = {"build", "docs", ".git"}


def generated(root, target):
    """Whether a rule of its folder makes the file."""
    build = os.path.join(root, os.path.dirname(target), "BUILD")
    return os.path.exists(build) and f'"{os.path.basename(target)}"' in open(build).read()


def read_layers(path):
    """({folder: rank}, [(from prefix, to prefix)])."""
    rank, never = {}, []
    for number, line in enumerate(open(path)):
        words = line.split("#", 1)[0].split()
        if words[:1] == ["never"]:
            never.append((words[1], words[2]))
        else:
            for folder in words:
                rank[folder] = number
    return rank, never


def sources(root):
    for top, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in SKIP and not f.startswith((".", "bazel-"))]
        for name in sorted(files):
            if name.endswith((".cc", ".h", ".inc", ".S")):
                yield os.path.relpath(os.path.join(top, name), root)


def layer_of(path, rank):
    """The longest listed folder that holds `path`."""
    folder = os.path.dirname(path)
    while folder and folder not in rank:
        folder = os.path.dirname(folder)
    return folder


def under(path, prefix):
    return path == prefix or path.startswith(prefix + "/")


def check_file(root, path, rank, never):
    own = layer_of(path, rank)
    tops = {folder.split("/")[0] for folder in rank}
    if not own:
        yield f"{path}:1: its folder is in no layer of tools/layers.txt"
        return
    for number, line in enumerate(open(os.path.join(root, path), errors="replace"), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        if target.split("/")[0] not in tops:  # absl, gtest, nlohmann: a library's header
            continue
        if not os.path.exists(os.path.join(root, target)) and not generated(root, target):
            yield f'{path}:{number}: "{target}" is no file of the repository'
            continue
        other = layer_of(target, rank)
        if other == own:
            continue
        if not other or rank[other] > rank[own]:
            yield f"{path}:{number}: {own} includes {target}, a layer above it"
        elif rank[other] == rank[own]:
            yield f"{path}:{number}: {own} includes {target}, a sibling"
        for source, closed in never:
            if under(path, source) and under(target, closed):
                yield f"{path}:{number}: {source} must never include {closed}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    rank, never = read_layers(os.path.join(root, "tools/layers.txt"))
    files = list(sources(root))
    problems = [p for f in files for p in check_file(root, f, rank, never)]
    print("\n".join(problems))
    print(f"{len(files)} files, {len(problems)} problems")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
