"""The root file system seen from both sides: what the host changes in it shows inside, and what a program did is on the host before anybody
outside can know that it did."""

import os
import subprocess

import harness


class RootFilesTest(harness.ContainerTest):
    def setUp(self):
        super().setUp()
        self.tmp = os.path.join(self.rootfs, "tmp")

    def put(self, name, text):
        with open(os.path.join(self.tmp, name), "w") as file:
            file.write(text)

    def start_sleeper(self):
        self.config("sleep", "1000")
        return self.start()

    def test_exec_finds_what_the_host_has_put_there(self):
        container = self.start_sleeper()
        self.put("replaced", "old")
        self.assertEqual(self.ok("exec", container, "ls", "/tmp"), "replaced\n")
        self.assertNotEqual(self.runsc("exec", container, "cat", "/tmp/new").code, 0)
        self.put("new", "new")
        self.put("replacement", "replacement")
        os.rename(os.path.join(self.tmp, "replacement"), os.path.join(self.tmp, "replaced"))
        self.assertEqual(self.ok("exec", container, "cat", "/tmp/new", "/tmp/replaced"), "newreplacement")
        self.assertEqual(self.ok("exec", container, "ls", "/tmp"), "new\nreplaced\n")
        os.unlink(os.path.join(self.tmp, "new"))
        self.assertNotEqual(self.runsc("exec", container, "cat", "/tmp/new").code, 0)

    def test_a_running_program_sees_them_too(self):
        self.config("sh", "-c", "[ -e /tmp/go ]; [ -e /tmp/gone ]; : >/tmp/looked; until [ -e /tmp/go ]; do :; done; cat /tmp/go >/tmp/seen")
        self.start()
        harness.wait_for(lambda: os.path.exists(os.path.join(self.tmp, "looked")), "the program has looked")
        self.put("go", "went")
        seen = os.path.join(self.tmp, "seen")
        harness.wait_for(lambda: os.path.exists(seen) and open(seen).read() == "went", "the program sees the file")

    def test_changes_are_there_when_exec_ends(self):
        container = self.start_sleeper()
        for i in range(10):
            self.ok("exec", container, "sh", "-c", f"cd /tmp && mkdir d && touch d/a d/b && mv d/a d/{i} && rm d/b && touch x && rm x")
            self.assertEqual(os.listdir(self.tmp), ["d"])
            self.assertEqual(os.listdir(os.path.join(self.tmp, "d")), [str(i)])
            self.ok("exec", container, "rm", "-r", "/tmp/d")
            self.assertEqual(os.listdir(self.tmp), [])

    def test_changes_are_there_before_output(self):
        self.config("sh", "-c", "cd /tmp; : >a; while :; do mv a b; echo b; read line || exit 0; mv b a; echo a; read line || exit 0; done")
        container = self.new_id()
        with subprocess.Popen(self.argv("run", "--bundle", self.bundle, container), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            for _ in range(50):
                name = process.stdout.readline().strip()
                self.assertEqual(os.listdir(self.tmp), [name])
                process.stdin.write("\n")
                process.stdin.flush()
            process.stdin.close()
            self.assertEqual(process.wait(harness.LIMIT), 0)

    def test_changes_are_there_when_the_container_ends(self):
        for i in range(5):
            self.config("sh", "-c", f"cd /tmp; for i in 0 1 2 3 4 5 6 7 8 9; do : >x; mv x {i}; rm {i}; done; : >x; mv x {i}")
            self.ok("run", "--bundle", self.bundle, self.new_id())
            self.assertEqual(os.listdir(self.tmp), [str(i)])
            os.unlink(os.path.join(self.tmp, str(i)))


if __name__ == "__main__":
    harness.main()
