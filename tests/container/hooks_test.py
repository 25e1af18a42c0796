"""Hooks of all six kinds: order, the state on standard input, failures, timeouts."""

import json
import os

import harness

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class HooksTest(harness.ContainerTest):
    def hook(self, kind, script="true", **extra):
        """A hook that notes its kind and its standard input, then runs `script`."""
        if kind == "startContainer":  # runs inside
            return dict({"path": "/bin/sh", "args": ["sh", "-c", f"(echo {kind}; cat; echo) >> /tmp/log; {script}"], "env": ["PATH=/bin"]}, **extra)
        log = os.path.join(self.rootfs, "tmp/log")
        return dict({"path": "/bin/sh", "args": ["sh", "-c", f"(echo {kind}; cat; echo) >> {log}; {script}"], "env": ["PATH=/bin:/usr/bin"]}, **extra)

    def log(self):
        path = os.path.join(self.rootfs, "tmp/log")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            lines = file.read().splitlines()
        return [(lines[i], json.loads(lines[i + 1])) for i in range(0, len(lines) - 1, 2)]

    def configure(self, version="1.0.2", **hooks):
        def change(document):
            document["ociVersion"] = version
            document["hooks"] = {kind: [hook] if isinstance(hook, dict) else hook for kind, hook in hooks.items()}
        self.config("sleep", "1000", change=change)

    def test_order_and_state(self):
        self.configure(**{kind: self.hook(kind) for kind in KINDS})
        container = self.create()
        self.assertEqual([kind for kind, _ in self.log()], ["prestart", "createRuntime", "createContainer"])
        pid = self.state(container)["pid"]
        self.ok("start", container)
        self.assertEqual([kind for kind, _ in self.log()][3:], ["startContainer", "poststart"])
        self.ok("kill", container, "9")
        self.wait_exit(pid)
        self.ok("delete", container)
        log = self.log()
        self.assertEqual([kind for kind, _ in log], list(KINDS))
        for kind, state in log:
            self.assertEqual(state["id"], container)
            self.assertEqual(state["bundle"], self.bundle)
            self.assertEqual(state["pid"], 0 if kind == "poststop" else pid)
        statuses = dict((kind, state["status"]) for kind, state in log)
        for kind in KINDS[:3]:
            self.assertEqual(statuses[kind], "created")
        self.assertEqual(statuses["startContainer"], "created")
        self.assertEqual(statuses["poststart"], "running")
        self.assertEqual(statuses["poststop"], "stopped")

    def test_failure_in_create(self):
        for kind in KINDS[:3]:
            self.configure(**{kind: self.hook(kind, "echo because >&2; exit 3")})
            result = self.fails(f"error running {kind} hook #0", "create", "--bundle", self.bundle, self.new_id())
            self.assertIn("because", result.err)
            self.assertIn("exit status 3", result.err)
            self.assertEqual(os.listdir(self.root), [])

    def test_failure_in_start(self):
        self.configure(startContainer=self.hook("startContainer", "exit 3"), poststop=self.hook("poststop"))
        container = self.create()
        self.fails("startContainer hook #0", "start", container)
        self.assertEqual(self.status(container), "stopped")
        self.ok("delete", container)
        self.assertEqual([kind for kind, _ in self.log()], ["startContainer", "poststop"])

    def test_failure_of_poststart(self):
        """Stops the container, and before version 1.3 of the specification is a warning."""
        self.configure(poststart=[self.hook("one", "exit 3"), self.hook("two")])
        container = self.create()
        self.assertIn("error running poststart hook #0", self.runsc("start", container).err)
        self.assertEqual(self.status(container), "running")
        self.assertEqual([kind for kind, _ in self.log()], ["one", "two"])
        os.remove(os.path.join(self.rootfs, "tmp/log"))

        self.configure("1.3.0", poststart=self.hook("poststart", "exit 3"), poststop=self.hook("poststop"))
        container = self.create()
        self.fails("error running poststart hook #0", "start", container)
        self.assertEqual(self.status(container), "stopped")
        self.ok("delete", container)
        self.assertEqual([kind for kind, _ in self.log()], ["poststart", "poststop"])

    def test_failures_of_poststop_are_warnings(self):
        self.configure(poststop=[self.hook("one", "exit 3"), self.hook("two")])
        container = self.create()
        log = os.path.join(self.folder, "log")
        result = self.runsc("--log", log, "--log-format", "json", "delete", container)
        self.assertEqual(result.code, 0, result)
        self.assertEqual([kind for kind, _ in self.log()], ["one", "two"])
        with open(log) as file:
            record = json.loads(file.read())
        self.assertEqual(record["level"], "warning")
        self.assertIn("error running poststop hook #0", record["msg"])

    def test_a_program_that_cannot_start_is_the_error_though_hooks_miss_its_process(self):
        pid = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')"
        # Fails once the process is gone, as one that looks into its namespaces does.
        hook = {"path": "/bin/sh", "env": ["PATH=/bin:/usr/bin"], "args": ["sh", "-c", pid + "; while readlink /proc/$pid/ns/net; do sleep 0.01; done; exit 1"]}
        for program, code, text in (("/etc/passwd", 126, "permission denied"), ("nosuch", 127, "executable file not found")):
            self.config(program, change=lambda document: document.update(hooks={"prestart": [hook]}))
            self.fails(text, "create", "--bundle", self.bundle, self.new_id(), code=code)

    def test_create_container_hooks_mount_for_the_container(self):
        """They stand among the container's mounts: what they mount in its root is there inside, and only there."""
        place = os.path.join(self.rootfs, "root")
        script = f"mount -t tmpfs hooked {place} && echo mounted > {place}/file && readlink /proc/self/ns/mnt > {self.folder}/mnt"
        self.config("sh", "-c", "cat /root/file > /tmp/out; sleep 1000", change=lambda document: document.update(
            hooks={"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]}))
        container = self.start()
        out = os.path.join(self.rootfs, "tmp/out")
        harness.wait_for(lambda: os.path.exists(out) and os.path.getsize(out) > 0, "the program")
        with open(out) as file:
            self.assertEqual(file.read(), "mounted\n")
        self.assertEqual(os.listdir(place), [])
        with open(os.path.join(self.folder, "mnt")) as file:
            self.assertEqual(file.read().strip(), os.readlink(f"/proc/{self.state(container)['pid']}/ns/mnt"))

    def test_missing_hook(self):
        self.configure(createRuntime={"path": "/no/such/hook"})
        self.fails("/no/such/hook", "create", "--bundle", self.bundle, self.new_id())

    def test_timeout(self):
        self.configure(createRuntime=self.hook("createRuntime", "sleep 1000", timeout=1))
        self.fails("hook ran past specified timeout", "create", "--bundle", self.bundle, self.new_id())
        self.configure(startContainer=self.hook("startContainer", "sleep 1000", timeout=1))
        container = self.create()
        self.fails("hook ran past specified timeout", "start", container)

    def test_several_and_the_first_failure_ends_it(self):
        self.configure(createRuntime=[self.hook("one"), self.hook("two", "exit 1"), self.hook("three")])
        self.fails("hook #1", "create", "--bundle", self.bundle, self.new_id())
        self.assertEqual([kind for kind, _ in self.log()], ["one", "two"])

    def test_network_namespace_of_the_pid(self):
        path = os.path.join(self.folder, "net")
        self.configure(createRuntime=self.hook("createRuntime", "true"),
                       prestart={"path": "/bin/sh", "env": ["PATH=/bin:/usr/bin"],
                                 "args": ["sh", "-c", "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net > " + path]})
        self.create()
        with open(path) as file:
            self.assertNotEqual(file.read().strip(), os.readlink("/proc/self/ns/net"))


if __name__ == "__main__":
    harness.main()
