"""The daemons and what else an engine needs, in namespaces of this process's own."""

import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import time

from shell import IMAGE, NPROC, USER, as_user


CRI_SOCKET = "/run/containerd/containerd.sock"
GATEWAY = "10.88.0.1"  # of pods: this machine's address on their bridge
PAUSE = "localhost/pause:checks"

CRI_CONFIG = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{first}"
"""
CRI_RUNTIME = """  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
      BinaryName = "{path}"
"""


# By engine: programs that must be there.
PROGRAMS = {
    "ctr": ["containerd", "ctr", "dockerd", "docker"],
    "docker": ["containerd", "dockerd", "docker", "docker-init", "iptables"],
    "podman": ["podman", "conmon", "iptables", "/usr/libexec/podman/catatonit"],
    "rootless": ["podman", "conmon", "newuidmap", "setpriv"],
    "cri": ["containerd", "ctr", "dockerd", "docker", "/usr/lib/cni/bridge", "iptables"],
}


def missing(engines):
    """Why these cannot be checked here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for engine in engines:
        for program in PROGRAMS[engine]:
            if shutil.which(program) is None:
                return f"{program} is not installed (tools/deps.sh --engines)"
    if "cri" in engines and importlib.util.find_spec("grpc") is None:
        return "python3-grpcio is not installed (tools/deps.sh --engines)"
    return None


class CannotStart(Exception):
    """The machine refuses what an engine needs, before any runtime is asked."""


class Machine:
    """Mount and network namespaces of this process's own, with daemons in them."""

    def __init__(self, runtimes, folder, engines):
        self.folder, self.daemons, self.has_user = folder, [], False
        try:
            self.prepare(runtimes, engines)
        except (OSError, subprocess.CalledProcessError, CannotStart) as error:
            self.stop()
            raise CannotStart(str(error)) from None

    def prepare(self, runtimes, engines):
        folder = self.folder
        os.chmod(folder, 0o755)
        for path in ("/run", "/var/lib/containerd", "/var/lib/docker", "/var/lib/containers"):
            os.makedirs(path, exist_ok=True)
            subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", path])
        subprocess.check_call(["ip", "link", "set", "lo", "up"])
        # In a hybrid set-up engines must take version 1.
        subprocess.call(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)
        self.limit_podman()
        self.archive = os.path.join(folder, "busybox.tar")
        self.make_image(os.path.join(folder, "rootfs"))
        if {"ctr", "docker", "cri"} & set(engines):
            self.start("containerd", ["containerd", "--config", self.configure_containerd(runtimes)], ["ctr", "version"])
            config = {"runtimes": {name: {"path": path} for name, path in runtimes.items() if name != "runc"}, "storage-driver": "vfs",
                      "default-runtime": next(iter(runtimes))}
            with open(os.path.join(folder, "daemon.json"), "w") as file:
                json.dump(config, file)
            self.start("dockerd", ["dockerd", "--config-file", os.path.join(folder, "daemon.json"), "--containerd",
                                   "/run/containerd/containerd.sock"], ["docker", "version"])
            quiet(["docker", "import", self.archive, IMAGE])
            quiet(["docker", "save", IMAGE, "-o", os.path.join(folder, "image.tar")])
            quiet(["ctr", "image", "import", os.path.join(folder, "image.tar")])
        if "cri" in engines:
            quiet(["docker", "import", "--change", 'CMD ["/bin/sleep", "1000000"]', self.archive, PAUSE])
            quiet(["docker", "save", IMAGE, PAUSE, "-o", os.path.join(folder, "pods.tar")])
            quiet(["ctr", "--namespace", "k8s.io", "image", "import", os.path.join(folder, "pods.tar")])
        if "podman" in engines:
            quiet(["podman", "import", self.archive, IMAGE])
        if "rootless" in engines:
            self.make_user()
            self.has_user = True
            quiet([*as_user(), "podman", "import", self.archive, IMAGE])

    def configure_containerd(self, runtimes):
        """For the CRI plugin: runtimes by name, and a bridge for pods."""
        network = {"cniVersion": "0.4.0", "name": "checks", "plugins": [
            {"type": "bridge", "bridge": "cni-checks", "isGateway": True, "hairpinMode": True,
             "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": os.path.join(self.folder, "leases")}},
            {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall", "backend": "iptables"}]}
        os.makedirs(os.path.join(self.folder, "cni"))
        with open(os.path.join(self.folder, "cni/checks.conflist"), "w") as file:
            json.dump(network, file)
        path = os.path.join(self.folder, "containerd.toml")
        with open(path, "w") as file:
            file.write(CRI_CONFIG.format(pause=PAUSE, cni=os.path.join(self.folder, "cni"), first=next(iter(runtimes))))
            file.writelines(CRI_RUNTIME.format(name=name, path=binary) for name, binary in runtimes.items())
        return path

    def make_user(self):
        """An account that only this mount namespace knows, with ids of its own to map."""
        for name, line in (("passwd", f"engines:x:{USER}:{USER}::/home/engines:/bin/sh"), ("group", f"engines:x:{USER}:"),
                           ("subuid", "engines:100000:65536"), ("subgid", "engines:100000:65536")):
            path = os.path.join(self.folder, name)
            with open(f"/etc/{name}") as old, open(path, "w") as new:
                new.write(line + "\n" + old.read())
            subprocess.check_call(["mount", "--bind", path, f"/etc/{name}"])
        subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", "/home"])
        for path in ("/home/engines", f"/run/user/{USER}"):
            os.makedirs(path)
            os.chown(path, USER, USER)
            os.chmod(path, 0o700)

    def limit_podman(self):
        """Podman raises limits beyond what a machine without CAP_SYS_RESOURCE allows any runtime."""
        path = os.path.join(self.folder, "containers.conf")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with open(path, "w") as file:
            file.write('[engine]\ncgroup_manager = "cgroupfs"\n[containers]\n')
            file.write(f'default_ulimits = ["nofile={min(hard, 1024)}:{hard}", "{NPROC}"]\n')
        os.environ["CONTAINERS_CONF"] = path

    def make_image(self, root):
        for path in ("bin", "etc", "tmp", "root", "proc", "dev", "sys"):
            os.makedirs(os.path.join(root, path))
        busybox = next(p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p))
        shutil.copy(busybox, os.path.join(root, "bin/busybox"))
        for applet in subprocess.check_output([busybox, "--list"], text=True).split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(root, "bin", applet))
        with open(os.path.join(root, "etc/passwd"), "w") as file:
            file.write("root:x:0:0:root:/root:/bin/sh\n")
        subprocess.check_call(["tar", "-C", root, "-cf", self.archive, "."])

    def start(self, name, argv, probe):
        log = open(os.path.join(self.folder, name + ".log"), "w")
        self.daemons.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        end = time.monotonic() + 60
        while subprocess.call(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
            if time.monotonic() > end or self.daemons[-1].poll() is not None:
                raise CannotStart(f"{name} does not start: {last_line(log.name)}")
            time.sleep(0.1)

    def stop(self):
        if self.has_user:
            # The process that keeps the user's namespaces.
            subprocess.call([*as_user(), "podman", "system", "migrate"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()


def gvisor(path, folder):
    """Its own network stack takes this run's namespace for the machine's and fails: it gets the host's, in the container's namespace."""
    script = os.path.join(folder, "gvisor")
    with open(script, "w") as file:
        file.write(f'#!/bin/sh\nexec {path} --network=host "$@"\n')
    os.chmod(script, 0o755)
    return script


def last_line(path):
    with open(path) as file:
        return (file.read().splitlines() or ["without a word"])[-1]


def quiet(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise CannotStart(f"{' '.join(argv)}: {(done.stdout.splitlines() or ['without a word'])[-1]}")
