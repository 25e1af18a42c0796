"""Checks of Docker and Podman: what is done with containers and images."""

import os

from shell import IMAGE, Failed, both, check, dockerfile, started


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
