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
  if (own.Has(CAP_KILL)) return {};
  if (signo == SIGCONT && task.group().sid() == target.group().sid()) return {};
  return Err(EPERM);
}

Result<void> SendToGroup(Task& task, const ThreadGroupRef& group, const SignalInfo& info) {
  const TaskRef leader = group->leader();
  if (leader == nullptr) return Err(ESRCH);
  TRY(MaySignal(task, *leader, info.signo));
  if (info.signo == 0) return {};
  return group->SendSignal(info);
}

// Succeeds when any of them took it; ESRCH for nobody.
Result<void> SendToMany(Task& task, const std::vector<ThreadGroupRef>& groups, const SignalInfo& info) {
  Result<void> result = Err(ESRCH);
  bool sent = false;
  for (const ThreadGroupRef& group : groups) {
    const auto one = SendToGroup(task, group, info);
    sent = sent || one.ok();
    if (!one.ok()) result = one;
  }
  if (sent) return {};
  return result;
}

SignalInfo OwnInfo(Task& task, int signo, int code) {
  return SignalInfo::User(signo, task.tgid(), task.creds().uid, code);
}

Result<void> SysKill(Task& task, int32_t pid, int signo) {
  if (signo < 0 || signo > kSignalCount) return Err(EINVAL);
  const SignalInfo info = OwnInfo(task, signo, SI_USER);
  Kernel& kernel = task.kernel();
  if (pid > 0) {
    // Any thread's number names its process.
    const TaskRef target = kernel.FindTask(pid);
    if (target == nullptr) return Err(ESRCH);
    return SendToGroup(task, target->group().shared_from_this(), info);
  }
  if (pid == INT_MIN) return Err(ESRCH);
  if (pid != -1) {
    return SendToMany(task, kernel.GroupsOfProcessGroup(pid == 0 ? task.group().pgid() : -pid), info);
  }
  std::vector<ThreadGroupRef> all;
  for (const ThreadGroupRef& group : kernel.Groups()) {
    if (group->tgid() != 1 && group.get() != &task.group()) all.push_back(group);
  }
  // A broadcast is no failure because of those whom it may not reach (Linux: kill_something_info).
  const auto sent = SendToMany(task, all, info);
  if (sent.Is(EPERM)) return {};
  return sent;
}
SYSCALL_ROW(kill, Lane::kShort, Support::kFull, SysKill, "");

Result<TaskRef> FindThread(Task& task, int32_t tgid, int32_t tid) {
  const TaskRef target = task.kernel().FindTask(tid);
  if (target == nullptr || (tgid > 0 && target->tgid() != tgid)) return Err(ESRCH);
  return target;
}

Result<void> SendToThread(Task& task, int32_t tgid, int32_t tid, const SignalInfo& info) {
  const TaskRef target = TRY(FindThread(task, tgid, tid));
  TRY(MaySignal(task, *target, info.signo));
  if (info.signo == 0) return {};
  // A thread that is gone takes nothing, which is no error.
  const auto sent = target->group().SendSignalTo(*target, info);
  if (sent.Is(ESRCH)) return {};
  return sent;
}

Result<void> SysTkill(Task& task, int32_t tid, int signo) {
  if (tid <= 0) return Err(EINVAL);
  return SendToThread(task, 0, tid, OwnInfo(task, signo, SI_TKILL));
}
SYSCALL_ROW(tkill, Lane::kShort, Support::kFull, SysTkill, "");

Result<void> SysTgkill(Task& task, int32_t tgid, int32_t tid, int signo) {
  if (tgid <= 0 || tid <= 0) return Err(EINVAL);
  return SendToThread(task, tgid, tid, OwnInfo(task, signo, SI_TKILL));
}
SYSCALL_ROW(tgkill, Lane::kShort, Support::kFull, SysTgkill, "");

// Only a process may tell itself what the kernel or kill(2) would say.
Result<SignalInfo> CheckInfo(Task& task, int32_t pid, int signo, SignalInfo info) {
  info.signo = signo;
  if ((info.code >= 0 || info.code == SI_TKILL) && pid != task.tgid()) return Err(EPERM);
  return info;
}

Result<void> SysRtSigqueueinfo(Task& task, int32_t tgid, int signo, InPtr<SignalInfo> ptr) {
  const SignalInfo info = TRY(CheckInfo(task, tgid, signo, TRY(ptr.Read(task.memory()))));
  const TaskRef target = task.kernel().FindTask(tgid);
  if (target == nullptr) return Err(ESRCH);
  return SendToGroup(task, target->group().shared_from_this(), info);
}
SYSCALL_ROW(rt_sigqueueinfo, Lane::kShort, Support::kFull, SysRtSigqueueinfo, "");

Result<void> SysRtTgsigqueueinfo(Task& task, int32_t tgid, int32_t tid, int signo, InPtr<SignalInfo> ptr) {
  const SignalInfo raw = TRY(ptr.Read(task.memory()));
  if (tgid <= 0 || tid <= 0) return Err(EINVAL);
  return SendToThread(task, tgid, tid, TRY(CheckInfo(task, tgid, signo, raw)));
}
SYSCALL_ROW(rt_tgsigqueueinfo, Lane::kShort, Support::kFull, SysRtTgsigqueueinfo, "");

Result<Fd> SysPidfdOpen(Task& task, int32_t pid, uint32_t flags) {
  if ((flags & ~O_NONBLOCK) || pid <= 0) return Err(EINVAL);
  const TaskRef target = task.kernel().FindTask(pid);
  if (target == nullptr) return Err(ESRCH);
  if (target->tgid() != pid) return Err(EINVAL);  // threads have no pidfd of their own
  auto file = MakeRef<PidFd>(target->group().shared_from_this(), O_RDWR | static_cast<int>(flags));
  return task.fds().Install(task, std::move(file), true);
}
SYSCALL_ROW(pidfd_open, Lane::kShort, Support::kPartial, SysPidfdOpen, "no PIDFD_THREAD");

// A pidfd, or what stood for one before there were any: a directory of /proc.
Result<ThreadGroupRef> SignalTarget(Task& task, Fd fd) {
  const FileRef file = TRY(task.fds().Get(fd));
  const InodeRef inode = file->path().inode();
  if (inode == nullptr) return GroupOfPidFd(task, fd);
  const TaskRef process = proc::TaskOfDirectory(*inode);
  if (process == nullptr || process->tgid() != process->tid()) return Err(EBADF);
  return process->group().shared_from_this();
}

Result<void> SysPidfdSendSignal(Task& task, Fd fd, int signo, InPtr<SignalInfo> ptr, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  const ThreadGroupRef group = TRY(SignalTarget(task, fd));
  SignalInfo info = OwnInfo(task, signo, SI_USER);
  if (!ptr.IsNull()) {
    info = TRY(ptr.Read(task.memory()));
    if (info.signo != signo) return Err(EINVAL);
    if ((info.code >= 0 || info.code == SI_TKILL) && group.get() != &task.group()) return Err(EPERM);
  }
  return SendToGroup(task, group, info);
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
