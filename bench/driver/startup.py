"""Whole containers, measured from outside: starting one, entering one, twenty at once, and what idle ones cost."""

import os
import shutil
import subprocess
import time

from runtimes import descendants

NAMES = ["startup/run_true", "startup/exec_true", "startup/20_at_once", "idle/pss", "idle/wakeups", "idle/cpu", "idle/pss_of_many"]


class Unavailable(Exception):
    """The runtime cannot do this (yet)."""


def wall(argv, timeout=60):
    """Milliseconds that a command takes."""
    began = time.monotonic()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout)
    took = (time.monotonic() - began) * 1e3
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} {argv[-1]}: exit status {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return took


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Idle:
    """A container that only waits, as a context; `pids` are all its processes on the host."""

    def __init__(self, runtime, guest, settle=1):
        self.runtime, self.guest, self.settle, self.pids = runtime, guest, settle, []

    def __enter__(self):
        self.identity, self.bundle = self.runtime.identity(), self.runtime.bundle([self.guest, "idle"])
        before = set(descendants())
        if not self.runtime.detaches:
            raise Unavailable("no detached run")
        self.front = subprocess.Popen(self.runtime.command_for("run", "--bundle", self.bundle, "--detach", self.identity),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self.front.wait(60) != 0:
            raise RuntimeError(f"run --detach: exit status {self.front.returncode}")
        time.sleep(self.settle)  # the measures are of a settled container
        self.pids = [p for p in descendants() if p not in before and alive(p)]
        return self

    def __exit__(self, *_):
        # A runtime may wait until its processes are collected, which are our children now.
        deletion = subprocess.Popen(self.runtime.command_for("delete", "--force", self.identity), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while deletion.poll() is None and time.monotonic() < until:
            self.collect()
            time.sleep(0.01)
        deletion.kill()
        deletion.wait()
        self.collect()
        shutil.rmtree(self.bundle, ignore_errors=True)

    def collect(self):
        for pid in self.pids:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass

    def pss_mb(self):
        kilobytes = 0
        for pid in self.pids:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
        return kilobytes / 1024

    def switches_and_ns(self):
        """Context switches and CPU time of all threads so far."""
        switches = ns = 0
        for pid in self.pids:
            for task in os.listdir(f"/proc/{pid}/task"):
                folder = f"/proc/{pid}/task/{task}"
                switches += sum(int(line.split()[1]) for line in open(folder + "/status") if "_ctxt_switches" in line)
                ns += int(open(folder + "/schedstat").read().split()[0])
        return switches, ns


def idle_many(runtime, guest, count):
    """PSS in MB of one of `count` idle containers, on average."""
    running = []
    try:
        for _ in range(count):
            container = Idle(runtime, guest, settle=0)
            running.append(container)
            container.__enter__()
        time.sleep(1)
        return [sum(c.pss_mb() for c in running) / count]
    finally:
        for container in running:
            container.__exit__()


def run_true(runtime, true):
    bundle = runtime.bundle([true])
    try:
        return [wall(runtime.command_for("run", "--bundle", bundle, runtime.identity())) for _ in range(3)]
    finally:
        shutil.rmtree(bundle, ignore_errors=True)


def at_once(runtime, true, count=20):
    bundles = [runtime.bundle([true]) for _ in range(count)]
    try:
        began = time.monotonic()
        running = [subprocess.Popen(runtime.command_for("run", "--bundle", b, runtime.identity()), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for b in bundles]
        states = [p.wait(120) for p in running]
        took = (time.monotonic() - began) * 1e3
    finally:
        for bundle in bundles:
            shutil.rmtree(bundle, ignore_errors=True)
    if any(states):
        raise RuntimeError(f"{sum(1 for s in states if s)} of {count} failed")
    return [took]


def idle(runtime, guest, true, seconds, record):
    with Idle(runtime, guest) as container:
        record("idle/pss", "MB", [container.pss_mb()])
        before = container.switches_and_ns()
        time.sleep(seconds)
        after = container.switches_and_ns()
        record("idle/wakeups", "1/s", [(after[0] - before[0]) / seconds])
        record("idle/cpu", "ms/s", [(after[1] - before[1]) / 1e6 / seconds])
        if not runtime.execs:
            raise Unavailable("no exec")
        record("startup/exec_true", "ms", [wall(runtime.command_for("exec", container.identity, true)) for _ in range(3)])


def measure(runtime, guest, true, quick, wanted, record, failed):
    """Calls record(name, unit, samples) or failed(name, why) for each of NAMES that `wanted` says yes to."""
    recorded = set()
    seconds = 3 if quick else 10

    def keep(name, unit, samples):
        recorded.add(name)
        if wanted(name):
            record(name, unit, samples)

    steps = [(("startup/run_true",), lambda: keep("startup/run_true", "ms", run_true(runtime, true))),
             (("startup/20_at_once",), lambda: keep("startup/20_at_once", "ms", at_once(runtime, true))),
             (("idle/pss_of_many",), lambda: keep("idle/pss_of_many", "MB", idle_many(runtime, guest, 20 if quick else 200))),
             (("idle/pss", "idle/wakeups", "idle/cpu", "startup/exec_true"), lambda: idle(runtime, guest, true, seconds, keep))]
    for names, step in steps:
        names = [n for n in names if wanted(n)]
        if not names:
            continue
        recorded.clear()
        try:
            step()
        except (Unavailable, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            for name in names:
                if name not in recorded:
                    failed(name, str(error))
