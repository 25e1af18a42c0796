// fcntl(2).
#include <fcntl.h>

#include "sentry/fs/pipe/pipe_file.h"
#include "sentry/fs/tmpfs/regular.h"
#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/kernel/task.h"
#include "syscalls/file_locks.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<int64_t> DupFrom(Task& task, const FileRef& file, uint64_t from, bool cloexec) {
  if (from > INT32_MAX) return Err(EINVAL);
  const Fd fd = TRY(task.fds().Install(task, file, cloexec, static_cast<int32_t>(from)));
  return int64_t{fd.number()};
}

Result<int64_t> SetFlags(Task& task, FileDescription& file, int flags) {
  if ((flags & O_NOATIME) && !(file.flags() & O_NOATIME) && !file.path().empty()) {
    if (!IsOwnerOrCapable(task.creds(), TRY(file.GetAttr(task)))) return Err(EPERM);
  }
  TRY(file.SetFlags(task, flags));
  return int64_t{0};
}

// F_SETOWN_EX's struct f_owner_ex.
struct OwnerEx {
  int32_t type;  // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
  int32_t pid;
};

Result<int64_t> SetOwnerEx(Task& task, FileDescription& file, GuestAddr addr) {
  const auto owner = TRY(InPtr<OwnerEx>(addr).Read(task.memory()));
  if (owner.type < F_OWNER_TID || owner.type > F_OWNER_PGRP) return Err(EINVAL);
  file.async_owner.store(owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid);
  return int64_t{0};
}

Result<int64_t> GetOwnerEx(Task& task, FileDescription& file, GuestAddr addr) {
  const int32_t owner = file.async_owner.load();
  const OwnerEx out{owner < 0 ? F_OWNER_PGRP : F_OWNER_PID, owner < 0 ? -owner : owner};
  TRY(OutPtr<OwnerEx>(addr).Write(task.memory(), out));
  return int64_t{0};
}

Result<int64_t> AsyncCommand(Task& task, FileDescription& file, int command, uint64_t arg) {
  switch (command) {
    case F_GETOWN: return int64_t{file.async_owner.load()};
    case F_SETOWN:
      if (static_cast<int32_t>(arg) == INT32_MIN) return Err(EINVAL);
      file.async_owner.store(static_cast<int32_t>(arg));
      return int64_t{0};
    case F_SETOWN_EX: return SetOwnerEx(task, file, GuestAddr(arg));
    case F_GETOWN_EX: return GetOwnerEx(task, file, GuestAddr(arg));
    case F_GETSIG: return int64_t{file.async_signal.load()};
    case F_SETSIG:
      if (arg > 64) return Err(EINVAL);
      file.async_signal.store(static_cast<int32_t>(arg));
      return int64_t{0};
    default: return Err(EINVAL);
  }
}

Result<int64_t> PipeSize(Task& task, FileDescription& file, int command, uint64_t arg) {
  Pipe* pipe = PipeOf(file);
  if (pipe == nullptr) return Err(EBADF);
  if (command == F_GETPIPE_SZ) return static_cast<int64_t>(pipe->capacity());
  if (arg > UINT32_MAX) return Err(EINVAL);
  return static_cast<int64_t>(TRY(pipe->SetCapacity(task, arg)));
}

Result<int64_t> Seals(FileDescription& file, int command, uint64_t arg) {
  TmpfsRegular* memory = AsTmpfsRegular(file);
  if (memory == nullptr) return Err(EINVAL);
  if (command == F_GET_SEALS) return int64_t{memory->seals()};
  if (!file.writable()) return Err(EPERM);
  if (arg > UINT32_MAX) return Err(EINVAL);
  TRY(memory->AddSeals(static_cast<uint32_t>(arg)));
  return int64_t{0};
}

// What an O_PATH descriptor may do (Linux: check_fcntl_cmd).
bool AllowedOnPath(int command) {
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_GETFD || command == F_SETFD || command == F_GETFL;
}

Result<int64_t> SysFcntl(Task& task, Fd fd, int command, uint64_t arg) {
  const FileRef file = TRY(task.fds().GetAny(fd));
  if (file->is_path_only() && !AllowedOnPath(command)) return Err(EBADF);
  if (IsLockCommand(command)) {
    TRY(LockCommand(task, file, command, GuestAddr(arg)));
    return int64_t{0};
  }
  switch (command) {
    case F_DUPFD: return DupFrom(task, file, arg, false);
    case F_DUPFD_CLOEXEC: return DupFrom(task, file, arg, true);
    case F_GETFD: return int64_t{TRY(task.fds().GetCloseOnExec(fd)) ? FD_CLOEXEC : 0};
    case F_SETFD:
      TRY(task.fds().SetCloseOnExec(fd, arg & FD_CLOEXEC));
      return int64_t{0};
    case F_GETFL: return int64_t{file->flags()};
    case F_SETFL: return SetFlags(task, *file, static_cast<int>(arg));
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ: return PipeSize(task, *file, command, arg);
    case F_GET_SEALS:
    case F_ADD_SEALS: return Seals(*file, command, arg);
    case F_GETLEASE: return int64_t{F_UNLCK};
    case F_SETLEASE: return arg == F_UNLCK ? Result<int64_t>(Err(EAGAIN)) : Err(EINVAL);
    default: return AsyncCommand(task, *file, command, arg);
  }
}
SYSCALL_ROW(fcntl, Lane::kMayBlock, Support::kPartial, SysFcntl, "no leases, no F_NOTIFY, no write life hints");

}  // namespace
}  // namespace sandbox::syscalls
