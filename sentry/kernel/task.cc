#include "sentry/kernel/task.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task_init.h"
#include "sentry/time/clock.h"
#include "sentry/time/timer.h"
#include "sentry/vfs/file.h"

namespace sandbox {
namespace {

constexpr size_t kMaxName = 15;

}  // namespace

Task::Task(Init init)
    : kernel_(init.kernel),
      group_(std::move(init.group)),
      pid_(std::move(init.pid)),
      tid_(pid_->root()),
      start_time_ns_(ReadClockNs(CLOCK_BOOTTIME).value_or(0)),
      mm_(std::move(init.mm)),
      fds_(std::move(init.fds)),
      fs_(std::move(init.fs)),
      spaces_(std::move(init.spaces)),
      creds_(std::move(init.creds)),
      name_(init.name.substr(0, kMaxName)),
      mask_(init.mask) {
  signal_stack_.flags = SS_DISABLE;
}

Task::~Task() = default;

RefPtr<MemoryManager> Task::mm_ref() const {
  MutexLock lock(mu_);
  return mm_;
}

RefPtr<FdTable> Task::fds_ref() const {
  MutexLock lock(mu_);
  return fds_ == nullptr ? nullptr : fds_->table;
}

RefPtr<FsContext> Task::fs_ref() const {
  MutexLock lock(mu_);
  return fs_;
}

Namespaces Task::namespaces() const {
  MutexLock lock(mu_);
  return spaces_;
}

RefPtr<MountNamespace> Task::mounts() const {
  MutexLock lock(mu_);
  return spaces_.mounts;
}

RefPtr<UtsNamespace> Task::uts() const {
  MutexLock lock(mu_);
  return spaces_.uts;
}

RefPtr<IpcNamespace> Task::ipc() const {
  MutexLock lock(mu_);
  return spaces_.ipc;
}

RefPtr<NetNamespace> Task::net() const {
  MutexLock lock(mu_);
  return spaces_.net;
}

PidRef Task::pid() const {
  MutexLock lock(mu_);
  return pid_;
}

const PidNamespace& Task::pid_space() const { return group_->pid()->space(); }

int32_t Task::ShownPid(int32_t pid) const { return kernel_.NumberIn(pid_space(), pid); }

int32_t Task::ActualPid(int32_t number) const { return kernel_.PidOf(pid_space(), number); }

TaskRef Task::Find(int32_t number) const { return kernel_.FindTask(ActualPid(number)); }

Result<WalkBase> Task::WalkFrom(Fd dirfd) {
  if (dirfd.number() == AT_FDCWD) return WalkFromCwd();
  const FileRef file = TRY(fds().GetAny(dirfd));
  return WalkBase{fs().root(), file->path()};
}

WalkBase Task::WalkFromCwd() { return WalkBase{fs().root(), fs().cwd()}; }

CredentialsRef Task::creds_ref() const {
  MutexLock lock(mu_);
  return creds_;
}

void Task::SetCredentials(CredentialsRef creds) {
  const uint32_t old_uid = creds_->uid, new_uid = creds->uid;
  {
    MutexLock lock(mu_);
    creds_.swap(creds);
  }
  if (old_uid != new_uid) kernel_.MoveUserTask(old_uid, new_uid);
  UpdateLocalIdentity();
}

int64_t Task::current_syscall() const {
  MutexLock lock(mu_);
  const auto waits = in_guest_.load() && thread_ != nullptr ? thread_->WaitsInCall() : std::nullopt;
  return waits ? static_cast<int64_t>(*waits) : current_syscall_.load();
}

void Task::UpdateLocalIdentity() {
  MutexLock lock(mu_);
  UpdateLocalIdentityLocked();
}

void Task::UpdateLocalIdentityLocked() {
  // A watched task's calls must all be seen.
  const bool filtered = seccomp_.mode != SECCOMP_MODE_DISABLED &&
                        (seccomp_.filter == nullptr || !seccomp_.filter->AlwaysAllows(platform::kLocalCalls));
  if (kernel_.options().strace || traced() || filtered || dispatches_to_user_.load())
    return thread_->SetLocalIdentity(std::nullopt);
  // The ids of a user namespace follow its maps, which others write.
  thread_->SetLocalIdentity(platform::LocalIdentity{.pid = group_->pid()->own(),
                                                    .tid = pid_->own(),
                                                    .has_ids = creds_->user_ns->initial(),
                                                    .uid = creds_->uid,
                                                    .euid = creds_->euid,
                                                    .gid = creds_->gid,
                                                    .egid = creds_->egid,
                                                    .host_processor = host_follows_affinity_});
}

uint64_t Task::rlimit(int resource) const { return group_->limits_.soft(resource); }

int32_t Task::tgid() const { return group_->tgid(); }

std::string Task::name() const {
  MutexLock lock(mu_);
  return name_;
}

void Task::SetName(std::string name) {
  MutexLock lock(mu_);
  name_ = name.substr(0, kMaxName);
}

void Task::SetNamespaces(Namespaces spaces, RefPtr<FsContext> fs) {
  MutexLock lock(mu_);
  std::swap(spaces_, spaces);
  fs_.swap(fs);
}

std::vector<uint64_t> Task::usable_cpus() const {
  const CpuSet allowed = group_->cgroup().cpus(), wanted = cpu_affinity();
  CpuSet mask = allowed;
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= i < wanted.size() ? wanted[i] : 0;
  return CountOf(mask) == 0 ? allowed : mask;
}

std::vector<uint64_t> Task::cpu_affinity() const {
  MutexLock lock(mu_);
  return cpu_affinity_;
}

void Task::SetCpuAffinity(std::vector<uint64_t> mask) {
  MutexLock lock(mu_);
  cpu_affinity_ = std::move(mask);
  ApplyCpuAffinityLocked();
}

void Task::ApplyCpuAffinityLocked() {
  if (cpu_affinity_.empty() || thread_ == nullptr) return;
  thread_->SetLocalIdentity(std::nullopt);
  // May fail where a host profile forbids it: then the mask is a wish.
  host_follows_affinity_ = ::syscall(SYS_sched_setaffinity, thread_->host_tid(),
                                     cpu_affinity_.size() * sizeof(uint64_t), cpu_affinity_.data()) == 0;
  UpdateLocalIdentityLocked();
}

Usage Task::usage() const {
  Usage u;
  u.user_ns = old_threads_cpu_ns_.load();
  {
    MutexLock lock(mu_);
    if (thread_ != nullptr) u.user_ns += thread_->CpuTimeNs();
  }
  u.system_ns = system_ns_.load();
  u.voluntary_switches = switches_.load();
  return u;
}

Task::State Task::state() const {
  if (group_->zombie()) return State::kZombie;
  const auto state = static_cast<State>(sleep_state_.load());
  if (state != State::kRunning || !in_guest_.load()) return state;
  MutexLock lock(mu_);
  return thread_ != nullptr && thread_->WaitsInCall() ? State::kSleeping : state;
}

}  // namespace sandbox
