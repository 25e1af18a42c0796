"""Bad input, and what is left when one of the processes is killed at a bad time."""

import json
import os
import signal
import subprocess

import harness


class BadInputTest(harness.ContainerTest):
    def refused(self, text, container=None, **options):
        result = self.fails(text, "create", "--bundle", self.bundle, container or self.new_id(), **options)
        self.assertEqual(os.listdir(self.root) if os.path.isdir(self.root) else [], [])
        return result

    def test_ids(self):
        self.config("true")
        for bad in ("a/b", "..", ".", "a b", "a\nb", "x" * 2000, "../../tmp/x"):
            self.fails("invalid container id", "create", "--bundle", self.bundle, bad)
            self.fails("invalid container id", "delete", "--force", bad)
        self.assertFalse(os.path.exists("/tmp/x"))

    def test_bundle(self):
        self.fails("nosuch", "create", "--bundle", "/nosuch", self.new_id())
        self.fails("config.json", "create", "--bundle", self.bundle, self.new_id())

    def test_malformed_documents(self):
        path = os.path.join(self.bundle, "config.json")
        for text, message in (("", "not valid JSON"), ("{", "not valid JSON"), ("[]", "must be an object"), ("{}", "ociVersion"),
                              ("\0" * 10, "not valid JSON"), ("[" * 100000, "not valid JSON")):
            with open(path, "w") as file:
                file.write(text)
            self.refused(message)

    def test_fields(self):
        def broken(edit):
            self.config("true", change=edit)

        broken(lambda d: d["process"].update(args=[]))
        self.refused("process.args")
        broken(lambda d: d["process"].update(cwd="relative"))
        self.refused("process.cwd")
        broken(lambda d: d["process"].update(rlimits=[{"type": "RLIMIT_NO", "soft": 1, "hard": 1}]))
        self.refused("RLIMIT_NO")
        broken(lambda d: d["linux"]["namespaces"].append({"type": "martian"}))
        self.refused("martian")
        broken(lambda d: d["linux"]["namespaces"].append({"type": "pid"}))
        self.refused("given twice")
        broken(lambda d: d["linux"].update(cgroupsPath="/../../etc"))
        self.refused("cgroupsPath")

    def test_root(self):
        self.config("true", change=lambda d: d["root"].update(path="/nosuch/root"))
        self.refused("/nosuch/root")
        self.config("true", change=lambda d: d["root"].update(path="/etc/passwd"))
        self.refused("not a directory")

    def test_mount_source(self):
        mount = {"destination": "/m", "type": "bind", "source": "/no/such/source", "options": ["bind"]}
        self.config("true", change=lambda d: d["mounts"].append(mount))
        self.refused("/no/such/source")

    def test_network_namespace(self):
        def change(document):
            for namespace in document["linux"]["namespaces"]:
                if namespace["type"] == "network":
                    namespace["path"] = "/no/such/netns"
        self.config("true", change=change)
        self.refused("/no/such/netns")

    def test_signals(self):
        self.config("sleep", "1000")
        container = self.start()
        for bad in ("0", "65", "-1", "NOSUCH", ""):
            self.assertNotEqual(self.runsc("kill", container, "--", bad).code, 0, bad)
        self.assertEqual(self.status(container), "running")

    def test_systemd(self):
        self.config("true")
        if os.path.exists("/run/systemd/system"):
            self.fails("systemd", "--systemd-cgroup", "create", "--bundle", self.bundle, self.new_id())
        else:
            self.fails("systemd not running", "--systemd-cgroup", "create", "--bundle", self.bundle, self.new_id())

    def test_damaged_state(self):
        self.config("sleep", "1000")
        container = self.create()
        pid = self.state(container)["pid"]
        with open(os.path.join(self.root, container, "state.json")) as file:
            good = file.read()
        with open(os.path.join(self.root, container, "state.json"), "w") as file:
            file.write(good[:50])
        self.fails("state file", "state", container)
        with open(os.path.join(self.root, container, "state.json"), "w") as file:
            file.write(good)
        self.ok("delete", "--force", container)
        self.assertEqual(self.wait_exit(pid), 137)


class FaultsTest(harness.ContainerTest):
    def processes(self, container):
        with open(os.path.join(self.root, container, "state.json")) as file:
            state = json.load(file)
        return state["sentry"]["pid"], state["container"]["pid"]

    def test_killed_sentry(self):
        self.config("sleep", "1000")
        container = self.start()
        sentry, gofer = self.processes(container)
        os.kill(sentry, signal.SIGKILL)
        self.assertEqual(self.wait_exit(gofer), 137)
        self.assertEqual(self.status(container), "stopped")
        self.fails("not running", "exec", container, "true", code=255)
        self.ok("delete", container)

    def test_killed_gofer(self):
        self.config("sleep", "1000")
        container = self.start()
        sentry, gofer = self.processes(container)
        os.kill(gofer, signal.SIGKILL)
        self.assertEqual(self.wait_exit(gofer), -9)
        harness.wait_for(lambda: not harness.alive(sentry), "the sentry's end")
        self.assertEqual(self.status(container), "stopped")
        self.ok("delete", container)

    def create_in_a_hook(self):
        """A `runsc create` whose hook does not end, and the container's id."""
        ready = os.path.join(self.folder, "ready")
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo 1 > {ready}; exec sleep 1000"], "env": ["PATH=/bin:/usr/bin"]}
        self.config("sleep", "1000", change=lambda d: d.update(hooks={"createRuntime": [hook]}))
        container = self.new_id()
        create = subprocess.Popen(self.argv("create", "--bundle", self.bundle, container))
        harness.wait_for(lambda: os.path.exists(ready), "the hook")
        return create, container

    def test_killed_create(self):
        create, container = self.create_in_a_hook()
        self.assertEqual(self.status(container), "creating")
        sentry, gofer = self.processes(container)
        create.kill()
        create.wait()
        harness.wait_for(lambda: not harness.alive(sentry) and not harness.alive(gofer), "the sandbox's end")
        self.assertEqual(self.status(container), "stopped")
        self.fails("stopped", "start", container)
        self.ok("delete", "--force", container)

    def test_id_of_a_killed_create_can_be_used_again(self):
        create, container = self.create_in_a_hook()
        create.kill()
        create.wait()
        sentry, gofer = self.processes(container)
        harness.wait_for(lambda: not harness.alive(sentry) and not harness.alive(gofer), "the sandbox's end")
        self.config("true")
        self.ok("create", "--bundle", self.bundle, container)
        self.assertEqual(self.status(container), "created")

    def test_delete_force_of_a_hanging_create(self):
        create, container = self.create_in_a_hook()
        self.ok("delete", "--force", container)
        self.assertNotEqual(create.wait(harness.LIMIT), 0)

    def test_concurrent_start(self):
        self.config("sleep", "1000")
        for _ in range(5):
            container = self.create()
            starts = [subprocess.Popen(self.argv("start", container), stderr=subprocess.DEVNULL) for _ in range(4)]
            codes = sorted(start.wait(harness.LIMIT) for start in starts)
            self.assertEqual(codes, [0, 1, 1, 1])
            self.assertEqual(self.status(container), "running")
            self.ok("delete", "--force", container)

    def test_concurrent_create(self):
        self.config("sleep", "1000")
        container = self.new_id()
        creates = [subprocess.Popen(self.argv("create", "--bundle", self.bundle, container), stderr=subprocess.DEVNULL) for _ in range(4)]
        codes = sorted(create.wait(harness.LIMIT) for create in creates)
        self.assertEqual(codes, [0, 1, 1, 1])
        self.assertEqual(self.status(container), "created")

    def test_full_disk(self):
        self.config("sleep", "1000")
        container = self.new_id()
        script = f'''mkdir -p {self.root} && mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs {self.root} &&
            "$@" create --bundle {self.bundle} {container}; code=$?; ls {self.root}; exit $code'''
        result = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *self.argv()], capture_output=True, text=True, timeout=harness.LIMIT)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        self.assertRegex(result.stderr, "No space left|state")

    def test_disk_that_fills_up(self):
        """A start that cannot be written down ends the container; deleting needs no room."""
        self.config("sleep", "1000")
        container = self.new_id()
        script = f'''mkdir -p {self.root} && mount -t tmpfs -o size=1m tmpfs {self.root} &&
            "$@" create --bundle {self.bundle} {container} && ! dd if=/dev/zero of={self.root}/.full bs=4k 2>/dev/null || exit 9
            "$@" start {container} && exit 8; "$@" delete --force {container}; code=$?; ls {self.root}; exit $code'''
        result = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *self.argv()], capture_output=True, text=True, timeout=harness.LIMIT)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        self.assertIn("No space left", result.stderr)

    def sweep(self, begin, *command):
        """Kills the command at many points; then the container can be deleted, and nothing is left (tearDown)."""
        for step in range(0, 60, 4):
            container = begin()
            killed = subprocess.Popen(self.argv(*command, container), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                killed.wait(step / 1000)
            except subprocess.TimeoutExpired:
                killed.kill()
                killed.wait()
            self.ok("delete", "--force", container)
            self.assertEqual(self.cgroups(container), [])
            self.assertFalse(os.path.exists(os.path.join(self.root, container)))

    def test_create_killed_anywhere(self):
        self.config("sleep", "1000")
        self.sweep(self.new_id, "create", "--bundle", self.bundle)
        self.sweep(self.new_id, "create", "--overlay", "dir", "--bundle", self.bundle)

    def test_start_killed_anywhere(self):
        self.config("sleep", "1000")
        self.sweep(self.create, "start")

    def test_delete_killed_anywhere(self):
        self.config("sleep", "1000")
        self.sweep(self.start, "delete", "--force")

    def test_processes_killed_in_a_hook(self):
        for number in (0, 1):
            create, container = self.create_in_a_hook()
            os.remove(os.path.join(self.folder, "ready"))
            os.kill(self.processes(container)[number], signal.SIGKILL)
            self.ok("delete", "--force", container)
            self.assertNotEqual(create.wait(harness.LIMIT), 0)

    def test_delete_of_a_container_that_ended_by_itself(self):
        self.config("true")
        container = self.create()
        pid = self.state(container)["pid"]
        self.ok("start", container)
        self.assertEqual(self.wait_exit(pid), 0)
        self.ok("delete", container)
        self.fails("does not exist", "delete", container)


if __name__ == "__main__":
    harness.main()
