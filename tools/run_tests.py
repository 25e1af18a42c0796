#!/usr/bin/env python3
"""Runs `bazel test` on the given targets and prints test cases, not targets, as the last line:

    N passed, N failed, N skipped

Cases come from the XML of exactly the targets of this run (cached results included), found through Bazel's event file. A
target that did not build, or that left no readable XML, counts as one failure: silence is never success.
"""

import collections
import json
import os
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

EVENTS = "build/test_events.json"


def read_events(path):
    """(test targets of the run, {target: [xml paths]}, {target: final status})."""
    tests, xmls, status = set(), {}, {}
    for line in open(path, errors="replace"):
        event = json.loads(line)
        ident = event.get("id", {})
        if "targetConfigured" in ident:
            kind = event.get("configured", {}).get("targetKind", "")
            if kind.endswith("_test rule"):
                tests.add(ident["targetConfigured"]["label"])
        elif "testResult" in ident:
            label = ident["testResult"]["label"]
            paths = [urllib.parse.unquote(urllib.parse.urlparse(o["uri"]).path)
                     for o in event.get("testResult", {}).get("testActionOutput", []) if o["name"] == "test.xml"]
            xmls.setdefault(label, []).extend(paths)
        elif "testSummary" in ident:
            status[ident["testSummary"]["label"]] = event.get("testSummary", {}).get("overallStatus", "")
    return tests, xmls, status


def count(paths):
    """(passed, names of failed cases, reasons of skipped ones) over XML files, or None when one cannot be read."""
    passed, failed, skipped = 0, [], []
    try:
        for path in paths:
            for case in ElementTree.parse(path).iter("testcase"):
                name = f'{case.get("classname", "")}.{case.get("name", "")}'
                if case.find("failure") is not None or case.find("error") is not None:
                    failed.append(name)
                elif case.find("skipped") is not None or case.get("status") == "notrun" or \
                        case.get("result") in ("skipped", "suppressed"):
                    reason = case.find("skipped")
                    skipped.append("" if reason is None else " ".join(reason.get("message", "").split())[:200])
                else:
                    passed += 1
    except (OSError, ElementTree.ParseError):
        return None
    return passed, failed, skipped


def main():
    os.makedirs("build", exist_ok=True)
    if os.path.exists(EVENTS):
        os.remove(EVENTS)
    targets = sys.argv[1:] or ["//..."]
    status = subprocess.call([os.environ.get("BAZEL", "bazel"), "test", "--keep_going",
                              f"--build_event_json_file={EVENTS}", *targets])
    if not os.path.exists(EVENTS):
        print("0 passed, 1 failed, 0 skipped")
        return status or 1
    tests, xmls, final = read_events(EVENTS)
    passed = failed = skipped = 0
    for label in sorted(tests | set(xmls) | set(final)):
        counts = count(xmls[label]) if xmls.get(label) else None
        if counts is None:
            failed += 1
            print(f"FAILED {label}: {final.get(label) or 'not built'}")
            continue
        passed += counts[0]
        failed += len(counts[1])
        skipped += len(counts[2])
        for reason, cases in collections.Counter(counts[2]).items():
            print(f"SKIPPED {label} ({cases}): {reason or 'no reason given'}")
        for name in counts[1]:
            print(f"FAILED {label} {name}")
        if final.get(label) not in ("PASSED", "FLAKY") and not counts[1]:  # timed out, or died without a failed case
            failed += 1
            print(f"FAILED {label}: {final.get(label)}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return status or (1 if failed or not passed else 0)


if __name__ == "__main__":
    sys.exit(main())
