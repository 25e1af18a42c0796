#!/usr/bin/env python3
"""Runs the OCI runtime-tools validation programs with several runtimes and prints who passes what.

usage: validation.py --tools FOLDER [--runtimes runsc=PATH,runc,crun] [--only TEXT] [--json FILE] [--verbose]

FOLDER is a built checkout of github.com/opencontainers/runtime-tools: `runtimetest`, the root file system archive, and the programs
of validation/ under bin/. Needs root. A program passes when it ends with 0, says no `not ok`, and ran as many tests as it
planned; one that planned none must have printed no error. Runs in a mount namespace of its own where, on a host with version 1 of control
groups, every controller has a hierarchy: the programs look for all of them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

LIMIT = 120


def outcome(program, tools, runtime):
    """(passed, text)"""
    env = dict(os.environ, RUNTIME=runtime)
    try:
        done = subprocess.run([program], cwd=tools, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        return False, f"no end after {LIMIT} s\n{(error.stdout or b'').decode(errors='replace')}"
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    results = re.findall(r"^(not )?ok\b.*$", out, re.M)
    plans = re.findall(r"^1\.\.(\d+)", out, re.M)  # some programs write several documents
    planned = sum(map(int, plans)) if plans else len(results)
    # Some programs test nothing by number: they print an error, or end otherwise than with 0.
    good = done.returncode == 0 and not any(results) and planned == len(results) and (bool(results) or "\"error\":" not in out)
    return good, f"exit {done.returncode}\n{out}\n{err}"


def mount_controllers():
    """Those that the host has mounted together stay together. Returns where the others are, for the time of the run."""
    with open("/proc/self/cgroup") as file:
        mounted = [line.split(":")[1] for line in file if not line.startswith("0:")]
    with open("/proc/cgroups") as file:
        free = [line.split()[0] for line in file if line[0] != "#" and line.split()[1] == "0"]
    if not mounted:
        return []
    subprocess.check_call(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"])
    extra = []
    for controllers in mounted + free:
        place = os.path.join("/sys/fs/cgroup", controllers.removeprefix("name="))
        os.mkdir(place)
        option = "none," + controllers if controllers.startswith("name=") else controllers
        if subprocess.call(["mount", "-t", "cgroup", "-o", option, "none", place]) != 0:
            os.rmdir(place)
        elif controllers in free:
            extra.append(place)
    return extra


def unmount_controllers(places):
    """A hierarchy with groups in it outlives its mount, and the machine's engines would miss one."""
    for place in places:
        for folder, _, _ in os.walk(place, topdown=False):
            if folder != place:
                try:
                    os.rmdir(folder)
                except OSError as error:
                    print(f"{folder} is left: {error}", file=sys.stderr)
        subprocess.call(["umount", place])


def inside(options):
    runtimes = {}
    for item in options.runtimes.split(","):
        name, _, path = item.partition("=")
        runtimes[name] = os.path.abspath(path) if path else shutil.which(name)
    extra = mount_controllers()
    folder = os.path.join(options.tools, "bin")
    results = {}
    for name in sorted(os.listdir(folder)):
        if options.only and options.only not in name:
            continue
        row = {}
        for runtime, path in runtimes.items():
            row[runtime], text = outcome(os.path.join(folder, name), options.tools, path)
            if options.verbose and not row[runtime]:
                print(f"--- {name} {runtime}: {text}")
        results[name] = row
        print(f"{name:34}", *(f"{runtime} {'pass' if good else 'FAIL':5}" for runtime, good in row.items()), flush=True)
    unmount_controllers(extra)
    for runtime in runtimes:
        print(f"{runtime}: {sum(row[runtime] for row in results.values())} of {len(results)}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--runtimes", default="runsc=bazel-bin/runsc/runsc,runc,crun")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv, "--inside"])
    inside(options)


if __name__ == "__main__":
    main()
