// epoll_create(2), epoll_ctl(2), epoll_wait(2) and their relatives.
#include "sentry/fs/anon/epoll.h"

#include "sentry/kernel/task.h"
#include "syscalls/row.h"
#include "syscalls/wait_time.h"

namespace sandbox::syscalls {
namespace {

Result<Fd> SysEpollCreate1(Task& task, int flags) {
  if (flags & ~EPOLL_CLOEXEC) return Err(EINVAL);
  return task.fds().Install(task, MakeRef<Epoll>(), (flags & EPOLL_CLOEXEC) != 0);
}
SYSCALL_ROW(epoll_create1, Lane::kShort, Support::kFull, SysEpollCreate1, "");

Result<Fd> SysEpollCreate(Task& task, int size) {
  if (size <= 0) return Err(EINVAL);
  return SysEpollCreate1(task, 0);
}
SYSCALL_ROW(epoll_create, Lane::kShort, Support::kFull, SysEpollCreate, "");

Result<void> SysEpollCtl(Task& task, Fd epfd, int op, Fd fd, InPtr<epoll_event> event_ptr) {
  epoll_event event{};
  if (op != EPOLL_CTL_DEL) event = TRY(event_ptr.Read(task.memory()));
  const FileRef set_file = TRY(task.fds().Get(epfd));
  const FileRef file = TRY(task.fds().Get(fd));
  if (!file->pollable()) return Err(EPERM);
  auto* set = dynamic_cast<Epoll*>(set_file.get());
  if (set == nullptr || file == set_file) return Err(EINVAL);
  switch (op) {
    case EPOLL_CTL_ADD:
      return set->Add(task, fd.number(), file, event);
    case EPOLL_CTL_MOD:
      return set->Modify(task, fd.number(), file, event);
    case EPOLL_CTL_DEL:
      return set->Remove(fd.number(), file);
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(epoll_ctl, Lane::kShort, Support::kFull, SysEpollCtl, "EPOLLWAKEUP is ignored");

Result<int> DoEpollWait(Task& task, Fd epfd, GuestAddr out, int max, const Deadline& deadline) {
  if (max <= 0 || max > static_cast<int>(INT32_MAX / sizeof(epoll_event))) return Err(EINVAL);
  const FileRef file = TRY(task.fds().Get(epfd));
  auto* set = dynamic_cast<Epoll*>(file.get());
  if (set == nullptr) return Err(EINVAL);
  auto events = set->Wait(task, max, deadline);
  // Never restarted, with or without SA_RESTART (signal(7)).
  if (events.Is(kErestartsys)) return Err(EINTR);
  if (!events.ok()) return events.error();
  TRY(OutPtr<epoll_event>(out).WriteArray(task.memory(), *events));
  return static_cast<int>(events->size());
}

Deadline MillisecondDeadline(int timeout_ms) {
  return timeout_ms < 0 ? Deadline{} : DeadlineAfter(timeout_ms * int64_t{1'000'000});
}

Result<int> SysEpollWait(Task& task, Fd epfd, GuestAddr out, int max, int timeout_ms) {
  return DoEpollWait(task, epfd, out, max, MillisecondDeadline(timeout_ms));
}
SYSCALL_ROW(epoll_wait, Lane::kMayBlock, Support::kFull, SysEpollWait, "");

Result<int> SysEpollPwait(Task& task, Fd epfd, GuestAddr out, int max, int timeout_ms, GuestAddr mask,
                          uint64_t mask_size) {
  TRY(ApplyWaitMask(task, mask, mask_size));
  return DoEpollWait(task, epfd, out, max, MillisecondDeadline(timeout_ms));
}
SYSCALL_ROW(epoll_pwait, Lane::kMayBlock, Support::kFull, SysEpollPwait, "");

Result<int> SysEpollPwait2(Task& task, Fd epfd, GuestAddr out, int max, GuestAddr timeout, GuestAddr mask,
                           uint64_t mask_size) {
  const Deadline deadline = TRY(ReadDeadline(task, timeout));
  TRY(ApplyWaitMask(task, mask, mask_size));
  return DoEpollWait(task, epfd, out, max, deadline);
}
SYSCALL_ROW(epoll_pwait2, Lane::kMayBlock, Support::kFull, SysEpollPwait2, "");

}  // namespace
}  // namespace sandbox::syscalls
