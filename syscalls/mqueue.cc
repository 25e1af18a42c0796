// mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2).
#include "abi/mqueue.h"
#include "sentry/fs/mqueue/mqueue_fs.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/socket.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kPriorities = 32768;  // MQ_PRIO_MAX

RefPtr<MqueueNamespace> Queues(Task& task) { return MqueueNamespace::Of(*task.ipc()); }

Result<Fd> SysMqOpen(Task& task, GuestStr name, int flags, uint32_t mode, InPtr<abi::MqAttr> attributes) {
  MqueueShape shape;
  if (!attributes.IsNull()) {
    const abi::MqAttr wanted = TRY(attributes.Read(task.memory()));
    shape = {wanted.max_messages, wanted.message_size};
  }
  const std::string text = TRY(name.ReadPath(task.memory()));
  const uint32_t allowed = mode & ~task.fs().umask();
  FileRef file = TRY(Queues(task)->Open(task, text, flags, allowed, attributes.IsNull() ? nullptr : &shape));
  return task.fds().Install(task, std::move(file), /*close_on_exec=*/true);
}
SYSCALL_ROW(mq_open, Lane::kShort, Support::kFull, SysMqOpen, "");

Result<void> SysMqUnlink(Task& task, GuestStr name) {
  const std::string text = TRY(name.ReadPath(task.memory()));
  return Queues(task)->Unlink(task, text);
}
SYSCALL_ROW(mq_unlink, Lane::kShort, Support::kFull, SysMqUnlink, "");

// The absolute time on CLOCK_REALTIME; null = none.
Result<Deadline> ReadTimeout(Task& task, InPtr<timespec> timeout) {
  if (timeout.IsNull()) return Deadline();
  const timespec ts = TRY(timeout.Read(task.memory()));
  if (!ValidTimespec(ts)) return Err(EINVAL);
  return Deadline(TRY(DeadlineOn(CLOCK_REALTIME, ToNs(ts))));
}

Result<void> SysMqTimedsend(Task& task, Fd fd, GuestAddr message, uint64_t size, uint32_t priority,
                            InPtr<timespec> timeout) {
  const Deadline deadline = TRY(ReadTimeout(task, timeout));
  if (priority >= kPriorities) return Err(EINVAL);
  const auto file = TRY(AsMqueue(TRY(task.fds().Get(fd))));
  if (!file->writable()) return Err(EBADF);
  Mqueue& queue = file->queue();
  if (size > static_cast<uint64_t>(queue.shape().message_size)) return Err(EMSGSIZE);
  std::string bytes(size, '\0');
  TRY(task.memory().Read(message, bytes.data(), size));
  auto attempt = [&]() -> Result<void> {
    // A full queue keeps the message for the next attempt.
    if (!(queue.Readiness() & kWritable)) return Err(EAGAIN);
    return queue.Send(task, bytes, priority);
  };
  if (file->nonblocking()) return attempt();
  return BlockUntil(task, queue.wait_queue(), kWritable, deadline, attempt);
}
SYSCALL_ROW(mq_timedsend, Lane::kMayBlock, Support::kFull, SysMqTimedsend, "");

Result<int64_t> SysMqTimedreceive(Task& task, Fd fd, GuestAddr message, uint64_t size, OutPtr<uint32_t> priority,
                                  InPtr<timespec> timeout) {
  const Deadline deadline = TRY(ReadTimeout(task, timeout));
  const auto file = TRY(AsMqueue(TRY(task.fds().Get(fd))));
  if (!file->readable()) return Err(EBADF);
  Mqueue& queue = file->queue();
  if (size < static_cast<uint64_t>(queue.shape().message_size)) return Err(EMSGSIZE);
  auto taken = queue.Receive();
  if (taken.Is(EAGAIN) && !file->nonblocking()) {
    queue.CountReceiver(1);
    taken = BlockUntil(task, queue.wait_queue(), kReadable, deadline, [&] { return queue.Receive(); });
    queue.CountReceiver(-1);
  }
  const Mqueue::Message got = TRY(std::move(taken));
  TRY(task.memory().Write(message, got.bytes.data(), got.bytes.size()));
  if (!priority.IsNull()) TRY(priority.Write(task.memory(), got.priority));
  return static_cast<int64_t>(got.bytes.size());
}
SYSCALL_ROW(mq_timedreceive, Lane::kMayBlock, Support::kFull, SysMqTimedreceive, "");

Result<MqueueNotice> ReadNotice(Task& task, GuestAddr event) {
  const sigevent wanted = TRY(InPtr<sigevent>(event).Read(task.memory()));
  MqueueNotice notice;
  notice.owner = task.group().shared_from_this();
  notice.how = wanted.sigev_notify;
  notice.signo = wanted.sigev_signo;
  notice.value = reinterpret_cast<uint64_t>(wanted.sigev_value.sival_ptr);
  switch (notice.how) {
    case SIGEV_NONE:
      return notice;
    case SIGEV_SIGNAL:
      if (notice.signo < 0 || notice.signo > kSignalCount) return Err(EINVAL);
      return notice;
    case SIGEV_THREAD: {
      TRY(task.memory().Read(GuestAddr(notice.value), notice.cookie.data(), notice.cookie.size()));
      notice.socket = TRY(AsSocket(TRY(task.fds().Get(Fd(notice.signo)))));
      if (notice.socket->family() != AF_NETLINK) return Err(EINVAL);
      return notice;
    }
    default:
      return Err(EINVAL);
  }
}

Result<void> SysMqNotify(Task& task, Fd fd, GuestAddr event) {
  MqueueNotice notice;
  if (!event.IsNull()) notice = TRY(ReadNotice(task, event));
  const auto file = TRY(AsMqueue(TRY(task.fds().Get(fd))));
  if (!event.IsNull()) return file->queue().Register(std::move(notice));
  file->queue().Unregister(task.group());
  return {};
}
SYSCALL_ROW(mq_notify, Lane::kShort, Support::kFull, SysMqNotify, "");

Result<void> SysMqGetsetattr(Task& task, Fd fd, InPtr<abi::MqAttr> wanted, OutPtr<abi::MqAttr> old) {
  abi::MqAttr change = {};
  if (!wanted.IsNull()) {
    change = TRY(wanted.Read(task.memory()));
    if (change.flags & ~int64_t{O_NONBLOCK}) return Err(EINVAL);
  }
  const auto file = TRY(AsMqueue(TRY(task.fds().Get(fd))));
  const Mqueue& queue = file->queue();
  const abi::MqAttr now{
      file->flags() & O_NONBLOCK, queue.shape().max_messages, queue.shape().message_size, queue.messages(), {}};
  if (!wanted.IsNull()) {
    const int flags = (file->flags() & ~O_NONBLOCK) | static_cast<int>(change.flags);
    TRY(file->SetFlags(task, flags));
  }
  if (!old.IsNull()) TRY(old.Write(task.memory(), now));
  return {};
}
SYSCALL_ROW(mq_getsetattr, Lane::kShort, Support::kFull, SysMqGetsetattr, "");

}  // namespace
}  // namespace sandbox::syscalls
