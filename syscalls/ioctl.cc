// ioctl(2): the requests every file understands; the rest is the file's own.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "sentry/kernel/task.h"
#include "sentry/socket/socket.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/file_async.h"
#include "syscalls/file_range.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

Result<void> SetStatusFlag(Task& task, const FileRef& file, Fd fd, int flag, GuestAddr argument) {
  const int on = TRY(InPtr<int>(argument).Read(task.memory()));
  if (flag == O_ASYNC && file->wait_queue() == nullptr) return Err(ENOTTY);
  return ChangeFlags(task, file, fd, on ? file->flags() | flag : file->flags() & ~flag);
}

// FIONREAD of a regular file: what is left to read (Linux: file_ioctl).
Result<void> BytesLeft(Task& task, FileDescription& file, GuestAddr argument) {
  const Attr attr = TRY(file.GetAttr(task));
  int64_t position;
  {
    MutexLock lock(file.position_mutex());
    position = file.position();
  }
  return OutPtr<int>(argument).Write(task.memory(), static_cast<int>(static_cast<int64_t>(attr.size) - position));
}

// The socket's forms of F_SETOWN and F_GETOWN (socket(7)).
Result<void> SocketOwner(Task& task, FileDescription& file, uint32_t request, GuestAddr argument) {
  if (request == FIOGETOWN || request == SIOCGPGRP) {
    return OutPtr<int>(argument).Write(task.memory(), GetOwner(task, file));
  }
  return SetOwner(task, file, TRY(InPtr<int>(argument).Read(task.memory())));
}

// FICLONE, FICLONERANGE: no file system in here shares blocks between files.
Result<int64_t> Clone(Task& task, FileDescription& to, Fd from_fd) {
  const FileRef from = TRY(task.fds().Get(from_fd));
  const InodeRef source = from->path().inode(), target = to.path().inode();
  if (source == nullptr || target == nullptr || source->device() != target->device()) return Err(EXDEV);
  TRY(CheckFileRange(task, *from, to));
  return Err(EOPNOTSUPP);
}

Result<int64_t> SysIoctl(Task& task, Fd fd, uint32_t request, uint64_t argument) {
  const FileRef file = TRY(task.fds().Get(fd));
  switch (request) {
    case FIOCLEX:
      TRY(task.fds().SetCloseOnExec(fd, true));
      return int64_t{0};
    case FIONCLEX:
      TRY(task.fds().SetCloseOnExec(fd, false));
      return int64_t{0};
    case FIONBIO:
      TRY(SetStatusFlag(task, file, fd, O_NONBLOCK, GuestAddr(argument)));
      return int64_t{0};
    case FIOASYNC:
      TRY(SetStatusFlag(task, file, fd, O_ASYNC, GuestAddr(argument)));
      return int64_t{0};
    case FIOSETOWN:
    case SIOCSPGRP:
    case FIOGETOWN:
    case SIOCGPGRP:
      if (!AsSocket(file).ok()) break;
      TRY(SocketOwner(task, *file, request, GuestAddr(argument)));
      return int64_t{0};
    case FICLONE:
      return Clone(task, *file, Fd(static_cast<int32_t>(argument)));
    case FICLONERANGE: {
      const auto range = TRY(InPtr<file_clone_range>(GuestAddr(argument)).Read(task.memory()));
      return Clone(task, *file, Fd(static_cast<int32_t>(range.src_fd)));
    }
    default:
      break;
  }
  const InodeRef inode = file->path().inode();
  const uint32_t type = inode != nullptr ? inode->Type(task) : 0;
  if (request == FIONREAD && type == S_IFREG) {
    TRY(BytesLeft(task, *file, GuestAddr(argument)));
    return int64_t{0};
  }
  if (request == FIOQSIZE && (type == S_IFREG || type == S_IFDIR)) {
    constexpr int64_t kSector = 512;
    TRY(OutPtr<int64_t>(GuestAddr(argument))
            .Write(task.memory(), static_cast<int64_t>(TRY(file->GetAttr(task)).blocks) * kSector));
    return int64_t{0};
  }
  if (request == FIGETBSZ) {
    TRY(OutPtr<int>(GuestAddr(argument)).Write(task.memory(), static_cast<int>(TRY(file->GetAttr(task)).blksize)));
    return int64_t{0};
  }
  return file->Ioctl(task, request, argument);
}
SYSCALL_ROW(ioctl, Lane::kMayBlock, Support::kPartial, SysIoctl, "requests each file knows");

}  // namespace
}  // namespace sandbox::syscalls
