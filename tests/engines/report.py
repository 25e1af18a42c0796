#!/usr/bin/env python3
"""Results of engines.py as Bazel's XML or as tables for docs/ENGINES.md.

usage: report.py RESULTS.json ...
"""

import json
import sys
from xml.sax.saxutils import escape, quoteattr

NAMES = {"ctr": "`ctr`", "docker": "Docker", "podman": "Podman", "rootless": "Podman, rootless", "cri": "CRI"}


def write_xml(results, path):
    with open(path, "w") as xml:
        xml.write("<testsuites><testsuite>\n")
        for key, outcome in results.items():
            engine, name, _ = key.split(" ")
            xml.write(f"<testcase name={quoteattr(name)} classname={quoteattr(engine)}>")
            if outcome.startswith("SKIP"):
                xml.write(f"<skipped message={quoteattr(outcome[5:])}/>")
            elif outcome != "pass":
                xml.write(f"<failure>{escape(outcome)}</failure>")
            xml.write("</testcase>\n")
        xml.write("</testsuite></testsuites>\n")


def table(results):
    """Counts by engine, and every check that not all runtimes pass."""
    checks = {}
    for key, outcome in results.items():
        engine, name, runtime = key.split(" ")
        checks.setdefault((engine, name), {})[runtime] = outcome == "pass"
    runtimes = list(dict.fromkeys(key.rsplit(" ", 1)[1] for key in results))
    rule = "|---" * (len(runtimes) + 1) + "|"
    print(f"| engine | {' | '.join(runtimes)} |\n{rule}")
    for engine, name in NAMES.items():
        rows = [row for (e, _), row in checks.items() if e == engine]
        counts = [f"{sum(row[r] for row in rows if r in row)} of {sum(r in row for row in rows)}" for r in runtimes]
        print(f"| {name} | {' | '.join(counts)} |")
    print(f"\n| check | {' | '.join(runtimes)} |\n{rule}")
    for (engine, name), row in checks.items():
        if not all(row.values()) or len(row) < len(runtimes):
            marks = ["not run" if r not in row else "pass" if row[r] else "**fail**" for r in runtimes]
            print(f"| {NAMES[engine]}: {name.replace('_', ' ')} | {' | '.join(marks)} |")


if __name__ == "__main__":
    merged = {}
    for file_name in sys.argv[1:]:
        with open(file_name) as file:
            merged.update(json.load(file))
    table(merged)
