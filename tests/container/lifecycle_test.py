"""create, start, state, kill, delete, run, wait, list, ps: states, exit codes, error texts."""

import json
import os
import signal
import subprocess
import tempfile

import harness


class LifeCycleTest(harness.ContainerTest):
    def test_states(self):
        self.config("sleep", "1000")
        container = self.create("--pid-file", os.path.join(self.folder, "pid"))
        state = self.state(container)
        self.assertEqual(state["status"], "created")
        self.assertEqual(state["id"], container)
        self.assertEqual(state["bundle"], self.bundle)
        self.assertEqual(state["rootfs"], self.rootfs)
        self.assertEqual(state["owner"], "root")
        self.assertIn("created", state)
        with open(os.path.join(self.folder, "pid")) as pid:
            self.assertEqual(int(pid.read()), state["pid"])
        self.ok("start", container)
        self.assertEqual(self.status(container), "running")
        self.ok("kill", container, "KILL")
        self.assertEqual(self.wait_exit(state["pid"]), 137)
        self.assertEqual(self.state(container)["status"], "stopped")
        self.assertEqual(self.state(container)["pid"], 0)
        self.ok("delete", container)
        self.fails("container does not exist", "state", container)

    def test_exit_code_is_the_pid_files_process(self):
        self.config("sh", "-c", "exit 42")
        container = self.create()
        pid = self.state(container)["pid"]
        self.ok("start", container)
        self.assertEqual(self.wait_exit(pid), 42)
        self.assertEqual(json.loads(self.ok("wait", container)), {"id": container, "exitStatus": 42})

    def test_run_in_the_foreground(self):
        self.config("sh", "-c", "echo out; echo err >&2; cat; exit 7")
        with tempfile.TemporaryFile() as stdin:
            stdin.write(b"in\n")
            stdin.seek(0)
            result = self.runsc("run", "--bundle", self.bundle, self.new_id(), stdin=stdin)
        self.assertEqual((result.code, result.out, result.err), (7, "out\nin\n", "err\n"))
        self.assertEqual(os.listdir(self.root), [])

    def test_output_and_errors_share_a_file(self):
        """With writers before and after: all of them move one offset, copy_file_range(2) too (cat of coreutils)."""
        path = os.path.join(self.folder, "lines")
        with open(path, "w+") as lines:
            lines.write("two\n")
            lines.flush()
            line = f"echo one; cat {path} >&2; echo three >&2; head -n 1 {path}; exit 5"
            with open(os.path.join(self.folder, "log"), "w+") as log:
                log.write("before\n")
                log.flush()
                code = subprocess.call(self.argv("do", "sh", "-c", line), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                subprocess.call(["echo", "after"], stdout=log)
                log.seek(0)
                self.assertEqual((code, log.read().split()), (5, ["before", "one", "two", "three", "two", "after"]))

    def test_run_forwards_signals(self):
        self.config("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 1 & wait $!; done")
        run = subprocess.Popen(self.argv("run", "--bundle", self.bundle, self.new_id()), stdout=subprocess.PIPE)
        self.assertEqual(run.stdout.readline(), b"ready\n")
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(harness.LIMIT), 9)
        run.stdout.close()

    def test_run_detached(self):
        self.config("sleep", "1000")
        container = self.new_id()
        self.ok("run", "--detach", "--bundle", self.bundle, container)
        self.assertEqual(self.status(container), "running")

    def test_debug_shows_system_calls(self):
        self.config("sh", "-c", "while :; do read line </proc/uptime; done")
        container = self.create()
        self.ok("start", container)
        lines = self.ok("debug", "--stats", container).splitlines()
        self.assertEqual(lines[0].split()[:3], ["CALL", "LANE", "CALLS"])
        self.assertIn("prlimit64", [line.split()[0] for line in lines])
        lines = self.ok("debug", "--profile", "--duration", "200ms", container).splitlines()
        calls = {line.split()[0]: line.split()[2] for line in lines[1:]}
        self.assertNotIn("prlimit64", calls)  # long ago
        self.assertGreater(int(calls["read"]), 0)
        self.fails("one of --stats and --profile", "debug", container)
        self.ok("kill", container, "KILL")

    def test_nothing_holds_the_output_open(self):
        self.config("sh", "-c", "echo done; exec >&- 2>&-; exec sleep 1000")
        container = self.new_id()
        run = subprocess.Popen(self.argv("run", "--detach", "--bundle", self.bundle, container), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
        self.assertEqual(run.stdout.read(), b"done\n")  # to its end, though the container runs
        self.assertEqual(run.wait(harness.LIMIT), 0)
        run.stdout.close()

    def test_program_is_looked_up_in_create(self):
        for program, code, text in (("nosuch", 127, "executable file not found"), ("/no/such", 127, "no such file or directory"),
                                    ("/etc/passwd", 126, "permission denied"), ("/etc", 126, "permission denied")):
            self.config(program)
            self.fails(text, "create", "--bundle", self.bundle, self.new_id(), code=code)
            self.assertEqual(os.listdir(self.root), [])

    def test_kill_and_delete_when_created(self):
        self.config("sleep", "1000")
        container = self.create()
        pid = self.state(container)["pid"]
        self.ok("kill", container, "15")
        self.assertEqual(self.wait_exit(pid), 128 + 15)
        self.assertEqual(self.status(container), "stopped")
        self.ok("delete", container)
        container = self.create()
        self.ok("delete", container)

    def test_wrong_transitions(self):
        self.config("sleep", "1000")
        container = self.create()
        self.fails("container not paused", "resume", container)
        self.ok("start", container)
        self.fails("already running", "start", container)
        self.fails("not stopped: running", "delete", container)
        self.fails("not paused", "resume", container)
        self.ok("kill", container, "SIGKILL")
        harness.wait_for(lambda: self.status(container) == "stopped", "the end")
        self.fails("container not running", "kill", container, "9")
        self.ok("kill", "--all", container, "9")
        self.fails("container that has stopped", "start", container)
        self.fails("container not running", "exec", container, "true", code=255)
        self.fails("container not running", "ps", container)

    def test_unknown_container(self):
        for command in (["state"], ["start"], ["kill"], ["delete"], ["pause"], ["resume"], ["ps"], ["wait"], ["events", "--stats"]):
            self.fails("container does not exist", *command, "nosuch")
        self.fails("container does not exist", "exec", "nosuch", "true", code=255)
        self.ok("delete", "--force", "nosuch")

    def test_duplicate_id(self):
        self.config("sleep", "1000")
        container = self.create()
        self.fails("already exists", "create", "--bundle", self.bundle, container)
        self.assertEqual(self.status(container), "created")

    def test_pause_and_resume(self):
        self.config("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done")
        container = self.start()
        count = os.path.join(self.rootfs, "tmp/count")
        harness.wait_for(lambda: os.path.exists(count) and os.path.getsize(count), "the first count")
        self.ok("pause", container)
        self.assertEqual(self.status(container), "paused")
        self.fails("paused", "exec", container, "true", code=255)
        with open(count) as file:
            before = file.read()
        with open(count) as file:
            self.assertEqual(file.read(), before)
        self.ok("resume", container)

        def goes_on():
            with open(count) as file:
                return file.read() not in ("", before)

        harness.wait_for(goes_on, "counting to go on")
        self.ok("pause", container)
        self.ok("kill", container, "9")
        harness.wait_for(lambda: self.status(container) == "stopped", "the end of a paused container")

    def test_kill_all(self):
        self.config("sh", "-c", "sleep 1000 & sleep 1001 & wait")
        container = self.start()
        self.ok("kill", "--all", container, "KILL")
        harness.wait_for(lambda: self.status(container) == "stopped", "the end")

    def test_list_and_ps(self):
        self.config("sleep", "1000")
        container = self.start()
        self.assertIn(container, self.ok("list"))
        self.assertEqual(self.ok("list", "--quiet").split(), [container])
        self.assertEqual([c["id"] for c in json.loads(self.ok("list", "--format", "json"))], [container])
        self.assertIn("sleep", self.ok("ps", container))
        self.assertIn("sleep", self.ok("ps", container, "-ef"))
        pids = json.loads(self.ok("ps", "--format", "json", container))
        self.assertIn(self.state(container)["pid"], pids)
        for pid in pids:
            with open(f"/proc/{pid}/cmdline") as line:
                self.assertEqual(line.read().rstrip("\0").split("\0"), ["sleep", "1000"])

    def test_shapes_are_runcs(self):
        keys = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"]
        self.assertEqual(self.ok("list", "--format", "json"), "null\n")
        self.config("sleep", "1000")
        container = self.create()
        self.assertEqual(list(self.state(container)), [*keys, "owner"])
        self.assertEqual([list(one) for one in json.loads(self.ok("list", "--format", "json"))], [[*keys, "owner"]])
        self.assertEqual(self.ok("list").splitlines()[0].split(), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])
        self.assertEqual(json.loads(self.ok("ps", "--format", "json", container)), [self.state(container)["pid"]])
        self.config("sleep", "1000", change=lambda d: d.update(annotations={"a": "b"}))
        state = self.state(self.create())
        self.assertEqual((list(state), state["annotations"]), ([*keys, "annotations", "owner"], {"a": "b"}))

    def test_kill_reaches_the_program(self):
        self.config("sh", "-c", "trap 'exit 5' USR1; echo 1 > /tmp/ready; while :; do sleep 1 & wait $!; done")
        container = self.create()
        pid = self.state(container)["pid"]
        self.ok("start", container)
        harness.wait_for(lambda: os.path.exists(os.path.join(self.rootfs, "tmp/ready")), "the trap")
        os.kill(pid, signal.SIGUSR1)  # to the stand-in
        self.assertEqual(self.wait_exit(pid), 5)

    def test_version_and_features(self):
        version = self.ok("--version")
        self.assertRegex(version, r"^runsc version \S+\nspec: 1\.\d+\.\d+")
        features = json.loads(self.ok("features"))
        self.assertIn("createRuntime", features["hooks"])
        self.assertIn("time", features["linux"]["namespaces"])
        self.assertEqual(features["linux"]["mountExtensions"], {"idmap": {"enabled": False}})

    def test_spec_for_a_user(self):
        """What an ordinary user can have, as --rootless writes it, runs."""
        subprocess.check_call([harness.RUNSC, "spec", "--rootless", "--bundle", self.bundle, "id"])
        path = os.path.join(self.bundle, "config.json")
        with open(path) as file:
            document = json.load(file)
        kinds = [ns["type"] for ns in document["linux"]["namespaces"]]
        self.assertIn("user", kinds)
        self.assertNotIn("network", kinds)
        self.assertEqual(document["linux"]["uidMappings"], [{"containerID": 0, "hostID": 0, "size": 1}])
        self.assertIn("uid=0", self.ok("run", "--bundle", self.bundle, self.new_id()))

    def test_install(self):
        path = os.path.join(self.folder, "daemon.json")
        with open(path, "w") as file:
            json.dump({"log-level": "warn", "runtimes": {"other": {"path": "/bin/other"}}}, file)
        os.chmod(path, 0o600)
        self.ok("install", "--config-file", path, "--runtime", "ours", "--", "--platform=ptrace")
        self.fails("already", "install", "--config-file", path, "--runtime", "ours")
        self.ok("install", "--config-file", path, "--runtime", "ours", "--clobber")
        with open(path) as file:
            config = json.load(file)
        self.assertEqual(config["log-level"], "warn")
        self.assertEqual(sorted(config["runtimes"]), ["other", "ours"])
        self.assertTrue(os.path.samefile(config["runtimes"]["ours"]["path"], harness.RUNSC))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.ok("uninstall", "--config-file", path, "--runtime", "ours")
        self.fails("no runtime", "uninstall", "--config-file", path, "--runtime", "ours")
        with open(path) as file:
            self.assertEqual(list(json.load(file)["runtimes"]), ["other"])
        with open(path, "w") as file:
            file.write("[]")
        self.fails("not a JSON object", "install", "--config-file", path)

    def test_errors_as_json_lines(self):
        log = os.path.join(self.folder, "log.json")
        self.fails("does not exist", "--log", log, "--log-format", "json", "state", "nosuch")
        with open(log) as lines:
            entry = json.loads(lines.readline())
        self.assertEqual(entry["level"], "error")
        self.assertIn("container does not exist", entry["msg"])
        self.assertIn("time", entry)

    def test_errors_of_usage_are_logged_too(self):
        for wrong in (["state"], ["nosuch"], ["start", "a", "b"], ["create", "--nosuch", "a"], ["--rootless=perhaps", "list"]):
            log = os.path.join(self.folder, "log.json")
            self.fails("--help", "--log", log, "--log-format", "json", *wrong)
            with open(log) as lines:
                self.assertEqual(json.loads(lines.readline())["level"], "error")
            os.remove(log)

    def test_flags_of_runc(self):
        """Every flag of runc 1.1 is taken; one that does not exist would fail before the container is looked for."""
        flags = {"create": "--no-pivot --no-new-keyring --preserve-fds=0 --pid-file=x --console-socket=x --bundle=/nosuch",
                 "run": "--detach --keep --no-subreaper --no-pivot --no-new-keyring --preserve-fds=0 --pid-file=x --bundle=/nosuch",
                 "exec": "--cwd / --env A=b --tty --user 0:0 --additional-gids 1 --detach --pid-file x --process-label x --apparmor x "
                         "--no-new-privs --cap CAP_CHOWN --preserve-fds 0 --cgroup x --ignore-paused",
                 "update": "--blkio-weight 10 --cpu-period 1 --cpu-quota 1 --cpu-share 1 --cpu-rt-period 1 --cpu-rt-runtime 1 --cpuset-cpus 0 "
                           "--cpuset-mems 0 --memory 1 --memory-reservation 1 --memory-swap 1 --pids-limit 1 --l3-cache-schema x --mem-bw-schema x",
                 "kill": "--all", "delete": "", "ps": "--format json", "events": "--interval 5s --stats", "pause": "", "resume": "", "start": "", "state": ""}
        rest = {"kill": ["9"], "exec": ["true"]}
        for command, given in flags.items():
            result = self.fails("", "--criu", "x", "--debug", "--debug-log", "/dev/null", "--rootless=auto", command, *given.split(), "nosuch", *rest.get(command, []),
                                code=255 if command == "exec" else 1)
            self.assertTrue("does not exist" in result.err or "/nosuch" in result.err, result)

    def test_the_last_of_an_option_counts(self):
        self.ok("--root", os.path.join(self.folder, "other"), "--log", "/no/such", "--log", "/dev/null", "list")
        self.assertEqual(os.listdir(self.folder), ["bundle"])

    def test_preserved_descriptors(self):
        with open(os.path.join(self.folder, "given"), "w+") as given:
            def argv(command, *options):
                # 3 and 4 in the shell's words; the same file twice.
                line = f"exec 3<&{given.fileno()} 4<&{given.fileno()}; exec \"$@\""
                return ["sh", "-c", line, "sh", *self.argv(command, "--preserve-fds", "2", *options)]

            self.config("sh", "-c", "echo created >&4; echo $LISTEN_FDS >&3")
            container = self.new_id()
            self.assertEqual(subprocess.call(argv("run", "--bundle", self.bundle, container), pass_fds=[given.fileno()]), 0)
            self.config("sleep", "1000")
            container = self.start()
            self.assertEqual(subprocess.call(argv("exec", container, "sh", "-c", "echo here >&3"), pass_fds=[given.fileno()]), 0)
            pid_file = os.path.join(self.folder, "exec.pid")
            self.assertEqual(subprocess.call(argv("exec", "--detach", "--pid-file", pid_file, container, "sh", "-c", "echo detached >&4"),
                                             pass_fds=[given.fileno()]), 0)
            with open(pid_file) as file:
                self.assertEqual(self.wait_exit(int(file.read())), 0)
            self.fails("please check that preserved-fd", "exec", "--preserve-fds", "7", container, "true", code=255)
            given.seek(0)
            self.assertEqual(given.read().split(), ["created", "here", "detached"])

    def test_streams_that_are_one_file(self):
        path = os.path.join(self.folder, "both")
        self.config("sh", "-c", "echo out; echo err >&2; echo again")
        with open(path, "w") as file:
            subprocess.check_call(self.argv("run", "--bundle", self.bundle, self.new_id()), stdout=file, stderr=file)
            subprocess.check_call(["echo", "behind"], stdout=file)
        with open(path) as file:
            self.assertEqual(file.read().split(), ["out", "err", "again", "behind"])

    def test_socket_activation(self):
        with open(os.path.join(self.folder, "given"), "w+") as given:
            self.config("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$ >&3")
            line = f"exec 3<&{given.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\""
            argv = ["sh", "-c", line, "sh", *self.argv("run", "--bundle", self.bundle, self.new_id())]
            self.assertEqual(subprocess.call(argv, pass_fds=[given.fileno()]), 0)
            given.seek(0)
            self.assertEqual(given.read().split(), ["1", "1", "1"])


if __name__ == "__main__":
    harness.main()
