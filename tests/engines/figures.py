"""What a container costs with each runtime: the time of a whole `ctr run` and `docker run` of true, and the memory of an idle container."""

import os
import statistics
import time

from shell import IMAGE, REF, Failed, Shell, clean, started

CONTAINERS = 5  # idle at a time


def seconds(shell, argv):
    begin = time.monotonic()
    shell.expect(None, *argv)
    return time.monotonic() - begin


def children():
    """By parent."""
    tree = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        tree.setdefault(parent, []).append(int(name))
    return tree


def below(pid, tree):
    return [p for child in tree.get(pid, []) for p in (child, *below(child, tree))]


def pss(pid):
    """KiB; shared pages are divided among those that have them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def shim_of(container):
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"shim" in words[0] and container.encode() in words:
            return int(name)
    raise Failed(f"no shim of {container}")


def idle(shells):
    """KiB a container: everything below its shim, which is the same for every runtime."""
    ids = []
    for shell in shells:
        started(shell)
        ids.append(shell.expect(None, "docker", "inspect", "-f", "{{.Id}}", shell.name).strip())
    time.sleep(2)  # what starting left to be done is over
    tree = children()
    total = sum(pss(p) for container in ids for p in below(shim_of(container), tree))
    for shell in shells:
        clean(shell)
    return total / len(shells)


def measure(runtimes, folder, repetitions):
    """By figure and runtime. The runtimes take turns, so that what else the machine does meets all of them."""
    times = {"ctr run": {r: [] for r in runtimes}, "docker run": {r: [] for r in runtimes}}
    for number in range(repetitions):
        for runtime, path in runtimes.items():
            shell = Shell("ctr", runtime, path, folder)
            times["ctr run"][runtime].append(seconds(shell, shell.ctr("--rm", REF, f"f{number}-{runtime}", "true")))
            shell = Shell("docker", runtime, path, folder)
            times["docker run"][runtime].append(seconds(shell, shell.go("--rm", "--network", "none", IMAGE, "true")))
    figures = {name: {r: round(statistics.median(values) * 1000, 1) for r, values in row.items()} for name, row in times.items()}
    figures = {f"{name}, ms": row for name, row in figures.items()}
    figures["idle container, PSS KiB"] = {}
    for runtime, path in runtimes.items():
        shells = [Shell("docker", runtime, path, folder) for _ in range(CONTAINERS)]
        for number, shell in enumerate(shells):
            shell.name = f"idle{number}-{runtime}"
        figures["idle container, PSS KiB"][runtime] = round(idle(shells))
    return figures
