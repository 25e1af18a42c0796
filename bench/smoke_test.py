#!/usr/bin/env python3
"""Runs every benchmark once, natively and on our platforms, over the host's root, and checks that the report is whole."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
SIDES = ["native", "runsc-systrap", "runsc-ptrace"]


def main():
    out = os.path.join(os.environ["TEST_TMPDIR"], "report")
    driver = [sys.executable, os.path.join(HERE, "run.py"), "--runsc=runsc/runsc", "--guest=bench/guest/guest", "--out=" + out]
    status = subprocess.run(driver + ["--smoke"], timeout=280).returncode
    report = json.load(open(out + "/report.json"))
    page = open(out + "/index.html").read()
    listed = subprocess.check_output(driver + ["--list"], text=True).split()
    bad = [] if status == 0 else [f"run.py: exit status {status}"]
    for name in listed:
        if name.split("/")[0] in ("startup", "idle"):  # of containers, which need a root file system
            continue
        if name in report["skipped"]:
            print(f"skipped {name}: {report['skipped'][name]}")
            continue
        if name.split("/")[1] not in page:
            bad.append(f"{name}: not on the page")
        for side in SIDES:
            row = report["results"].get(name, {}).get("runtimes", {}).get(side, {})
            if not row.get("samples") or min(row["samples"]) <= 0 or "error" in row:
                bad.append(f"{name}, {side}: {row.get('error', 'no samples')}")
    print(*bad, sep="\n")
    print(f"{len(listed)} benchmarks, {len(bad)} failures")
    return 1 if bad or len(listed) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
