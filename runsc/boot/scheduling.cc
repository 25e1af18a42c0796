#include "runsc/boot/scheduling.h"

#include <sched.h>
#include <sys/personality.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sandbox::boot {
namespace {

constexpr int kIoprioShift = 13;  // linux/ioprio.h

constexpr std::pair<const char*, int> kPolicies[] = {{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO},
                                                     {"SCHED_RR", SCHED_RR},       {"SCHED_BATCH", SCHED_BATCH},
                                                     {"SCHED_IDLE", SCHED_IDLE},   {"SCHED_DEADLINE", SCHED_DEADLINE}};
constexpr std::pair<const char*, int> kIoClasses[] = {
    {"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
// The other flags concern how the host schedules, which is the host's business here.
constexpr std::pair<const char*, bool> kFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", true},  {"SCHED_FLAG_RECLAIM", false},     {"SCHED_FLAG_DL_OVERRUN", false},
    {"SCHED_FLAG_KEEP_POLICY", false},   {"SCHED_FLAG_KEEP_PARAMS", false}, {"SCHED_FLAG_UTIL_CLAMP_MIN", false},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", false}};

absl::Status Bad(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

// What `name` stands for in a table of pairs; null when it is not there.
template <typename T, size_t n>
const T* Find(const std::pair<const char*, T> (&table)[n], std::string_view name) {
  for (const auto& [known, value] : table) {
    if (name == known) return &value;
  }
  return nullptr;
}

// The rules of sched_setattr(2).
absl::Status SetScheduler(const spec::Scheduler& wanted, Scheduling& scheduling) {
  const int* policy = Find(kPolicies, wanted.policy);
  if (policy == nullptr) return Bad("process.scheduler.policy", "unknown policy \"" + wanted.policy + "\"");
  const bool realtime = *policy == SCHED_FIFO || *policy == SCHED_RR;
  if (wanted.nice < -20 || wanted.nice > 19) return Bad("process.scheduler.nice", "must be between -20 and 19");
  if (realtime ? wanted.priority < 1 || wanted.priority > 99 : wanted.priority != 0)
    return Bad("process.scheduler.priority", "must be 1 to 99 for SCHED_FIFO and SCHED_RR, and 0 for others");
  const bool deadline = *policy == SCHED_DEADLINE;
  const uint64_t period = wanted.period != 0 ? wanted.period : wanted.deadline;
  if (deadline ? wanted.runtime == 0 || wanted.runtime > wanted.deadline || wanted.deadline > period
               : (wanted.runtime | wanted.deadline | wanted.period) != 0)
    return Bad("process.scheduler", "runtime, deadline and period must be in that order, and are SCHED_DEADLINE's");
  for (const std::string& flag : wanted.flags) {
    const bool* resets = Find(kFlags, flag);
    if (resets == nullptr) return Bad("process.scheduler.flags", "unknown flag \"" + flag + "\"");
    scheduling.reset_on_fork = scheduling.reset_on_fork || *resets;
  }
  scheduling.policy = *policy;
  scheduling.priority = wanted.priority;
  scheduling.nice = wanted.nice;
  scheduling.runtime_ns = wanted.runtime;
  scheduling.deadline_ns = wanted.deadline;
  scheduling.period_ns = deadline ? period : 0;
  return absl::OkStatus();
}

absl::StatusOr<int> IoprioOf(const spec::IoPriority& wanted) {
  const int* io_class = Find(kIoClasses, wanted.io_class);
  if (io_class == nullptr) return Bad("process.ioPriority.class", "unknown class \"" + wanted.io_class + "\"");
  if (wanted.priority < 0 || wanted.priority > 7) return Bad("process.ioPriority.priority", "must be between 0 and 7");
  return *io_class << kIoprioShift | wanted.priority;
}

// Of the listed processors, those the sandbox may use.
absl::StatusOr<CpuSet> UsableOf(const std::string& list) {
  CpuSet wanted = ParseCpuList(list), usable = SandboxCpus();
  wanted.resize(usable.size());
  bool any = false;
  for (size_t i = 0; i < usable.size(); ++i) any = (usable[i] &= wanted[i]) != 0 || any;
  if (!any) return Bad("process.execCPUAffinity", "\"" + list + "\" has no processor that may be used");
  return usable;
}

}  // namespace

absl::StatusOr<Scheduling> Scheduling::Of(const spec::Process& process, bool exec) {
  Scheduling scheduling;
  if (process.scheduler) {
    if (auto status = SetScheduler(*process.scheduler, scheduling); !status.ok()) return status;
  }
  if (process.io_priority) {
    auto ioprio = IoprioOf(*process.io_priority);
    if (!ioprio.ok()) return ioprio.status();
    scheduling.ioprio = *ioprio;
  }
  if (exec && process.exec_cpu_affinity) {
    const spec::ExecCpuAffinity& affinity = *process.exec_cpu_affinity;
    const std::string& list = affinity.final.empty() ? affinity.initial : affinity.final;
    if (list.empty()) return scheduling;
    auto cpus = UsableOf(list);
    if (!cpus.ok()) return cpus.status();
    scheduling.cpus = *std::move(cpus);
  }
  return scheduling;
}

absl::StatusOr<uint64_t> Scheduling::PersonalityOf(const spec::Linux& linux_) {
  if (!linux_.personality) return 0;
  if (!linux_.personality->flags.empty()) return Bad("linux.personality.flags", "no flag is defined");
  const std::string& domain = linux_.personality->domain;
  if (domain == "LINUX") return PER_LINUX;
  if (domain == "LINUX32") return PER_LINUX32;
  return Bad("linux.personality.domain", "unknown domain \"" + domain + "\"");
}

void Scheduling::ApplyTo(Task& task) const {
  task.sched_policy = policy;
  task.sched_priority = priority;
  task.nice = nice;
  task.sched_reset_on_fork = reset_on_fork;
  task.deadline_runtime_ns = runtime_ns;
  task.deadline_ns = deadline_ns;
  task.deadline_period_ns = period_ns;
  task.ioprio = ioprio;
  task.personality = personality;
  if (!cpus.empty()) task.SetCpuAffinity(cpus);
}

}  // namespace sandbox::boot
