#!/usr/bin/env python3
"""Checks of containerd, Docker and Podman with a runtime, side by side with others.

usage: engines.py [--runtimes runsc,runc,crun,gvisor=PATH] [--engines ctr,docker,podman] [--only TEXT] [--json FILE]

Needs root and Debian's containerd, docker.io, podman, iproute2, iptables, tini and busybox-static. Daemons run in mount and network
namespaces made for this run, with state on a tmpfs, and end with it; nothing of the machine's own engines is touched.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIMIT = 60
IMAGE = "busybox"
NPROC = "nproc=4096:8192"
CHECKS = {"ctr": [], "docker": [], "podman": []}


class Failed(Exception):
    pass


def check(engine):
    def register(function):
        CHECKS[engine].append(function)
        return function
    return register


class Shell:
    """Commands of one engine with one runtime; `name` is a container name of this check's own."""

    def __init__(self, engine, runtime, path, folder):
        self.engine, self.runtime, self.path, self.folder = engine, runtime, path, folder
        self.name = "c"

    def run(self, *argv, stdin=subprocess.DEVNULL, limit=LIMIT):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                code = subprocess.call(argv, stdin=stdin, stdout=out, stderr=err, timeout=limit)
            except subprocess.TimeoutExpired:
                raise Failed(f"{' '.join(argv)}: no end after {limit} s") from None
            out.seek(0), err.seek(0)
            return code, out.read().decode(errors="replace"), err.read().decode(errors="replace")

    def expect(self, wanted, *argv, code=0, error=None, **options):
        """`wanted`: text that the output must contain, or None. Returns the output."""
        got, out, err = self.run(*argv, **options)
        if code is not None and got != code or wanted is not None and wanted not in out or error is not None and error not in err:
            raise Failed(f"{' '.join(argv)}: exit {got}, stdout {out[-300:]!r}, stderr {err[-300:]!r}")
        return out

    @staticmethod
    def same(wanted, got):
        if wanted != got:
            raise Failed(f"{got!r} instead of {wanted!r}")

    def until(self, wanted, *argv, limit=20, exact=False):
        end = time.monotonic() + limit
        while True:
            _, out, err = self.run(*argv)
            if wanted == out.strip() if exact else wanted in out:
                return out
            if time.monotonic() > end:
                raise Failed(f"{' '.join(argv)}: never {wanted!r}, but {out[-300:]!r} {err[-300:]!r}")
            time.sleep(0.05)

    def on_terminal(self, *argv):
        return ("script", "-qec", " ".join(shlex_quote(a) for a in argv), "/dev/null")

    # ctr
    def ctr(self, *options):
        return ("ctr", "run", *(("--runc-binary", self.path) if self.runtime != "runc" else ()), *options)

    # docker and podman
    def go(self, *options):
        if self.engine == "docker":
            return ("docker", "run", "--runtime", self.runtime, *options)
        return ("podman", "--runtime", self.path, "run", *options)

    def cli(self, *arguments):
        return ("docker", *arguments) if self.engine == "docker" else ("podman", "--runtime", self.path, *arguments)


def shlex_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


# --- containerd ---

REF = "docker.io/library/busybox:latest"


@check("ctr")
def run(s):
    s.expect("hello", *s.ctr("--rm", REF, s.name, "echo", "hello"))


@check("ctr")
def exit_code(s):
    s.expect(None, *s.ctr("--rm", REF, s.name, "sh", "-c", "exit 5"), code=5)


@check("ctr")
def missing_program_fails_in_create(s):
    s.expect(None, *s.ctr("--rm", REF, s.name, "nosuch"), code=1, error="executable file not found")
    s.expect(None, *s.ctr("--rm", REF, s.name, "/etc/passwd"), code=1, error="permission denied")
    out = s.expect(None, "ctr", "task", "ls")
    if s.name in out:
        raise Failed("a task is left")


@check("ctr")
def terminal(s):
    s.expect("/dev/", *s.on_terminal(*s.ctr("-t", "--rm", REF, s.name, "tty")))


def task(s, *command):
    s.expect(None, *s.ctr("-d", REF, s.name, *command))


@check("ctr")
def life_of_a_task(s):
    task(s, "sleep", "1000")
    s.expect("RUNNING", "ctr", "task", "ls")
    s.expect("PID", "ctr", "task", "ps", s.name)
    s.expect(None, "ctr", "task", "kill", "-s", "9", s.name)
    s.until("STOPPED", "ctr", "task", "ls")
    s.expect(None, "ctr", "task", "delete", s.name, error="code 137")
    s.expect(None, "ctr", "c", "rm", s.name)
    if s.name in s.expect(None, "ctr", "task", "ls"):
        raise Failed("a task is left")


@check("ctr")
def exit_code_of_a_task(s):
    task(s, "sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.1; done")
    s.expect("here", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "here")
    s.expect(None, "ctr", "task", "kill", s.name)
    s.until("STOPPED", "ctr", "task", "ls")
    s.expect(None, "ctr", "task", "delete", s.name, error="code 6")


@check("ctr")
def task_exec(s):
    task(s, "sleep", "1000")
    s.expect("in", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "in")
    s.expect(None, "ctr", "task", "exec", "--exec-id", "e2", s.name, "sh", "-c", "exit 9", code=9)
    s.expect(None, "ctr", "task", "exec", "--exec-id", "e4", s.name, "nosuch", code=1, error="executable file not found")
    s.expect(None, "ctr", "task", "exec", "--exec-id", "e5", s.name, "/etc/passwd", code=1, error="permission denied")


@check("ctr")
def task_exec_terminal(s):
    task(s, "sleep", "1000")
    s.expect("/dev/", *s.on_terminal("ctr", "task", "exec", "-t", "--exec-id", "e3", s.name, "tty"))


@check("ctr")
def task_pause(s):
    task(s, "sleep", "1000")
    s.expect(None, "ctr", "task", "pause", s.name)
    s.expect("PAUSED", "ctr", "task", "ls")
    s.expect(None, "ctr", "task", "resume", s.name)
    s.expect("in", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "in")


@check("ctr")
def task_metrics(s):
    task(s, "sleep", "1000")
    out = s.expect("memory.usage_in_bytes", "ctr", "task", "metrics", s.name)
    usage = int(re.search(r"memory.usage_in_bytes\s+(\d+)", out)[1])
    if usage == 0 or "pids.current" not in out:
        raise Failed(out)


@check("ctr")
def host_network_and_mounts(s):
    folder = os.path.join(s.folder, "volume")
    os.makedirs(folder)
    with open(os.path.join(folder, "file"), "w") as file:
        file.write("content")
    s.expect("content", *s.ctr("--rm", "--net-host", "--mount", f"type=bind,src={folder},dst=/v,options=rbind:ro", REF, s.name, "cat", "/v/file"))


@check("ctr")
def limits_of_a_task(s):
    s.expect(None, *s.ctr("-d", "--memory-limit", str(64 << 20), REF, s.name, "sleep", "1000"))
    for path in (f"/sys/fs/cgroup/memory/default/{s.name}/memory.limit_in_bytes", f"/sys/fs/cgroup/default/{s.name}/memory.max"):
        if os.path.exists(path):
            with open(path) as file:
                return s.same(str(64 << 20), file.read().strip())
    raise Failed("there is no control group")


# --- Docker and Podman ---

def both(function):
    CHECKS["docker"].append(function)
    CHECKS["podman"].append(function)
    return function


def started(s, *options, command=("sleep", "1000")):
    s.expect(None, *s.go("-d", "--name", s.name, *options, IMAGE, *command))


@both
def run_rm(s):
    s.expect("hello", *s.go("--rm", IMAGE, "echo", "hello"))


@both
def exit_codes(s):
    s.expect(None, *s.go("--rm", IMAGE, "sh", "-c", "exit 5"), code=5)
    s.expect(None, *s.go("--rm", IMAGE, "nosuch"), code=127)
    s.expect(None, *s.go("--rm", IMAGE, "/etc/passwd"), code=126)


@both
def exec_exit_codes(s):
    started(s)
    # Docker 20 says 126 for both, whatever the runtime.
    s.expect(None, *s.cli("exec", s.name, "nosuch"), code=126 if s.engine == "docker" else 127)
    s.expect(None, *s.cli("exec", s.name, "/etc/passwd"), code=126)


@both
def entrypoint_and_groups(s):
    s.expect("0 7 8", *s.go("--rm", "--entrypoint", "id", "--group-add", "7", "--group-add", "8", IMAGE, "-G"))


@both
def detached_and_removed(s):
    started(s, "--rm", command=("sleep", "1000"))
    s.expect(None, *s.cli("stop", "-t", "0", s.name), code=None)
    s.until("", *s.cli("ps", "-aq", "--filter", f"name={s.name}"), exact=True)


@both
def environment_folder_user(s):
    s.expect("b\n/tmp\n1000 1001\n", *s.go("--rm", "-e", "A=b", "-w", "/tmp", "-u", "1000:1001", IMAGE, "sh", "-c",
                                          "echo $A; pwd; echo $(id -u) $(id -g)"))


@both
def terminal_of_run(s):
    s.expect("/dev/", *s.on_terminal(*s.go("-it", "--rm", IMAGE, "tty")))


@both
def standard_input(s):
    with open("/etc/hostname") as file:
        s.expect("0", *s.go("-i", "--rm", IMAGE, "sh", "-c", "cat >/dev/null; echo $?"), stdin=file)


@both
def standard_input_through_the_engine(s):
    with tempfile.TemporaryFile() as text:
        text.write(b"from outside\n")
        text.seek(0)
        s.expect("from outside", *s.go("-i", "--rm", IMAGE, "cat"), stdin=text)


@both
def volumes(s):
    folder = os.path.join(s.folder, "volume")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "file"), "w") as file:
        file.write("content")
    s.expect("content", *s.go("--rm", "-v", f"{folder}:/v", IMAGE, "sh", "-c", "cat /v/file; echo new > /v/new"))
    with open(os.path.join(folder, "new")) as file:
        if file.read() != "new\n":
            raise Failed("the write did not reach the host")
    s.expect("content", *s.go("--rm", "-v", f"{folder}/file:/f:ro", IMAGE, "cat", "/f"))
    s.expect(None, *s.go("--rm", "-v", f"{folder}:/v:ro", IMAGE, "touch", "/v/x"), code=1, error="Read-only")


@both
def tmpfs_and_read_only_root(s):
    s.expect("tmpfs", *s.go("--rm", "--tmpfs", "/t:size=1m", "--read-only", IMAGE, "sh", "-c", "touch /t/a && mount | grep ' /t '"))
    s.expect(None, *s.go("--rm", "--read-only", IMAGE, "touch", "/x"), code=1, error="Read-only")


@both
def shared_memory_and_devices(s):
    s.expect("2.0M", *s.go("--rm", "--shm-size", "2m", IMAGE, "df", "-h", "/dev/shm"))
    s.expect("0", *s.go("--rm", "--device", "/dev/null:/dev/nothing", IMAGE, "sh", "-c", "wc -c < /dev/nothing"))


@both
def mount_with_the_capability(s):
    s.expect("mounted", *s.go("--rm", "--cap-add", "SYS_ADMIN", IMAGE, "sh", "-c", "mount -t tmpfs none /tmp && echo mounted"))


@both
def capabilities(s):
    s.expect("0000000000000000", *s.go("--rm", "--cap-drop", "ALL", IMAGE, "grep", "CapEff", "/proc/self/status"))
    s.expect("0000000000001000", *s.go("--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", IMAGE, "grep", "CapEff", "/proc/self/status"))


@both
def no_new_privileges(s):
    s.expect("1", *s.go("--rm", "--security-opt", "no-new-privileges", IMAGE, "grep", "NoNewPrivs", "/proc/self/status"))


@both
def seccomp_profile(s):
    profile = os.path.join(s.folder, "seccomp.json")
    with open(profile, "w") as file:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}, file)
    s.expect(None, *s.go("--rm", "--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/x"), code=1, error="not permitted")


@both
def memory_limit(s):
    s.expect(f"{64 << 10} kB", *s.go("--rm", "--memory", "64m", IMAGE, "grep", "MemTotal", "/proc/meminfo"))


@both
def memory_limit_is_kept(s):
    """Whoever exceeds it dies, and the engine knows why."""
    started(s, "--memory", "64m", "--memory-swap", "64m", command=("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"))
    s.expect("137", *s.cli("wait", s.name))
    s.until("true", *s.cli("inspect", "-f", "{{.State.OOMKilled}}", s.name))


@both
def memory_limit_in_cgroup_files(s):
    s.expect(str(64 << 20), *s.go("--rm", "--memory", "64m", IMAGE, "sh", "-c",
                                  "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"), code=None)


@both
def cpu_limit(s):
    s.expect("1\n", *s.go("--rm", "--cpus", "1", IMAGE, "nproc"))


@both
def cpu_limit_in_cgroup_files(s):
    s.expect("50000", *s.go("--rm", "--cpus", "0.5", IMAGE, "sh", "-c",
                            "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null"), code=None)
    s.expect("1\n", *s.go("--rm", "--cpuset-cpus", "0", IMAGE, "nproc"))


@both
def pids_limit(s):
    s.expect(None, *s.go("--rm", "--pids-limit", "10", IMAGE, "sh", "-c", "for i in $(seq 20); do sleep 1 & done; echo all"), code=None, error="fork")


@both
def ulimit_and_hostname(s):
    # Podman adds its own for those that are not given, above what this machine may allow.
    nproc = ("--ulimit", NPROC) if s.engine == "podman" else ()
    s.expect("100\n", *s.go("--rm", "--ulimit", "nofile=100:200", *nproc, IMAGE, "sh", "-c", "ulimit -n"))
    s.expect("hh\n", *s.go("--rm", "--hostname", "hh", IMAGE, "hostname"))


@both
def sysctl(s):
    s.expect("1", *s.go("--rm", "--sysctl", "net.ipv4.ip_forward=1", IMAGE, "cat", "/proc/sys/net/ipv4/ip_forward"))


@both
def init_process(s):
    s.expect(None, *s.go("--rm", "--init", IMAGE, "sh", "-c", "exit 3"), code=3)
    s.expect("init", *s.go("--rm", "--init", IMAGE, "cat", "/proc/1/cmdline"))


@both
def network_none(s):
    out = s.expect("lo", *s.go("--rm", "--network", "none", IMAGE, "ip", "addr"))
    if "eth0" in out:
        raise Failed("there is an eth0")


@both
def network_host(s):
    s.expect("lo", *s.go("--rm", "--network", "host", IMAGE, "ip", "addr"))


@both
def network_bridge(s):
    out = s.expect("eth0", *s.go("--rm", IMAGE, "ip", "addr"))
    if not re.search(r"inet (172|10)\.", out):
        raise Failed(f"no address: {out!r}")
    s.expect("default", *s.go("--rm", IMAGE, "ip", "route"))


@both
def published_port(s):
    started(s, "-p", "18080:80", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    end = time.monotonic() + 10
    while True:
        code, out, _ = s.run("busybox", "nc", "-w", "2", "127.0.0.1", "18080")
        if "served" in out:
            return
        if time.monotonic() > end:
            raise Failed("nothing was served")
        time.sleep(0.1)


@both
def containers_reach_each_other(s):
    started(s, command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    address = s.expect(".", *s.cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", s.name)).strip()
    s.until("served", *s.go("--rm", IMAGE, "nc", "-w", "2", address, "80"))


@both
def network_of_another(s):
    started(s, command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    s.until("served", *s.go("--rm", "--network", f"container:{s.name}", IMAGE, "nc", "-w", "2", "127.0.0.1", "80"))


@both
def host_network_below_1024(s):
    started(s, "--network", "host", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    s.until("served", "busybox", "nc", "-w", "2", "127.0.0.1", "80")


@both
def ping(s):
    started(s)
    address = s.expect(".", *s.cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", s.name)).strip()
    s.expect("1 packets received", *s.go("--rm", IMAGE, "ping", "-c", "1", "-W", "2", address))


@check("docker")
def dns_of_a_user_network(s):
    s.run("docker", "network", "create", "n")
    try:
        started(s, "--network", "n", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
        s.expect("Name", *s.go("--rm", "--network", "n", IMAGE, "nslookup", s.name), code=None)
        s.until("served", *s.go("--rm", "--network", "n", IMAGE, "nc", "-w", "2", s.name, "80"))
    finally:
        s.run("docker", "rm", "-f", s.name)
        s.run("docker", "network", "rm", "n")


@both
def exec_(s):
    started(s)
    s.expect("in", *s.cli("exec", s.name, "echo", "in"))
    s.expect(None, *s.cli("exec", s.name, "sh", "-c", "exit 4"), code=4)
    s.expect("b\n/tmp\n7\n", *s.cli("exec", "-e", "A=b", "-w", "/tmp", "-u", "7", s.name, "sh", "-c", "echo $A; pwd; id -u"))


@both
def exec_terminal(s):
    started(s)
    s.expect("/dev/", *s.on_terminal(*s.cli("exec", "-it", s.name, "tty")))


@both
def exec_detached(s):
    started(s)
    s.expect(None, *s.cli("exec", "-d", s.name, "sh", "-c", "echo 1 > /tmp/done"))
    s.until("1", *s.cli("exec", s.name, "cat", "/tmp/done"))


@check("podman")
def exec_preserved_descriptors(s):
    started(s)
    line = "exec 3</etc/hostname; exec \"$@\""
    s.expect("0", "sh", "-c", line, "sh", *s.cli("exec", "--preserve-fds", "1", s.name, "sh", "-c", "cat <&3 > /dev/null; echo $?"))


@both
def logs(s):
    started(s, command=("sh", "-c", "echo one; echo two >&2"))
    s.expect(None, *s.cli("wait", s.name))
    _, out, err = s.run(*s.cli("logs", s.name))
    if (out, err) != ("one\n", "two\n"):
        raise Failed(f"logs: {out!r} {err!r}")


@both
def stop(s):
    started(s, command=("sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.1; done"))
    s.expect(None, *s.cli("stop", "-t", "20", s.name))
    s.expect("6\n", *s.cli("inspect", "-f", "{{.State.ExitCode}}", s.name))


@both
def stop_by_kill(s):
    started(s)
    s.expect(None, *s.cli("stop", "-t", "1", s.name))
    s.expect("137\n", *s.cli("inspect", "-f", "{{.State.ExitCode}}", s.name))


@both
def kill(s):
    started(s)
    s.expect(None, *s.cli("kill", s.name))
    s.expect("137\n", *s.cli("wait", s.name))


@both
def kill_with_a_signal(s):
    started(s, command=("sh", "-c", "trap 'exit 8' USR1; while :; do sleep 0.1; done"))
    s.expect("in", *s.cli("exec", s.name, "echo", "in"))
    s.expect(None, *s.cli("kill", "-s", "USR1", s.name))
    s.expect("8\n", *s.cli("wait", s.name))


@both
def restart_policy(s):
    started(s, "--restart", "on-failure:2", command=("sh", "-c", "echo run; exit 1"))
    s.until("run\nrun\nrun\n", *s.cli("logs", s.name))


@both
def restart(s):
    started(s, command=("sh", "-c", "echo run; exec sleep 1000"))
    s.expect(None, *s.cli("restart", "-t", "0", s.name))
    s.until("run\nrun\n", *s.cli("logs", s.name))
    s.expect("true", *s.cli("inspect", "-f", "{{.State.Running}}", s.name))


@both
def top(s):
    started(s, command=("sleep", "4321"))
    s.expect("sleep 4321", *s.cli("top", s.name))


@both
def stats(s):
    started(s)
    out = s.expect(None, *s.cli("stats", "--no-stream", "--format", "{{.MemUsage}}", s.name))
    if out.startswith("0B") or "/" not in out:
        raise Failed(f"stats: {out!r}")


@both
def pause(s):
    started(s)
    s.expect(None, *s.cli("pause", s.name))
    s.expect("paused", *s.cli("inspect", "-f", "{{.State.Status}}", s.name))
    s.expect(None, *s.cli("unpause", s.name))
    s.expect("in", *s.cli("exec", s.name, "echo", "in"))


@check("docker")
def update(s):
    started(s, "--memory", "64m")
    s.expect(None, "docker", "update", "--memory", "128m", "--memory-swap", "128m", s.name)
    s.expect(f"{128 << 10} kB", "docker", "exec", s.name, "grep", "MemTotal", "/proc/meminfo")


@check("podman")
def update_(s):
    started(s, "--memory", "64m")
    s.expect(None, *s.cli("update", "--memory", "128m", "--memory-swap", "128m", s.name))
    s.expect(f"{128 << 10} kB", *s.cli("exec", s.name, "grep", "MemTotal", "/proc/meminfo"))


@both
def copy_and_diff(s):
    started(s)
    s.expect(None, *s.cli("exec", s.name, "sh", "-c", "echo inside > /new"))
    s.expect("A /new", *s.cli("diff", s.name))
    there = os.path.join(s.folder, "copied")
    s.expect(None, *s.cli("cp", f"{s.name}:/new", there))
    with open(there) as file:
        if file.read() != "inside\n":
            raise Failed("copied something else")
    with open(os.path.join(s.folder, "in"), "w") as file:
        file.write("from outside")
    s.expect(None, *s.cli("cp", os.path.join(s.folder, "in"), f"{s.name}:/in"))
    s.expect("from outside", *s.cli("exec", s.name, "cat", "/in"))


@both
def copy_of_a_folder(s):
    started(s)
    folder = os.path.join(s.folder, "tree")
    os.makedirs(os.path.join(folder, "a/b"))
    with open(os.path.join(folder, "a/b/c"), "w") as file:
        file.write("deep")
    # A file that the container has looked at is replaced, too.
    s.expect(None, *s.cli("exec", s.name, "sh", "-c", "echo old > /tmp/seen; cat /tmp/seen"))
    with open(os.path.join(s.folder, "seen"), "w") as file:
        file.write("new")
    s.expect(None, *s.cli("cp", os.path.join(s.folder, "seen"), f"{s.name}:/tmp/seen"))
    s.expect(None, *s.cli("cp", folder, f"{s.name}:/tmp"))
    s.expect("newdeep", *s.cli("exec", s.name, "cat", "/tmp/seen", "/tmp/tree/a/b/c"))


@both
def export(s):
    started(s, command=("sh", "-c", "echo kept > /kept"))
    s.expect(None, *s.cli("wait", s.name))
    archive = os.path.join(s.folder, "export.tar")
    s.expect(None, *s.cli("export", "-o", archive, s.name))
    s.expect("kept", "tar", "-xOf", archive, "kept")


@both
def commit(s):
    started(s, command=("sh", "-c", "echo kept > /kept"))
    s.expect(None, *s.cli("wait", s.name))
    s.expect(None, *s.cli("commit", s.name, "committed"))
    s.expect("kept", *s.go("--rm", "committed", "cat", "/kept"))
    s.run(*s.cli("rmi", "committed"))


@check("docker")
def health_check(s):
    started(s, "--health-cmd", "true", "--health-interval", "1s")
    s.until("healthy", "docker", "inspect", "-f", "{{.State.Health.Status}}", s.name, exact=True)
    s.expect(None, "docker", "rm", "-f", s.name)
    started(s, "--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1")
    s.until("unhealthy", "docker", "inspect", "-f", "{{.State.Health.Status}}", s.name)


@check("podman")
def health_check_(s):
    started(s, "--health-cmd", "true", "--health-interval", "disable")
    s.expect(None, *s.cli("healthcheck", "run", s.name))


def dockerfile(s):
    folder = os.path.join(s.folder, "build")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "Dockerfile"), "w") as file:
        file.write(f"FROM {IMAGE}\nRUN echo built > /built && id\nCOPY Dockerfile /copied\nCMD cat /built\n")
    return folder


@check("docker")
def build(s):
    # The classic builder uses the default runtime; the daemon of this run has the tested one there.
    s.expect(None, "env", "DOCKER_BUILDKIT=0", "docker", "build", "-t", "built", dockerfile(s), limit=120)
    s.expect("built", *s.go("--rm", "built"))
    s.run("docker", "rmi", "-f", "built")


@check("podman")
def build_(s):
    s.expect(None, "podman", "--runtime", s.path, "build", "--isolation", "oci", "-t", "built", dockerfile(s), limit=120)
    s.expect("built", *s.go("--rm", "built"))
    s.run("podman", "rmi", "-f", "built")


@check("podman")
def pod(s):
    s.expect(None, *s.cli("pod", "create", "--name", "p", "--infra-command", "sleep 1000", "--infra-image", IMAGE), code=None)
    try:
        s.expect("pod", *s.go("--rm", "--pod", "p", IMAGE, "echo", "pod"))
    finally:
        s.run(*s.cli("pod", "rm", "-f", "p"))


# --- The daemons. ---

class Machine:
    """Mount and network namespaces of this process's own, with daemons in them."""

    def __init__(self, runtimes, folder, engines):
        self.folder, self.daemons = folder, []
        for path in ("/run", "/var/lib/containerd", "/var/lib/docker", "/var/lib/containers"):
            os.makedirs(path, exist_ok=True)
            subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", path])
        subprocess.check_call(["ip", "link", "set", "lo", "up"])
        # In a hybrid set-up engines must take version 1.
        subprocess.call(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)
        self.limit_podman()
        self.archive = os.path.join(folder, "busybox.tar")
        self.make_image(os.path.join(folder, "rootfs"))
        if {"ctr", "docker"} & set(engines):
            self.start("containerd", ["containerd"], ["ctr", "version"])
            config = {"runtimes": {name: {"path": path} for name, path in runtimes.items() if name != "runc"}, "storage-driver": "vfs",
                      "default-runtime": next(iter(runtimes))}
            with open(os.path.join(folder, "daemon.json"), "w") as file:
                json.dump(config, file)
            self.start("dockerd", ["dockerd", "--config-file", os.path.join(folder, "daemon.json"), "--containerd",
                                   "/run/containerd/containerd.sock"], ["docker", "version"])
            quiet(["docker", "import", self.archive, IMAGE])
            quiet(["docker", "save", IMAGE, "-o", os.path.join(folder, "image.tar")])
            quiet(["ctr", "image", "import", os.path.join(folder, "image.tar")])
        if "podman" in engines:
            quiet(["podman", "import", self.archive, IMAGE])

    def limit_podman(self):
        """Podman raises limits beyond what a machine without CAP_SYS_RESOURCE allows any runtime."""
        path = os.path.join(self.folder, "containers.conf")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with open(path, "w") as file:
            file.write(f'[containers]\ndefault_ulimits = ["nofile={min(hard, 1024)}:{hard}", "{NPROC}"]\n')
        os.environ["CONTAINERS_CONF"] = path

    def make_image(self, root):
        for path in ("bin", "etc", "tmp", "root", "proc", "dev", "sys"):
            os.makedirs(os.path.join(root, path))
        busybox = next(p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p))
        shutil.copy(busybox, os.path.join(root, "bin/busybox"))
        for applet in subprocess.check_output([busybox, "--list"], text=True).split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(root, "bin", applet))
        with open(os.path.join(root, "etc/passwd"), "w") as file:
            file.write("root:x:0:0:root:/root:/bin/sh\n")
        subprocess.check_call(["tar", "-C", root, "-cf", self.archive, "."])

    def start(self, name, argv, probe):
        log = open(os.path.join(self.folder, name + ".log"), "w")
        self.daemons.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        end = time.monotonic() + 60
        while subprocess.call(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
            if time.monotonic() > end or self.daemons[-1].poll() is not None:
                raise SystemExit(f"{name} did not start: {log.name}")
            time.sleep(0.1)

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()


def gvisor(path, folder):
    """Its own network stack takes this run's namespace for the machine's and fails: it gets the host's, in the container's namespace."""
    script = os.path.join(folder, "gvisor")
    with open(script, "w") as file:
        file.write(f'#!/bin/sh\nexec {path} --network=host "$@"\n')
    os.chmod(script, 0o755)
    return script


def quiet(argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def clean(shell):
    if shell.engine == "ctr":
        shell.run("ctr", "task", "kill", "-s", "9", shell.name)
        shell.run("ctr", "task", "delete", "-f", shell.name)
        shell.run("ctr", "c", "rm", shell.name)
    else:
        shell.run(*shell.cli("rm", "-f", shell.name))


def inside(options):
    engines = options.engines.split(",")
    results, folder = {}, tempfile.mkdtemp(prefix="engines-", dir="/tmp")
    runtimes = {}
    for item in options.runtimes.split(","):
        name, _, path = item.partition("=")
        runtimes[name] = gvisor(path, folder) if name == "gvisor" else path or (options.runsc if name == "runsc" else shutil.which(name))
    machine = Machine(runtimes, folder, engines)
    number = 0
    try:
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
                    except Failed as error:
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
    failed = [k for k, o in results.items() if k.endswith(" runsc") and o != "pass"]
    return 1 if failed or not results else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runsc", default="bazel-bin/runsc/runsc")
    parser.add_argument("--runtimes", default="runsc")
    parser.add_argument("--engines", default="ctr,docker,podman")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.runsc = os.path.abspath(options.runsc)
    if not options.inside:
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv, "--inside", "--runsc", options.runsc])
    sys.exit(inside(options))


if __name__ == "__main__":
    main()
