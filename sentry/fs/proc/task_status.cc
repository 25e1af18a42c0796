// stat, statm, status, limits, io, sched: what a task is and has used (Linux: fs/proc/array.c, base.c).
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/ptrace_access.h"

namespace sandbox::proc {
namespace {

constexpr unsigned kPfRandomize = 0x400000;

struct SignalSets {
  SignalSet pending = 0, shared = 0, blocked = 0, ignored = 0, caught = 0;
};

SignalSets SignalsOf(Task& task) {
  SignalSets sets;
  sets.pending = task.own_pending_signals();
  sets.shared = task.group().shared_pending();
  sets.blocked = task.blocked_signals();
  const auto handlers = task.group().handlers();
  for (int signo = 1; handlers != nullptr && signo <= kSignalCount; ++signo) {
    const SignalAction action = handlers->Get(signo);
    if (action.is_ignore())
      sets.ignored |= SignalBit(signo);
    else if (!action.is_default())
      sets.caught |= SignalBit(signo);
  }
  return sets;
}

int ThreadCount(Task& task) { return std::max(task.group().thread_count(), task.group().zombie() ? 1 : 0); }

// Bytes resident and mapped; zeros for a task without memory.
struct Memory {
  RefPtr<MemoryManager> mm;
  VmaSet::Totals totals;
  MmLayout layout;
  platform::AddressSpace::Usage host;
  uint64_t resident = 0, peak = 0;
};

Memory MemoryOf(Task& task) {
  Memory memory;
  memory.mm = task.mm_ref();
  if (memory.mm == nullptr) return memory;
  memory.totals = memory.mm->totals();
  memory.layout = memory.mm->layout();
  memory.host = memory.mm->space()->GetUsage();
  memory.resident = memory.host.resident;
  memory.peak = memory.mm->peak_bytes();
  return memory;
}

// Threads of a process other than its leader show their own usage; /proc/<pid>/stat that of all.
bool ShowsWholeProcess(Task& task) { return task.tid() == task.group().tgid(); }

Result<std::string> Stat(Context& context, Task& task, const PidNamespace& view) {
  const Memory memory = MemoryOf(task);
  const bool permitted = MayInspect(context, task).ok();
  const SignalSets signals = SignalsOf(task);
  ThreadGroup& group = task.group();
  Usage usage = ShowsWholeProcess(task) ? group.usage() : task.usage();
  usage.AddMemory(memory.host);
  const Usage children = group.children_usage();
  const MmLayout& at = memory.layout;
  const auto shown = [&](GuestAddr addr) { return permitted && memory.mm != nullptr ? addr.value() : uint64_t{0}; };
  const int priority = task.sched_policy == 1 || task.sched_policy == 2 ? -1 - task.sched_priority : 20 + task.nice;

  const auto seen = [&](int32_t pid) { return task.kernel().NumberIn(view, pid); };
  const int32_t foreground = group.foreground_pgid();

  // Ticks since the sandbox started, as its uptime counts; the clock the start was taken from is the host's.
  const int64_t start_ns = std::max<int64_t>(task.start_time_ns() - task.kernel().start_monotonic_ns(), 0);

  std::string text =
      StrPrintf("%d (%s) %c %d %d %d %d %d %u", task.pid()->In(view), task.name().c_str(),
                static_cast<char>(task.state()), seen(group.ppid()), seen(group.pgid()), seen(group.sid()),
                static_cast<int>(group.terminal_device()), foreground < 0 ? -1 : seen(foreground), kPfRandomize);
  text += StrPrintf(" %lu %lu %lu %lu %lu %lu %lu %lu", usage.minor_faults, children.minor_faults, usage.major_faults,
                    children.major_faults, Ticks(usage.user_ns), Ticks(usage.system_ns), Ticks(children.user_ns),
                    Ticks(children.system_ns));
  text += StrPrintf(" %d %d %d 0 %lu %lu %lu %lu", priority, task.nice.load(), ThreadCount(task),
                    Ticks(static_cast<uint64_t>(start_ns)), memory.totals.all, memory.resident / kPageSize,
                    group.limits().soft(RLIMIT_RSS));
  text += StrPrintf(" %lu %lu %lu 0 0", memory.mm != nullptr && !permitted ? 1 : shown(at.start_code),
                    memory.mm != nullptr && !permitted ? 1 : shown(at.end_code), shown(at.start_stack));
  text += StrPrintf(" %lu %lu %lu %lu 0 0 0 17 0 %d %d 0 0 0", signals.pending & 0x7fffffff,
                    signals.blocked & 0x7fffffff, signals.ignored & 0x7fffffff, signals.caught & 0x7fffffff,
                    task.sched_priority.load(), task.sched_policy.load());
  text += StrPrintf(" %lu %lu %lu %lu %lu %lu %lu %d\n", shown(at.start_data), shown(at.end_data), shown(at.start_brk),
                    shown(at.arg_start), shown(at.arg_end), shown(at.env_start), shown(at.env_end),
                    permitted && group.zombie() ? group.exit_status() : 0);
  return text;
}

Result<std::string> Statm(Context&, Task& task) {
  const Memory memory = MemoryOf(task);
  const uint64_t text =
      (memory.layout.end_code.value() + kPageMask) / kPageSize - memory.layout.start_code.value() / kPageSize;
  return StrPrintf("%lu %lu %lu %lu 0 %lu 0\n", memory.totals.all / kPageSize, memory.resident / kPageSize,
                   (memory.host.file + memory.host.shared) / kPageSize, memory.mm == nullptr ? 0 : text,
                   (memory.totals.data + memory.totals.stack) / kPageSize);
}

const char* StateName(Task::State state) {
  switch (state) {
    case Task::State::kRunning:
      return "R (running)";
    case Task::State::kSleeping:
      return "S (sleeping)";
    case Task::State::kStopped:
      return "T (stopped)";
    case Task::State::kTracing:
      return "t (tracing stop)";
    case Task::State::kZombie:
      return "Z (zombie)";
    case Task::State::kDead:
      return "X (dead)";
  }
  return "?";
}

// The task's numbers from `view` inwards.
void AddNumbers(std::string& text, const char* name, const Pid* pid, const PidNamespace& view) {
  text += StrPrintf("%s:", name);
  const bool visible = pid != nullptr && pid->In(view) != 0;
  for (size_t i = view.level(); visible && i < pid->numbers.size(); ++i)
    text += StrPrintf("\t%d", pid->numbers[i].number);
  text += visible ? "\n" : "\t0\n";
}

void AddIds(std::string& text, Context& context, Task& task, const PidNamespace& view) {
  const ThreadGroup& group = task.group();
  const Kernel& kernel = task.kernel();
  const Credentials& reader = context.creds();
  text += StrPrintf("Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n", group.pid()->In(view),
                    task.pid()->In(view), kernel.NumberIn(view, group.ppid()),
                    kernel.NumberIn(view, Ptrace::TracerTgid(task)));
  const auto creds = task.creds_ref();
  if (creds == nullptr) return;
  text += StrPrintf("Uid:\t%u\t%u\t%u\t%u\n", reader.ShownUid(creds->uid), reader.ShownUid(creds->euid),
                    reader.ShownUid(creds->suid), reader.ShownUid(creds->fsuid));
  text += StrPrintf("Gid:\t%u\t%u\t%u\t%u\n", reader.ShownGid(creds->gid), reader.ShownGid(creds->egid),
                    reader.ShownGid(creds->sgid), reader.ShownGid(creds->fsgid));
  const auto fds = task.fds_ref();
  const auto numbers = fds != nullptr ? fds->Numbers() : std::vector<int32_t>();
  uint64_t size = fds != nullptr ? 64 : 0;  // Linux's table grows by doubling
  while (fds != nullptr && !numbers.empty() && size <= static_cast<uint64_t>(numbers.back())) size *= 2;
  text += StrPrintf("FDSize:\t%lu\nGroups:\t", std::max<uint64_t>(size, fds != nullptr ? 256 : 0));
  for (const uint32_t gid : creds->groups) text += StrPrintf("%u ", reader.ShownGid(gid));
  if (creds->groups.empty()) text += " ";
  text += "\n";
  AddNumbers(text, "NStgid", group.pid().get(), view);
  AddNumbers(text, "NSpid", task.pid().get(), view);
  AddNumbers(text, "NSpgid", kernel.FindPid(group.pgid()).get(), view);
  AddNumbers(text, "NSsid", kernel.FindPid(group.sid()).get(), view);
  text += "Kthread:\t0\n";
}

void AddMemory(std::string& text, Task& task) {
  const Memory memory = MemoryOf(task);
  if (memory.mm == nullptr) return;
  const auto line = [&](const char* name, uint64_t bytes) { text += StrPrintf("%s:\t%8lu kB\n", name, KiB(bytes)); };
  const uint64_t code = memory.layout.end_code - memory.layout.start_code;
  line("VmPeak", std::max(memory.peak, memory.totals.all));
  line("VmSize", memory.totals.all);
  line("VmLck", memory.totals.locked);
  line("VmPin", 0);
  line("VmHWM", memory.host.peak_resident);
  line("VmRSS", memory.resident);
  line("RssAnon", memory.host.anonymous);
  line("RssFile", memory.host.file);
  line("RssShmem", memory.host.shared);
  line("VmData", memory.totals.data);
  line("VmStk", memory.totals.stack);
  line("VmExe", code);
  line("VmLib", memory.totals.exec - std::min(memory.totals.exec, code));
  line("VmPTE", (memory.totals.all >> 21 << 12) + 8 * kPageSize);
  line("VmSwap", 0);
  line("HugetlbPages", 0);
  text += "CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n";
}

void AddProcessors(std::string& text, Task& task) {
  const CpuSet mask = task.usable_cpus(), all = SandboxCpus();
  const int cpus = static_cast<int>(all.size() * 64) - std::countl_zero(all.back());
  // Groups of 32 bits, the highest first; as many as there are processors for.
  std::string words, list;
  for (int group = (cpus + 31) / 32 - 1; group >= 0; --group) {
    const size_t index = static_cast<size_t>(group) / 2;
    const uint64_t word = index < mask.size() ? mask[index] >> (group % 2 * 32) & 0xffffffff : 0;
    words += StrPrintf(words.empty() ? "%lx" : ",%08lx", word);
  }
  const auto set = [&](int cpu) {
    const size_t index = static_cast<size_t>(cpu) / 64;
    return cpu < cpus && index < mask.size() && (mask[index] >> (cpu % 64) & 1);
  };
  for (int cpu = 0; cpu < cpus; ++cpu) {
    if (!set(cpu)) continue;
    int last = cpu;
    while (set(last + 1)) ++last;
    list += (list.empty() ? "" : ",") + std::to_string(cpu) + (last > cpu ? "-" + std::to_string(last) : "");
    cpu = last;
  }
  text += StrPrintf("Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\n", words.c_str(), list.c_str());
  text += "Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n";
}

// A name may hold anything; status must stay one line a field.
std::string EscapedName(Task& task) {
  std::string escaped;
  for (const char c : task.name()) {
    if (c == '\n')
      escaped += "\\n";
    else if (c == '\\')
      escaped += "\\\\";
    else
      escaped += c;
  }
  return escaped;
}

Result<std::string> Status(Context& context, Task& task, const PidNamespace& view) {
  std::string text = "Name:\t" + EscapedName(task) + "\n";
  if (const auto fs = task.fs_ref()) text += StrPrintf("Umask:\t%#04o\n", fs->umask());
  text += StrPrintf("State:\t%s\n", StateName(task.state()));
  AddIds(text, context, task, view);
  AddMemory(text, task);
  const SignalSets signals = SignalsOf(task);
  text += StrPrintf("Threads:\t%d\nSigQ:\t0/%lu\n", ThreadCount(task), task.group().limits().soft(RLIMIT_SIGPENDING));
  text += StrPrintf("SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
                    signals.pending, signals.shared, signals.blocked, signals.ignored, signals.caught);
  if (const auto creds = task.creds_ref()) {
    text += StrPrintf("CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016lx\n",
                      creds->inheritable, creds->permitted, creds->effective, creds->bounding, creds->ambient);
    text += StrPrintf("NoNewPrivs:\t%d\n", task.no_new_privs.load() ? 1 : 0);
  }
  const SeccompState seccomp = task.seccomp();
  text += StrPrintf("Seccomp:\t%d\nSeccomp_filters:\t%d\n", seccomp.mode,
                    seccomp.filter != nullptr ? seccomp.filter->chain_length() : 0);
  text += "Speculation_Store_Bypass:\tthread vulnerable\n";
  text += "SpeculationIndirectBranch:\tconditional enabled\n";
  AddProcessors(text, task);
  text += StrPrintf("voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t0\n", task.usage().voluntary_switches);
  return text;
}

struct LimitName {
  const char* name;
  const char* unit;
};
constexpr std::array<LimitName, 16> kLimitNames = {{
    {"Max cpu time", "seconds"},
    {"Max file size", "bytes"},
    {"Max data size", "bytes"},
    {"Max stack size", "bytes"},
    {"Max core file size", "bytes"},
    {"Max resident set", "bytes"},
    {"Max processes", "processes"},
    {"Max open files", "files"},
    {"Max locked memory", "bytes"},
    {"Max address space", "bytes"},
    {"Max file locks", "locks"},
    {"Max pending signals", "signals"},
    {"Max msgqueue size", "bytes"},
    {"Max nice priority", ""},
    {"Max realtime priority", ""},
    {"Max realtime timeout", "us"},
}};

Result<std::string> LimitsText(Context&, Task& task) {
  std::string text = StrPrintf("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  const LimitSet limits = task.group().limits().All();
  const auto value = [](uint64_t v) { return v == RLIM_INFINITY ? "unlimited" : std::to_string(v); };
  for (size_t i = 0; i < kLimitNames.size(); ++i) {
    text += StrPrintf("%-25s %-20s %-20s ", kLimitNames[i].name, value(limits[i].soft).c_str(),
                      value(limits[i].hard).c_str());
    text += kLimitNames[i].unit[0] != '\0' ? StrPrintf("%-10s\n", kLimitNames[i].unit) : "\n";
  }
  return text;
}

Result<std::string> Io(Context&, Task& task) {
  const ThreadGroup& group = task.group();
  return StrPrintf(
      "rchar: %lu\nwchar: %lu\nsyscr: %lu\nsyscw: %lu\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
      group.bytes_read.load(), group.bytes_written.load(), group.read_calls.load(), group.write_calls.load());
}

Result<std::string> Schedstat(Context&, Task& task) {
  const Usage usage = task.usage();
  return StrPrintf("%lu 0 %lu\n", usage.user_ns + usage.system_ns, usage.voluntary_switches);
}

Result<std::string> Sched(Context&, Task& task, const PidNamespace& view) {
  const Usage usage = task.usage();
  const uint64_t ran = usage.user_ns + usage.system_ns;
  std::string text = StrPrintf("%s (%d, #threads: %d)\n", task.name().c_str(), task.pid()->In(view), ThreadCount(task));
  text += std::string(67, '-') + "\n";
  text += StrPrintf("%-45s:%14lu.%06lu\n", "se.sum_exec_runtime", ran / 1'000'000, ran % 1'000'000);
  text += StrPrintf("%-45s:%21lu\n", "nr_switches", usage.voluntary_switches);
  text += StrPrintf("%-45s:%21lu\n", "nr_voluntary_switches", usage.voluntary_switches);
  text += StrPrintf("%-45s:%21d\n", "nr_involuntary_switches", 0);
  text += StrPrintf("%-45s:%21d\n%-45s:%21d\n", "policy", task.sched_policy.load(), "prio", 120 + task.nice.load());
  return text;
}

constexpr std::array<TaskEntry, 7> kEntries = {{
    {.name = "stat", .mode = S_IFREG | 0444, .seen = &Stat},
    {.name = "statm", .mode = S_IFREG | 0444, .text = &Statm},
    {.name = "status", .mode = S_IFREG | 0444, .seen = &Status},
    {.name = "limits", .mode = S_IFREG | 0444, .text = &LimitsText},
    {.name = "io", .mode = S_IFREG | 0400, .text = &Io, .inspect = true},
    {.name = "sched", .mode = S_IFREG | 0444, .seen = &Sched},
    {.name = "schedstat", .mode = S_IFREG | 0444, .text = &Schedstat},
}};

}  // namespace

std::span<const TaskEntry> StatusEntries() { return kEntries; }

}  // namespace sandbox::proc
