#!/usr/bin/env python3
"""Checks of containerd, Docker and Podman with a runtime, side by side with others.

usage: engines.py [--runtimes runsc,runc,crun,gvisor=PATH] [--engines ctr,docker,podman,rootless,cri] [--only TEXT] [--json FILE]
       engines.py --figures REPETITIONS [--runtimes …] [--json FILE]: times and memory instead of checks

Needs root and Debian's containerd, docker.io, podman, iproute2, iptables, tini and busybox-static; for cri containernetworking-plugins and
python3-grpcio too, and Debian's python3. Daemons run in mount and network
namespaces made for this run, with state on a tmpfs, and end with it; nothing of the machine's own engines is touched.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import checks_ctr  # noqa: F401; checks register themselves
import checks_life  # noqa: F401
import checks_rootless  # noqa: F401
import checks_run  # noqa: F401
from figures import measure
from machine import Machine, gvisor
from shell import CHECKS, Failed, Shell, clean


def inside(options):
    engines = options.engines.split(",")
    if "cri" in engines:
        import checks_cri  # noqa: F401; wants a package that the others do not
    results, folder = {}, tempfile.mkdtemp(prefix="engines-", dir="/tmp")
    runtimes = {}
    for item in options.runtimes.split(","):
        name, _, path = item.partition("=")
        if name == "runsc":
            # Where ordinary users reach it.
            options.runsc = shutil.copy(options.runsc, os.path.join(folder, "runsc"))
        runtimes[name] = gvisor(path, folder) if name == "gvisor" else path or (options.runsc if name == "runsc" else shutil.which(name))
    machine = Machine(runtimes, folder, engines)
    number = 0
    try:
        if options.figures:
            results = measure(runtimes, folder, options.figures)
            engines = []
            for name, row in results.items():
                print(f"{name}:", ", ".join(f"{runtime} {value}" for runtime, value in row.items()), flush=True)
        for engine in engines:
            for function in CHECKS[engine]:
                name = function.__name__.rstrip("_")
                if options.only and options.only not in name:
                    continue
                for runtime, path in runtimes.items():
                    number += 1
                    place = os.path.join(folder, f"check{number}")
                    os.makedirs(place)
                    shell = Shell(engine, runtime, path, place)
                    shell.name = f"c{number}"
                    try:
                        function(shell)
                        outcome = "pass"
                    except (Failed, RuntimeError) as error:
                        outcome = f"FAIL {error}"
                    clean(shell)
                    results[f"{engine} {name} {runtime}"] = outcome
                    print(f"{engine:7} {name:36} {runtime:6} {outcome}", flush=True)
    finally:
        machine.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for engine in engines:
        for runtime in runtimes:
            own = [o for k, o in results.items() if k.startswith(engine + " ") and k.endswith(" " + runtime)]
            print(f"{engine} with {runtime}: {sum(o == 'pass' for o in own)} of {len(own)} passed")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    failed = [] if options.figures else [k for k, o in results.items() if k.endswith(" runsc") and o != "pass"]
    return 1 if failed or not results else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runsc", default="bazel-bin/runsc/runsc")
    parser.add_argument("--runtimes", default="runsc")
    parser.add_argument("--engines", default="ctr,docker,podman")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    parser.add_argument("--figures", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.runsc = os.path.abspath(options.runsc)
    if not options.inside:
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv, "--inside", "--runsc", options.runsc])
    sys.exit(inside(options))


if __name__ == "__main__":
    main()
