#!/usr/bin/env python3
"""Runs a gtest program natively or in runsc, honours the ledger and writes the XML that Bazel and CI read.

usage: run_guest.py [--run-excused] native|systrap|ptrace PROGRAM [gtest arguments]

The XML is made from the program's output, because what a guest writes to the overlay is discarded with the sandbox, and
because a program that dies half way still leaves a record of which case it died in.
"""

import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from xml.sax.saxutils import quoteattr

LIMIT_SECONDS = int(os.environ.get("GUEST_TIMEOUT", "60"))
RUNSC = os.environ.get("RUNSC", "runsc/runsc")
EVENT = re.compile(r"^\[ +(RUN|OK|FAILED|SKIPPED) +\] ([\w/]+\.[\w/]+)")


def read_ledger(program, platform):
    """The cases of `program` that are excused on `platform`: {case pattern: reason}."""
    excused = {}
    for path in sorted(glob.glob("tests/ledger/*.txt")):
        for number, line in enumerate(open(path), 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            fields = line.split(None, 3)
            if len(fields) < 4:
                sys.exit(f"{path}:{number}: a ledger line needs program, case, platform and reason")
            if fields[0] == program and fields[2] in (platform, "*") and platform != "native":
                excused[fields[1]] = fields[3]
    return excused


def command(platform, program, arguments):
    program = os.path.abspath(program)
    if platform == "native":
        return [program] + arguments
    return [os.path.abspath(RUNSC), f"--platform={platform}", "do", f"--cwd={os.getcwd()}", program] + arguments


def supports_all(folder):
    """Whether files of `folder` can have no name and user attributes (tmpfs has the latter only since Linux 6.6)."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError:
        return False
    try:
        os.setxattr(fd, "user.probe", b"")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def run(argv):
    """Runs to the end or to the limit, echoing output; returns (lines, exit status or None if it had to be killed)."""
    # Bazel's own test folder lies below the user's home, which the ordinary users of the tests cannot enter.
    base = next(filter(supports_all, ("/tmp", "/var/tmp")), "/tmp")
    with tempfile.TemporaryDirectory(prefix="guest-", dir=base) as folder:
        os.chmod(folder, 0o755)
        return run_in(dict(os.environ, TMPDIR=folder, TEST_TMPDIR=folder), argv)


def run_in(environment, argv):
    lines = []
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True, text=True, errors="replace", env=environment)
    timed_out = []

    def expire(*_):
        timed_out.append(True)
        os.killpg(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(LIMIT_SECONDS)
    for line in child.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = child.wait()
    signal.alarm(0)
    return lines, None if timed_out else status


def parse(lines):
    """{case: (state, text)}; a case that began and never ended has state RUN."""
    cases, current = {}, None
    for line in lines:
        match = EVENT.match(line)
        if match:
            state, case = match.groups()
            if state == "RUN" or case == current:
                cases[case] = (state, cases.get(case, ("", ""))[1])
                current = case if state == "RUN" else None
        elif current:
            cases[current] = ("RUN", cases[current][1] + line)
    return cases


def write_xml(program, platform, cases, excused, seconds):
    path = os.environ.get("XML_OUTPUT_FILE")
    if not path:
        return
    out, failures, skipped = [], 0, 0
    for case, (state, text) in cases.items():
        suite, name = case.split(".", 1)
        body = ""
        clean = re.sub(r"[^\t\n\x20-\ud7ff]", "?", text)[:4000]
        if state in ("FAILED", "RUN"):
            failures += 1
            why = "did not finish" if state == "RUN" else "failed"
            body = f"<failure message={quoteattr(why + ': ' + clean)}/>"
        elif state == "SKIPPED":
            skipped += 1
            body = f"<skipped message={quoteattr(clean)}/>"
        out.append(f"<testcase name={quoteattr(name)} classname={quoteattr(suite)}>{body}</testcase>")
    for case, reason in excused.items():
        skipped += 1
        out.append(f'<testcase name={quoteattr(case)} classname="ledger"><skipped message={quoteattr(reason)}/></testcase>')
    with open(path, "w") as xml:
        xml.write(f'<?xml version="1.0"?><testsuites><testsuite name={quoteattr(program + "_" + platform)} '
                  f'tests="{len(cases) + len(excused)}" failures="{failures}" errors="0" skipped="{skipped}" '
                  f'time="{seconds:.3f}">' + "".join(out) + "</testsuite></testsuites>\n")


def main():
    arguments = sys.argv[1:]
    run_excused = "--run-excused" in arguments
    arguments = [a for a in arguments if a != "--run-excused"]
    platform, program, rest = arguments[0], arguments[1], arguments[2:]
    name = os.path.basename(program)
    excused = {} if run_excused else read_ledger(name, platform)
    wanted = os.environ.get("TESTBRIDGE_TEST_ONLY", "")  # bazel test --test_filter
    if excused or wanted:
        rest.append("--gtest_filter=" + wanted + ("-" + ":".join(excused) if excused else ""))
    began = time.time()
    lines, status = run(command(platform, program, ["--gtest_color=no"] + rest))
    cases = parse(lines)
    bad = [c for c, (state, _) in cases.items() if state in ("FAILED", "RUN")]
    if status is None:
        print(f"{name} on {platform}: killed after {LIMIT_SECONDS} s", flush=True)
    if status != 0 and not bad:  # never report success because nothing was recorded
        cases["program.exit"] = ("FAILED", f"exit status {status}\n" + "".join(lines[-20:]))
        bad.append("program.exit")
    write_xml(name, platform, cases, excused, time.time() - began)
    print(f"{name} on {platform}: {len(cases) - len(bad)} ok, {len(bad)} failed {bad}, {len(excused)} excused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
