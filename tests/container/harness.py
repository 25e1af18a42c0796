"""Drives runsc as an engine does: bundles of a busybox root file system, a state folder per test, and the test process as
the subreaper that reaps containers. Nothing of a test may be left: no process, control group or state."""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from xml.sax.saxutils import escape, quoteattr

RUNSC = os.path.abspath(os.environ.get("RUNSC", "runsc/runsc"))
BUSYBOX = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), None)
LIMIT = 60  # seconds; of one runsc command
PR_SET_CHILD_SUBREAPER = 36
APPLETS = "uname ionice readlink tr nproc free sh cat echo sleep true false ps id ls mount stty tty kill env touch mkdir rm grep head wc ip hostname dd nc ping sync seq stat umask".split()


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def wait_for(condition, what, limit=20):
    """Polls something that has no event to wait for."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.005)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class ContainerTest(unittest.TestCase):
    def setUp(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.folder = tempfile.mkdtemp(prefix="container-", dir="/tmp")
        self.root = os.path.join(self.folder, "state")
        self.bundle = os.path.join(self.folder, "bundle")
        self.rootfs = os.path.join(self.bundle, "rootfs")
        self.made = []
        for path in ("bin", "etc", "tmp", "proc", "dev", "sys", "root"):
            os.makedirs(os.path.join(self.rootfs, path))
        shutil.copy(BUSYBOX, os.path.join(self.rootfs, "bin/busybox"))
        for applet in APPLETS:
            os.symlink("busybox", os.path.join(self.rootfs, "bin", applet))
        with open(os.path.join(self.rootfs, "etc/passwd"), "w") as passwd:
            passwd.write("root:x:0:0:root:/root:/bin/sh\n")

    def tearDown(self):
        # Members of a pod before its sandbox, and reaped: the init of a pid namespace ends after who is in it.
        for container in reversed(self.made):
            self.runsc("delete", "--force", container)
            self.reap()
        left = os.listdir(self.root) if os.path.isdir(self.root) else []
        groups = [g for c in self.made for g in self.cgroups(c)]
        shutil.rmtree(self.folder, ignore_errors=True)
        self.assertEqual(left, [], "state was left behind")
        self.assertEqual(groups, [], "control groups were left behind")

    @staticmethod
    def reap():
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def new_id(self):
        container = f"t{os.getpid()}-{len(self.made)}"
        self.made.append(container)
        return container

    @staticmethod
    def cgroups(container):
        found = []
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            found += [os.path.join(folder, name) for name in names if name in (container, container + ".runsc")]
        return found

    def config(self, *args, terminal=False, change=None, **process):
        """Writes config.json for a program; `change` edits the document."""
        path = os.path.join(self.bundle, "config.json")
        if os.path.exists(path):
            os.remove(path)
        subprocess.check_call([RUNSC, "spec", "--bundle", self.bundle])
        with open(path) as file:
            document = json.load(file)
        document["process"].update(args=list(args), terminal=terminal, **process)
        document["root"]["readonly"] = False
        document["process"]["noNewPrivileges"] = False
        if change:
            change(document)
        with open(path, "w") as file:
            json.dump(document, file)
        return document

    def argv(self, *args):
        return [RUNSC, "--root", self.root, *args]

    def runsc(self, *args, stdin=subprocess.DEVNULL, **options):
        """Waits for the command itself, not for the end of its output, which a container may share."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = subprocess.call(self.argv(*args), stdin=stdin, stdout=out, stderr=err, timeout=LIMIT, **options)
            out.seek(0), err.seek(0)
            return Result(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))

    def ok(self, *args, **options):
        result = self.runsc(*args, **options)
        self.assertEqual(result.code, 0, f"{args}: {result}")
        return result.out

    def fails(self, text, *args, code=1, **options):
        result = self.runsc(*args, **options)
        self.assertEqual(result.code, code, f"{args}: {result}")
        self.assertIn(text, result.err)
        return result

    def state(self, container):
        return json.loads(self.ok("state", container))

    def status(self, container):
        return self.state(container)["status"]

    def create(self, *options):
        container = self.new_id()
        self.ok("create", "--bundle", self.bundle, *options, container)
        return container

    def start(self, *options):
        container = self.create(*options)
        self.ok("start", container)
        return container

    def wait_exit(self, pid):
        """Reaps a container's process as a shim does: its exit code."""
        process = os.pidfd_open(pid)
        try:
            if not select.select([process], [], [], LIMIT)[0]:
                self.fail(f"process {pid} did not end")
        finally:
            os.close(process)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    if os.geteuid() != 0 or BUSYBOX is None:
        sys.exit("container tests need root and busybox-static")
    loader = unittest.TestLoader()
    if len(sys.argv) > 1:
        loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]]
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    results = []

    class Recorder(unittest.TextTestResult):
        def startTest(self, test):
            super().startTest(test)
            self.started = time.monotonic()

        def stopTest(self, test):
            super().stopTest(test)
            problems = [text for t, text in self.failures + self.errors if t is test]
            reasons = [reason for t, reason in self.skipped if t is test]
            results.append((test._testMethodName, type(test).__name__, time.monotonic() - self.started, problems, reasons))

    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Recorder).run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        with open(os.environ["XML_OUTPUT_FILE"], "w") as xml:
            xml.write("<testsuites><testsuite>\n")
            for name, group, seconds, problems, reasons in results:
                xml.write(f"<testcase name={quoteattr(name)} classname={quoteattr(group)} time='{seconds:.3f}'>")
                xml.writelines(f"<failure>{escape(text)}</failure>" for text in problems)
                xml.writelines(f"<skipped message={quoteattr(reason)}/>" for reason in reasons)
                xml.write("</testcase>\n")
            xml.write("</testsuite></testsuites>\n")
    sys.exit(0 if outcome.wasSuccessful() and results else 1)
