"""Checks of Podman as an ordinary user runs it."""

from shell import IMAGE, check, dockerfile, started


@check("rootless")
def run_without_network(s):
    s.expect("0\n", *s.go("--rm", "--network", "none", IMAGE, "id", "-u"))
    s.expect(None, *s.go("--rm", "--network", "none", IMAGE, "sh", "-c", "exit 5"), code=5)
    s.expect(None, *s.go("--rm", "--network", "none", IMAGE, "nosuch"), code=127)


@check("rootless")
def run_with_the_hosts_network(s):
    started(s, "--network", "host", command=("nc", "-ll", "-p", "8080", "-e", "echo", "served"))
    s.until("served", "busybox", "nc", "-w", "2", "127.0.0.1", "8080")


@check("rootless")
def files_of_an_ordinary_user(s):
    s.expect("0 7", *s.go("--rm", "--network", "none", IMAGE, "sh", "-c", "touch /a /b; chown 7 /b; echo $(stat -c %u /a /b)"))
    s.expect("1000", *s.go("--rm", "--network", "none", "-u", "1000", IMAGE, "id", "-u"))


@check("rootless")
def exec_and_stop(s):
    started(s, "--network", "none")
    s.expect("in", *s.cli("exec", s.name, "echo", "in"))
    s.expect(None, *s.cli("exec", s.name, "sh", "-c", "exit 4"), code=4)
    s.expect("/dev/", *s.on_terminal(*s.cli("exec", "-it", s.name, "tty")))
    s.expect(None, *s.cli("stop", "-t", "0", s.name))
    s.expect("137\n", *s.cli("inspect", "-f", "{{.State.ExitCode}}", s.name))


@check("rootless")
def logs_of_an_ordinary_user(s):
    started(s, "--network", "none", command=("sh", "-c", "echo one; echo two >&2"))
    s.expect(None, *s.cli("wait", s.name))
    s.expect("one", *s.cli("logs", s.name))


@check("rootless")
def build_of_an_ordinary_user(s):
    folder = dockerfile(s)
    s.expect(None, *s.cli("build", "--isolation", "oci", "--network", "none", "-t", "built", folder), limit=120)
    s.expect("built", *s.go("--rm", "--network", "none", "built"))
    s.run(*s.cli("rmi", "-f", "built"))
