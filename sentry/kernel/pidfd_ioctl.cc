// What a pidfd tells of its process (ioctl_pidfd(2), Linux: fs/pidfs.c).
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/task_namespaces.h"

namespace sandbox {
namespace {

constexpr uint64_t kInfoPid = 1, kInfoCreds = 2, kInfoExit = 8;

struct PidFdInfo {  // struct pidfd_info
  uint64_t mask = 0, cgroup = 0;
  int32_t pid = 0, tgid = 0, ppid = 0;
  uint32_t ruid = 0, rgid = 0, euid = 0, egid = 0, suid = 0, sgid = 0, fsuid = 0, fsgid = 0;
  int32_t exit_code = 0;
  uint32_t coredump_mask = 0, unused = 0;
};
constexpr size_t kFirstSize = 64;  // PIDFD_INFO_SIZE_VER0
static_assert(sizeof(PidFdInfo) == 72);

constexpr uint32_t kMagic = 0xff;
constexpr uint32_t kGetInfo = 11;

// The namespaces' kinds by request number, from 1 on; 0: there are none of the kind (time namespaces).
constexpr int kKinds[] = {CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, 0, 0, 0,
                          CLONE_NEWUSER,   CLONE_NEWUTS};
constexpr uint32_t kPidForChildren = 6;

Result<int64_t> OpenNamespaceOf(Task& caller, Task& target, uint32_t number) {
  NamespaceRef which;
  if (number == kPidForChildren) {
    which = target.namespaces().pids;
  } else if (kKinds[number - 1] == 0) {
    return Err(EOPNOTSUPP);
  } else {
    which = NamespaceOf(target, kKinds[number - 1]);
  }
  if (which == nullptr) return Err(ESRCH);
  return TRY(caller.fds().Install(caller, OpenNamespace(std::move(which)), true)).number();
}

PidFdInfo InfoOf(Task& caller, Task& target) {
  PidFdInfo info;
  const CredentialsRef theirs = target.creds_ref();
  const Credentials& own = caller.creds();
  info.mask = kInfoPid | kInfoCreds;
  info.pid = caller.ShownPid(target.tid());
  info.tgid = caller.ShownPid(target.tgid());
  info.ppid = caller.kernel().NumberIn(caller.pid_space(), target.group().ppid());
  info.ruid = own.ShownUid(theirs->uid);
  info.euid = own.ShownUid(theirs->euid);
  info.suid = own.ShownUid(theirs->suid);
  info.fsuid = own.ShownUid(theirs->fsuid);
  info.rgid = own.ShownGid(theirs->gid);
  info.egid = own.ShownGid(theirs->egid);
  info.sgid = own.ShownGid(theirs->sgid);
  info.fsgid = own.ShownGid(theirs->fsgid);
  return info;
}

}  // namespace

Result<int64_t> PidFd::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  Task* const caller = Task::Of(context);
  if (caller == nullptr || _IOC_TYPE(request) != kMagic) return Err(ENOTTY);
  const uint32_t number = _IOC_NR(request);
  const TaskRef target = Target();
  if (number == kGetInfo && _IOC_DIR(request) == (_IOC_READ | _IOC_WRITE)) {
    const size_t size = _IOC_SIZE(request);
    if (size < kFirstSize) return Err(ENOTTY);
    if (argument == 0) return Err(EINVAL);
    const uint64_t wanted = TRY(InPtr<uint64_t>(GuestAddr(argument)).Read(context.memory()));
    PidFdInfo info;
    if (target != nullptr) {
      info = InfoOf(*caller, *target);
    } else {
      // Reaped: what is left is how it ended.
      if (!(wanted & kInfoExit) || thread_ != nullptr) return Err(ESRCH);
      info.mask = kInfoExit;
      info.exit_code = group_->exit_status();
    }
    TRY(context.memory().Write(GuestAddr(argument), &info, std::min(size, sizeof(info))));
    return 0;
  }
  if (request != static_cast<uint32_t>(_IO(kMagic, number)) || number == 0 || number > std::size(kKinds)) {
    return Err(ENOTTY);
  }
  if (target == nullptr) return Err(ESRCH);
  if (argument != 0) return Err(EINVAL);
  return OpenNamespaceOf(*caller, *target, number);
}

}  // namespace sandbox
