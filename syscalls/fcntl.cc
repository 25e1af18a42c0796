// fcntl(2).
#include <fcntl.h>

#include "sentry/fs/pipe/pipe_file.h"
#include "sentry/fs/tmpfs/regular.h"
#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/kernel/task.h"
#include "syscalls/file_async.h"
#include "syscalls/file_locks.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<int64_t> DupFrom(Task& task, const FileRef& file, uint64_t from, bool cloexec) {
  if (from > INT32_MAX) return Err(EINVAL);
  const Fd fd = TRY(task.fds().Install(task, file, cloexec, static_cast<int32_t>(from)));
  return int64_t{fd.number()};
}

Result<int64_t> SetFlags(Task& task, const FileRef& file, Fd fd, int flags) {
  if ((flags & O_NOATIME) && !(file->flags() & O_NOATIME) && !file->path().empty()) {
    if (!IsOwnerOrCapable(task.creds(), TRY(file->GetAttr(task)))) return Err(EPERM);
  }
  TRY(ChangeFlags(task, file, fd, flags));
  return int64_t{0};
}

// Commands of Linux that the C library's headers may not know (uapi/linux/fcntl.h).
constexpr int kDupfdQuery = 1024 + 3, kCreatedQuery = 1024 + 4;

Result<int64_t> WriteHint(Task& task, FileDescription& file, int command, GuestAddr addr) {
  const InodeRef inode = file.path().inode();
  if (command == F_GET_RW_HINT) {
    // What has no file of its own has no hint either.
    const uint64_t now = inode != nullptr ? inode->write_hint.load() : RWH_WRITE_LIFE_NOT_SET;
    TRY(OutPtr<uint64_t>(addr).Write(task.memory(), now));
    return int64_t{0};
  }
  const uint64_t hint = TRY(InPtr<uint64_t>(addr).Read(task.memory()));
  if (hint > RWH_WRITE_LIFE_EXTREME) return Err(EINVAL);
  if (!IsOwnerOrCapable(task.creds(), TRY(file.GetAttr(task)))) return Err(EPERM);
  if (inode != nullptr) inode->write_hint.store(static_cast<uint8_t>(hint));
  return int64_t{0};
}

Result<int64_t> PipeSize(Task& task, FileDescription& file, int command, uint64_t arg) {
  Pipe* pipe = PipeOf(file);
  if (pipe == nullptr) return Err(EBADF);
  if (command == F_GETPIPE_SZ) return static_cast<int64_t>(pipe->capacity());
  if (arg > UINT32_MAX) return Err(EINVAL);
  return static_cast<int64_t>(TRY(pipe->SetCapacity(task, arg)));
}

Result<int64_t> Seals(FileDescription& file, int command, uint64_t arg) {
  if (command == F_ADD_SEALS && !file.writable()) return Err(EPERM);
  TmpfsRegular* memory = AsTmpfsRegular(file);
  if (memory == nullptr) return Err(EINVAL);
  if (command == F_GET_SEALS) return int64_t{memory->seals()};
  if (arg > UINT32_MAX) return Err(EINVAL);
  TRY(memory->AddSeals(static_cast<uint32_t>(arg)));
  return int64_t{0};
}

// What an O_PATH descriptor may do (Linux: check_fcntl_cmd).
bool AllowedOnPath(int command) {
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == kDupfdQuery || command == kCreatedQuery ||
         command == F_GETFD || command == F_SETFD || command == F_GETFL;
}

Result<int64_t> SysFcntl(Task& task, Fd fd, int command, uint64_t arg) {
  const FileRef file = TRY(task.fds().GetAny(fd));
  if (file->is_path_only() && !AllowedOnPath(command)) return Err(EBADF);
  if (IsLockCommand(command)) {
    TRY(LockCommand(task, file, command, GuestAddr(arg)));
    return int64_t{0};
  }
  switch (command) {
    case F_DUPFD:
      return DupFrom(task, file, arg, false);
    case F_DUPFD_CLOEXEC:
      return DupFrom(task, file, arg, true);
    case F_GETFD:
      return int64_t{TRY(task.fds().GetCloseOnExec(fd)) ? FD_CLOEXEC : 0};
    case F_SETFD:
      TRY(task.fds().SetCloseOnExec(fd, arg & FD_CLOEXEC));
      return int64_t{0};
    case F_GETFL:
      return int64_t{file->flags()};
    case F_SETFL:
      return SetFlags(task, file, fd, static_cast<int>(arg));
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
      return PipeSize(task, *file, command, arg);
    case F_GET_SEALS:
    case F_ADD_SEALS:
      return Seals(*file, command, arg);
    case F_GET_RW_HINT:
    case F_SET_RW_HINT:
      return WriteHint(task, *file, command, GuestAddr(arg));
    case kDupfdQuery: {
      const auto other = task.fds().GetAny(Fd(static_cast<int32_t>(arg)));
      return int64_t{other.ok() && *other == file};
    }
    case kCreatedQuery:
      return int64_t{file->created()};
    default:
      return AsyncCommand(task, file, fd, command, arg);
  }
}
SYSCALL_ROW(fcntl, Lane::kMayBlock, Support::kFull, SysFcntl, "");

}  // namespace
}  // namespace sandbox::syscalls
