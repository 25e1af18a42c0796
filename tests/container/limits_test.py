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
        self.ok("update", "--memory", str(200 << 20), container)
        self.assertEqual(read(self.group_file(container, "memory.limit_in_bytes", "memory.max")), str(200 << 20))

    def test_pids_count_guest_tasks(self):
        self.configure("sleep", "1000", pids={"limit": 10})
        container = self.start()
        # The shell is task 2: eight more fit.
        script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; sleep 100 & echo over"
        result = self.runsc("exec", container, "sh", "-c", script)
        self.assertNotEqual(result.code, 0)
        self.assertIn("fork", result.err)
        self.assertNotIn("over", result.out)

    def test_sentry_is_not_the_first_victim(self):
        self.configure("sleep", "1000")
        container = self.start()
        with open(os.path.join(self.root, container, "state.json")) as file:
            state = json.load(file)
        sentry, gofer = state["sentry"]["pid"], state["container"]["pid"]
        own = int(read(f"/proc/{sentry}/oom_score_adj"))
        stubs = [int(p) for p in read(self.group_file(container, "cgroup.procs")).split() if int(p) not in (sentry, gofer)]
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


if __name__ == "__main__":
    harness.main()
