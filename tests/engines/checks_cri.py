"""Checks of containerd's CRI plugin with a CNI bridge, as Kubernetes uses them: pods of several containers."""

import os
import re
import subprocess

import cri
from machine import CRI_SOCKET, GATEWAY
from shell import REF, Failed, check, later

SERVE = ("sh", "-c", "while :; do echo served | nc -l -p 8080; done")


class Pod:
    """One pod and its containers; everything is removed at the end of a check."""

    def __init__(self, s, ports=(), namespaces=None, sysctls=None):
        self.s, self.client, self.containers = s, cri.Client(CRI_SOCKET), {}
        linux = {"cgroup_parent": "/checks-pods", "security_context": {"namespace_options": namespaces or {"pid": cri.CONTAINER}}, "sysctls": sysctls or {}}
        hostname = "" if (namespaces or {}).get("network") == cri.NODE else "host-of-pod"
        self.config = {"metadata": {"name": s.name, "uid": s.name, "namespace": "checks"}, "hostname": hostname, "log_directory": s.folder,
                       "port_mappings": [{"container_port": c, "host_port": h} for c, h in ports], "linux": linux}
        self.id = self.client.call("RunPodSandbox", config=self.config, runtime_handler=s.runtime)["pod_sandbox_id"]
        s.pods.append(self)

    def create(self, name, *command, resources=None, security=None, **config):
        security = {"namespace_options": self.config["linux"]["security_context"]["namespace_options"], **(security or {})}
        config = {"metadata": {"name": name}, "image": {"image": REF}, "command": command, "log_path": f"{name}.log",
                  "linux": {"resources": resources or {}, "security_context": security}, **config}
        made = self.client.call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)["container_id"]
        self.containers[name] = made
        return made

    def start(self, name, *command, **config):
        self.create(name, *command, **config)
        self.client.call("StartContainer", container_id=self.containers[name])

    def exec(self, name, *command, timeout=0):
        reply = self.client.call("ExecSync", container_id=self.containers[name], cmd=command, timeout=timeout)
        return reply["exit_code"], reply["stdout"].decode(), reply["stderr"].decode()

    def says(self, wanted, name, *command):
        code, out, err = self.exec(name, *command)
        if code != 0 or wanted not in out:
            raise Failed(f"{name}: {command}: exit {code}, {out!r}, {err!r}")
        return out

    def status(self, name):
        return self.client.call("ContainerStatus", container_id=self.containers[name])["status"]

    def ended(self, name):
        later(lambda: self.status(name)["state"] == cri.EXITED, f"the end of {name}")
        return self.status(name)["exit_code"]

    def log(self, name):
        with open(os.path.join(self.s.folder, f"{name}.log")) as file:
            return file.read()

    @property
    def address(self):
        return self.client.call("PodSandboxStatus", pod_sandbox_id=self.id)["status"]["network"]["ip"]

    def remove(self):
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            self.client.call(method, pod_sandbox_id=self.id)


def connects(address, port):
    """What a server there says, or nothing."""
    return subprocess.run(["busybox", "nc", "-w", "2", address, str(port)], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


@check("cri")
def pod_has_an_address(s):
    pod = Pod(s)
    if not re.match(r"10\.88\.\d+\.\d+$", pod.address):
        raise Failed(f"{pod.address!r}")
    pod.start("one", "sleep", "1000")
    pod.says(pod.address, "one", "ip", "addr")
    pod.says("host-of-pod", "one", "hostname")
    s.same(cri.RUNNING, pod.status("one")["state"])


@check("cri")
def containers_share_the_network(s):
    pod = Pod(s)
    pod.start("server", *SERVE)
    pod.start("client", "sleep", "1000")
    later(lambda: "served" in pod.exec("client", "nc", "-w", "2", "127.0.0.1", "8080")[1], "the server")
    later(lambda: "served" in connects(pod.address, 8080), "the server from outside")


@check("cri")
def containers_share_ipc(s):
    pod = Pod(s)
    for name in ("one", "two"):
        pod.start(name, "sleep", "1000")
    s.same(*(pod.says("ipc:", name, "readlink", "/proc/self/ns/ipc") for name in ("one", "two")))
    pod.says("", "one", "sh", "-c", "echo shared > /dev/shm/file")
    pod.says("shared", "two", "cat", "/dev/shm/file")


@check("cri")
def roots_and_processes_are_apart(s):
    pod = Pod(s)
    pod.start("one", "sleep", "1001")
    pod.start("two", "sleep", "1002")
    pod.says("", "one", "touch", "/only-here")
    if pod.exec("two", "ls", "/only-here")[0] == 0:
        raise Failed("a file of the other container")
    listing = pod.says("1002", "two", "ps")
    if "1001" in listing:
        raise Failed(listing)


@check("cri")
def shared_processes(s):
    pod = Pod(s, namespaces={"pid": cri.POD})
    pod.start("one", "sleep", "1001")
    pod.start("two", "sleep", "1002")
    listing = pod.says("1001", "two", "ps")
    if "1002" not in listing:
        raise Failed(listing)
    pod.client.call("StopContainer", container_id=pod.containers["one"], timeout=0)
    s.same(137, pod.ended("one"))
    pod.says("1002", "two", "ps")


@check("cri")
def exec_sync(s):
    pod = Pod(s)
    pod.start("one", "sleep", "1000")
    s.same((3, "out\n", "err\n"), pod.exec("one", "sh", "-c", "echo out; echo err >&2; exit 3"))
    try:
        pod.exec("one", "sleep", "1000", timeout=1)
    except RuntimeError as error:
        if "timed out" not in str(error) and "timeout" not in str(error) and "deadline" not in str(error).lower():
            raise Failed(str(error)) from None
    else:
        raise Failed("no timeout")
    try:
        pod.exec("one", "nosuch")
    except RuntimeError as error:
        if "executable file not found" not in str(error):
            raise Failed(str(error)) from None
    else:
        raise Failed("a program that is missing was run")


@check("cri")
def logs(s):
    pod = Pod(s)
    pod.start("one", "sh", "-c", "echo to-out; echo to-err >&2; exit 4")
    s.same(4, pod.ended("one"))
    log = pod.log("one")
    for line in ("stdout F to-out", "stderr F to-err"):
        if line not in log:
            raise Failed(log)


@check("cri")
def stop(s):
    pod = Pod(s)
    pod.start("kind", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done")
    pod.start("deaf", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    pod.client.call("StopContainer", container_id=pod.containers["kind"], timeout=20)
    s.same(7, pod.ended("kind"))
    pod.client.call("StopContainer", container_id=pod.containers["deaf"], timeout=1)
    s.same(137, pod.ended("deaf"))
    pod.client.call("RemoveContainer", container_id=pod.containers.pop("deaf"))


@check("cri")
def restart_in_the_pod(s):
    pod = Pod(s)
    pod.start("one", "sh", "-c", "exit 5")
    pod.start("other", "sleep", "1000")
    s.same(5, pod.ended("one"))
    pod.client.call("RemoveContainer", container_id=pod.containers["one"])
    pod.start("one", "sh", "-c", "exit 6", metadata={"name": "one", "attempt": 1})
    s.same(6, pod.ended("one"))
    pod.says("other", "other", "echo", "other")


@check("cri")
def missing_program(s):
    pod = Pod(s)
    try:
        pod.start("one", "nosuch")
    except RuntimeError as error:
        if "executable file not found" not in str(error):
            raise Failed(str(error)) from None
    else:
        raise Failed("it started")
    pod.start("two", "sleep", "1000")
    pod.says("fine", "two", "echo", "fine")


@check("cri")
def host_port(s):
    port = 18000 + int(re.sub(r"\D", "", s.name))
    pod = Pod(s, ports=[(8080, port)])
    pod.start("server", *SERVE)
    later(lambda: "served" in connects(GATEWAY, port), "the published port")


@check("cri")
def pods_reach_each_other(s):
    one = Pod(s)
    one.start("server", *SERVE)
    s.name += "b"
    two = Pod(s)
    two.start("client", "sleep", "1000")
    later(lambda: "served" in two.exec("client", "nc", "-w", "2", one.address, "8080")[1], "the other pod's server")


@check("cri")
def host_network(s):
    pod = Pod(s, namespaces={"network": cri.NODE, "pid": cri.CONTAINER})
    pod.start("one", "sleep", "1000")
    pod.says("cni-checks", "one", "ip", "addr")


@check("cri")
def process_settings(s):
    folder = os.path.join(s.folder, "volume")
    os.makedirs(folder)
    with open(os.path.join(folder, "file"), "w") as file:
        file.write("content")
    pod = Pod(s, sysctls={"net.ipv4.ip_unprivileged_port_start": "80"})
    pod.start("one", "sleep", "1000", working_dir="/tmp", envs=[{"key": "NAME", "value": "a value"}],
              mounts=[{"container_path": "/v", "host_path": folder, "readonly": True}],
              security={"run_as_user": {"value": 1000}, "readonly_rootfs": True, "no_new_privs": True, "capabilities": {"drop_capabilities": ["ALL"]}})
    pod.says("a value", "one", "sh", "-c", "echo $NAME")
    pod.says("/tmp", "one", "pwd")
    pod.says("1000", "one", "id", "-u")
    pod.says("content", "one", "cat", "/v/file")
    pod.says("80", "one", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
    for path in ("/v/x", "/x"):
        if pod.exec("one", "touch", path)[0] == 0:
            raise Failed(f"{path} was written")
    status = pod.says("NoNewPrivs:\t1", "one", "cat", "/proc/self/status")
    s.same("0000000000000000", re.search(r"CapBnd:\s+(\w+)", status)[1])


@check("cri")
def mount_propagation(s):
    folder = os.path.join(s.folder, "volume")
    os.makedirs(os.path.join(folder, "point"))
    subprocess.check_call(["mount", "--bind", folder, folder])
    subprocess.check_call(["mount", "--make-rshared", folder])
    pod = Pod(s)
    pod.start("one", "sleep", "1000", mounts=[
        {"container_path": "/private", "host_path": folder, "propagation": cri.PRIVATE},
        {"container_path": "/slave", "host_path": folder, "propagation": cri.HOST_TO_CONTAINER}])
    subprocess.check_call(["mount", "-t", "tmpfs", "later", os.path.join(folder, "point")])
    try:
        with open(os.path.join(folder, "point/file"), "w") as file:
            file.write("later")
        pod.says("later", "one", "cat", "/slave/point/file")
        if pod.exec("one", "cat", "/private/point/file")[0] == 0:
            raise Failed("the private mount follows the host")
    finally:
        subprocess.call(["umount", "-l", os.path.join(folder, "point")])
        subprocess.call(["umount", "-l", folder])


@check("cri")
def limits(s):
    pod = Pod(s)
    pod.start("one", "sleep", "1000", resources={"memory_limit_in_bytes": 64 << 20, "cpu_shares": 256})
    group = f"/sys/fs/cgroup/memory/checks-pods/{pod.containers['one']}/memory.limit_in_bytes"
    with open(group) as file:
        s.same(str(64 << 20), file.read().strip())
    pod.client.call("UpdateContainerResources", container_id=pod.containers["one"], linux={"memory_limit_in_bytes": 128 << 20})
    with open(group) as file:
        s.same(str(128 << 20), file.read().strip())


@check("cri")
def statistics(s):
    pod = Pod(s)
    pod.start("one", "sh", "-c", "while :; do :; done")
    stats = lambda: pod.client.call("ContainerStats", container_id=pod.containers["one"])["stats"]
    later(lambda: stats()["cpu"].get("usage_core_nano_seconds", {}).get("value", 0) > 0 and stats()["memory"].get("working_set_bytes", {}).get("value", 0) > 0,
          "figures of the container")


@check("cri")
def nothing_is_left(s):
    def left():
        names = [os.path.join(path, name) for path, names, _ in os.walk("/sys/fs/cgroup") for name in names if name in ids]
        with open("/proc/self/mountinfo") as file:
            return names + [line for line in file if any(i in line for i in ids)]

    pod = Pod(s)
    pod.start("one", "sleep", "1000")
    pod.start("two", "sleep", "1000")
    ids = [pod.id, *pod.containers.values()]
    if not left():
        raise Failed("nothing was there")
    s.pods.remove(pod)
    pod.remove()
    later(lambda: not left(), "the removal of everything")
