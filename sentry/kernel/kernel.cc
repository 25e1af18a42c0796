#include "sentry/kernel/kernel.h"

#include <linux/capability.h>

#include <climits>
#include <cmath>
#include <future>

#include "base/cleanup.h"
#include "base/host_futex.h"
#include "sentry/core/cpus.h"
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
      ipc_(MakeRef<IpcNamespace>()),
      root_pids_(PidNamespace::Root()),
      cgroup_(MakeRef<CgroupNamespace>()),
      first_cgroup_(MakeRef<Cgroup>(*this, options_.limits, std::move(options_.cgroup))) {
  SetCpuSource([](const Context& context) {
    const auto* task = dynamic_cast<const Task*>(&context);
    return task == nullptr ? SandboxCpus() : task->group().cgroup().cpus();
  });
}

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

void Kernel::KillAll(ThreadGroup* except) {
  for (const ThreadGroupRef& group : Groups()) {
    if (group.get() != except) group->BeginGroupExit(SIGKILL);
  }
}

void Kernel::KillAll(ThreadGroup* except, const PidNamespace& space) {
  for (const ThreadGroupRef& group : Groups()) {
    if (group.get() != except && group->pid()->In(space) != 0) group->BeginGroupExit(SIGKILL);
  }
}

int32_t Kernel::NumberIn(const PidNamespace& view, int32_t pid) const {
  if (view.root()) return pid;
  const PidRef known = root_pids_->Find(pid);
  return known == nullptr ? 0 : known->In(view);
}

int32_t Kernel::PidOf(const PidNamespace& view, int32_t number) const {
  if (view.root()) return number;
  const PidRef known = view.Find(number);
  return known == nullptr ? 0 : known->root();
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

TaskRef Kernel::init(const PidNamespace& space) const {
  MutexLock tree(tree_mu_);
  return space.init == nullptr ? nullptr : space.init->leader_;
}

int Kernel::task_count() const {
  MutexLock tree(tree_mu_);
  return static_cast<int>(tasks_.size());
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

Result<PidRef> Kernel::ReservePid(const PidRequest& request) {
  MutexLock tree(tree_mu_);
  if (request.space->dying) return Err(ENOMEM);  // as Linux after the pid namespace's init ended
  int& count = tasks_of_user_[request.creds.uid];
  if (!request.privileged && static_cast<uint64_t>(count) >= request.nproc_limit) return Err(EAGAIN);
  if (!request.cgroup.Charge()) return Err(EAGAIN);
  Cleanup uncharge([&] { request.cgroup.Uncharge(); });
  auto pid = MakeRef<Pid>();
  size_t wanted = 0;
  for (RefPtr<PidNamespace> space = request.space; space != nullptr; space = space->parent()) {
    const int32_t number = wanted < request.wanted.size() ? request.wanted[wanted++] : 0;
    // Nobody comes before the init of a namespace.
    if (number != 0 && (number >= options_.pid_max || (number != 1 && space->init == nullptr))) return Err(EINVAL);
    pid->numbers.insert(pid->numbers.begin(), {space, TRY(space->Choose(number, options_.pid_max))});
  }
  for (const Pid::Number& number : pid->numbers) number.space->Enter(number.number, pid);
  ++count;
  uncharge.Release();
  return PidRef(std::move(pid));
}

void Kernel::ReleasePidLocked(Cgroup& cgroup, uint32_t uid) {
  cgroup.Uncharge();
  if (--tasks_of_user_[uid] == 0) tasks_of_user_.erase(uid);
}

void Kernel::ReleasePid(Cgroup& cgroup, uint32_t uid) {
  MutexLock tree(tree_mu_);
  ReleasePidLocked(cgroup, uid);
}

void Kernel::ForgetTaskLocked(Task& task) {
  const int32_t tid = task.tid();
  if (const auto found = tasks_.find(tid); found != tasks_.end() && found->second.get() == &task) tasks_.erase(found);
  ReleasePidLocked(task.group().cgroup(), task.creds_ref()->uid);
  departures_.fetch_add(1);
  HostFutexWake(departures_, INT_MAX);  // namespaces nest
}

void Kernel::MoveUserTask(uint32_t from_uid, uint32_t to_uid) {
  MutexLock tree(tree_mu_);
  ++tasks_of_user_[to_uid];
  if (--tasks_of_user_[from_uid] == 0) tasks_of_user_.erase(from_uid);
}

bool Kernel::OnlyGroupLeft(const ThreadGroup& group, const PidNamespace& space) const {
  MutexLock tree(tree_mu_);
  for (const auto& [tid, task] : tasks_) {
    if (&task->group() != &group && task->group().pid()->In(space) != 0) return false;
  }
  return true;
}

}  // namespace sandbox
