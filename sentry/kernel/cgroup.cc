#include "sentry/kernel/cgroup.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/host_futex.h"
#include "base/host_sys.h"
#include "base/log.h"
#include "sentry/kernel/kernel.h"

namespace sandbox {

Cgroup::Cgroup(Kernel& kernel, const CgroupLimits& limits, CgroupHost host)
    : kernel_(kernel), host_(std::move(host)), limits_(limits) {}

CgroupLimits Cgroup::limits() const {
  MutexLock lock(mu_);
  return limits_;
}

void Cgroup::SetLimits(const CgroupLimits& limits) {
  MutexLock lock(mu_);
  limits_ = limits;
}

bool Cgroup::Charge() {
  const int most = limits().pids;
  int now = tasks_.load();
  do {
    if (most > 0 && now >= most) {
      refusals_.fetch_add(1);
      return false;
    }
  } while (!tasks_.compare_exchange_weak(now, now + 1));
  int peak = peak_.load();
  while (peak < now + 1 && !peak_.compare_exchange_weak(peak, now + 1)) {
  }
  return true;
}

std::vector<ThreadGroupRef> Cgroup::Groups() const {
  std::vector<ThreadGroupRef> groups = kernel_.Groups();
  std::erase_if(groups, [this](const ThreadGroupRef& group) { return &group->cgroup() != this; });
  return groups;
}

void Cgroup::SendSignal(int signo) {
  for (const ThreadGroupRef& group : Groups()) {
    (void)group->SendSignal(SignalInfo::User(signo, 0, 0), SignalOrigin::kHost);
  }
}

// Whoever sleeps looks at the freezer before it runs guest code again.
bool Cgroup::Quiet() const {
  for (const ThreadGroupRef& group : Groups()) {
    for (const TaskRef& task : group->tasks()) {
      if (task->state() == Task::State::kRunning) return false;
    }
  }
  return true;
}

Result<void> Cgroup::Freeze() {
  constexpr int64_t kMost = 5'000'000'000, kGlance = 20'000'000;
  frozen_.store(true);
  for (const ThreadGroupRef& group : Groups()) group->LookAtFreezer();
  const int64_t deadline = MonotonicNow().ns + kMost;
  for (;;) {
    const uint32_t seen = arrivals_.load();
    if (Quiet()) return {};
    const int64_t now = MonotonicNow().ns;
    if (now >= deadline) break;
    // A wait that only a kill ends (vfork) is not announced, so there is a look now and then.
    HostFutexWait(arrivals_, seen, std::min(deadline, now + kGlance));
  }
  Thaw();
  return Err(ETIMEDOUT);
}

void Cgroup::Thaw() {
  frozen_.store(false);
  for (const ThreadGroupRef& group : Groups()) {
    for (const TaskRef& task : group->tasks()) task->Wake();
  }
}

void Cgroup::Arrived() {
  arrivals_.fetch_add(1);
  HostFutexWake(arrivals_, 1);
}

void Cgroup::Adopt(int host_tid) const {
  const std::string text = std::to_string(host_tid);
  for (const UniqueFd& file : host_.processes) {
    if (const auto moved = host::Write(file.borrow(), text.data(), text.size()); !moved.ok()) {
      LOGF(kDebug, "a stub stays in the sandbox's control group: errno %d", moved.error().value());
    }
  }
}

std::optional<std::string> Cgroup::HostFile(const std::string& name) const {
  constexpr size_t kMost = 256 * 1024;
  const auto file = host_.files.find(name);
  if (file == host_.files.end()) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < kMost) {
    const auto got = host::ReadAt(file->second.borrow(), buffer, sizeof(buffer), static_cast<int64_t>(text.size()));
    if (!got.ok()) return std::nullopt;  // the group is gone
    if (*got == 0) break;
    text.append(buffer, *got);
  }
  return text;
}

std::optional<uint64_t> Cgroup::HostNumber(const std::string& name, const std::string& key) const {
  const auto text = HostFile(name);
  if (!text) return std::nullopt;
  size_t at = 0;
  if (!key.empty()) {
    const std::string line = key + " ";
    if (text->rfind(line, 0) != 0) {
      at = text->find("\n" + line);
      if (at == std::string::npos) return std::nullopt;
      ++at;
    }
    at += line.size();
  }
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data() + at, text->data() + text->size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

uint64_t Cgroup::Resident() const {
  uint64_t resident = 0;
  std::set<const MemoryManager*> seen;
  for (const ThreadGroupRef& group : Groups()) {
    const TaskRef leader = group->leader();
    const auto mm = leader != nullptr ? leader->mm_ref() : nullptr;
    if (mm != nullptr && seen.insert(mm.get()).second) resident += mm->space()->GetUsage().resident;
  }
  return resident;
}

Cgroup::Memory Cgroup::memory(uint64_t machine, uint64_t machine_swap) const {
  const CgroupLimits limit = limits();
  Memory memory = {machine, 0, 0, machine_swap, 0};
  if (limit.memory_bytes != 0) memory.total = std::min(memory.total, limit.memory_bytes);
  if (limit.swap_bytes) memory.swap_total = std::min(memory.swap_total, *limit.swap_bytes);
  if (const auto all = HostNumber(unified() ? "memory.current" : "memory.usage_in_bytes")) {
    memory.cached = std::min(HostNumber("memory.stat", unified() ? "file" : "cache").value_or(0), *all);
    memory.used = *all - memory.cached;
  } else {
    memory.used = Resident();
  }
  memory.used = std::min(memory.used, memory.total);
  memory.cached = std::min(memory.cached, memory.total - memory.used);
  const uint64_t swapped =
      HostNumber(unified() ? "memory.swap.current" : "memory.stat", unified() ? "" : "swap").value_or(0);
  memory.swap_free = memory.swap_total - std::min(swapped, memory.swap_total);
  return memory;
}

CpuSet Cgroup::cpus() const {
  CpuSet cpus = ParseCpuList(HostFile(unified() ? "cpuset.cpus.effective" : "cpuset.effective_cpus").value_or(""));
  if (CountOf(cpus) == 0) cpus = SandboxCpus();
  const CgroupLimits now = limits();
  if (now.cpu_quota_us == 0 || now.cpu_period_us == 0) return cpus;
  const uint64_t worth = (now.cpu_quota_us + now.cpu_period_us - 1) / now.cpu_period_us;
  return FirstCpus(std::move(cpus), static_cast<int>(std::clamp<uint64_t>(worth, 1, INT32_MAX)));
}

}  // namespace sandbox
