#include "syscalls/file_async.h"
#include "abi/fcntl.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>

#include "sentry/kernel/kernel.h"
#include "sentry/socket/socket.h"
#include "sentry/vfs/async_io.h"
#include "sentry/vfs/dnotify.h"
#include "sentry/vfs/leases.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

namespace sandbox::syscalls {
namespace {

// Linux: sigio_perm.
bool MaySignal(const AsyncOwner& from, const Credentials& to) {
  return from.euid == 0 || from.euid == to.suid || from.euid == to.uid || from.uid == to.suid || from.uid == to.uid;
}

// Signals whose si_code values have meanings of their own (Linux: sig_specific_sicodes).
bool HasOwnCodes(int signo) {
  return signo == SIGILL || signo == SIGFPE || signo == SIGSEGV || signo == SIGBUS || signo == SIGTRAP ||
         signo == SIGCHLD || signo == SIGSYS;
}

// Linux: send_sigio_to_task.
template <typename Send>
void SendOne(int signo, int code, int64_t band, int fd, Send send) {
  if (signo != 0) {
    SignalInfo info = SignalInfo::Kernel(signo);
    info.code = HasOwnCodes(signo) ? SI_SIGIO : code;
    info.poll.band = band;
    info.poll.fd = fd;
    if (send(info).ok()) return;
    // The queue is full: SIGIO says at least that something happened.
  }
  (void)send(SignalInfo::Kernel(SIGIO));
}

void SendToOwner(Kernel& kernel, const AsyncOwner& owner, int signo, int code, int64_t band, int fd) {
  if (owner.type == F_OWNER_TID) {
    const TaskRef task = kernel.FindTask(owner.id);
    if (task == nullptr || !MaySignal(owner, *task->creds_ref())) return;
    SendOne(signo, code, band, fd,
            [&](const SignalInfo& info) { return task->group().SendSignalTo(*task, info, SignalOrigin::kKernel); });
    return;
  }
  std::vector<ThreadGroupRef> groups;
  if (owner.type == F_OWNER_PGRP) {
    groups = kernel.GroupsOfProcessGroup(owner.id);
  } else if (const auto group = kernel.FindGroup(owner.id)) {
    groups.push_back(group);
  }
  for (const ThreadGroupRef& group : groups) {
    const TaskRef leader = group->leader();
    if (leader == nullptr || !MaySignal(owner, *leader->creds_ref())) continue;
    SendOne(signo, code, band, fd,
            [&](const SignalInfo& info) { return group->SendSignal(info, SignalOrigin::kKernel); });
  }
}

bool Exists(Kernel& kernel, int type, int32_t id) {
  switch (type) {
    case F_OWNER_TID:
      return kernel.FindTask(id) != nullptr;
    case F_OWNER_PID:
      return kernel.FindGroup(id) != nullptr;
    default:
      return !kernel.GroupsOfProcessGroup(id).empty();
  }
}

AsyncOwner MakeOwner(Task& task, int type, int32_t id) {
  AsyncOwner owner{type, id, task.creds().uid, task.creds().euid, nullptr};
  owner.send = [&kernel = task.kernel(), to = owner](int signo, int code, int64_t band, int fd) {
    SendToOwner(kernel, to, signo, code, band, fd);
  };
  return owner;
}

// `id` 0 takes the owner away. ESRCH.
Result<void> ChangeOwner(Task& task, FileDescription& file, int type, int32_t id) {
  if (id == 0) {
    file.async().SetOwner(AsyncOwner{type, 0, task.creds().uid, task.creds().euid, nullptr});
    return {};
  }
  if (id < 0 || !Exists(task.kernel(), type, id)) return Err(ESRCH);
  file.async().SetOwner(MakeOwner(task, type, id));
  if (const auto socket = AsSocket(file.shared_from_this()); socket.ok()) file.async().WatchUrgent(*socket);
  return {};
}

// The root namespace's number; 0 stays, and what names nobody is nobody's.
int32_t ToActual(Task& task, int32_t number) {
  const int32_t actual = number > 0 ? task.ActualPid(number) : number;
  return number > 0 && actual == 0 ? -1 : actual;
}

Result<int64_t> OwnerCommand(Task& task, FileDescription& file, int command, GuestAddr addr) {
  const AsyncOwner owner = file.async().owner();
  switch (command) {
    case F_SETOWN_EX: {
      const auto wanted = TRY(InPtr<abi::OwnerEx>(addr).Read(task.memory()));
      if (wanted.type < F_OWNER_TID || wanted.type > F_OWNER_PGRP) return Err(EINVAL);
      TRY(ChangeOwner(task, file, wanted.type, ToActual(task, wanted.pid)));
      return int64_t{0};
    }
    case F_GETOWN_EX: {
      const bool alive = owner.id != 0 && Exists(task.kernel(), owner.type, owner.id);
      TRY(OutPtr<abi::OwnerEx>(addr).Write(
          task.memory(), abi::OwnerEx{owner.id != 0 ? owner.type : F_OWNER_TID, alive ? task.ShownPid(owner.id) : 0}));
      return int64_t{0};
    }
    default: {  // F_GETOWNER_UIDS
      const uint32_t ids[2] = {owner.uid, owner.euid};
      TRY(OutPtr<uint32_t>(addr).WriteArray(task.memory(), ids));
      return int64_t{0};
    }
  }
}

Result<int64_t> LeaseCommand(Task& task, const FileRef& file, Fd fd, int command, uint64_t arg) {
  const InodeRef inode = file->path().inode();
  if (command == F_GETLEASE) {
    const Leases* leases = inode != nullptr ? inode->leases_or_null() : nullptr;
    return int64_t{leases != nullptr ? leases->Get(*file) : F_UNLCK};
  }
  const int type = static_cast<int>(arg);
  if (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK) return Err(EINVAL);
  if (inode == nullptr) return Err(EINVAL);
  if (task.creds().fsuid != TRY(inode->GetAttr(task)).uid && !task.creds().Has(CAP_LEASE)) return Err(EACCES);
  if (inode->Type(task) != S_IFREG) return Err(EINVAL);
  TRY(inode->leases().Set(*inode, file, fd.number(), type));
  if (type != F_UNLCK) file->async().SetOwnerIfNone(MakeOwner(task, F_OWNER_PID, task.tgid()));
  return int64_t{0};
}

Result<int64_t> Notify(Task& task, const FileRef& file, Fd fd, uint32_t events) {
  if ((events & ~uint32_t{DN_MULTISHOT}) == 0) {
    if (const InodeRef inode = file->path().inode()) UnwatchDirectory(*inode, *file, &task.fds());
    return int64_t{0};
  }
  TRY(WatchDirectory(task, file, fd.number(), events, &task.fds()));
  file->async().SetOwnerIfNone(MakeOwner(task, F_OWNER_PID, task.tgid()));
  return int64_t{0};
}

}  // namespace

Result<void> ChangeFlags(Task& task, const FileRef& file, Fd fd, int flags) {
  const int old = file->flags();
  TRY(file->SetFlags(task, flags));
  if (((old ^ file->flags()) & O_ASYNC) == 0) return {};
  if (file->flags() & O_ASYNC) {
    file->async().Enable(file, fd.number());
  } else {
    file->async().Disable();
  }
  return {};
}

Result<void> SetOwner(Task& task, FileDescription& file, int32_t who) {
  if (who == INT32_MIN) return Err(EINVAL);
  return ChangeOwner(task, file, who < 0 ? F_OWNER_PGRP : F_OWNER_PID, ToActual(task, who < 0 ? -who : who));
}

int32_t GetOwner(Task& task, FileDescription& file) {
  const AsyncIo* async = file.async_or_null();
  if (async == nullptr) return 0;
  const AsyncOwner owner = async->owner();
  if (owner.id == 0 || !Exists(task.kernel(), owner.type, owner.id)) return 0;
  const int32_t shown = task.ShownPid(owner.id);
  return owner.type == F_OWNER_PGRP ? -shown : shown;
}

Result<int64_t> AsyncCommand(Task& task, const FileRef& file, Fd fd, int command, uint64_t arg) {
  switch (command) {
    case F_GETOWN:
      return int64_t{GetOwner(task, *file)};
    case F_SETOWN:
      TRY(SetOwner(task, *file, static_cast<int32_t>(arg)));
      return int64_t{0};
    case F_SETOWN_EX:
    case F_GETOWN_EX:
    case F_GETOWNER_UIDS:
      return OwnerCommand(task, *file, command, GuestAddr(arg));
    case F_GETSIG:
      return int64_t{file->async_or_null() != nullptr ? file->async().signal() : 0};
    case F_SETSIG:
      if (arg > kSignalCount) return Err(EINVAL);
      file->async().set_signal(static_cast<int>(arg));
      return int64_t{0};
    case F_GETLEASE:
    case F_SETLEASE:
      return LeaseCommand(task, file, fd, command, arg);
    case F_NOTIFY:
      return Notify(task, file, fd, static_cast<uint32_t>(arg));
    default:
      return Err(EINVAL);
  }
}

}  // namespace sandbox::syscalls
