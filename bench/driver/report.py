"""Collects samples, and reduces them to medians and ratios to native."""

import datetime
import math
import os
import statistics

from cases import TARGETS


class Report:
    def __init__(self):
        self.results = {}  # benchmark -> runtime -> {"samples", "percentiles", "error"}
        self.facts = {}  # benchmark -> {"unit", "better"}
        self.skipped = {}
        self.failures = []
        self.loads = []

    def add(self, runtime, line):
        name = line["name"]
        self.facts[name] = {"unit": line["unit"], "better": line["better"]}
        entry = self.results.setdefault(name, {}).setdefault(runtime, {"samples": [], "percentiles": {}})
        entry["samples"] += line["samples"]
        for percent, value in line.get("percentiles", {}).items():
            entry["percentiles"].setdefault(percent, []).append(value)

    def fail(self, runtime, name, why):
        self.failures.append([runtime, name, why])
        self.results.setdefault(name, {}).setdefault(runtime, {"samples": [], "percentiles": {}})["error"] = why

    def skip(self, name, why):
        self.skipped[name] = why

    def load(self, average):
        self.loads.append(average)

    def data(self, runtimes, rounds, options):
        """All of it, reduced, as what report.json holds."""
        results = {}
        for name, by_runtime in self.results.items():
            facts = self.facts.get(name, {"unit": "", "better": "less"})
            entry = results[name] = {**facts, "target": TARGETS.get(name), "runtimes": {}}
            for runtime, found in by_runtime.items():
                row = entry["runtimes"][runtime] = {"samples": found["samples"]}
                if found["samples"]:
                    row["median"] = statistics.median(found["samples"])
                if found["percentiles"]:
                    row["percentiles"] = {p: statistics.median(v) for p, v in found["percentiles"].items()}
                if "error" in found:
                    row["error"] = found["error"]
            add_ratios(entry)
        return {
            "machine": machine(),
            "load": {"least": min(self.loads, default=0), "median": statistics.median(self.loads or [0]), "most": max(self.loads, default=0)},
            "rounds": rounds, "quick": options.quick, "smoke": options.smoke,
            "runtimes": [{"name": r.name, "version": r.version()} for r in runtimes],
            "results": results, "skipped": self.skipped, "failures": self.failures,
        }


def add_ratios(entry):
    """`ratio`: how many times slower than native (of a rate: native's over this one's)."""
    native = entry["runtimes"].get("native", {}).get("median")
    for row in entry["runtimes"].values():
        median = row.get("median")
        if native and median:
            row["ratio"] = median / native if entry["better"] == "less" else native / median


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    memory = int(open("/proc/meminfo").readline().split()[1]) / 1024 / 1024
    return {"cpu": model, "cpus": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": os.uname().release,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}


def amount(value, unit):
    """A figure for people: three digits and a unit that fits."""
    if unit == "ns":
        for limit, scale, name in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
            if value < limit:
                return f"{digits(value / scale)} {name}"
        return f"{digits(value / 1e9)} s"
    return f"{digits(value)} {unit}"


def digits(value):
    if value == 0:
        return "0"
    places = max(0, 2 - int(math.floor(math.log10(abs(value)))))
    return f"{value:,.{places}f}" if places <= 4 else f"{value:.2g}"


def geometric_means(data):
    """{runtime: {family: mean ratio}}"""
    logs = {}
    for name, entry in data["results"].items():
        for runtime, row in entry["runtimes"].items():
            if "ratio" in row:
                logs.setdefault(runtime, {}).setdefault(name.split("/")[0], []).append(math.log(row["ratio"]))
    return {r: {f: math.exp(sum(v) / len(v)) for f, v in families.items()} for r, families in logs.items()}


def cell(row, runtime, unit):
    if "median" not in row:
        return "failed" if "error" in row else "–"
    if runtime != "native" and "ratio" in row:
        return f"{digits(row['ratio'])} ×"
    return amount(row["median"], unit)


def markdown(data):
    """Everything: native in figures, the others as ratios to it (or figures where there is no native)."""
    names = [r["name"] for r in data["runtimes"]]
    others = [n for n in names if n != "native"]
    out = [f"{data['machine']['cpus']} CPUs ({data['machine']['cpu']}), Linux {data['machine']['kernel']}, {data['machine']['date']}, "
           f"{data['rounds']} interleaved rounds, load {data['load']['median']:.1f} ({data['load']['least']:.1f}–{data['load']['most']:.1f}). "
           "Medians; × is how many times slower than native.", "",
           "| benchmark | native | " + " | ".join(others) + " | target |", "|---|" + "---:|" * (len(others) + 2)]
    for name, entry in data["results"].items():
        cells = []
        for runtime in ["native", *others]:
            cells.append(cell(entry["runtimes"].get(runtime, {}), runtime, entry["unit"]))
        target = f"≤ {digits(entry['target'])} ×" if entry.get("target") else ""
        out.append(f"| {name} | " + " | ".join(cells) + f" | {target} |")
    return "\n".join(out) + "\n"


# What the README shows: benchmark, and what to call it.
README_ROWS = [
    ("calls/getpid", "getpid, raw"), ("calls/lseek", "lseek"), ("futex/ping_pong", "futex ping-pong"),
    ("memory/touch_256m", "touching 256 MiB"), ("memory/mmap_touch_munmap", "mmap, touch, munmap"),
    ("memory/sigsegv_handler", "SIGSEGV handler"), ("process/fork_wait", "fork, wait"),
    ("process/fork_exec_wait_static", "fork, exec, wait (static)"), ("process/posix_spawn_bin_true", "posix_spawn of /bin/true"),
    ("futex/thread_create_join", "thread create, join"), ("files/open_close", "open, close"), ("files/stat_hit", "stat"),
    ("files/pread_4k", "pread 4 KiB"), ("files/pread_1m", "pread 1 MiB"), ("files/create_write_unlink", "create, write, unlink"),
    ("channels/pipe_ping_pong", "pipe ping-pong"), ("channels/unix_stream_ping_pong", "unix socket ping-pong"),
    ("channels/tcp_ping_pong", "loopback TCP ping-pong"), ("readiness/epoll_wait_ready", "epoll_wait"),
    ("macro/bash_200_commands", "bash, 200 commands"), ("macro/make_lua_j2", "compiling Lua, make -j2"),
    ("macro/git_add_commit_2000", "git add, commit of 2000 files"), ("macro/find_root", "find /"),
    ("macro/python_start_imports", "python start with imports"), ("macro/python_50_subprocess", "python, 50 subprocesses"),
    ("macro/redis_set", "redis SET, 50 clients"), ("macro/nginx_wrk", "nginx and wrk"), ("startup/run_true", "`run` of true"),
    ("startup/20_at_once", "20 sandboxes at once"), ("idle/pss", "idle container, PSS"),
]


def readme_table(data):
    """The chosen rows, against native and gVisor."""
    out = ["| work | native | gVisor | runsc |", "|---|---:|---:|---:|"]
    for name, label in README_ROWS:
        rows = data["results"].get(name, {}).get("runtimes", {})
        if "median" not in rows.get("runsc-systrap", {}):
            continue
        cells = [cell(rows.get(r, {}), r, data["results"][name]["unit"]) for r in ("native", "gvisor", "runsc-systrap")]
        out.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"
