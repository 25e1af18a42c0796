#!/usr/bin/env python3
"""Runs real programs in a Debian root file system, in a plain chroot and in runsc, and compares output and exit code.

The platform `chroot` compares a second chroot run with the first: a case that differs there is a bad case.
Needs root. Exit status 0 when every case is equal on every platform asked for.
"""

import argparse
import difflib
import fnmatch
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import case as cases  # noqa: E402
import sides  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="cases to run, such as 'bash/*' (default all)")
    parser.add_argument("--runsc", default=os.path.join(TOP, "build/runsc"))
    parser.add_argument("--platform", action="append", choices=["systrap", "ptrace", "kvm", "chroot"],
                        help="repeatable; default systrap and ptrace")
    parser.add_argument("--root", help="root file system (default: made by tools/rootfs.sh)")
    parser.add_argument("--runsc-flag", action="append", default=[], help="passed to runsc before the subcommand")
    parser.add_argument("--json", metavar="FILE", help="write all results, with outputs, to FILE ('-': standard output)")
    parser.add_argument("--diff", action="store_true", help="show how outputs differ")
    parser.add_argument("--list", action="store_true", help="list cases and end")
    parser.add_argument("--reference", metavar="FILE", default=os.path.join(TOP, "build/programs_reference.json"),
                        help="where chroot results are kept, so that a second run need not repeat them")
    parser.add_argument("--fresh", action="store_true", help="run the chroot side again")
    return parser.parse_args()


class Reference:
    """Chroot outcomes, remembered by the text of their script."""

    def __init__(self, side, assets, path, fresh):
        self.side, self.assets, self.path = side, assets, path
        self.known = {}
        # A root made anew has other time stamps.
        self.root = f'{side.root} {os.stat(os.path.join(side.root, "etc")).st_ctime}'
        if not fresh and os.path.exists(path):
            self.known = json.load(open(path))

    def outcome(self, case):
        if case.expect is not None:
            return sides.Outcome(case.expect, "", 0, 0.0)
        script = open(case.path).read()
        entry = self.known.get(case.name)
        if not entry or (entry["script"], entry.get("root")) != (script, self.root):
            result = self.side.run(case, self.assets)
            if result.status is None:  # nothing to compare with; not worth remembering
                return result
            entry = {"script": script, "root": self.root, "outcome": vars(result)}
            self.known[case.name] = entry
            json.dump(self.known, open(self.path, "w"))
        return sides.Outcome(**entry["outcome"])


def show_diff(want, got):
    for stream in ("stdout", "stderr"):
        lines = list(difflib.unified_diff(getattr(want, stream).splitlines(), getattr(got, stream).splitlines(),
                                          f"{stream} wanted", f"{stream} got", lineterm="", n=1))
        print("\n".join("    " + line[:200] for line in lines[:40]))
        if len(lines) > 40:
            print(f"    … {len(lines) - 40} more lines")
    if want.status != got.status:
        print(f"    exit status wanted {want.status}, got {got.status}")


def verdict(want, got):
    if want.status is None:
        return "NO REFERENCE"
    if got.status is None:
        return "TIMEOUT"
    return "pass" if want.same(got) else "FAIL"


def main():
    options = arguments()
    chosen = [c for c in cases.load_all(os.path.join(HERE, "cases"))
              if not options.patterns or any(fnmatch.fnmatch(c.name, p) for p in options.patterns)]
    if options.list or not chosen:
        print("\n".join(c.name for c in chosen) or "no case matches")
        return 0 if chosen else 2
    if os.geteuid() != 0:
        sys.exit("run.py: chroot needs root")
    platforms = options.platform or ["systrap", "ptrace"]
    root = options.root or subprocess.check_output([os.path.join(TOP, "tools/rootfs.sh")], text=True).strip()
    wanted_assets = sorted({a for c in chosen for a in c.assets})
    assets = subprocess.check_output([os.path.join(HERE, "assets.sh"), *wanted_assets], text=True).strip()
    reference = Reference(sides.Side("chroot", root), assets, options.reference, options.fresh)
    runs = [sides.Side(p, root, os.path.abspath(options.runsc), options.runsc_flag) for p in platforms]

    report, counts = [], {p: [0, 0] for p in platforms}
    table = sys.stderr if options.json == "-" else sys.stdout
    print(f"{'case':28}{'chroot':>14}" + "".join(f"{p:>22}" for p in platforms), file=table)
    for case in chosen:
        want = reference.outcome(case)
        row = {"case": case.name, "chroot": vars(want)}
        line = f"{case.name:28}{f'exit {want.status} {want.seconds:5.1f}s':>14}"
        gots = []
        for side in runs:
            got = side.run(case, assets)
            # Where Linux itself would do otherwise there is nothing to check a chroot against.
            result = "pass" if side.name == "chroot" and case.expect is not None else verdict(want, got)
            counts[side.name][result != "pass"] += 1
            row[side.name] = {**vars(got), "verdict": result}
            line += f"{f'{result} {got.seconds:6.1f}s':>22}"
            gots.append((side.name, result, got))
        print(line, file=table, flush=True)
        if options.diff:
            for name, result, got in gots:
                if result != "pass":
                    print(f"  {name}:")
                    show_diff(want, got)
        report.append(row)
    for platform, (good, bad) in counts.items():
        print(f"{platform}: {good} passed, {bad} failed", file=table)
    if options.json == "-":
        json.dump(report, sys.stdout, indent=1)
    elif options.json:
        json.dump(report, open(options.json, "w"), indent=1)
    return 1 if any(bad for _, bad in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
