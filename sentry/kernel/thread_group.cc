#include "sentry/kernel/thread_group.h"

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"

namespace sandbox {

LimitSet DefaultLimits() {
  LimitSet limits;
  limits[RLIMIT_STACK].soft = 8 << 20;
  limits[RLIMIT_CORE].soft = 0;
  limits[RLIMIT_NPROC] = {32768, 32768};
  limits[RLIMIT_NOFILE] = {1024, 1 << 20};
  limits[RLIMIT_MEMLOCK] = {8 << 20, 8 << 20};
  limits[RLIMIT_SIGPENDING] = {32768, 32768};
  limits[RLIMIT_MSGQUEUE] = {819200, 819200};
  limits[RLIMIT_NICE] = {0, 0};
  limits[RLIMIT_RTPRIO] = {0, 0};
  return limits;
}

void Usage::AddMemory(const platform::AddressSpace::Usage& host) {
  max_rss_bytes = std::max({max_rss_bytes, host.peak_resident, host.resident});
  minor_faults += host.minor_faults;
  major_faults += host.major_faults;
}

void Usage::Add(const Usage& other) {
  user_ns += other.user_ns;
  system_ns += other.system_ns;
  max_rss_bytes = std::max(max_rss_bytes, other.max_rss_bytes);
  minor_faults += other.minor_faults;
  major_faults += other.major_faults;
  voluntary_switches += other.voluntary_switches;
}

ThreadGroup::ThreadGroup(Kernel& kernel, PidRef pid, RefPtr<Cgroup> cgroup, RefPtr<SignalHandlers> handlers,
                         const LimitSet& limits)
    : kernel_(kernel),
      pid_(std::move(pid)),
      cgroup_(std::move(cgroup)),
      tgid_(pid_->root()),
      start_time_ns_(ReadClockNs(CLOCK_BOOTTIME).value_or(0)),
      limits_(limits),
      handlers_(std::move(handlers)) {}

ThreadGroup::~ThreadGroup() = default;

TaskRef ThreadGroup::leader() const {
  MutexLock lock(kernel_.tree_lock());
  return leader_;
}

std::vector<TaskRef> ThreadGroup::tasks() const {
  std::vector<TaskRef> out;
  MutexLock lock(sig_mu_);
  for (Task* task : tasks_) out.push_back(task->shared_from_this());
  return out;
}

int ThreadGroup::thread_count() const {
  MutexLock lock(sig_mu_);
  return static_cast<int>(tasks_.size());
}

int32_t ThreadGroup::ppid() const {
  MutexLock lock(kernel_.tree_lock());
  return parent_ == nullptr ? 0 : parent_->tgid_;
}

int32_t ThreadGroup::pgid() const {
  MutexLock lock(kernel_.tree_lock());
  return process_group_ == nullptr ? 0 : process_group_->id;
}

int32_t ThreadGroup::sid() const {
  MutexLock lock(kernel_.tree_lock());
  return process_group_ == nullptr ? 0 : process_group_->session->id;
}

uint64_t ThreadGroup::terminal_device() const {
  RefPtr<ControllingTerminal> terminal;
  {
    MutexLock lock(kernel_.tree_lock());
    if (process_group_ != nullptr) terminal = process_group_->session->terminal;
  }
  return terminal == nullptr ? 0 : terminal->device();
}

int32_t ThreadGroup::foreground_pgid() const {
  MutexLock lock(kernel_.tree_lock());
  if (process_group_ == nullptr || process_group_->session->terminal == nullptr) return -1;
  return process_group_->session->foreground;
}

std::vector<int32_t> ThreadGroup::child_tgids() const {
  std::vector<int32_t> out;
  MutexLock lock(kernel_.tree_lock());
  for (const auto& [tgid, child] : children_) out.push_back(tgid);
  return out;
}

ThreadGroupRef ThreadGroup::parent() const {
  MutexLock lock(kernel_.tree_lock());
  return parent_ == nullptr ? nullptr : parent_->shared_from_this();
}

RefPtr<SignalHandlers> ThreadGroup::handlers() const {
  MutexLock lock(sig_mu_);
  return handlers_;
}

SignalSet ThreadGroup::shared_pending() const {
  MutexLock lock(sig_mu_);
  return pending_.set();
}

bool ThreadGroup::stopped() const {
  MutexLock lock(sig_mu_);
  return stop_complete_;
}

Usage ThreadGroup::usage() const {
  Usage sum;
  {
    MutexLock lock(usage_mu_);
    sum = dead_threads_;
  }
  for (const TaskRef& task : tasks()) sum.Add(task->usage());
  return sum;
}

void ThreadGroup::AddMemoryUsage(const platform::AddressSpace::Usage& host) {
  MutexLock lock(usage_mu_);
  dead_threads_.AddMemory(host);
}

Usage ThreadGroup::children_usage() const {
  MutexLock lock(usage_mu_);
  return reaped_children_;
}

uint64_t ThreadGroup::cpu_time_ns() const {
  const Usage u = usage();
  return u.user_ns + u.system_ns;
}

ProcessTimers& ThreadGroup::timers() {
  MutexLock lock(usage_mu_);
  if (timers_ == nullptr) timers_ = std::make_unique<ProcessTimers>(*this);
  return *timers_;
}

}  // namespace sandbox
