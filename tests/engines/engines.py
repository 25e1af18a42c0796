#!/usr/bin/env python3
"""Checks of containerd, Docker and Podman with a runtime, side by side with others.

usage: engines.py [--runtimes runsc,runc,crun,gvisor=PATH] [--engines ctr,docker,podman,rootless,cri] [--only TEXT] [--json FILE]
       engines.py --control runc …: a check that fails is tried with that runtime and once more; skipped if that fails, too
       engines.py --figures REPETITIONS [--runtimes …] [--json FILE]: times and memory instead of checks

Needs root and Debian's packages (tools/deps.sh --engines), and Debian's python3 for cri. Groups of engines run side by side, each
in mount and network namespaces made for it, with daemons whose state is on a tmpfs; nothing of the machine's own engines is touched.
As a test (--xml FILE), the checks of an engine that is not installed, or that this machine cannot start, are skipped and say why.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import checks_ctr  # noqa: F401; checks register themselves
import checks_life  # noqa: F401
import checks_rootless  # noqa: F401
import checks_run  # noqa: F401
from figures import measure
from machine import CannotStart, Machine, gvisor, missing
from report import write_xml
from shell import CHECKS, Failed, Shell, clean

GROUPS = (("ctr", "cri"), ("docker",), ("podman",), ("rootless",))  # with daemons of their own


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
    asked = list(runtimes)
    if options.control:
        runtimes.setdefault(options.control, shutil.which(options.control))
    machine = None
    number = 0
    try:
        machine = Machine(runtimes, folder, engines)
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
                def attempt(runtime):
                    nonlocal number
                    number += 1
                    place = os.path.join(folder, f"check{number}")
                    os.makedirs(place)
                    shell = Shell(engine, runtime, runtimes[runtime], place)
                    shell.name = f"c{number}"
                    try:
                        function(shell)
                        return "pass"
                    except (Failed, RuntimeError) as error:
                        return f"FAIL {error}"
                    finally:
                        clean(shell)

                for runtime in asked:
                    outcome = attempt(runtime)
                    if outcome != "pass" and options.control:
                        # Not ours to pass if the machine lets nobody do it.
                        control = attempt(options.control)
                        again = attempt(runtime)
                        print(f"{engine:7} {name:36} {runtime:6} {outcome}; {options.control}: {control}; again: {again}", flush=True)
                        outcome = again if again == "pass" or control == "pass" else f"SKIP {options.control} fails here too: {control}"
                    results[f"{engine} {name} {runtime}"] = outcome
                    print(f"{engine:7} {name:36} {runtime:6} {outcome}", flush=True)
    except CannotStart as error:
        results = skipped(engines, str(error))
    finally:
        if machine is not None:
            machine.stop()
        shutil.rmtree(folder, ignore_errors=True)
    with open(options.json, "w") as file:
        json.dump(results, file)


def skipped(engines, reason):
    print(f"{','.join(engines)}: skipped: {reason}", flush=True)
    names = {engine: [function.__name__.rstrip("_") for function in CHECKS[engine]] or ["all"] for engine in engines}
    return {f"{engine} {name} runsc": f"SKIP {reason}" for engine in engines for name in names[engine]}


def run_groups(options):
    """What the groups found, of all of them."""
    wanted, results, running = options.engines.split(","), {}, []
    if "cri" in wanted and not missing(["cri"]):
        import checks_cri  # noqa: F401
    with tempfile.TemporaryDirectory() as folder:
        for group in [wanted] if options.figures else GROUPS:
            present = []
            for engine in [engine for engine in group if engine in wanted]:
                if reason := missing([engine]):
                    results.update(skipped([engine], reason))
                else:
                    present.append(engine)
            if present:
                path = os.path.join(folder, present[0])
                running.append((path, subprocess.Popen(["unshare", "--mount", "--net", "--propagation", "private", sys.executable, os.path.abspath(__file__),
                                                        *sys.argv[1:], "--inside", "--engines", ",".join(present), "--json", path, "--runsc", options.runsc])))
        for path, process in running:
            if process.wait() != 0:
                sys.exit(f"the checks of {os.path.basename(path)} ended with {process.returncode}")
            with open(path) as file:
                results.update(json.load(file))
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runsc", default="bazel-bin/runsc/runsc")
    parser.add_argument("--runtimes", default="runsc")
    parser.add_argument("--engines", default="ctr,docker,podman")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    parser.add_argument("--xml", default=os.environ.get("XML_OUTPUT_FILE", ""))
    parser.add_argument("--control", default="", help="a runtime that is tried, too, when a check fails: what it fails as well is skipped")
    parser.add_argument("--figures", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.runsc = os.path.abspath(options.runsc)
    if options.inside:
        return inside(options)
    results = run_groups(options)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    if options.figures:
        return None
    if options.xml:
        write_xml(results, options.xml)
    for engine in options.engines.split(","):
        for runtime in dict.fromkeys(key.rsplit(" ", 1)[1] for key in results):
            own = [o for k, o in results.items() if k.startswith(engine + " ") and k.endswith(" " + runtime)]
            print(f"{engine} with {runtime}: {sum(o == 'pass' for o in own)} of {len(own)} passed, {sum(o.startswith('SKIP') for o in own)} skipped")
    failed = [k for k, o in results.items() if k.endswith(" runsc") and o.startswith("FAIL")]
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
