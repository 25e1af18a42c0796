#include "sentry/kernel/kernel.h"

#include <linux/capability.h>

#include <cmath>
#include <future>

#include "base/host_futex.h"
#include "sentry/kernel/child_wait.h"

namespace sandbox {

Result<std::unique_ptr<Kernel>> Kernel::Create(KernelOptions options) {
  if (options.platform == nullptr || options.dispatch == nullptr) return Err(EINVAL);
  return std::unique_ptr<Kernel>(new Kernel(std::move(options)));
}

namespace {

RefPtr<TextCache> MakeTextCache(const platform::Platform& platform, bool rewrite) {
  const platform::TextRewriter* const rewriter = platform.text_rewriter();
  return rewrite && rewriter != nullptr ? MakeRef<TextCache>(*rewriter) : nullptr;
}

}  // namespace

Kernel::Kernel(KernelOptions options)
    : options_(std::move(options)),
      platform_(std::move(options_.platform)),
      text_cache_(MakeTextCache(*platform_, options_.rewrite)),
      boot_time_ns_(RealtimeNowNs()),
      start_monotonic_ns_(MonotonicNow().ns),
      uts_(MakeRef<UtsNamespace>(options_.hostname, options_.domainname)),
      ipc_(MakeRef<IpcNamespace>()) {}

Kernel::~Kernel() = default;

int Kernel::WaitForExit(ThreadGroup& group) {
  // Shared, since the setter may still touch it when the value is here.
  const auto status = std::make_shared<std::promise<int>>();
  OnExit(group, [status](int value) { status->set_value(value); });
  return status->get_future().get();
}

void Kernel::OnExit(ThreadGroup& group, std::function<void(int)> done) {
  {
    MutexLock tree(tree_mu_);
    if (!group.zombie()) {
      exit_callbacks_[&group].push_back(std::move(done));
      return;
    }
  }
  done(group.exit_status());
}

Result<void> Kernel::SendSignal(int32_t tgid, int signo) {
  if (!ValidSignal(signo)) return Err(EINVAL);
  const ThreadGroupRef group = FindGroup(tgid);
  if (group == nullptr) return Err(ESRCH);
  return group->SendSignal(SignalInfo::User(signo, 0, 0), SignalOrigin::kHost);
}

Result<void> Kernel::SendSignalToProcessGroup(int32_t pgid, int signo) {
  if (!ValidSignal(signo)) return Err(EINVAL);
  MutexLock tree(tree_mu_);
  const auto group = FindProcessGroupLocked(pgid);
  if (group == nullptr) return Err(ESRCH);
  ProcessTree::SignalProcessGroupLocked(*group, SignalInfo::User(signo, 0, 0), SignalOrigin::kHost);
  return {};
}

Result<void> Kernel::SendSignalToForeground(ControllingTerminal& terminal, int signo) {
  if (!ValidSignal(signo)) return Err(EINVAL);
  JobControl::SignalForeground(*this, terminal, signo);
  return {};
}

Result<void> Kernel::SendSignalToAll(int signo) {
  if (!ValidSignal(signo)) return Err(EINVAL);
  for (const ThreadGroupRef& group : Groups()) {
    (void)group->SendSignal(SignalInfo::User(signo, 0, 0), SignalOrigin::kHost);
  }
  return {};
}

void Kernel::KillAll(ThreadGroup* except) {
  for (const ThreadGroupRef& group : Groups()) {
    if (group.get() != except) group->BeginGroupExit(SIGKILL);
  }
}

TaskRef Kernel::FindTaskLocked(int32_t tid) const {
  const auto found = tasks_.find(tid);
  return found == tasks_.end() ? nullptr : found->second;
}

TaskRef Kernel::FindTask(int32_t tid) const {
  MutexLock tree(tree_mu_);
  return FindTaskLocked(tid);
}

ThreadGroupRef Kernel::FindGroupLocked(int32_t tgid) const {
  const TaskRef task = FindTaskLocked(tgid);
  return task == nullptr || task->group().tgid() != tgid ? nullptr : task->group().shared_from_this();
}

ThreadGroupRef Kernel::FindGroup(int32_t tgid) const {
  MutexLock tree(tree_mu_);
  return FindGroupLocked(tgid);
}

std::vector<ThreadGroupRef> Kernel::Groups() const {
  std::vector<ThreadGroupRef> out;
  MutexLock tree(tree_mu_);
  for (const auto& [tid, task] : tasks_) {
    if (task->group().tgid() == tid) out.push_back(task->group().shared_from_this());
  }
  return out;
}

std::vector<ThreadGroupRef> Kernel::GroupsOfProcessGroup(int32_t pgid) const {
  std::vector<ThreadGroupRef> out;
  MutexLock tree(tree_mu_);
  if (const auto group = FindProcessGroupLocked(pgid)) {
    for (ThreadGroup* member : group->members) out.push_back(member->shared_from_this());
  }
  return out;
}

RefPtr<ProcessGroup> Kernel::FindProcessGroupLocked(int32_t pgid) const {
  const auto found = process_groups_.find(pgid);
  return found == process_groups_.end() ? nullptr : found->second.lock();
}

TaskRef Kernel::init() const {
  MutexLock tree(tree_mu_);
  return init_group_ == nullptr ? nullptr : init_group_->leader_;
}

int Kernel::task_count() const {
  MutexLock tree(tree_mu_);
  return static_cast<int>(tasks_.size());
}

int32_t Kernel::last_pid() const {
  MutexLock tree(tree_mu_);
  return last_pid_;
}

int Kernel::running_tasks() const {
  int running = 0;
  MutexLock tree(tree_mu_);
  for (const auto& [tid, task] : tasks_) running += task->state() == Task::State::kRunning;
  return running;
}

// Linux samples every 5 s. Nothing here ticks, so the average is brought up to date when somebody asks.
std::array<double, 3> Kernel::load_averages() {
  const double running = running_tasks();
  MutexLock lock(load_mu_);
  const int64_t now = MonotonicNow().ns;
  const double seconds = load_updated_ns_ == 0 ? 0 : (now - load_updated_ns_) / 1e9;
  load_updated_ns_ = now;
  constexpr std::array<double, 3> kPeriods = {60, 300, 900};
  for (size_t i = 0; i < kPeriods.size(); ++i) {
    const double keep = std::exp(-seconds / kPeriods[i]);
    loads_[i] = loads_[i] * keep + running * (1 - keep);
  }
  return loads_;
}

Result<int32_t> Kernel::NextPidLocked() {
  constexpr int32_t kFirstRecycled = 300;  // Linux: RESERVED_PIDS
  for (int32_t tried = 0; tried < options_.pid_max; ++tried) {
    if (++last_pid_ >= options_.pid_max) last_pid_ = kFirstRecycled;
    const auto group = process_groups_.find(last_pid_);
    const bool names_group = group != process_groups_.end() && !group->second.expired();
    if (!tasks_.contains(last_pid_) && !reserved_.contains(last_pid_) && !names_group &&
        !NamesSessionLocked(last_pid_)) {
      return last_pid_;
    }
  }
  return Err(EAGAIN);
}

bool Kernel::NamesSessionLocked(int32_t id) const {
  for (const auto& [pgid, group] : process_groups_) {
    const auto held = group.lock();
    if (held != nullptr && held->session->id == id) return true;
  }
  return false;
}

Result<int32_t> Kernel::ReservePid(const Credentials& creds, uint64_t nproc_limit, bool privileged) {
  MutexLock tree(tree_mu_);
  if (dying_) return Err(ENOMEM);  // as Linux after the pid namespace's init ended
  if (options_.pids_limit > 0 && task_count_ >= options_.pids_limit) return Err(EAGAIN);
  int& count = tasks_of_user_[creds.uid];
  if (!privileged && static_cast<uint64_t>(count) >= nproc_limit) return Err(EAGAIN);
  const int32_t pid = TRY(NextPidLocked());
  reserved_.insert(pid);
  ++count;
  ++task_count_;
  return pid;
}

void Kernel::ReleasePidLocked(int32_t tid, uint32_t uid) {
  reserved_.erase(tid);
  --task_count_;
  if (--tasks_of_user_[uid] == 0) tasks_of_user_.erase(uid);
}

void Kernel::ReleasePid(int32_t tid, uint32_t uid) {
  MutexLock tree(tree_mu_);
  ReleasePidLocked(tid, uid);
}

void Kernel::ForgetTaskLocked(Task& task) {
  const int32_t tid = task.tid();
  if (const auto found = tasks_.find(tid); found != tasks_.end() && found->second.get() == &task) tasks_.erase(found);
  ReleasePidLocked(tid, task.creds_ref()->uid);
  departures_.fetch_add(1);
  HostFutexWake(departures_, 1);
}

void Kernel::MoveUserTask(uint32_t from_uid, uint32_t to_uid) {
  MutexLock tree(tree_mu_);
  ++tasks_of_user_[to_uid];
  if (--tasks_of_user_[from_uid] == 0) tasks_of_user_.erase(from_uid);
}

bool Kernel::OnlyGroupLeft(const ThreadGroup& group) const {
  MutexLock tree(tree_mu_);
  for (const auto& [tid, task] : tasks_) {
    if (&task->group() != &group) return false;
  }
  return true;
}

}  // namespace sandbox
