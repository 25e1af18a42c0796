// send(2), recv(2) and their relatives: sendto, sendmsg, sendmmsg, recvfrom, recvmsg, recvmmsg.
#include <signal.h>
#include <sys/uio.h>

#include <algorithm>

#include "abi/socket.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/socket.h"
#include "syscalls/row.h"
#include "syscalls/socket_control.h"
#include "syscalls/socket_wait.h"

namespace sandbox::syscalls {
namespace {

constexpr char kNotes[] = "error queues of UDP only";
constexpr uint32_t kMaxBatch = 1024;  // Linux: UIO_MAXIOV messages of sendmmsg and recvmmsg

// A blocking stream send goes on until everything is taken; what went out before an error is the result.
Result<int64_t> SendAll(Task& task, Socket& socket, IoSequence& from, SendRequest& request) {
  const CallerStorage storage(task);
  size_t done = 0;
  for (;;) {
    const auto sent =
        WaitSocket(task, socket, true, request.flags, [&] { return socket.Send(storage.caller, from, request); });
    if (!sent.ok()) {
      if (done > 0) break;
      if (sent.Is(EPIPE) && socket.type() != SOCK_DGRAM && !(request.flags & MSG_NOSIGNAL)) task.RaiseSignal(SIGPIPE);
      return sent.error();
    }
    done += *sent;
    const bool once = !socket.is_stream() || socket.nonblocking() || (request.flags & MSG_DONTWAIT);
    if (once || from.empty() || *sent == 0) break;
  }
  return static_cast<int64_t>(done);
}

Result<int64_t> ReceiveAll(Task& task, Socket& socket, IoSequence& to, int flags, ReceiveResult& result) {
  const auto receive = [&] { return socket.Receive(task, to, flags, result); };
  if (flags & MSG_ERRQUEUE) return static_cast<int64_t>(TRY(receive()));  // never waits
  size_t done = TRY(WaitSocket(task, socket, false, flags, receive));
  const bool wait_all = (flags & MSG_WAITALL) && !(flags & (MSG_PEEK | MSG_OOB)) && socket.is_stream();
  while (wait_all && done > 0 && !to.empty() && !result.stop) {
    const auto more = WaitSocket(task, socket, false, flags, receive);
    if (!more.ok() || *more == 0) break;
    done += *more;
  }
  return static_cast<int64_t>(done);
}

Result<int64_t> SysSendto(Task& task, Fd fd, InArray<2> data, uint64_t size, int flags, InArray<5> address,
                          int32_t address_size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  SendRequest request;
  request.flags = flags;
  if (!address.IsNull()) request.to = TRY(ReadAddress(task, address, address_size));
  auto from = IoSequence::Guest(task.memory(), data, size);
  return SendAll(task, *socket, from, request);
}
SYSCALL_ROW(sendto, Lane::kMayBlock, Support::kPartial, SysSendto, kNotes);

Result<int64_t> SysRecvfrom(Task& task, Fd fd, GuestAddr data, uint64_t size, int flags, GuestAddr address,
                            InOutPtr<int32_t> address_size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  auto to = IoSequence::Guest(task.memory(), data, size);
  ReceiveResult result;
  const int64_t got = TRY(ReceiveAll(task, *socket, to, flags, result));
  TRY(WriteAddress(task, address, address_size, result.from));
  return got;
}
SYSCALL_ROW(recvfrom, Lane::kMayBlock, Support::kPartial, SysRecvfrom, kNotes);

Result<IoSequence> Vectors(Task& task, const abi::UserMsghdr& header) {
  if (header.iov_count > UIO_MAXIOV) return Err(EMSGSIZE);
  return IoSequence::GuestIovecs(task.memory(), GuestAddr(header.iov), header.iov_count);
}

Result<int64_t> DoSendmsg(Task& task, Socket& socket, const abi::UserMsghdr& header, int flags) {
  SendRequest request;
  request.flags = flags;
  if (header.name_size < 0) return Err(EINVAL);
  if (header.name != 0 && header.name_size > 0) {
    const int32_t size = std::min<int32_t>(header.name_size, SocketAddress::kMaxSize);
    request.to = TRY(ReadAddress(task, GuestAddr(header.name), size));
  }
  auto from = TRY(Vectors(task, header));
  request.control = TRY(ReadControl(task, GuestAddr(header.control), header.control_size));
  return SendAll(task, socket, from, request);
}

Result<int64_t> SysSendmsg(Task& task, Fd fd, InPtr<abi::UserMsghdr> message, int flags) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  return DoSendmsg(task, *socket, TRY(message.Read(task.memory())), flags);
}
SYSCALL_ROW(sendmsg, Lane::kMayBlock, Support::kPartial, SysSendmsg, kNotes);

// Receives into `header` and updates it for the guest.
Result<int64_t> DoRecvmsg(Task& task, Socket& socket, abi::UserMsghdr& header, int flags) {
  if (header.name != 0 && header.name_size < 0) return Err(EINVAL);
  auto to = TRY(Vectors(task, header));
  ReceiveResult result;
  const int64_t got = TRY(ReceiveAll(task, socket, to, flags, result));
  if (header.name != 0) {
    const size_t size = std::min<size_t>(header.name_size, result.from.size);
    TRY(task.memory().Write(GuestAddr(header.name), result.from.bytes.data(), size));
    header.name_size = result.from.size;
  }
  int out_flags = result.flags | (flags & MSG_CMSG_CLOEXEC);
  const uint64_t room = header.control != 0 ? header.control_size : 0;
  header.control_size = TRY(
      WriteControl(task, GuestAddr(header.control), room, result.control, (flags & MSG_CMSG_CLOEXEC) != 0, &out_flags));
  header.flags = out_flags;
  return got;
}

// Linux writes these fields back, and leaves the rest of the header alone.
Result<void> WriteBack(Task& task, GuestAddr message, const abi::UserMsghdr& header) {
  auto& memory = task.memory();
  TRY(memory.Write(message + offsetof(abi::UserMsghdr, name_size), &header.name_size, sizeof(header.name_size)));
  TRY(memory.Write(message + offsetof(abi::UserMsghdr, control_size), &header.control_size,
                   sizeof(header.control_size)));
  return memory.Write(message + offsetof(abi::UserMsghdr, flags), &header.flags, sizeof(header.flags));
}

Result<int64_t> SysRecvmsg(Task& task, Fd fd, GuestAddr message, int flags) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  auto header = TRY(InPtr<abi::UserMsghdr>(message).Read(task.memory()));
  const int64_t got = TRY(DoRecvmsg(task, *socket, header, flags));
  TRY(WriteBack(task, message, header));
  return got;
}
SYSCALL_ROW(recvmsg, Lane::kMayBlock, Support::kPartial, SysRecvmsg, kNotes);

Result<int64_t> SysSendmmsg(Task& task, Fd fd, GuestAddr messages, uint32_t count, int flags) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  count = std::min(count, kMaxBatch);
  uint32_t done = 0;
  for (; done < count; ++done) {
    const GuestAddr at = TRY(messages.Add(done * sizeof(abi::Mmsghdr)));
    const auto header = InPtr<abi::UserMsghdr>(at).Read(task.memory());
    const auto sent = header.ok() ? DoSendmsg(task, *socket, *header, flags) : Result<int64_t>(header.error());
    const auto stored = sent.ok() ? OutPtr<uint32_t>(at + offsetof(abi::Mmsghdr, length)).Write(task.memory(), *sent)
                                  : Result<void>(sent.error());
    if (stored.ok()) continue;
    if (done == 0) return stored.error();
    break;
  }
  return int64_t{done};
}
SYSCALL_ROW(sendmmsg, Lane::kMayBlock, Support::kPartial, SysSendmmsg, kNotes);

Result<int64_t> SysRecvmmsg(Task& task, Fd fd, GuestAddr messages, uint32_t count, int flags, GuestAddr timeout) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const Deadline deadline = TRY(ReadDeadline(task, timeout));
  count = std::min(count, kMaxBatch);
  uint32_t done = 0;
  while (done < count) {
    const GuestAddr at = TRY(messages.Add(done * sizeof(abi::Mmsghdr)));
    auto header = InPtr<abi::UserMsghdr>(at).Read(task.memory());
    const auto got =
        header.ok() ? DoRecvmsg(task, *socket, *header, flags & ~MSG_WAITFORONE) : Result<int64_t>(header.error());
    auto stored = got.ok() ? WriteBack(task, at, *header) : Result<void>(got.error());
    if (stored.ok()) stored = OutPtr<uint32_t>(at + offsetof(abi::Mmsghdr, length)).Write(task.memory(), *got);
    if (!stored.ok()) {
      if (done == 0) return stored.error();
      break;
    }
    ++done;
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    // As on Linux the timeout is looked at between messages only (recvmmsg(2), BUGS).
    if (deadline && deadline->ns <= MonotonicNow().ns) break;
  }
  WriteRemainingTimespec(task, timeout, deadline);
  return int64_t{done};
}
SYSCALL_ROW(recvmmsg, Lane::kMayBlock, Support::kPartial, SysRecvmmsg, kNotes);

}  // namespace
}  // namespace sandbox::syscalls
