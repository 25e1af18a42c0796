// kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2), pidfd_open(2), pidfd_send_signal(2),
// pidfd_getfd(2).
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>

#include <climits>

#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Linux: check_kill_permission. SIGCONT may cross users within a session.
Result<void> MaySignal(Task& task, Task& target, int signo) {
  if (signo < 0 || signo > kSignalCount) return Err(EINVAL);
  if (&target.group() == &task.group()) return {};
  const Credentials& own = task.creds();
  const CredentialsRef other = target.creds_ref();
  if (own.euid == other->suid || own.euid == other->uid || own.uid == other->suid || own.uid == other->uid) return {};
  if (own.HasIn(*other->user_ns, CAP_KILL)) return {};
  if (signo == SIGCONT && task.group().sid() == target.group().sid()) return {};
  return Err(EPERM);
}

// As from outside for those who live in a pid namespace further in: their init cannot shield itself.
SignalOrigin OriginFor(Task& task, const ThreadGroup& target) {
  return task.group().pid()->In(target.pid()->space()) == 0 ? SignalOrigin::kHost : SignalOrigin::kGuest;
}

// What kill(2) and its kin say of the sender, in the numbers of who gets it.
SignalInfo OwnInfo(Task& task, Task& target, int signo, int code) {
  const CredentialsRef theirs = target.creds_ref();
  return SignalInfo::User(signo, task.group().pid()->In(target.pid_space()), theirs->ShownUid(task.creds().uid), code);
}

// `given`: the caller's own words (rt_sigqueueinfo), or null for those of kill(2).
Result<void> SendToGroup(Task& task, const ThreadGroupRef& group, int signo, const SignalInfo* given) {
  const TaskRef leader = group->leader();
  if (leader == nullptr) return Err(ESRCH);
  TRY(MaySignal(task, *leader, signo));
  if (signo == 0) return {};
  return group->SendSignal(given != nullptr ? *given : OwnInfo(task, *leader, signo, SI_USER), OriginFor(task, *group));
}

// Succeeds when any of them took it; ESRCH for nobody.
Result<void> SendToMany(Task& task, const std::vector<ThreadGroupRef>& groups, int signo,
                        const SignalInfo* given = nullptr) {
  Result<void> result = Err(ESRCH);
  bool sent = false;
  for (const ThreadGroupRef& group : groups) {
    const auto one = SendToGroup(task, group, signo, given);
    sent = sent || one.ok();
    if (!one.ok()) result = one;
  }
  if (sent) return {};
  return result;
}

Result<void> SysKill(Task& task, int32_t pid, int signo) {
  if (signo < 0 || signo > kSignalCount) return Err(EINVAL);
  Kernel& kernel = task.kernel();
  if (pid > 0) {
    // Any thread's number names its process.
    const TaskRef target = task.Find(pid);
    if (target == nullptr) return Err(ESRCH);
    return SendToGroup(task, target->group().shared_from_this(), signo, nullptr);
  }
  if (pid == INT_MIN) return Err(ESRCH);
  if (pid != -1) {
    return SendToMany(task, kernel.GroupsOfProcessGroup(pid == 0 ? task.group().pgid() : task.ActualPid(-pid)), signo);
  }
  std::vector<ThreadGroupRef> all;
  for (const ThreadGroupRef& group : kernel.Groups()) {
    if (group->pid()->In(task.pid_space()) > 1 && group.get() != &task.group()) all.push_back(group);
  }
  // A broadcast is no failure because of those whom it may not reach (Linux: kill_something_info).
  const auto sent = SendToMany(task, all, signo);
  if (sent.Is(EPERM)) return {};
  return sent;
}
SYSCALL_ROW(kill, Lane::kShort, Support::kFull, SysKill, "");

Result<TaskRef> FindThread(Task& task, int32_t tgid, int32_t tid) {
  const TaskRef target = task.Find(tid);
  if (target == nullptr || (tgid > 0 && target->tgid() != task.ActualPid(tgid))) return Err(ESRCH);
  return target;
}

// `code`: the si_code of what the kernel says for the caller.
Result<void> SendToThread(Task& task, Task& target, int signo, const SignalInfo* given, int code = SI_TKILL) {
  TRY(MaySignal(task, target, signo));
  if (signo == 0) return {};
  // A thread that is gone takes nothing, which is no error.
  const SignalInfo info = given != nullptr ? *given : OwnInfo(task, target, signo, code);
  const auto sent = target.group().SendSignalTo(target, info, OriginFor(task, target.group()));
  if (sent.Is(ESRCH)) return {};
  return sent;
}

Result<void> SysTkill(Task& task, int32_t tid, int signo) {
  if (tid <= 0) return Err(EINVAL);
  return SendToThread(task, *TRY(FindThread(task, 0, tid)), signo, nullptr);
}
SYSCALL_ROW(tkill, Lane::kShort, Support::kFull, SysTkill, "");

Result<void> SysTgkill(Task& task, int32_t tgid, int32_t tid, int signo) {
  if (tgid <= 0 || tid <= 0) return Err(EINVAL);
  return SendToThread(task, *TRY(FindThread(task, tgid, tid)), signo, nullptr);
}
SYSCALL_ROW(tgkill, Lane::kShort, Support::kFull, SysTgkill, "");

// Only a process may tell itself what the kernel or kill(2) would say.
Result<SignalInfo> CheckInfo(Task& task, int32_t pid, int signo, SignalInfo info) {
  info.signo = signo;
  if ((info.code >= 0 || info.code == SI_TKILL) && task.ActualPid(pid) != task.tgid()) return Err(EPERM);
  return info;
}

Result<void> SysRtSigqueueinfo(Task& task, int32_t tgid, int signo, InPtr<SignalInfo> ptr) {
  const SignalInfo info = TRY(CheckInfo(task, tgid, signo, TRY(ptr.Read(task.memory()))));
  const TaskRef target = task.Find(tgid);
  if (target == nullptr) return Err(ESRCH);
  return SendToGroup(task, target->group().shared_from_this(), signo, &info);
}
SYSCALL_ROW(rt_sigqueueinfo, Lane::kShort, Support::kFull, SysRtSigqueueinfo, "");

Result<void> SysRtTgsigqueueinfo(Task& task, int32_t tgid, int32_t tid, int signo, InPtr<SignalInfo> ptr) {
  const SignalInfo raw = TRY(ptr.Read(task.memory()));
  if (tgid <= 0 || tid <= 0) return Err(EINVAL);
  const SignalInfo info = TRY(CheckInfo(task, tgid, signo, raw));
  return SendToThread(task, *TRY(FindThread(task, tgid, tid)), signo, &info);
}
SYSCALL_ROW(rt_tgsigqueueinfo, Lane::kShort, Support::kFull, SysRtTgsigqueueinfo, "");

constexpr uint32_t kPidfdThread = O_EXCL;

Result<Fd> SysPidfdOpen(Task& task, int32_t pid, uint32_t flags) {
  if ((flags & ~(O_NONBLOCK | kPidfdThread)) || pid <= 0) return Err(EINVAL);
  const TaskRef target = task.Find(pid);
  if (target == nullptr) return Err(ESRCH);
  const bool thread = flags & kPidfdThread;
  if (!thread && target->tgid() != target->tid()) return Err(ENOENT);  // EINVAL before Linux 6.17
  auto file =
      MakeRef<PidFd>(target->group().shared_from_this(), O_RDWR | static_cast<int>(flags), thread ? target : nullptr);
  return task.fds().Install(task, std::move(file), true);
}
SYSCALL_ROW(pidfd_open, Lane::kShort, Support::kFull, SysPidfdOpen, "");

// Whom pidfd_send_signal(2) reaches.
struct SignalTarget {
  ThreadGroupRef group;
  TaskRef thread;  // of the group, or null for all of it
};

// A pidfd, or what stood for one before there were any: a directory of /proc.
Result<SignalTarget> FindSignalTarget(Task& task, Fd fd) {
  // Since Linux 6.14.
  constexpr int32_t kSelfThread = -10000, kSelfProcess = -20000;
  const ThreadGroupRef own = task.group().shared_from_this();
  if (fd.number() == kSelfThread) return SignalTarget{own, task.shared_from_this()};
  if (fd.number() == kSelfProcess) return SignalTarget{own, nullptr};
  const FileRef file = TRY(task.fds().Get(fd));
  const InodeRef inode = file->path().inode();
  if (inode == nullptr) {
    const auto pidfd = TRY(GetPidFd(task, fd));
    if (pidfd->Target() == nullptr) return Err(ESRCH);
    return SignalTarget{pidfd->group(), pidfd->thread()};
  }
  const TaskRef process = proc::TaskOfDirectory(*inode);
  if (process == nullptr || process->tgid() != process->tid()) return Err(EBADF);
  return SignalTarget{process->group().shared_from_this(), nullptr};
}

Result<void> SysPidfdSendSignal(Task& task, Fd fd, int signo, InPtr<SignalInfo> ptr, uint32_t flags) {
  // Since Linux 6.9.
  constexpr uint32_t kThread = 1, kThreadGroup = 2, kProcessGroup = 4;
  if (flags != 0 && flags != kThread && flags != kThreadGroup && flags != kProcessGroup) return Err(EINVAL);
  SignalTarget target = TRY(FindSignalTarget(task, fd));
  if (flags == kThread && target.thread == nullptr) target.thread = target.group->leader();
  if (flags == kThreadGroup) target.thread = nullptr;
  SignalInfo info;
  if (!ptr.IsNull()) {
    info = TRY(ptr.Read(task.memory()));
    if (info.signo != signo) return Err(EINVAL);
    const bool self = target.group.get() == &task.group() && flags != kProcessGroup;
    if ((info.code >= 0 || info.code == SI_TKILL) && !self) return Err(EPERM);
  }
  const SignalInfo* const given = ptr.IsNull() ? nullptr : &info;
  if (flags == kProcessGroup) {
    // The one that the process leads.
    return SendToMany(task, task.kernel().GroupsOfProcessGroup(target.group->tgid()), signo, given);
  }
  if (target.thread == nullptr) return SendToGroup(task, target.group, signo, given);
  return SendToThread(task, *target.thread, signo, given, SI_USER);
}
SYSCALL_ROW(pidfd_send_signal, Lane::kShort, Support::kFull, SysPidfdSendSignal, "");

Result<Fd> SysPidfdGetfd(Task& task, Fd pidfd, Fd target_fd, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  const ThreadGroupRef group = TRY(GroupOfPidFd(task, pidfd));
  const TaskRef target = group->leader();
  if (target == nullptr) return Err(ESRCH);
  TRY(MayInspect(task, *target, true));
  const RefPtr<FdTable> table = target->fds_ref();
  if (table == nullptr) return Err(ESRCH);
  return task.fds().Install(task, TRY(table->GetAny(target_fd)), true);
}
SYSCALL_ROW(pidfd_getfd, Lane::kShort, Support::kFull, SysPidfdGetfd, "");

}  // namespace
}  // namespace sandbox::syscalls
