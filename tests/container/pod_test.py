"""Pods: several containers in one sandbox, as containerd's CRI plugin and CRI-O ask for them."""

import json
import os
import shutil
import signal
import subprocess

import harness

SANDBOX = {"io.kubernetes.cri.container-type": "sandbox"}


class PodTest(harness.ContainerTest):
    def new_root(self, name):
        """A root file system of its own."""
        path = os.path.join(self.bundle, name)
        shutil.copytree(self.rootfs, path, symlinks=True)
        return path

    def sandbox(self, *args):
        def change(document):
            document["annotations"] = dict(SANDBOX)
            document["hostname"] = "pod"

        self.config(*(args or ("sleep", "1000")), change=change)
        return self.start()

    def configure(self, sandbox, *args, root=None, share=("network", "ipc", "uts"), change=None, crio=False, **process):
        pid = self.state(sandbox)["pid"]
        files = {"network": "net"}

        def edit(document):
            prefix = "io.kubernetes.cri-o." if crio else "io.kubernetes.cri."
            names = ("ContainerType", "SandboxID") if crio else ("container-type", "sandbox-id")
            document["annotations"] = {prefix + names[0]: "container", prefix + names[1]: sandbox}
            document["hostname"] = ""
            document["root"]["path"] = root or "rootfs"
            for ns in document["linux"]["namespaces"]:
                if ns["type"] in share:
                    ns["path"] = f"/proc/{pid}/ns/{files.get(ns['type'], ns['type'])}"
            if change:
                change(document)

        self.config(*args, change=edit, **process)

    def member(self, sandbox, *args, **options):
        self.configure(sandbox, *args, **options)
        return self.start()

    def test_one_sentry_two_containers(self):
        sandbox = self.sandbox()
        root = self.new_root("second")
        with open(os.path.join(root, "tmp/here"), "w") as file:
            file.write("second\n")
        member = self.member(sandbox, "sleep", "1001", root="second")
        states = [json.load(open(os.path.join(self.root, c, "state.json"))) for c in (sandbox, member)]
        self.assertEqual(states[0]["sentry"], states[1]["sentry"])
        self.assertNotEqual(states[0]["container"]["pid"], states[1]["container"]["pid"])
        # A child of whoever reaps for the shim, in the pod's network.
        pids = [s["container"]["pid"] for s in states]
        self.assertEqual(os.readlink(f"/proc/{pids[0]}/ns/net"), os.readlink(f"/proc/{pids[1]}/ns/net"))
        self.assertEqual(self.ok("exec", member, "cat", "/tmp/here"), "second\n")
        self.assertNotEqual(self.runsc("exec", sandbox, "cat", "/tmp/here").code, 0)
        self.assertEqual(self.ok("exec", member, "hostname"), "pod\n")
        self.assertEqual(self.status(member), "running")

    def test_create_container_hook_of_a_member(self):
        sandbox = self.sandbox()
        root = self.new_root("second")
        script = f"mount -t tmpfs hooked {root}/root && echo mounted > {root}/root/file"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
        member = self.member(sandbox, "sleep", "1001", root="second", change=lambda d: d.update(hooks={"createContainer": [hook]}))
        self.assertEqual(self.ok("exec", member, "cat", "/root/file"), "mounted\n")
        self.assertEqual(os.listdir(os.path.join(root, "root")), [])
        failing = dict(hook, args=["sh", "-c", "exit 3"])
        self.configure(sandbox, "sleep", "1001", change=lambda d: d.update(hooks={"createContainer": [failing]}))
        self.fails("createContainer hook #0", "create", "--bundle", self.bundle, self.new_id())
        self.assertEqual(self.status(sandbox), "running")

    def test_members_share_namespaces_on_the_host_too(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sleep", "1001", share=("network", "ipc", "uts", "pid"))
        pids = [self.state(c)["pid"] for c in (sandbox, member)]
        for kind in ("net", "ipc", "uts", "pid"):
            self.assertEqual(*(os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids))
        self.assertIn("1001", self.ok("exec", sandbox, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
        # The sandbox's process, init of the namespace, ends when those in it are reaped.
        self.ok("delete", "--force", member)
        self.wait_exit(pids[1])

    def test_time_is_the_sandboxs(self):
        sandbox = self.sandbox()
        self.configure(sandbox, "true", change=lambda d: d["linux"]["namespaces"].append({"type": "time"}))
        self.fails("the time must be", "create", "--bundle", self.bundle, self.new_id())

    def test_crio_annotations(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sleep", "1001", crio=True)
        with open(os.path.join(self.root, member, "state.json")) as file:
            self.assertEqual(json.load(file)["sandbox"], sandbox)

    def test_pid_namespaces_are_apart(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sh", "-c", "sleep 1001 & wait")
        self.assertEqual(self.ok("exec", member, "sh", "-c", "cat /proc/1/comm").strip(), "sh")
        self.assertEqual(self.ok("exec", sandbox, "sh", "-c", "cat /proc/1/comm").strip(), "sleep")
        listing = self.ok("exec", member, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        self.assertIn("1001", listing)
        self.assertNotIn("1000", listing)
        self.assertNotEqual(self.ok("exec", member, "readlink", "/proc/self/ns/pid"), self.ok("exec", sandbox, "readlink", "/proc/self/ns/pid"))
        self.assertEqual(self.ok("exec", member, "readlink", "/proc/self/ns/ipc"), self.ok("exec", sandbox, "readlink", "/proc/self/ns/ipc"))
        for line in self.ok("ps", member).splitlines()[1:]:
            self.assertIn(line.split()[-1], ("sh", "sleep"))
        self.assertEqual(len(self.ok("ps", member).splitlines()), 3)

    def test_nobody_kills_across(self):
        sandbox = self.sandbox("sh", "-c", "sleep 1000 & wait")
        member = self.member(sandbox, "sleep", "1001")
        other = self.member(sandbox, "sleep", "1002")
        # Every number there could be, and everybody at once.
        self.runsc("exec", member, "sh", "-c", "for p in $(seq 2 400); do kill -9 $p 2>/dev/null; done; kill -9 -1; true")
        for container in (sandbox, member, other):
            self.assertEqual(self.status(container), "running")
        self.assertIn("sleep", self.ok("exec", sandbox, "sh", "-c", "cat /proc/[0-9]*/comm"))
        self.assertEqual(len(self.ok("ps", sandbox).splitlines()), 3)

    def test_nobody_reaches_the_others_files(self):
        sandbox = self.sandbox()
        root = self.new_root("second")
        with open(os.path.join(root, "secret"), "w") as file:
            file.write("secret\n")
        member = self.member(sandbox, "sleep", "1001", root="second")
        script = "cat /proc/*/root/secret ../../../../secret /proc/1/cwd/secret; ls /proc/*/root; true"
        caps = [o for c in ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_MKNOD") for o in ("--cap", c)]
        self.assertNotIn("secret", self.runsc("exec", *caps, sandbox, "sh", "-c", script).out)
        self.assertEqual(self.ok("exec", member, "cat", "/secret"), "secret\n")

    def test_network_is_shared(self):
        sandbox = self.sandbox("sh", "-c", "echo hello | nc -l -p 5000; sleep 1000")
        member = self.member(sandbox, "sleep", "1001")
        answer = []

        def connected():
            answer[:] = [self.runsc("exec", member, "nc", "127.0.0.1", "5000").out]
            return answer[0] == "hello\n"

        harness.wait_for(connected, "an answer from the other container")

    def test_exit_status_is_the_members_own(self):
        sandbox = self.sandbox()
        self.configure(sandbox, "sh", "-c", "exit 7")
        member = self.create("--pid-file", os.path.join(self.folder, "pid"))
        pid = self.state(member)["pid"]
        with open(os.path.join(self.folder, "pid")) as file:
            self.assertEqual(int(file.read()), pid)
        self.ok("start", member)
        self.assertEqual(self.wait_exit(pid), 7)
        self.assertEqual(self.status(member), "stopped")
        self.assertEqual(json.loads(self.ok("wait", member))["exitStatus"], 7)
        self.assertEqual(self.status(sandbox), "running")
        self.ok("delete", member)
        self.ok("create", "--bundle", self.bundle, member)  # the id is free again
        self.ok("delete", member)

    def test_missing_program(self):
        sandbox = self.sandbox()
        self.configure(sandbox, "nosuch")
        self.fails("executable file not found", "create", "--bundle", self.bundle, self.new_id(), code=127)
        self.assertEqual(os.listdir(self.root), [sandbox])

    def test_kill_and_delete(self):
        sandbox = self.sandbox()
        for how in ("KILL", "all", "force"):
            member = self.member(sandbox, "sh", "-c", "sleep 1001 & wait")
            pid = self.state(member)["pid"]
            if how == "KILL":
                self.ok("kill", member, "KILL")
            elif how == "all":
                self.ok("kill", "--all", member, "9")
            else:
                self.ok("delete", "--force", member)
            self.assertEqual(self.wait_exit(pid), 137)
            self.runsc("delete", member)
            self.assertEqual(self.status(sandbox), "running")
            self.assertEqual(self.cgroups(member), [])

    def test_end_of_the_sandbox_ends_all(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sleep", "1001")
        pid = self.state(member)["pid"]
        self.ok("delete", "--force", sandbox)
        self.assertEqual(self.wait_exit(pid), 137)
        self.assertEqual(self.status(member), "stopped")
        self.fails("container not running", "exec", member, "true", code=255)
        self.ok("delete", member)

    def test_killed_stand_in_is_the_members_end(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sleep", "1001")
        os.kill(self.state(member)["pid"], signal.SIGKILL)
        harness.wait_for(lambda: self.status(member) == "stopped", "the end")
        harness.wait_for(lambda: len(self.group_processes(member)) == 0, "the stubs' end")
        self.assertEqual(self.ok("exec", sandbox, "echo", "alive"), "alive\n")

    def test_killed_create_leaves_nothing(self):
        sandbox = self.sandbox()
        ready, gate = os.path.join(self.folder, "ready"), os.path.join(self.folder, "gate")
        os.mkfifo(gate)

        def change(document):
            document["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"touch {ready}; read x < {gate}"]}]}

        self.configure(sandbox, "sleep", "1001", change=change)
        member = self.new_id()
        create = subprocess.Popen(self.argv("create", "--bundle", self.bundle, member), stdin=subprocess.DEVNULL)
        harness.wait_for(lambda: os.path.exists(ready), "the hook")
        create.kill()
        create.wait()
        harness.wait_for(lambda: self.status(member) == "stopped", "the end of a creating container")
        self.ok("delete", "--force", member)
        self.assertEqual(len(self.ok("ps", sandbox).splitlines()), 2)
        with open(gate, "w"):  # lets the hook end
            pass

    def group_processes(self, container, controller="memory"):
        for group in self.cgroups(container):
            if f"/{controller}/" in group or os.path.exists(os.path.join(group, "cgroup.controllers")):
                with open(os.path.join(group, "cgroup.procs")) as procs:
                    return [int(pid) for pid in procs.read().split()]
        self.fail("no control group")

    def test_stubs_are_in_the_members_group(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sh", "-c", "sleep 1001 & wait")
        gofer = self.state(member)["pid"]
        harness.wait_for(lambda: len(self.group_processes(member)) == 3, "gofer, sh and sleep in the group")
        self.assertIn(gofer, self.group_processes(member))
        usage = json.loads(self.ok("events", "--stats", member))["data"]["memory"]["usage"]["usage"]
        self.assertGreater(usage, 0)

    def test_shared_pid_namespace(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sh", "-c", "sleep 1003 & sleep 1001", share=("network", "ipc", "uts", "pid"))
        self.assertEqual(self.ok("exec", member, "cat", "/proc/1/comm"), "sleep\n")
        self.assertIn("1000", self.ok("exec", member, "sh", "-c", "cat /proc/1/cmdline"))
        self.assertEqual(len(self.ok("ps", member).splitlines()), 3)
        self.assertEqual(len(self.ok("ps", sandbox).splitlines()), 2)
        # Its end is the end of its processes, not of the namespace's.
        self.ok("kill", member, "KILL")
        harness.wait_for(lambda: self.status(member) == "stopped", "the end")
        harness.wait_for(lambda: "1003" not in self.ok("exec", sandbox, "sh", "-c", "cat /proc/[0-9]*/cmdline"), "the rest's end")
        self.assertEqual(self.status(sandbox), "running")

    def test_pid_namespace_of_another_member(self):
        sandbox = self.sandbox()
        target = self.member(sandbox, "sleep", "1001")
        pid = self.state(target)["pid"]

        def change(document):
            for ns in document["linux"]["namespaces"]:
                if ns["type"] == "pid":
                    ns["path"] = f"/proc/{pid}/ns/pid"

        debugger = self.member(sandbox, "sleep", "1002", change=change)
        self.assertIn("1001", self.ok("exec", debugger, "cat", "/proc/1/cmdline"))

    def test_pause_one(self):
        sandbox = self.sandbox()
        counter = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done"
        paused, running = self.member(sandbox, "sh", "-c", counter), None
        self.new_root("second")
        running = self.member(sandbox, "sh", "-c", counter, root="second")
        counts = [os.path.join(self.bundle, root, "tmp/count") for root in ("rootfs", "second")]

        def read(path):
            with open(path) as file:
                return file.read()

        for path in counts:
            harness.wait_for(lambda: os.path.exists(path) and read(path), "the first count")
        self.ok("pause", paused)
        self.assertEqual(self.status(paused), "paused")
        still, before = read(counts[0]), read(counts[1])
        harness.wait_for(lambda: read(counts[1]) not in ("", before), "the other to go on")
        self.assertEqual(read(counts[0]), still)
        self.ok("resume", paused)
        harness.wait_for(lambda: read(counts[0]) not in ("", still), "counting to go on")

    def test_what_is_refused(self):
        sandbox = self.sandbox()
        member = self.member(sandbox, "sleep", "1001")
        self.configure(member, "sleep", "1002")
        self.fails("is in another's itself", "create", "--bundle", self.bundle, self.new_id())

        def edit(**paths):
            def change(document):
                for ns in document["linux"]["namespaces"]:
                    if ns["type"] in paths:
                        ns["path"] = paths[ns["type"]]
            return change

        self.configure(sandbox, "sleep", "1002", change=edit(network="/proc/self/ns/net"))
        self.fails("must be that of the sandbox", "create", "--bundle", self.bundle, self.new_id())
        self.configure(sandbox, "sleep", "1002", share=("ipc",))
        self.fails("must be that of the sandbox", "create", "--bundle", self.bundle, self.new_id())
        self.configure(sandbox, "sleep", "1002", change=edit(pid="/proc/self/ns/pid"))
        self.fails("belongs to no container of the pod", "create", "--bundle", self.bundle, self.new_id())
        self.configure(sandbox, "sleep", "1002")
        self.ok("delete", "--force", sandbox)
        self.fails("ns/net: No such file or directory", "create", "--bundle", self.bundle, self.new_id())
        self.ok("delete", "--force", member)
        self.assertEqual(os.listdir(self.root), [])

    def test_limits_are_each_ones_own(self):
        sandbox = self.sandbox()

        def change(document):
            document["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 12}}

        member = self.member(sandbox, "sleep", "1001", change=change)
        total = int(self.ok("exec", member, "grep", "MemTotal", "/proc/meminfo").split()[1])
        self.assertEqual(total, 64 << 10)
        self.assertGreater(int(self.ok("exec", sandbox, "grep", "MemTotal", "/proc/meminfo").split()[1]), total)
        fork = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; echo over"
        self.assertNotIn("over", self.runsc("exec", member, "sh", "-c", fork).out)
        self.assertIn("over", self.ok("exec", sandbox, "sh", "-c", fork))


if __name__ == "__main__":
    harness.main()
