"""Checks of Docker and Podman: what a container is given and finds."""

import json
import os
import re
import tempfile
import time

from shell import IMAGE, NPROC, Failed, both, check, started


@both
def run_rm(s):
    s.expect("hello", *s.go("--rm", IMAGE, "echo", "hello"))


@both
def exit_codes(s):
    s.expect(None, *s.go("--rm", IMAGE, "sh", "-c", "exit 5"), code=5)
    s.expect(None, *s.go("--rm", IMAGE, "nosuch"), code=127)
    s.expect(None, *s.go("--rm", IMAGE, "/etc/passwd"), code=126)


@both
def exec_exit_codes(s):
    started(s)
    # Docker 20 says 126 for both, whatever the runtime.
    s.expect(None, *s.cli("exec", s.name, "nosuch"), code=126 if s.engine == "docker" else 127)
    s.expect(None, *s.cli("exec", s.name, "/etc/passwd"), code=126)


@both
def entrypoint_and_groups(s):
    out = s.expect("0", *s.go("--rm", "--entrypoint", "id", "--group-add", "7", "--group-add", "8", IMAGE, "-G"))
    s.same(["0", "7", "8"], sorted(out.split()))  # Podman gives them in any order


@both
def detached_and_removed(s):
    started(s, "--rm", command=("sleep", "1000"))
    s.expect(None, *s.cli("stop", "-t", "0", s.name), code=None)
    s.until("", *s.cli("ps", "-aq", "--filter", f"name={s.name}"), exact=True)


@both
def environment_folder_user(s):
    s.expect("b\n/tmp\n1000 1001\n", *s.go("--rm", "-e", "A=b", "-w", "/tmp", "-u", "1000:1001", IMAGE, "sh", "-c",
                                          "echo $A; pwd; echo $(id -u) $(id -g)"))


@both
def terminal_of_run(s):
    s.expect("/dev/", *s.on_terminal(*s.go("-it", "--rm", IMAGE, "tty")))


@both
def standard_input(s):
    with open("/etc/hostname") as file:
        s.expect("0", *s.go("-i", "--rm", IMAGE, "sh", "-c", "cat >/dev/null; echo $?"), stdin=file)


@both
def standard_input_through_the_engine(s):
    with tempfile.TemporaryFile() as text:
        text.write(b"from outside\n")
        text.seek(0)
        s.expect("from outside", *s.go("-i", "--rm", IMAGE, "cat"), stdin=text)


@both
def volumes(s):
    folder = os.path.join(s.folder, "volume")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "file"), "w") as file:
        file.write("content")
    s.expect("content", *s.go("--rm", "-v", f"{folder}:/v", IMAGE, "sh", "-c", "cat /v/file; echo new > /v/new"))
    with open(os.path.join(folder, "new")) as file:
        if file.read() != "new\n":
            raise Failed("the write did not reach the host")
    s.expect("content", *s.go("--rm", "-v", f"{folder}/file:/f:ro", IMAGE, "cat", "/f"))
    s.expect(None, *s.go("--rm", "-v", f"{folder}:/v:ro", IMAGE, "touch", "/v/x"), code=1, error="Read-only")


@both
def tmpfs_and_read_only_root(s):
    s.expect("tmpfs", *s.go("--rm", "--tmpfs", "/t:size=1m", "--read-only", IMAGE, "sh", "-c", "touch /t/a && mount | grep ' /t '"))
    s.expect(None, *s.go("--rm", "--read-only", IMAGE, "touch", "/x"), code=1, error="Read-only")


@both
def shared_memory_and_devices(s):
    s.expect("2.0M", *s.go("--rm", "--shm-size", "2m", IMAGE, "df", "-h", "/dev/shm"))
    s.expect("0", *s.go("--rm", "--device", "/dev/null:/dev/nothing", IMAGE, "sh", "-c", "wc -c < /dev/nothing"))


@both
def mount_with_the_capability(s):
    s.expect("mounted", *s.go("--rm", "--cap-add", "SYS_ADMIN", IMAGE, "sh", "-c", "mount -t tmpfs none /tmp && echo mounted"))


@both
def capabilities(s):
    s.expect("0000000000000000", *s.go("--rm", "--cap-drop", "ALL", IMAGE, "grep", "CapEff", "/proc/self/status"))
    s.expect("0000000000001000", *s.go("--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", IMAGE, "grep", "CapEff", "/proc/self/status"))


@both
def no_new_privileges(s):
    s.expect("1", *s.go("--rm", "--security-opt", "no-new-privileges", IMAGE, "grep", "NoNewPrivs", "/proc/self/status"))


@both
def seccomp_profile(s):
    profile = os.path.join(s.folder, "seccomp.json")
    with open(profile, "w") as file:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}, file)
    s.expect(None, *s.go("--rm", "--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/x"), code=1, error="not permitted")


@both
def memory_limit(s):
    s.expect(f"{64 << 10} kB", *s.go("--rm", "--memory", "64m", IMAGE, "grep", "MemTotal", "/proc/meminfo"))


@both
def memory_limit_is_kept(s):
    """Whoever exceeds it dies, and the engine knows why."""
    limits = ("--memory", "64m", "--memory-swap", "64m")
    s.expect(None, "env", "-C", s.folder, *s.go("-d", "--name", s.name, *limits, IMAGE, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"))
    s.expect("137", *s.cli("wait", s.name))
    # With version 1, Podman 4.3's monitor leaves its notice in the folder that it was started in, where Podman does not look.
    if not os.path.exists(os.path.join(s.folder, "oom")):
        s.until("true", *s.cli("inspect", "-f", "{{.State.OOMKilled}}", s.name))


@both
def memory_limit_in_cgroup_files(s):
    s.expect(str(64 << 20), *s.go("--rm", "--memory", "64m", IMAGE, "sh", "-c",
                                  "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"), code=None)


@both
def cpu_limit(s):
    s.expect("1\n", *s.go("--rm", "--cpus", "1", IMAGE, "nproc"))


@both
def cpu_limit_in_cgroup_files(s):
    s.expect("50000", *s.go("--rm", "--cpus", "0.5", IMAGE, "sh", "-c",
                            "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null"), code=None)
    s.expect("1\n", *s.go("--rm", "--cpuset-cpus", "0", IMAGE, "nproc"))


@both
def pids_limit(s):
    s.expect(None, *s.go("--rm", "--pids-limit", "10", IMAGE, "sh", "-c", "for i in $(seq 20); do sleep 1 & done; echo all"), code=None, error="fork")


@both
def ulimit_and_hostname(s):
    # Podman adds its own for those that are not given, above what this machine may allow.
    nproc = ("--ulimit", NPROC) if s.engine == "podman" else ()
    s.expect("100\n", *s.go("--rm", "--ulimit", "nofile=100:200", *nproc, IMAGE, "sh", "-c", "ulimit -n"))
    s.expect("hh\n", *s.go("--rm", "--hostname", "hh", IMAGE, "hostname"))


@both
def sysctl(s):
    s.expect("1", *s.go("--rm", "--sysctl", "net.ipv4.ip_forward=1", IMAGE, "cat", "/proc/sys/net/ipv4/ip_forward"))


@both
def init_process(s):
    s.expect(None, *s.go("--rm", "--init", IMAGE, "sh", "-c", "exit 3"), code=3)
    s.expect("init", *s.go("--rm", "--init", IMAGE, "cat", "/proc/1/cmdline"))


@both
def network_none(s):
    out = s.expect("lo", *s.go("--rm", "--network", "none", IMAGE, "ip", "addr"))
    if "eth0" in out:
        raise Failed("there is an eth0")


@both
def network_host(s):
    s.expect("lo", *s.go("--rm", "--network", "host", IMAGE, "ip", "addr"))


@both
def network_bridge(s):
    out = s.expect("eth0", *s.go("--rm", IMAGE, "ip", "addr"))
    if not re.search(r"inet (172|10)\.", out):
        raise Failed(f"no address: {out!r}")
    s.expect("default", *s.go("--rm", IMAGE, "ip", "route"))


@both
def published_port(s):
    started(s, "-p", "18080:80", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    end = time.monotonic() + 10
    while True:
        code, out, _ = s.run("busybox", "nc", "-w", "2", "127.0.0.1", "18080")
        if "served" in out:
            return
        if time.monotonic() > end:
            raise Failed("nothing was served")
        time.sleep(0.1)


@both
def containers_reach_each_other(s):
    started(s, command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    address = s.expect(".", *s.cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", s.name)).strip()
    s.until("served", *s.go("--rm", IMAGE, "nc", "-w", "2", address, "80"))


@both
def network_of_another(s):
    started(s, command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    s.until("served", *s.go("--rm", "--network", f"container:{s.name}", IMAGE, "nc", "-w", "2", "127.0.0.1", "80"))


@both
def host_network_below_1024(s):
    started(s, "--network", "host", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
    s.until("served", "busybox", "nc", "-w", "2", "127.0.0.1", "80")


@both
def ping(s):
    started(s)
    address = s.expect(".", *s.cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", s.name)).strip()
    s.expect("1 packets received", *s.go("--rm", IMAGE, "ping", "-c", "1", "-W", "2", address))


@check("docker")
def dns_of_a_user_network(s):
    s.run("docker", "network", "create", "n")
    try:
        started(s, "--network", "n", command=("nc", "-ll", "-p", "80", "-e", "echo", "served"))
        s.expect("Name", *s.go("--rm", "--network", "n", IMAGE, "nslookup", s.name), code=None)
        s.until("served", *s.go("--rm", "--network", "n", IMAGE, "nc", "-w", "2", s.name, "80"))
    finally:
        s.run("docker", "rm", "-f", s.name)
        s.run("docker", "network", "rm", "n")
