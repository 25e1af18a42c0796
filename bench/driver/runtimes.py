"""How a program is run under each runtime: the same root folder, the same arguments, one container a call."""

import ctypes
import dataclasses
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile

ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"]
PLAIN_ENVIRONMENT = dict(setting.split("=", 1) for setting in ENVIRONMENT)
CAPABILITIES = ["CAP_" + c for c in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()]

# What an OCI runtime gives its container, made by hand. $1: root folder; then the command.
CHROOT = r"""
set -e
cd "$1"; shift
mount -t proc proc proc
mount -t tmpfs -o mode=755,size=65536k tmpfs dev
mkdir dev/shm
mount -t tmpfs -o mode=1777,size=65536k tmpfs dev/shm
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/random c 1 8
ln -s /proc/self/fd dev/fd
ip link set lo up
exec chroot . /usr/bin/env -i "$@"
"""


@dataclasses.dataclass
class Outcome:
    lines: list  # decoded JSON objects that the program printed
    status: int  # exit status; None: stopped at the time limit
    text: str  # its standard output
    errors: str


def bundle_config(root, arguments):
    return {
        "ociVersion": "1.0.2",
        "hostname": "bench",
        "root": {"path": root, "readonly": False},
        "process": {
            "terminal": False, "args": arguments, "env": ENVIRONMENT, "cwd": "/", "user": {"uid": 0, "gid": 0},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}], "noNewPrivileges": True,
            "capabilities": {s: CAPABILITIES for s in ("bounding", "effective", "permitted")},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        ],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")]},
    }


def isolate():
    """Orphans of detached runtimes become our children, so that they can be found and reaped; and crun, which refuses a
    machine with both cgroup versions mounted, finds only the first."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "prctl")
    if os.geteuid() == 0 and os.path.ismount("/sys/fs/cgroup/unified"):
        private = 0x40000 | 0x4000  # MS_PRIVATE | MS_REC
        if libc.unshare(0x20000) != 0 or libc.mount(None, b"/", None, private, None) != 0:  # CLONE_NEWNS
            raise OSError(ctypes.get_errno(), "mount namespace")
        libc.umount2(b"/sys/fs/cgroup/unified", 2)  # MNT_DETACH


def descendants(pid=None):
    """Pids below `pid` (default: this process)."""
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = open(path).read()
        except OSError:
            continue
        parent = int(text.rsplit(")", 1)[1].split()[1])
        children.setdefault(parent, []).append(int(path.split("/")[2]))
    found, todo = [], [pid or os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def decode(text):
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"name": "?", "error": "not JSON: " + line[:100]})
    return lines


def call(argv, timeout, environment=None):
    """Runs to the end or to the limit, and takes the whole session down at the limit."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, env=environment)
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(3)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        out.seek(0)
        err.seek(0)
        text = out.read().decode(errors="replace")
        return Outcome(decode(text), status, text, err.read().decode(errors="replace")[-2000:])


class Native:
    """A plain chroot in namespaces of its own; with the host's own root, no chroot at all."""

    name = "native"
    oci = False

    def __init__(self, root):
        self.root = root

    def version(self):
        return "Linux " + os.uname().release

    def run(self, arguments, timeout):
        if self.root == "/":
            return call(arguments, timeout, PLAIN_ENVIRONMENT)
        argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net",
                "sh", "-c", CHROOT, "chroot", self.root, *ENVIRONMENT, *arguments]
        return call(argv, timeout)


class Do:
    """Our `do` over the host's own root: what works without a root file system, and without root."""

    oci = False

    def __init__(self, binary, platform):
        self.name = "runsc-" + platform
        self.command = [binary, "--platform=" + platform, "do"]

    def version(self):
        return first_line([self.command[0], "--version"])

    def run(self, arguments, timeout):
        return call(self.command + arguments, timeout, PLAIN_ENVIRONMENT)


class Oci:
    """A runtime with runc's command line."""

    oci = True
    count = 0

    def __init__(self, name, command, root, folder):
        self.name, self.command, self.root = name, command, root
        self.state = os.path.join(folder, "state-" + name)
        self.folder = os.path.join(folder, "bundle-" + name)
        os.makedirs(self.state, exist_ok=True)
        os.makedirs(self.folder, exist_ok=True)
        self.command = [*command[:1], "--root", self.state, *command[1:]]
        self.detaches = "detach" in self.help("run")
        self.execs = "exec" in self.help().replace("executable", "")

    def help(self, *verb):
        argv = [self.command[0], *verb, "--help"] if self.name != "gvisor" else [self.command[0], "help", *verb]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.stdout + done.stderr

    def version(self):
        return first_line([self.command[0], "--version"])

    def identity(self):
        Oci.count += 1
        return f"bench-{os.getpid()}-{Oci.count}"

    def bundle(self, arguments):
        """A bundle for `arguments`; a new one each time, since several containers may start at once."""
        folder = tempfile.mkdtemp(dir=self.folder)
        with open(os.path.join(folder, "config.json"), "w") as config:
            json.dump(bundle_config(self.root, arguments), config)
        return folder

    def command_for(self, verb, *rest):
        return [*self.command, verb, *rest]

    def run(self, arguments, timeout):
        identity, bundle = self.identity(), self.bundle(arguments)
        try:
            outcome = call(self.command_for("run", "--bundle", bundle, identity), timeout)
            if outcome.status is None:
                self.delete(identity)
            return outcome
        finally:
            shutil.rmtree(bundle, ignore_errors=True)

    def delete(self, identity):
        subprocess.run(self.command_for("delete", "--force", identity), capture_output=True, timeout=60)


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().split("\n")[0]


def find(names, root, runsc, gvisor, folder):
    """The runtimes that are here, in report order; `names` (or None for all) selects."""
    found = [Native(root)]
    if root == "/":
        found += [Do(runsc, "systrap"), Do(runsc, "ptrace")]
    else:
        for name in ("runc", "crun"):
            if shutil.which(name):
                found.append(Oci(name, [shutil.which(name)], root, folder))
        if gvisor and os.path.exists(gvisor):
            found.append(Oci("gvisor", [gvisor, "--platform=systrap", "--network=none", "--ignore-cgroups"], root, folder))
        for platform in ("systrap", "ptrace"):
            found.append(Oci("runsc-" + platform, [runsc, "--platform=" + platform, "--network=none"], root, folder))
    if names:
        unknown = [n for n in names if n not in [r.name for r in found]]
        if unknown:
            raise SystemExit(f"bench: no runtime {', '.join(unknown)} here; there are {', '.join(r.name for r in found)}")
        found = [r for r in found if r.name in names]
    return found
