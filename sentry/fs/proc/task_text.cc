// The small files of a task: comm, oom_*, id maps, cgroup, personality and the like (Linux: fs/proc/base.c).
#include <linux/capability.h>

#include <array>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/ptrace_access.h"

namespace sandbox::proc {
namespace {

Result<std::string> Comm(Context&, Task& task) { return task.name() + "\n"; }

Result<void> SetComm(Context& context, Task& task, std::string_view text) {
  if (context.tgid() != task.tgid()) return Err(EINVAL);  // only one's own threads
  text = text.substr(0, text.find('\0'));
  if (text.ends_with('\n')) text.remove_suffix(1);
  task.SetName(std::string(text.substr(0, 15)));
  return {};
}

Result<std::string> OomScoreAdj(Context&, Task& task) {
  return std::to_string(task.group().oom_score_adj.load()) + "\n";
}

Result<void> StoreOomScore(Context& context, Task& task, int64_t value) {
  if (value < task.group().oom_score_adj.load() && !context.creds().Has(CAP_SYS_RESOURCE)) return Err(EACCES);
  task.group().oom_score_adj = static_cast<int>(value);
  return {};
}

Result<void> SetOomScoreAdj(Context& context, Task& task, std::string_view text) {
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if (value < -1000 || value > 1000) return Err(EINVAL);
  return StoreOomScore(context, task, value);
}

// The old scale: -17 (never) to 15.
Result<std::string> OomAdj(Context&, Task& task) {
  const int score = task.group().oom_score_adj.load();
  return std::to_string(score == 1000 ? 15 : score * 17 / 1000) + "\n";
}

Result<void> SetOomAdj(Context& context, Task& task, std::string_view text) {
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if ((value < -16 || value > 15) && value != -17) return Err(EINVAL);
  return StoreOomScore(context, task, value == 15 ? 1000 : value * 1000 / 17);
}

Result<std::string> OomScore(Context&, Task& task) {
  // Linux: a share of all memory in thousandths, plus the adjustment, on a base of two thirds.
  return std::to_string(std::max(0, (1000 + task.group().oom_score_adj.load()) * 2 / 3)) + "\n";
}

Result<std::string> CoreFilter(Context&, Task& task) {
  const auto mm = task.mm_ref();
  return mm == nullptr ? std::string() : StrPrintf("%08x\n", mm->core_filter());
}

Result<void> SetCoreFilter(Context&, Task& task, std::string_view text) {
  constexpr uint32_t kKnown = 0x1ff;
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if (value < 0 || value > UINT32_MAX) return Err(EINVAL);
  const auto mm = task.mm_ref();
  if (mm == nullptr) return Err(ESRCH);
  mm->set_core_filter(static_cast<uint32_t>(value) & kKnown);
  return {};
}

Result<std::string> TimerSlack(Context& context, Task& task) {
  if (context.tid() != task.tid() && !context.creds().Has(CAP_SYS_NICE)) return Err(EPERM);
  return std::to_string(task.timer_slack_ns.load()) + "\n";
}

Result<void> SetTimerSlack(Context& context, Task& task, std::string_view text) {
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if (value < 0) return Err(EINVAL);
  if (context.tid() != task.tid() && !context.creds().Has(CAP_SYS_NICE)) return Err(EPERM);
  task.timer_slack_ns = value == 0 ? 50'000 : static_cast<uint64_t>(value);
  return {};
}

Result<std::string> Personality(Context&, Task& task) { return StrPrintf("%08lx\n", task.personality.load()); }

Result<std::string> Syscall(Context&, Task& task) {
  const int64_t nr = task.current_syscall();
  if (nr < 0 || task.state() == Task::State::kRunning) return std::string("running\n");
  return StrPrintf("%ld 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", nr);  // arguments and registers are not kept
}

// The maps of the task's user namespace.
template <IdKind kKind>
Result<std::string> IdMap(Context& context, Task& task) {
  return task.creds_ref()->user_ns->MapText(kKind, *context.creds().user_ns);
}
template <IdKind kKind>
Result<void> SetIdMap(Context& context, Task& task, std::string_view text) {
  return task.creds_ref()->user_ns->SetMap(kKind, text, context.creds(), context.creds());
}

Result<std::string> Setgroups(Context&, Task& task) { return task.creds_ref()->user_ns->SetgroupsText(); }
Result<void> SetSetgroups(Context& context, Task& task, std::string_view text) {
  const RefPtr<UserNamespace> ns = task.creds_ref()->user_ns;
  if (!context.creds().HasIn(*ns, CAP_SYS_ADMIN)) return Err(EACCES);
  return ns->SetSetgroups(text);
}

// Its control group is the root of what it sees (cgroup_namespaces(7)).
Result<std::string> CgroupPaths(Context&, Task& task) {
  if (task.group().cgroup().unified()) return std::string("0::/\n");
  auto number = static_cast<int>(kCgroupControllers.size());
  std::string text = StrPrintf("%d:name=systemd:/\n", number + 1);
  for (; number > 0; --number)
    text += StrPrintf("%d:%s:/\n", number, kCgroupControllers[static_cast<size_t>(number) - 1]);
  return text;
}

template <const char* kText>
Result<std::string> Fixed(Context&, Task&) {
  return std::string(kText);
}
constexpr char kEmpty[] = "", kZero[] = "0", kProjects[] = "         0          0 4294967295\n",
               kUnset[] = "4294967295", kCpuset[] = "/\n", kAutogroup[] = "/autogroup-0 nice 0\n";

Result<void> Ignore(Context&, Task&, std::string_view) { return {}; }
Result<void> Refuse(Context&, Task&, std::string_view) { return Err(EPERM); }

// attr/: the files exist and answer as without a security module.
class AttrDirectory final : public synthetic::StaticDirectory {
 public:
  using StaticDirectory::StaticDirectory;
};
NodeRef MakeAttr(Fs& fs, const TaskRef&, uint64_t) {
  auto directory = MakeRef<AttrDirectory>(fs);
  for (const char* name : {"current", "exec", "fscreate", "keycreate", "sockcreate", "prev"}) {
    directory->Add(name, MakeRef<synthetic::TextFile>(
                             fs, std::string_view(name) == "prev" ? 0444 : 0666,
                             [](Context&) -> Result<std::string> { return Err(EINVAL); },
                             [](Context&, std::string_view) -> Result<void> { return Err(EINVAL); }));
  }
  return directory;
}

constexpr std::array<TaskEntry, 21> kEntries = {{
    {.name = "attr", .mode = S_IFDIR | 0555, .make = &MakeAttr},
    {.name = "autogroup", .mode = S_IFREG | 0444, .text = &Fixed<kAutogroup>, .where = Where::kProcessOnly},
    {.name = "cgroup", .mode = S_IFREG | 0444, .text = &CgroupPaths},
    {.name = "comm", .mode = S_IFREG | 0644, .text = &Comm, .sink = &SetComm},
    {.name = "coredump_filter",
     .mode = S_IFREG | 0644,
     .text = &CoreFilter,
     .sink = &SetCoreFilter,
     .where = Where::kProcessOnly},
    {.name = "cpuset", .mode = S_IFREG | 0444, .text = &Fixed<kCpuset>},
    {.name = "gid_map", .mode = S_IFREG | 0644, .text = &IdMap<IdKind::kGroup>, .sink = &SetIdMap<IdKind::kGroup>},
    {.name = "loginuid", .mode = S_IFREG | 0644, .text = &Fixed<kUnset>, .sink = &Ignore},
    {.name = "oom_adj", .mode = S_IFREG | 0644, .text = &OomAdj, .sink = &SetOomAdj},
    {.name = "oom_score", .mode = S_IFREG | 0444, .text = &OomScore},
    {.name = "oom_score_adj", .mode = S_IFREG | 0644, .text = &OomScoreAdj, .sink = &SetOomScoreAdj},
    {.name = "personality", .mode = S_IFREG | 0400, .text = &Personality, .inspect = true},
    {.name = "projid_map", .mode = S_IFREG | 0644, .text = &Fixed<kProjects>, .sink = &Refuse},
    {.name = "sessionid", .mode = S_IFREG | 0444, .text = &Fixed<kUnset>},
    {.name = "setgroups",
     .mode = S_IFREG | 0644,
     .text = &Setgroups,
     .sink = &SetSetgroups,
     .where = Where::kProcessOnly},
    {.name = "stack", .mode = S_IFREG | 0400, .text = &Fixed<kEmpty>, .inspect = true},
    {.name = "syscall", .mode = S_IFREG | 0400, .text = &Syscall, .inspect = true},
    {.name = "timers", .mode = S_IFREG | 0444, .text = &Fixed<kEmpty>, .where = Where::kProcessOnly},
    {.name = "timerslack_ns",
     .mode = S_IFREG | 0666,
     .text = &TimerSlack,
     .sink = &SetTimerSlack,
     .where = Where::kProcessOnly},
    {.name = "uid_map", .mode = S_IFREG | 0644, .text = &IdMap<IdKind::kUser>, .sink = &SetIdMap<IdKind::kUser>},
    {.name = "wchan", .mode = S_IFREG | 0444, .text = &Fixed<kZero>},
}};

}  // namespace

std::span<const TaskEntry> TextEntries() { return kEntries; }

}  // namespace sandbox::proc
