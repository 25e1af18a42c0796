// The files in procfs's root that describe the machine: made from what the sandbox itself knows, so
// that guests see their own load and processes, not the host's.
#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>

#include "base/host_sys.h"
#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/vfs/fs_registry.h"

namespace sandbox::proc {
namespace {

using synthetic::AddDirectory;
using synthetic::MakeText;
using synthetic::StaticDirectory;

// The host's description of its first processor. Read when the process starts: later it has no
// files to open.
const std::string first_processor = [] {
  std::string text(4096, '\0');
  const auto file = host::OpenAt(BorrowedFd(AT_FDCWD), "/proc/cpuinfo", O_RDONLY);
  const auto size = file.ok() ? host::Read(file->borrow(), text.data(), text.size()) : file.error();
  text.resize(size.ok() ? *size : 0);
  const size_t end = text.find("\n\n");
  return end == std::string::npos ? std::string() : text.substr(0, end + 1);
}();

// Replaces the value of one "name\t: value" line.
void SetField(std::string& text, const std::string& name, int value) {
  size_t at = text.find("\n" + name + "\t");
  if (text.starts_with(name + "\t"))
    at = 0;
  else if (at != std::string::npos)
    ++at;
  if (at == std::string::npos) return;
  const size_t colon = text.find(':', at);
  const size_t end = text.find('\n', at);
  if (colon == std::string::npos || colon > end) return;
  text.replace(colon, end - colon, ": " + std::to_string(value));
}

Result<std::string> Cpuinfo(Context& context) {
  std::string text;
  const int cpus = CpuCount(context);
  for (int cpu = 0; cpu < cpus; ++cpu) {
    std::string one = first_processor.empty() ? "processor\t: 0\n" : first_processor;
    SetField(one, "processor", cpu);
    SetField(one, "siblings", cpus);
    SetField(one, "core id\t", cpu);
    SetField(one, "cpu cores", cpus);
    SetField(one, "apicid\t", cpu);
    SetField(one, "initial apicid", cpu);
    text += one + "\n";
  }
  return text;
}

// What the caller's container has and uses of the machine's memory, in bytes.
struct MemoryFacts {
  uint64_t total = 0, used = 0, free = 0, cached = 0, swap_total = 0, swap_free = 0;
};

MemoryFacts FactsOfMemory(Context& context) {
  const struct sysinfo info = host::SystemInfo();
  MemoryFacts facts;
  facts.total = info.totalram * info.mem_unit;
  facts.swap_total = info.totalswap * info.mem_unit;
  facts.free = (info.freeram + info.bufferram) * info.mem_unit;
  const Task* caller = Task::Of(context);
  if (caller == nullptr) return facts;
  const Cgroup::Memory memory = caller->group().cgroup().memory(facts.total, facts.swap_total);
  facts.total = memory.total;
  facts.cached = memory.cached;
  facts.used = memory.used;
  facts.swap_total = memory.swap_total;
  facts.swap_free = memory.swap_free;
  facts.free = std::min(facts.free, facts.total - facts.used - facts.cached);
  return facts;
}

Result<std::string> Meminfo(Context& context) {
  const MemoryFacts facts = FactsOfMemory(context);
  const uint64_t total = facts.total, used = facts.used, cached = facts.cached, available = facts.free + facts.cached;
  std::string text;
  const auto line = [&](const char* name, uint64_t bytes) {
    text += StrPrintf("%-16s%8lu kB\n", (std::string(name) + ":").c_str(), KiB(bytes));
  };
  line("MemTotal", total);
  line("MemFree", facts.free);
  line("MemAvailable", available);
  line("Buffers", 0);
  line("Cached", cached);
  line("SwapCached", 0);
  line("Active", used);
  line("Inactive", cached);
  line("Active(anon)", used);
  line("Inactive(anon)", 0);
  line("Active(file)", 0);
  line("Inactive(file)", cached);
  line("Unevictable", 0);
  line("Mlocked", 0);
  line("SwapTotal", facts.swap_total);
  line("SwapFree", facts.swap_free);
  for (const char* name : {"Dirty", "Writeback"}) line(name, 0);
  line("AnonPages", used);
  for (const char* name : {"Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "KernelStack",
                           "PageTables", "NFS_Unstable", "Bounce", "WritebackTmp"}) {
    line(name, 0);
  }
  line("CommitLimit", total / 2 + facts.swap_total);
  line("Committed_AS", used);
  text += "VmallocTotal:   34359738367 kB\n";
  for (const char* name : {"VmallocUsed", "VmallocChunk", "Percpu", "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped",
                           "FileHugePages", "FilePmdMapped"}) {
    line(name, 0);
  }
  text +=
      "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        "
      "0\nHugePages_Surp:        0\n";
  text += "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n";
  return text;
}

struct CpuTime {
  uint64_t user = 0, system = 0, idle = 0;
  double uptime = 0;
};

CpuTime CpuTimes(Context& context) {
  CpuTime time;
  const Task* caller = Task::Of(context);
  if (caller == nullptr) return time;
  Kernel& kernel = caller->kernel();
  Usage usage;
  for (const auto& group : caller->group().cgroup().Groups()) {
    usage.Add(group->usage());
    if (group->ppid() == 0) usage.Add(group->children_usage());  // of those that are reaped
  }
  const auto up = static_cast<uint64_t>(std::max<int64_t>(MonotonicNow().ns - kernel.start_monotonic_ns(), 0));
  const uint64_t all = up * static_cast<uint64_t>(CpuCount(context));
  time.user = Ticks(usage.user_ns);
  time.system = Ticks(usage.system_ns);
  time.idle = Ticks(all) - std::min(Ticks(all), time.user + time.system);
  time.uptime = static_cast<double>(up) / 1e9;
  return time;
}

Result<std::string> Uptime(Context& context) {
  const CpuTime time = CpuTimes(context);
  return StrPrintf("%.2f %.2f\n", time.uptime, static_cast<double>(time.idle) / 100);
}

Result<std::string> Stat(Context& context) {
  const CpuTime time = CpuTimes(context);
  const auto cpus = static_cast<uint64_t>(CpuCount(context));
  std::string text = StrPrintf("cpu  %lu 0 %lu %lu 0 0 0 0 0 0\n", time.user, time.system, time.idle);
  for (uint64_t cpu = 0; cpu < cpus; ++cpu) {
    text +=
        StrPrintf("cpu%lu %lu 0 %lu %lu 0 0 0 0 0 0\n", cpu, time.user / cpus, time.system / cpus, time.idle / cpus);
  }
  const Task* caller = Task::Of(context);
  if (caller == nullptr) return text;
  Kernel& kernel = caller->kernel();
  text += StrPrintf("intr 0\nctxt 0\nbtime %ld\nprocesses %lu\nprocs_running %d\nprocs_blocked 0\n",
                    kernel.boot_time_ns() / 1'000'000'000, kernel.forks(), kernel.running_tasks());
  text += "softirq 0 0 0 0 0 0 0 0 0 0 0\n";
  return text;
}

Result<std::string> Loadavg(Context& context) {
  const Task* caller = Task::Of(context);
  if (caller == nullptr) return std::string("0.00 0.00 0.00 0/0 0\n");
  Kernel& kernel = caller->kernel();
  const auto loads = kernel.load_averages();
  return StrPrintf("%.2f %.2f %.2f %d/%d %d\n", loads[0], loads[1], loads[2], kernel.running_tasks(),
                   kernel.task_count(), kernel.root_pids()->last());
}

Result<std::string> Version(Context&) {
  const utsname name = host::Uname();
  return StrPrintf("%s version %s (root@runsc) (gcc) %s\n", name.sysname, name.release, name.version);
}

Result<std::string> Filesystems(Context&) {
  std::string text;
  for (const FileSystemType* type : AllFileSystemTypes()) {
    if (type->guest_mountable) text += (type->needs_device ? "\t" : "nodev\t") + type->name + "\n";
  }
  return text;
}

Result<std::string> Vmstat(Context& context) {
  const MemoryFacts facts = FactsOfMemory(context);
  std::string text =
      StrPrintf("nr_free_pages %lu\nnr_anon_pages %lu\n", facts.free / kPageSize, facts.used / kPageSize);
  for (const char* name : {"nr_mapped", "nr_file_pages", "nr_dirty", "nr_writeback", "nr_shmem", "pgpgin", "pgpgout",
                           "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"}) {
    text += std::string(name) + " 0\n";
  }
  return text;
}

Result<std::string> Zoneinfo(Context& context) {
  const MemoryFacts facts = FactsOfMemory(context);
  const uint64_t free = facts.free / kPageSize, all = facts.total / kPageSize;
  return StrPrintf(
      "Node 0, zone   Normal\n  pages free     %lu\n        boost    0\n        min      0\n       "
      " low      0\n"
      "        high     0\n        spanned  %lu\n        present  %lu\n        managed  %lu\n",
      free, all, all, all);
}

Result<std::string> Interrupts(Context& context) {
  std::string text(11, ' ');
  for (int cpu = 0; cpu < CpuCount(context); ++cpu) text += StrPrintf("%-11s", ("CPU" + std::to_string(cpu)).c_str());
  return text + "\n";
}

// The controllers of this kernel's cgroups; hierarchies of version 1 have numbers (cgroups(7)).
Result<std::string> Cgroups(Context& context) {
  const Task* caller = Task::Of(context);
  const bool unified = caller == nullptr || caller->group().cgroup().unified();
  std::string text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
  int number = 0;
  for (const char* name : kCgroupControllers) text += StrPrintf("%s\t%d\t1\t1\n", name, unified ? 0 : ++number);
  return text;
}

struct FixedFile {
  const char* name;
  const char* text;
  uint32_t mode = 0444;
};
constexpr std::array<FixedFile, 19> kFixedFiles = {{
    {"buddyinfo", ""},
    {"cmdline", "quiet\n"},
    {"consoles", ""},
    {"crypto", ""},
    {"devices",
     "Character devices:\n  1 mem\n  4 tty\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 "
     "misc\n128 ptm\n136 pts\n"
     "\nBlock devices:\n"},
    {"diskstats", ""},
    {"execdomains", "0-0\tLinux           \t[kernel]\n"},
    {"kallsyms", ""},
    {"key-users", ""},
    {"keys", ""},
    {"locks", ""},
    {"misc", "200 tun\n"},
    {"modules", ""},
    {"partitions", "major minor  #blocks  name\n\n"},
    {"slabinfo", "slabinfo - version: 2.1\n", 0400},
    {"softirqs", ""},
    {"swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
    {"timer_list", "", 0400},
    {"vmallocinfo", "", 0400},
}};

constexpr char kPressure[] =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 "
    "total=0\n";

// ps(1) finds the names of terminals here.
constexpr char kTtyDrivers[] =
    "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
    "/dev/console         /dev/console    5       1 system:console\n"
    "/dev/ptmx            /dev/ptmx       5       2 system\n"
    "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
    "pty_master           /dev/ptm      128 0-1048575 pty:master\n";

}  // namespace

void AddSystemFiles(Fs& fs, StaticDirectory& root) {
  root.Add("cgroups", MakeText(fs, &Cgroups));
  root.Add("cpuinfo", MakeText(fs, &Cpuinfo));
  root.Add("filesystems", MakeText(fs, &Filesystems));
  root.Add("interrupts", MakeText(fs, &Interrupts));
  root.Add("loadavg", MakeText(fs, &Loadavg));
  root.Add("meminfo", MakeText(fs, &Meminfo));
  root.Add("stat", MakeText(fs, &Stat));
  root.Add("uptime", MakeText(fs, &Uptime));
  root.Add("version", MakeText(fs, &Version));
  root.Add("vmstat", MakeText(fs, &Vmstat));
  root.Add("zoneinfo", MakeText(fs, &Zoneinfo));
  for (const FixedFile& file : kFixedFiles) root.Add(file.name, MakeText(fs, std::string(file.text), file.mode));
  const auto pressure = AddDirectory(fs, root, "pressure");
  for (const char* name : {"cpu", "io", "memory"}) pressure->Add(name, MakeText(fs, std::string(kPressure)));
  const auto tty = AddDirectory(fs, root, "tty");
  tty->Add("drivers", MakeText(fs, std::string(kTtyDrivers)));
  tty->Add("ldiscs", MakeText(fs, std::string("n_tty       0\n")));
  AddSysvipc(fs, root);
  AddDirectory(fs, root, "bus");
  AddDirectory(fs, root, "driver");
  AddDirectory(fs, root, "fs");
  AddDirectory(fs, root, "irq");
}

}  // namespace sandbox::proc
