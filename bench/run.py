#!/usr/bin/env python3
"""Runs the benchmarks natively, under runc, crun and Debian's gVisor when they are installed, and under our platforms.

Every round runs each benchmark once under each runtime, so that a change of the machine's load hits all of them; figures
are medians over rounds. Writes report.json, report.md, readme.md (the README's table) and index.html (one file, no external resource).

With a root file system (the default; made once by tools/rootfs.sh, needs root) each run is a container over it, and the
native side a chroot. With --root=/ the native side is the program itself and ours is `runsc do`.
"""

import argparse
import filecmp
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "driver"))

import cases  # noqa: E402
import page  # noqa: E402
import report  # noqa: E402
import runtimes  # noqa: E402
import startup  # noqa: E402

PACKAGES = "nodejs,redis-server,redis-tools,nginx-light,wrk,openssl"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runsc", default=os.path.join(TOP, "build/runsc"), help="our binary")
    parser.add_argument("--guest", default=os.path.join(TOP, "bazel-bin/bench/guest/guest"), help="the benchmark program")
    parser.add_argument("--gvisor", default=os.path.join(TOP, "build/gvisor/usr/bin/runsc"), help="gVisor's binary (bench/peers.sh)")
    parser.add_argument("--root", help="root file system (default: made by tools/rootfs.sh); '/': the host's own")
    parser.add_argument("--filter", action="append", metavar="PATTERN", help="benchmarks to run, such as 'files/*'; repeatable")
    parser.add_argument("--runtimes", metavar="A,B", help="of native,runc,crun,gvisor,runsc-systrap,runsc-ptrace (default: all here)")
    parser.add_argument("--repetitions", type=int, help="rounds (default 5; quick 2; smoke 1)")
    parser.add_argument("--quick", action="store_true", help="shorter samples, two rounds (one of real programs), no ptrace unless asked for")
    parser.add_argument("--smoke", action="store_true", help="everything once and scaled down: does it run? No figures")
    parser.add_argument("--out", default=os.path.join(HERE, "report"), help="folder for the report")
    parser.add_argument("--list", action="store_true", help="list benchmarks and end")
    parser.add_argument("--render", action="store_true", help="only make the page and table anew from report.json")
    return parser.parse_args()


class Bench:
    """One run of the driver: where files are, what was asked for, and what was found so far."""

    def __init__(self, options):
        self.options = options
        self.report = report.Report()
        self.root = options.root or subprocess.check_output([TOP + "/tools/rootfs.sh", "bench-root", PACKAGES], text=True).strip()
        self.folder = tempfile.mkdtemp(prefix="bench-")
        # The folder of files as the host and as the container name it.
        self.host = self.folder if self.root == "/" else os.path.join(self.root, "bench")
        self.inside = self.folder if self.root == "/" else "/bench"
        self.guest, self.scratch = self.inside + "/guest", self.inside + "/scratch"
        self.rounds = options.repetitions or (1 if options.smoke else 2 if options.quick else 5)
        self.runtimes = runtimes.find(self.names(), self.root, os.path.abspath(options.runsc), options.gvisor, self.folder)

    def names(self):
        if self.options.runtimes:
            return self.options.runtimes.split(",")
        if self.options.quick:
            installed = [n for n in ("runc", "crun") if shutil.which(n) and self.root != "/"]
            if os.path.exists(self.options.gvisor) and self.root != "/":
                installed.append("gvisor")
            return ["native", *installed, "runsc-systrap"]
        return None

    def wanted(self, name):
        return not self.options.filter or any(fnmatch.fnmatch(name, f) for f in self.options.filter)

    def prepare(self):
        os.makedirs(self.host + "/data", exist_ok=True)
        os.chmod(self.host, 0o755)
        guest = os.path.realpath(self.options.guest)
        for name, source in (("guest", guest), ("static_true", os.path.join(os.path.dirname(guest), "static_true"))):
            installed = f"{self.host}/{name}"
            if os.path.exists(installed) and filecmp.cmp(source, installed, shallow=False):
                continue
            # A new file: an earlier one may still run.
            shutil.copy(source, installed + ".new")
            os.replace(installed + ".new", installed)
            # A program that was written just now is not what anybody measures: its text is not rewritten yet.
            time.sleep(2.1)
        subprocess.run([self.host + "/guest", "prepare", self.host + "/data"], check=True)
        if self.root != "/" and not os.path.exists(self.host + "/lua"):
            assets = subprocess.check_output([TOP + "/tests/programs/assets.sh", "lua"], text=True).strip()
            shutil.copytree(assets + "/lua", self.host + "/lua", symlinks=True)

    def fresh_scratch(self):
        shutil.rmtree(self.host + "/scratch", ignore_errors=True)
        os.mkdir(self.host + "/scratch")

    def micro_names(self):
        listed = subprocess.check_output([self.options.guest, "list"], text=True).split()
        return [n for n in listed if self.wanted(n)]

    def usable(self, case):
        """Why a macro case cannot run here, or None."""
        for need in case.needs:
            if need == "@lua":
                if not os.path.exists(self.host + "/lua"):
                    return "needs the sources of lua (a run with a root file system)"
            elif need == "@full":
                if self.root == "/":
                    return "needs the bench root"
            else:
                path = os.pathsep.join(self.root.rstrip("/") + p for p in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"))
                if shutil.which(need, path=path) is None:
                    return f"no {need} in the root file system"
        return None

    def run_micro(self, runtime, family, names):
        options = self.options
        flags = ["--once"] if options.smoke else ["--repetitions=3", "--sample-ms=10", "--latency-ms=10"] if options.quick else []
        argv = [self.guest, "run", "--data=" + self.inside + "/data", "--scratch=" + self.scratch, *flags]
        self.fresh_scratch()
        self.take(runtime, names, runtime.run(argv + ["--filter=" + n for n in names], 30 + 20 * len(names)))

    def run_macro(self, runtime, case):
        self.fresh_scratch()
        outcome = runtime.run(case.arguments(self.guest, self.inside, self.scratch, self.options.smoke), 240)
        if case.kind == "rate":
            outcome.lines = [{"name": f"macro/{n}", "unit": case.unit, "better": "more", "iterations": 1, "samples": [float(v)]}
                             for n, v in (line.split() for line in outcome.text.splitlines() if len(line.split()) == 2)
                             if n in case.prints]
        self.take(runtime, case.names(), outcome)

    def take(self, runtime, names, outcome):
        """Puts what a run printed into the report; a benchmark that printed nothing has failed."""
        seen = set()
        for line in outcome.lines:
            seen.add(line["name"])
            if "error" in line:
                self.failed(runtime.name, line["name"], line["error"])
            else:
                self.report.add(runtime.name, line)
        for name in names:
            if name not in seen:
                why = "time limit" if outcome.status is None else f"exit status {outcome.status}: {outcome.errors.strip()[-200:]}"
                self.failed(runtime.name, name, why)

    def failed(self, runtime, name, why):
        print(f"  {runtime}: {name}: {why}", file=sys.stderr)
        self.report.fail(runtime, name, why)

    def round(self, number):
        families = {}
        for name in self.micro_names():
            families.setdefault(name.split("/")[0], []).append(name)
        turn = number % len(self.runtimes)
        order = self.runtimes[turn:] + self.runtimes[:turn]
        for family, names in families.items():
            for runtime in order:
                self.step(number, runtime.name, family, lambda: self.run_micro(runtime, family, names))
        # The long ones once only, when it has to be quick.
        for case in cases.CASES if number == 0 or not self.options.quick else []:
            if not any(self.wanted(n) for n in case.names()):
                continue
            if why := self.usable(case):
                for name in case.names():
                    self.report.skip(name, why)
                continue
            for runtime in order:
                self.step(number, runtime.name, case.name, lambda: self.run_macro(runtime, case))
        for runtime in order:
            if runtime.oci and not self.options.smoke and any(self.wanted(n) for n in startup.NAMES):
                self.step(number, runtime.name, "startup", lambda: startup.measure(
                    runtime, self.guest, self.inside + "/static_true", self.options.quick, self.wanted,
                    lambda name, unit, samples: self.report.add(runtime.name, {
                        "name": name, "unit": unit, "better": "less", "iterations": 1, "samples": samples}),
                    lambda name, why: self.failed(runtime.name, name, why)))

    def step(self, number, runtime, what, action):
        began = time.monotonic()
        self.report.load(os.getloadavg()[0])
        action()
        print(f"[{number + 1}/{self.rounds}] {what:24} {runtime:16} {time.monotonic() - began:6.1f} s", file=sys.stderr, flush=True)

    def finish(self):
        if self.root != "/":
            shutil.rmtree(self.host + "/scratch", ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def write(folder, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "report.json"), "w") as file:
        json.dump(data, file, indent=1)
    with open(os.path.join(folder, "report.md"), "w") as file:
        file.write(report.markdown(data))
    with open(os.path.join(folder, "readme.md"), "w") as file:
        file.write(report.readme_table(data))
    with open(os.path.join(folder, "index.html"), "w") as file:
        file.write(page.render(data))


def main():
    options = arguments()
    if options.list:
        names = subprocess.check_output([options.guest, "list"], text=True).split()
        print("\n".join(names + [n for c in cases.CASES for n in c.names()] + startup.NAMES))
        return 0
    if options.render:
        write(options.out, json.load(open(os.path.join(options.out, "report.json"))))
        return 0
    if options.smoke and not options.root:
        options.root = "/"
    if options.root != "/" and os.geteuid() != 0:
        sys.exit("bench: containers need root; --root=/ does not")
    runtimes.isolate()
    bench = Bench(options)
    try:
        bench.prepare()
        for number in range(bench.rounds):
            bench.round(number)
    finally:
        bench.finish()
    data = bench.report.data(bench.runtimes, bench.rounds, options)
    write(options.out, data)
    print(report.markdown(data))
    print(f"report: {os.path.join(options.out, 'index.html')}", file=sys.stderr)
    return 1 if bench.report.failures and options.smoke else 0


if __name__ == "__main__":
    sys.exit(main())
