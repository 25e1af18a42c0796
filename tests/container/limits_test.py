"""Control groups, what guests see of their limits, update, events."""

import json
import os
import subprocess

import harness


def read(path):
    with open(path) as file:
        return file.read().strip()


class LimitsTest(harness.ContainerTest):
    def configure(self, *args, **resources):
        self.config(*args, change=lambda d: d["linux"].update(resources=resources))

    def group_file(self, container, *names):
        """The first of these files that the container's control groups have."""
        for group in self.cgroups(container):
            for name in names:
                path = os.path.join(group, name)
                if os.path.exists(path):
                    return path
        self.fail(f"{container} has none of {names}")

    def test_memory(self):
        self.configure("sleep", "1000", memory={"limit": 100 << 20})
        container = self.start()
        self.assertEqual(read(self.group_file(container, "memory.limit_in_bytes", "memory.max")), str(100 << 20))
        for size, number in ((str(200 << 20), 200 << 20), ("300M", 300 << 20), ("0.5GiB", 512 << 20), ("102400kb", 100 << 20)):
            self.ok("update", "--memory", size, container)
            self.assertEqual(read(self.group_file(container, "memory.limit_in_bytes", "memory.max")), str(number))
        for size in ("12Q", "M", "1..5G", "-2", "99999999T"):
            self.fails("invalid size", "update", "--memory", size, container)
        self.ok("update", "--memory-swap", "-1", "--memory", "-1", container)
        self.assertGreater(int(read(self.group_file(container, "memory.limit_in_bytes", "memory.max")).replace("max", str(1 << 62))), 1 << 50)

    def test_huge_pages(self):
        """Also on a hybrid host, where the controller may be in version 2's tree alone."""
        controllers = [read(path) for path in ("/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers") if os.path.exists(path)]
        if not os.path.exists("/sys/fs/cgroup/hugetlb") and not any("hugetlb" in line.split() for line in controllers):
            self.skipTest("no hugetlb controller")
        self.configure("sleep", "1000", hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}])
        container = self.start()
        self.assertEqual(read(self.group_file(container, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")), str(4 << 20))
        self.assertEqual(json.loads(self.ok("events", "--stats", container))["data"]["hugetlb"]["2MB"]["usage"], 0)
        path = os.path.join(self.folder, "resources.json")
        with open(path, "w") as file:
            json.dump({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 << 20}]}, file)
        self.ok("update", "--resources", path, container)
        self.assertEqual(read(self.group_file(container, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")), str(6 << 20))
        self.configure("true", hugepageLimits=[{"pageSize": "3MB", "limit": 4 << 20}])
        self.fails("hugetlb.3MB", "create", "--bundle", self.bundle, self.new_id())

    def test_pids_count_guest_tasks(self):
        self.configure("sleep", "1000", pids={"limit": 10})
        container = self.start()
        # The shell is task 2: eight more fit.
        script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; sleep 100 & echo over"
        result = self.runsc("exec", container, "sh", "-c", script)
        self.assertNotEqual(result.code, 0)
        self.assertIn("fork", result.err)
        self.assertNotIn("over", result.out)

    def test_pids_limit_of_the_host_is_the_bundles(self):
        """Where the pids controller has a hierarchy of its own: the container's group has the limit and the stand-ins."""
        self.configure("sleep", "1000", pids={"limit": 10})
        container = self.start()
        group = f"/sys/fs/cgroup/pids/{container}"
        if not os.path.exists("/sys/fs/cgroup/pids/tasks"):
            self.skipTest("no such hierarchy")
        self.assertEqual(read(group + "/pids.max"), "10")
        self.assertEqual(read(group + "/tasks").split(), [str(self.state(container)["pid"])])
        self.ok("update", "--pids-limit", "20", container)
        self.assertEqual(read(group + "/pids.max"), "20")
        self.ok("delete", "--force", container)
        self.assertFalse(os.path.exists(group + ".runsc"))

    def test_resources_of_the_other_version_are_an_error(self):
        if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            self.skipTest("version 2")
        self.configure("true", unified={"memory.max": "100"})
        text = "memory.max" if os.path.exists("/sys/fs/cgroup/unified") else "linux.resources.unified"
        self.fails(text, "create", "--bundle", self.bundle, self.new_id())

    def test_sentry_is_not_the_first_victim(self):
        self.configure("sleep", "1000")
        container = self.start()
        with open(os.path.join(self.root, container, "state.json")) as file:
            state = json.load(file)
        sentry, gofer = state["sentry"]["pid"], state["container"]["pid"]
        own = int(read(f"/proc/{sentry}/oom_score_adj"))
        inside = {int(p) for group in self.cgroups(container) for p in read(os.path.join(group, "cgroup.procs")).split()}
        stubs = inside - {sentry, gofer}
        self.assertTrue(stubs)
        for stub in stubs:
            self.assertGreater(int(read(f"/proc/{stub}/oom_score_adj")), own)

    def test_groups_of_the_bundles_path(self):
        name = f"runsc-test-{os.getpid()}"
        self.config("sleep", "1000", change=lambda d: d["linux"].update(cgroupsPath=f"/{name}/inner"))
        container = self.start()
        pid = self.state(container)["pid"]
        self.assertIn(f"/{name}/inner", read(f"/proc/{pid}/cgroup"))
        self.ok("delete", "--force", container)
        for folder in self.cgroups("inner"):
            self.assertNotIn(name, folder)
        for folder in self.cgroups(name):
            os.rmdir(folder)

    def test_update_from_a_document(self):
        self.configure("sleep", "1000", memory={"limit": 100 << 20})
        container = self.start()
        path = os.path.join(self.folder, "resources.json")
        with open(path, "w") as file:
            json.dump({"memory": {"limit": 150 << 20}, "cpu": {"shares": 256}}, file)
        with open(path) as stdin:
            self.ok("update", "--resources", "-", container, stdin=stdin)
        self.assertEqual(read(self.group_file(container, "memory.limit_in_bytes", "memory.max")), str(150 << 20))
        self.fails("not valid JSON", "update", "--resources", "/dev/null", container)

    def test_events(self):
        self.configure("sleep", "1000")
        container = self.start()
        event = json.loads(self.ok("events", "--stats", container))
        self.assertEqual((event["type"], event["id"]), ("stats", container))
        self.assertGreater(event["data"]["cpu"]["usage"]["total"], 0)
        self.assertGreater(event["data"]["memory"]["usage"]["usage"], 0)
        self.assertGreater(event["data"]["pids"]["current"], 0)
        self.assertEqual(list(event["data"]), ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"])
        self.assertEqual(event["data"]["cpuset"]["cpus"], sorted(os.sched_getaffinity(0)))

    def inside(self, container, *command):
        return self.ok("exec", container, *command).strip()

    def test_memory_as_guests_see_it(self):
        self.configure("sleep", "1000", memory={"limit": 100 << 20})
        container = self.start()

        def total():
            return int(self.inside(container, "grep", "MemTotal", "/proc/meminfo").split()[1])

        self.assertEqual(total(), 100 << 10)
        free = dict(line.split()[:2] for line in self.inside(container, "cat", "/proc/meminfo").splitlines())
        self.assertLess(int(free["MemFree:"]), 100 << 10)
        self.assertGreater(int(free["MemAvailable:"]), 0)
        self.assertEqual(self.inside(container, "free", "-k").splitlines()[1].split()[1], str(100 << 10))  # sysinfo(2)
        self.ok("update", "--memory", str(200 << 20), container)
        self.assertEqual(total(), 200 << 10)

    def test_processors_as_guests_see_them(self):
        cpus = os.sched_getaffinity(0)
        if len(cpus) < 2:
            self.skipTest("one processor cannot be divided")
        self.configure("sleep", "1000", cpu={"quota": 150000, "period": 100000})
        container = self.start()

        def seen():
            listed = self.inside(container, "sh", "-c", "ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l")
            return (self.inside(container, "nproc"), self.inside(container, "grep", "-c", "^processor", "/proc/cpuinfo"),
                    self.inside(container, "cat", "/sys/devices/system/cpu/online"), listed)

        self.assertEqual(seen(), ("2", "2", "0-1", "2"))
        self.ok("update", "--cpu-quota", "50000", container)
        self.assertEqual(seen(), ("1", "1", "0", "1"))

    def test_cpuset_as_guests_see_it(self):
        cpu = max(os.sched_getaffinity(0))
        self.configure("sleep", "1000", cpu={"cpus": str(cpu)})
        container = self.start()
        self.assertEqual(self.inside(container, "nproc"), "1")
        self.assertEqual(self.inside(container, "grep", "Cpus_allowed_list", "/proc/self/status").split()[1], str(cpu))

    def group_mount(self, kind, **resources):
        def change(document):
            document["mounts"].append({"destination": "/sys/fs/cgroup", "type": kind, "source": "cgroup",
                                       "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]})
            document["linux"]["resources"] = resources

        self.config("sleep", "1000", change=change)
        return self.start()

    def test_unified_group_inside(self):
        container = self.group_mount("cgroup2", memory={"limit": 64 << 20}, cpu={"quota": 50000, "period": 100000}, pids={"limit": 50})
        files = ("memory.max", "cpu.max", "pids.max", "cgroup.controllers", "cgroup.type")
        text = self.inside(container, "sh", "-c", "cd /sys/fs/cgroup; cat " + " ".join(files)).splitlines()
        self.assertEqual(text, [str(64 << 20), "50000 100000", "50", "cpuset cpu io memory pids", "domain"])
        self.assertGreater(int(self.inside(container, "cat", "/sys/fs/cgroup/memory.current")), 0)
        self.assertIn("usage_usec", self.inside(container, "cat", "/sys/fs/cgroup/cpu.stat"))
        self.assertIn("anon ", self.inside(container, "cat", "/sys/fs/cgroup/memory.stat"))
        self.assertIn("oom_kill 0", self.inside(container, "cat", "/sys/fs/cgroup/memory.events"))
        self.assertIn("1", self.inside(container, "cat", "/sys/fs/cgroup/cgroup.procs").split())
        self.assertEqual(self.inside(container, "sh", "-c", "cat /sys/fs/cgroup/pids.current"), "2")
        self.ok("update", "--memory", str(128 << 20), "--pids-limit", "60", container)
        text = self.inside(container, "sh", "-c", "cd /sys/fs/cgroup; cat memory.max pids.max").splitlines()
        self.assertEqual(text, [str(128 << 20), "60"])
        self.fails("", "exec", container, "sh", "-c", "echo max > /sys/fs/cgroup/memory.max")
        self.fails("", "exec", container, "mkdir", "/sys/fs/cgroup/mine")

    def test_group_mount_follows_the_host(self):
        container = self.group_mount("cgroup", memory={"limit": 64 << 20}, pids={"limit": 50})
        unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        paths = self.inside(container, "cat", "/proc/self/cgroup")
        if unified:
            self.assertEqual(paths, "0::/")
            self.assertEqual(self.inside(container, "cat", "/sys/fs/cgroup/memory.max"), str(64 << 20))
            return
        self.assertIn(":memory:/", paths)
        self.assertEqual(self.inside(container, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"), str(64 << 20))
        self.assertEqual(self.inside(container, "cat", "/sys/fs/cgroup/pids/pids.max"), "50")
        self.assertGreater(int(self.inside(container, "cat", "/sys/fs/cgroup/cpuacct/cpuacct.usage")), 0)
        self.assertIn("memory\t", self.inside(container, "cat", "/proc/cgroups"))
        self.assertIn(" - cgroup cgroup rw,memory", self.inside(container, "cat", "/proc/self/mountinfo"))

    def test_update_of_the_pids_limit(self):
        self.configure("sleep", "1000", pids={"limit": 4})
        container = self.start()
        fork = "for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait; echo over"
        self.assertNotIn("over", self.runsc("exec", container, "sh", "-c", fork).out)
        self.ok("update", "--pids-limit", "100", container)
        self.assertIn("over", self.ok("exec", container, "sh", "-c", fork))

    def test_out_of_memory_takes_the_guest(self):
        self.configure("sleep", "1000", memory={"limit": 64 << 20, "swap": 64 << 20})
        container = self.start()
        events = subprocess.Popen(self.argv("events", "--interval", "1h", container), stdout=subprocess.PIPE)
        # Held in memory by the shell itself.
        grow = "x=0123456789abcdef; while :; do x=$x$x; done"
        result = self.runsc("exec", container, "sh", "-c", grow)
        self.assertEqual(result.code, 137, result)
        self.assertEqual(json.loads(events.stdout.readline()), {"type": "oom", "id": container})
        # The sentry and the container's other processes live.
        self.assertEqual(self.status(container), "running")
        self.assertEqual(self.inside(container, "echo", "alive"), "alive")
        self.ok("kill", container, "KILL")
        events.wait(harness.LIMIT)
        events.stdout.close()

    def test_out_of_memory_of_the_first_process(self):
        self.configure("sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done", memory={"limit": 64 << 20, "swap": 64 << 20})
        container = self.create()
        pid = self.state(container)["pid"]
        self.ok("start", container)
        self.assertEqual(self.wait_exit(pid), 137)


if __name__ == "__main__":
    harness.main()
