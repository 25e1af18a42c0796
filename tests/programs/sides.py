"""The two sides of a comparison: a plain chroot and `runsc run`, each over a fresh overlay of the same root."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
               "TERM=dumb", "USER=root"]
# The script is no pid 1: what a namespace's init may ignore is not what these cases are about.
ARGUMENTS = ["/bin/sh", "-c", "/bin/bash /case/script.sh; exit $?"]
CAPABILITIES = ["CAP_" + c for c in (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_NICE SYS_RESOURCE MKNOD LEASE "
    "AUDIT_WRITE SETFCAP").split()]

# Runs in a mount namespace of its own, so that nothing stays mounted whatever happens. $1 scratch folder, $2 lower root,
# $3 case folder; "$4"… is run with the merged root at $1/merged.
OVERLAY = r"""
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/merged"
mkdir "$1/merged/case"
cp -a "$3/." "$1/merged/case/"
scratch=$1
shift 3
cd "$scratch"
exec "$@"
"""

# The root of the chroot side, made like what an OCI runtime gives: proc, sys, a small /dev.
CHROOT = r"""
set -e
cd merged
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755,size=65536k tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,size=65536k tmpfs dev/shm
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
hostname sandbox
ip link set lo up 2>/dev/null || true
exec chroot . /usr/bin/env -i "$@"
"""


# bash names the pid when it reports a killed job: "script.sh: line 7:    28 Killed   …".
JOB_PID = re.compile(r"(: line \d+:) +\d+ (Killed|Terminated|Segmentation|Aborted|Hangup)")


@dataclasses.dataclass
class Outcome:
    stdout: str
    stderr: str
    status: int  # exit code; negative a signal of the side's own process; None killed at the time limit
    seconds: float

    def comparable(self):
        return self.stdout, JOB_PID.sub(r"\1 PID \2", self.stderr), self.status

    def same(self, other):
        return self.comparable() == other.comparable()


def bundle_config():
    limits = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}]
    return {
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": "merged", "readonly": False},
        "process": {
            "terminal": False, "args": ARGUMENTS, "env": ENVIRONMENT, "cwd": "/", "user": {"uid": 0, "gid": 0},
            "rlimits": limits, "noNewPrivileges": False,
            "capabilities": {s: CAPABILITIES for s in ("bounding", "effective", "permitted")},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        ],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")]},
    }


class Side:
    """One way to run a case. `platform` is "chroot" or a platform of runsc."""

    def __init__(self, platform, root, runsc=None, flags=()):
        self.name = platform
        self.root = root
        self.runsc = runsc
        self.flags = list(flags)

    def command(self, scratch, identity):
        if self.name == "chroot":
            return ["sh", "-c", CHROOT, "chroot", *ENVIRONMENT, "sh", "-c", "ulimit -Sn 1024; ulimit -Hn 4096; exec \"$@\"", "sh", *ARGUMENTS]
        return [self.runsc, f"--platform={self.name}", "--network=none", *self.flags, "run", "--bundle", scratch, identity]

    def run(self, case, assets):
        scratch = tempfile.mkdtemp(prefix="programs-")
        files = tempfile.mkdtemp(prefix="programs-case-")
        try:
            shutil.copy(case.path, os.path.join(files, "script.sh"))
            for asset in case.assets:
                subprocess.run(["cp", "-a", os.path.join(assets, asset), files], check=True)
            return self.run_in(scratch, files, case.timeout)
        finally:
            shutil.rmtree(files, ignore_errors=True)
            shutil.rmtree(scratch, ignore_errors=True)

    def run_in(self, scratch, files, timeout):
        identity = os.path.basename(scratch)
        namespaces = ["--mount", "--propagation", "private"]
        if self.name == "chroot":
            namespaces += ["--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net"]
        argv = ["unshare", *namespaces, "sh", "-c", OVERLAY, "overlay", scratch, self.root, files]
        if self.name != "chroot":  # config.json has to appear beside the merged root, on the tmpfs
            argv += ["sh", "-c", 'printf %s "$0" >config.json; exec "$@"', json.dumps(bundle_config())]
        argv += self.command(scratch, identity)
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
                if self.name != "chroot":
                    # killing runsc is a test in itself; give it the chance to take its sandbox along
                    child.send_signal(signal.SIGTERM)
                    try:
                        child.wait(5)
                    except subprocess.TimeoutExpired:
                        pass
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                child.wait()
            seconds = time.monotonic() - began
            out.seek(0)
            err.seek(0)
            return Outcome(out.read().decode(errors="replace"), err.read().decode(errors="replace"), status, seconds)
