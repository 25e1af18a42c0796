#!/bin/bash
exec python3 - <<'EOF'
import os, signal, subprocess, sys
print(subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout, end="")
print(subprocess.run("exit 3", shell=True).returncode)
print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(p.communicate(b"x" * 300000)[0] == b"x" * 300000)
try:
    subprocess.run(["sleep", "10"], timeout=0.3)
except subprocess.TimeoutExpired as e:
    print("timeout")
try:
    subprocess.run(["/nosuch"])
except FileNotFoundError as e:
    print(e)
p = subprocess.Popen(["sleep", "10"], start_new_session=True)
print(os.getsid(p.pid) == p.pid); os.killpg(p.pid, signal.SIGTERM); print(p.wait())
r, w = os.pipe()
subprocess.run(["sh", "-c", f"echo passed >&{w}"], pass_fds=[w]); os.close(w); print(os.read(r, 100))
print(subprocess.run(["pwd"], cwd="/usr", env={"A": "1"}, capture_output=True).stdout)
print(subprocess.check_output(["id", "-u"], user=65534, group=65534, extra_groups=[]))
ps = [subprocess.Popen(["sh", "-c", f"exit {i}"]) for i in range(40)]
print(sum(p.wait() for p in ps))
pid = os.fork()
if pid == 0: os._exit(17)
print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
pid = os.posix_spawn("/bin/true", ["true"], os.environ); print(os.waitpid(pid, 0)[1])
EOF
