"""Checks of containerd."""

import os
import re

from shell import REF, Failed, check


@check("ctr")
def run(s):
    # ctr itself, with every runtime, loses the output of a short process at times. So it is asked again, here and below.
    s.until("hello", *s.ctr("--rm", REF, s.name, "echo", "hello"))


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
    s.until("here", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "here")
    s.expect(None, "ctr", "task", "kill", s.name)
    s.until("STOPPED", "ctr", "task", "ls")
    s.expect(None, "ctr", "task", "delete", s.name, error="code 6")


@check("ctr")
def task_exec(s):
    task(s, "sleep", "1000")
    s.until("in", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "in")
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
    s.until("in", "ctr", "task", "exec", "--exec-id", "e1", s.name, "echo", "in")


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
    s.until("content", *s.ctr("--rm", "--net-host", "--mount", f"type=bind,src={folder},dst=/v,options=rbind:ro", REF, s.name, "cat", "/v/file"))


@check("ctr")
def limits_of_a_task(s):
    s.expect(None, *s.ctr("-d", "--memory-limit", str(64 << 20), REF, s.name, "sleep", "1000"))
    for path in (f"/sys/fs/cgroup/memory/default/{s.name}/memory.limit_in_bytes", f"/sys/fs/cgroup/default/{s.name}/memory.max"):
        if os.path.exists(path):
            with open(path) as file:
                return s.same(str(64 << 20), file.read().strip())
    raise Failed("there is no control group")
