"""What checks are made of: commands of an engine with a runtime, and what is expected of them."""

import os
import subprocess
import tempfile
import time

LIMIT = 60
IMAGE = "busybox"
REF = "docker.io/library/busybox:latest"
NPROC = "nproc=4096:8192"
CHECKS = {"ctr": [], "docker": [], "podman": [], "rootless": [], "cri": []}
USER = 4242  # whom rootless Podman runs as


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
        self.pods = []

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
        return self.cli("run", *options)

    def cli(self, *arguments):
        if self.engine == "docker":
            return ("docker", *arguments)
        return (*(as_user() if self.engine == "rootless" else ()), "podman", "--runtime", self.path, *arguments)


def as_user():
    ids = ("--reuid", str(USER), "--regid", str(USER), "--clear-groups")
    # Podman looks up its ids to map by the name that USER says.
    return ("setpriv", *ids, "env", "-C", "/home/engines", "HOME=/home/engines", "USER=engines", f"XDG_RUNTIME_DIR=/run/user/{USER}")


def shlex_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def later(condition, what, limit=20):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"timed out: {what}")
        time.sleep(0.05)


def both(function):
    CHECKS["docker"].append(function)
    CHECKS["podman"].append(function)
    return function


def started(s, *options, command=("sleep", "1000")):
    s.expect(None, *s.go("-d", "--name", s.name, *options, IMAGE, *command))


def dockerfile(s):
    folder = os.path.join(s.folder, "build")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "Dockerfile"), "w") as file:
        file.write(f"FROM {IMAGE}\nRUN echo built > /built && id\nCOPY Dockerfile /copied\nCMD cat /built\n")
    return folder


def clean(shell):
    if shell.engine == "cri":
        for pod in shell.pods:
            try:
                pod.remove()
            except RuntimeError as error:
                print(f"a pod is left: {error}", flush=True)
    elif shell.engine == "ctr":
        shell.run("ctr", "task", "kill", "-s", "9", shell.name)
        shell.run("ctr", "task", "delete", "-f", shell.name)
        shell.run("ctr", "c", "rm", shell.name)
    else:
        shell.run(*shell.cli("rm", "-f", shell.name))
