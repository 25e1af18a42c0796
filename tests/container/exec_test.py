"""exec: exit codes, streams, terminals, detached processes that the caller reaps."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading

import harness


def receive_console(path):
    """A console socket: returns a function that waits for the terminal's descriptor."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    server.settimeout(harness.LIMIT)
    box = []

    def serve():
        connection, _ = server.accept()
        _, fds, _, _ = socket.recv_fds(connection, 100, 1)
        box.append(fds[0])

    thread = threading.Thread(target=serve)
    thread.start()

    def result():
        thread.join(harness.LIMIT)
        server.close()
        return box[0]

    return result


def read_until(fd, text):
    output = b""
    while text not in output:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        output += data
    return output


class ExecTest(harness.ContainerTest):
    def setUp(self):
        super().setUp()
        self.config("sleep", "1000")
        self.container = self.start()

    def test_exit_code_and_streams(self):
        with tempfile.TemporaryFile() as stdin:
            stdin.write(b"in\n")
            stdin.seek(0)
            result = self.runsc("exec", self.container, "sh", "-c", "cat; echo err >&2; exit 6", stdin=stdin)
        self.assertEqual((result.code, result.out, result.err), (6, "in\n", "err\n"))

    def test_death_by_signal(self):
        self.assertEqual(self.runsc("exec", self.container, "sh", "-c", "kill -9 $$").code, 137)

    def test_missing_program(self):
        self.fails("executable file not found", "exec", self.container, "nosuch", code=127)
        self.fails("no such file or directory", "exec", self.container, "/no/such", code=127)
        self.fails("permission denied", "exec", self.container, "/etc/passwd", code=126)

    def test_options(self):
        out = self.ok("exec", "--cwd", "/tmp", "--env", "A=b", "--user", "7:8", "--additional-gids", "9", self.container, "sh", "-c",
                      "pwd; echo $A; id -u; id -g; id -G")
        self.assertEqual(out.split("\n")[:4], ["/tmp", "b", "7", "8"])
        self.assertIn("9", out.split("\n")[4].split())

    def test_process_document(self):
        path = os.path.join(self.folder, "process.json")
        with open(path, "w") as file:
            json.dump({"args": ["sh", "-c", "echo $X; exit 11"], "cwd": "/", "env": ["X=y", "PATH=/bin"], "user": {"uid": 1, "gid": 1}}, file)
        result = self.runsc("exec", "--process", path, self.container)
        self.assertEqual((result.code, result.out), (11, "y\n"))

    def test_detached(self):
        pid_file = os.path.join(self.folder, "exec.pid")
        self.ok("exec", "--detach", "--pid-file", pid_file, self.container, "sh", "-c", "exit 13")
        with open(pid_file) as file:
            pid = int(file.read())
        self.assertEqual(self.wait_exit(pid), 13)

    def test_signals_to_the_stand_in(self):
        pid_file = os.path.join(self.folder, "exec.pid")
        ready = os.path.join(self.rootfs, "tmp/ready")
        script = "trap 'exit 17' TERM; echo 1 > /tmp/ready; while :; do sleep 1 & wait $!; done"
        self.ok("exec", "--detach", "--pid-file", pid_file, self.container, "sh", "-c", script)
        with open(pid_file) as file:
            pid = int(file.read())
        harness.wait_for(lambda: os.path.exists(ready), "the trap")
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(self.wait_exit(pid), 17)
        # SIGKILL takes the stand-in, and the process with it.
        self.ok("exec", "--detach", "--pid-file", pid_file, self.container, "sleep", "4321")
        with open(pid_file) as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.wait_exit(pid), -signal.SIGKILL)
        harness.wait_for(lambda: "4321" not in self.runsc("exec", self.container, "ps").out, "the end of the process")

    def test_ends_with_the_container(self):
        pid_file = os.path.join(self.folder, "exec.pid")
        self.ok("exec", "--detach", "--pid-file", pid_file, self.container, "sleep", "1000")
        with open(pid_file) as file:
            pid = int(file.read())
        self.ok("kill", self.container, "9")
        self.assertEqual(self.wait_exit(pid), 137)

    def test_terminal(self):
        path = os.path.join(self.folder, "console.sock")
        master = receive_console(path)
        pid_file = os.path.join(self.folder, "exec.pid")
        self.ok("exec", "--detach", "--tty", "--console-socket", path, "--pid-file", pid_file, self.container, "sh")
        with open(pid_file) as file:
            pid = int(file.read())
        fd = master()
        os.write(fd, b"test -t 0 && echo ter''minal; echo en''d\n")
        self.assertIn(b"terminal", read_until(fd, b"\nend"))
        # It has a name in the container's own devpts.
        os.write(fd, b"tty; test -c $(tty) && echo na''med; ls /dev/pts; echo to > /dev/tty; echo en''d2\n")
        output = read_until(fd, b"\nend2")
        self.assertRegex(output, rb"/dev/pts/\d+\s")
        self.assertIn(b"named", output)
        # ^C is for what runs in the foreground, not for the shell.
        os.write(fd, b"sleep 1000; echo sta''tus $?\n")
        harness.wait_for(lambda: "sleep 1000; echo" in self.ok("exec", self.container, "ps") or
                         self.ok("exec", self.container, "ps").count("sleep 1000") > 1, "sleep")
        os.write(fd, b"\x03")
        os.write(fd, b"echo al''ive\n")
        self.assertIn(b"alive", read_until(fd, b"\nalive"))
        os.write(fd, b"exit 19\n")
        self.assertEqual(self.wait_exit(pid), 19)
        os.close(fd)

    def test_terminal_needs_a_socket_when_detached(self):
        self.fails("cannot allocate tty", "exec", "--detach", "--tty", self.container, "sh", code=255)


class ContainerTerminalTest(harness.ContainerTest):
    def test_console_socket(self):
        self.config("sh", terminal=True, consoleSize={"height": 33, "width": 99})
        path = os.path.join(self.folder, "console.sock")
        master = receive_console(path)
        container = self.create("--console-socket", path)
        pid = self.state(container)["pid"]
        fd = master()
        self.ok("start", container)
        os.write(fd, b"stty size; test -t 0 && test -t 1 && test -t 2 && echo ter''minal\n")
        output = read_until(fd, b"\nterminal")
        self.assertIn(b"33 99", output)
        os.write(fd, b"tty; echo con''sole > /dev/console; ps -o tty | tail -n 1; echo en''d\n")
        output = read_until(fd, b"\nend")
        self.assertIn(b"/dev/pts/0", output)
        self.assertIn(b"console", output)
        os.write(fd, b"exit 21\n")
        self.assertEqual(self.wait_exit(pid), 21)
        os.close(fd)

    def test_errors(self):
        self.config("true", terminal=True)
        self.fails("cannot allocate tty", "create", "--bundle", self.bundle, self.new_id())
        self.config("true")
        self.fails("console socket", "create", "--bundle", self.bundle, "--console-socket", "/tmp/nosuch", self.new_id())


if __name__ == "__main__":
    harness.main()
