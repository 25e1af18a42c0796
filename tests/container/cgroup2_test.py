"""A host whose control groups are version 2 alone, as far as that can be had on any machine: commands run where nothing else is mounted. On
a machine with version 1 the controllers stay there, so that limits are an error."""

import os
import subprocess

import harness

VIEW = """umount -l /sys/fs/cgroup && mount -t tmpfs none /sys/fs && mkdir /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@" """


class CgroupTwoTest(harness.ContainerTest):
    def argv(self, *args):
        return [*self.view(), *super().argv(*args)]

    @staticmethod
    def view(*command):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", VIEW, "sh", *command]

    def group(self, container):
        listing = subprocess.run(self.view("find", "/sys/fs/cgroup", "-name", container), capture_output=True, text=True, check=True)
        return listing.stdout.strip()

    def in_group(self, container, name):
        return subprocess.run(self.view("cat", f"{self.group(container)}/{name}"), capture_output=True, text=True, check=True).stdout

    def test_life(self):
        self.config("sleep", "1000")
        container = self.create()
        pid = self.state(container)["pid"]
        self.assertIn(str(pid), self.in_group(container, "cgroup.procs").split())
        self.ok("start", container)
        self.ok("pause", container)
        self.assertEqual(self.status(container), "paused")
        self.ok("resume", container)
        self.assertEqual(self.ok("exec", container, "cat", "/proc/self/cgroup"), "0::/\n")
        self.assertIn('"cpu"', self.ok("events", "--stats", container))
        self.ok("kill", container, "KILL")
        self.assertEqual(self.wait_exit(pid), 137)
        self.ok("delete", container)
        self.assertEqual(self.group(container), "")

    def test_limits(self):
        controllers = subprocess.run(self.view("cat", "/sys/fs/cgroup/cgroup.controllers"), capture_output=True, text=True, check=True).stdout.split()
        self.config("sleep", "1000", change=lambda d: d["linux"].update(resources={"memory": {"limit": 100 << 20}}))
        container = self.new_id()
        if "memory" not in controllers:
            self.fails("memory.max", "create", "--bundle", self.bundle, container)
            self.assertEqual((self.group(container), os.listdir(self.root)), ("", []))
            return
        self.ok("create", "--bundle", self.bundle, container)
        self.assertEqual(self.in_group(container, "memory.max").strip(), str(100 << 20))
        self.ok("update", "--memory", str(200 << 20), container)
        self.assertEqual(self.in_group(container, "memory.max").strip(), str(200 << 20))

    def test_huge_pages(self):
        controllers = subprocess.run(self.view("cat", "/sys/fs/cgroup/cgroup.controllers"), capture_output=True, text=True, check=True).stdout.split()
        if "hugetlb" not in controllers:
            self.skipTest("no hugetlb controller in version 2")
        self.config("sleep", "1000", change=lambda d: d["linux"].update(resources={"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}))
        container = self.create()
        self.assertEqual(self.in_group(container, "hugetlb.2MB.max").strip(), str(4 << 20))

    def test_unified_names_a_file(self):
        self.config("true", change=lambda d: d["linux"].update(resources={"unified": {"../cgroup.procs": "1"}}))
        self.fails("must be a file name", "create", "--bundle", self.bundle, self.new_id())


if __name__ == "__main__":
    harness.main()
