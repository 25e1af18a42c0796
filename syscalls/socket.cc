// socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), shutdown(2) and the names of sockets.
#include "sentry/socket/socket.h"

#include <netinet/in.h>

#include <algorithm>

#include "abi/socket.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"
#include "syscalls/socket_wait.h"

namespace sandbox::syscalls {

Result<SocketAddress> ReadAddress(Task& task, GuestAddr from, int32_t size) {
  if (size < 0 || static_cast<size_t>(size) > SocketAddress::kMaxSize) return Err(EINVAL);
  SocketAddress address;
  TRY(task.memory().Read(from, address.bytes.data(), size));
  address.size = size;
  return address;
}

Result<void> WriteAddress(Task& task, GuestAddr to, InOutPtr<int32_t> size_ptr, const SocketAddress& address) {
  if (to.IsNull()) return {};
  const int32_t room = TRY(size_ptr.Read(task.memory()));
  if (room < 0) return Err(EINVAL);
  TRY(task.memory().Write(to, address.bytes.data(), std::min<size_t>(room, address.size)));
  return size_ptr.Write(task.memory(), static_cast<int32_t>(address.size));
}

namespace {

constexpr int kTypeMask = 0xf;
constexpr int kMaxType = SOCK_PACKET;

struct SocketKind {
  int type;
  int flags;  // O_NONBLOCK
  bool close_on_exec;
};

Result<SocketKind> DecodeType(int type) {
  if (type & ~(kTypeMask | SOCK_NONBLOCK | SOCK_CLOEXEC)) return Err(EINVAL);
  return SocketKind{type & kTypeMask, type & SOCK_NONBLOCK, (type & SOCK_CLOEXEC) != 0};
}

Result<SocketFamily*> Family(Task& task, int family, int type) {
  if (family < 0 || family >= AF_MAX) return Err(EAFNOSUPPORT);
  if (type > kMaxType) return Err(EINVAL);
  return FindSocketFamily(*task.net(), family);
}

// Linux: sock_alloc_file's inode is its maker's.
void Introduce(Task& task, Socket& socket) {
  socket.set_net(task.net());
  socket.Publish(task.creds().fsuid, task.creds().fsgid);
}

Result<Fd> SysSocket(Task& task, int family, int type, int protocol) {
  const SocketKind kind = TRY(DecodeType(type));
  SocketFamily* provider = TRY(Family(task, family, kind.type));
  auto socket = TRY(provider->Create(task, kind.type, protocol, kind.flags));
  Introduce(task, *socket);
  return task.fds().Install(task, std::move(socket), kind.close_on_exec);
}
SYSCALL_ROW(socket, Lane::kShort, Support::kPartial, SysSocket,
            "AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (route, sock_diag)");

Result<void> SysSocketpair(Task& task, int family, int type, int protocol, OutPtr<std::array<int32_t, 2>> out) {
  const SocketKind kind = TRY(DecodeType(type));
  SocketFamily* provider = TRY(Family(task, family, kind.type));
  auto [a, b] = TRY(provider->CreatePair(task, kind.type, protocol, kind.flags));
  Introduce(task, *a);
  Introduce(task, *b);
  const auto [fd_a, fd_b] = TRY(task.fds().InstallPair(task, std::move(a), std::move(b), kind.close_on_exec));
  const auto written = out.Write(task.memory(), {fd_a.number(), fd_b.number()});
  if (!written.ok()) {
    (void)task.fds().Close(task, fd_a);
    (void)task.fds().Close(task, fd_b);
  }
  return written;
}
SYSCALL_ROW(socketpair, Lane::kShort, Support::kFull, SysSocketpair, "");

Result<void> SysBind(Task& task, Fd fd, InArray<2> address, int32_t size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const SocketAddress name = TRY(ReadAddress(task, address, size));
  const CallerStorage storage(task);
  return socket->Bind(storage.caller, name);
}
SYSCALL_ROW(bind, Lane::kShort, Support::kFull, SysBind, "");

Result<void> SysListen(Task& task, Fd fd, int backlog) { return TRY(GetSocket(task, fd))->Listen(task, backlog); }
SYSCALL_ROW(listen, Lane::kShort, Support::kFull, SysListen, "");

Result<Fd> SysAccept4(Task& task, Fd fd, GuestAddr address, InOutPtr<int32_t> size, int flags) {
  if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) return Err(EINVAL);
  const SocketRef listener = TRY(GetSocket(task, fd));
  auto accepted =
      TRY(WaitSocket(task, *listener, false, 0, [&] { return listener->Accept(task, flags & SOCK_NONBLOCK); }));
  accepted->Publish(task.creds().fsuid, task.creds().fsgid);
  if (!address.IsNull()) {
    const auto peer = accepted->AcceptedFrom(task);
    if (!peer.ok()) return Err(ECONNABORTED);
    TRY(WriteAddress(task, address, size, *peer));
  }
  return task.fds().Install(task, std::move(accepted), (flags & SOCK_CLOEXEC) != 0);
}
SYSCALL_ROW(accept4, Lane::kMayBlock, Support::kFull, SysAccept4, "");

Result<Fd> SysAccept(Task& task, Fd fd, GuestAddr address, InOutPtr<int32_t> size) {
  return SysAccept4(task, fd, address, size, 0);
}
SYSCALL_ROW(accept, Lane::kMayBlock, Support::kFull, SysAccept, "");

Result<void> SysConnect(Task& task, Fd fd, InArray<2> address, int32_t size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const SocketAddress name = TRY(ReadAddress(task, address, size));
  const CallerStorage storage(task);
  const auto connected = WaitSocket(task, *socket, true, 0, [&] { return socket->Connect(storage.caller, name); });
  if (!connected.Is(EINPROGRESS) || socket->nonblocking()) return connected;
  const auto finished = WaitSocket(task, *socket, true, 0, [&] { return socket->FinishConnect(task); });
  return finished.Is(EAGAIN) ? Err(EINPROGRESS) : finished;  // SO_SNDTIMEO passed: it goes on by itself
}
SYSCALL_ROW(connect, Lane::kMayBlock, Support::kFull, SysConnect, "");

Result<void> SysGetsockname(Task& task, Fd fd, GuestAddr address, InOutPtr<int32_t> size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const SocketAddress name = TRY(socket->LocalAddress(task));
  if (address.IsNull()) return Err(EFAULT);
  return WriteAddress(task, address, size, name);
}
SYSCALL_ROW(getsockname, Lane::kShort, Support::kFull, SysGetsockname, "");

Result<void> SysGetpeername(Task& task, Fd fd, GuestAddr address, InOutPtr<int32_t> size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const SocketAddress name = TRY(socket->PeerAddress(task));
  if (address.IsNull()) return Err(EFAULT);
  return WriteAddress(task, address, size, name);
}
SYSCALL_ROW(getpeername, Lane::kShort, Support::kFull, SysGetpeername, "");

Result<void> SysShutdown(Task& task, Fd fd, int how) { return TRY(GetSocket(task, fd))->Shutdown(task, how); }
SYSCALL_ROW(shutdown, Lane::kShort, Support::kFull, SysShutdown, "");

constexpr int kMaxOptionSize = 32 * 1024;  // ours; the largest option of a supported family is far smaller

Result<void> SysSetsockopt(Task& task, Fd fd, int level, int name, InArray<4> value, int size) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  if (size < 0 || size > kMaxOptionSize) return Err(EINVAL);
  std::vector<uint8_t> bytes(size);
  TRY(task.memory().Read(value, bytes.data(), bytes.size()));
  return socket->SetOption(task, level, name, bytes);
}
SYSCALL_ROW(setsockopt, Lane::kShort, Support::kPartial, SysSetsockopt,
            "options without effect in the sandbox are stored only");

// SO_PEERPIDFD: the process that SO_PEERCRED names.
Result<void> PeerPidfd(Task& task, Socket& socket, int32_t room, GuestAddr value, InOutPtr<int32_t> size_ptr) {
  if (room < static_cast<int32_t>(sizeof(int32_t))) return Err(EINVAL);
  if (socket.family() != AF_UNIX) return Err(ENODATA);
  const std::string bytes = TRY(socket.GetOption(task, SOL_SOCKET, SO_PEERCRED));
  ucred peer{};
  std::memcpy(&peer, bytes.data(), std::min(bytes.size(), sizeof(peer)));
  if (peer.pid == 0) return Err(ENODATA);
  const auto group = task.kernel().FindGroup(task.ActualPid(peer.pid));
  if (group == nullptr) return Err(ESRCH);
  TRY(size_ptr.Write(task.memory(), sizeof(int32_t)));
  TRY(InstallPidFd(task, group, nullptr, value));
  return {};
}

// SO_GET_FILTER: sizes are counts of instructions.
Result<void> GetFilter(Task& task, Socket& socket, int32_t room, GuestAddr value, InOutPtr<int32_t> size_ptr) {
  const PacketFilterRef filter = socket.filter();
  const auto count = static_cast<int32_t>(filter == nullptr ? 0 : filter->program().size());
  if (room != 0 && count != 0) {
    if (room < count) return Err(EINVAL);
    TRY(OutPtr<sock_filter>(value).WriteArray(task.memory(), filter->program()));
  }
  return size_ptr.Write(task.memory(), count);
}

Result<void> SysGetsockopt(Task& task, Fd fd, int level, int name, GuestAddr value, InOutPtr<int32_t> size_ptr) {
  const SocketRef socket = TRY(GetSocket(task, fd));
  const int32_t room = TRY(size_ptr.Read(task.memory()));
  if (room < 0) return Err(EINVAL);
  if (level == SOL_SOCKET && name == SO_GET_FILTER) return GetFilter(task, *socket, room, value, size_ptr);
  if (level == SOL_SOCKET && name == abi::kSoPeerPidfd) return PeerPidfd(task, *socket, room, value, size_ptr);
  const std::string bytes = TRY(socket->GetOption(task, level, name));
  size_t size = std::min<size_t>(room, bytes.size());
  // Linux: do_ip_getsockopt gives a byte to who has no room for an int.
  if (level == IPPROTO_IP && bytes.size() == sizeof(int) && size < sizeof(int) &&
      bytes.find_first_not_of('\0', 1) == bytes.npos)
    size = std::min<size_t>(size, 1);
  TRY(task.memory().Write(value, bytes.data(), size));
  return size_ptr.Write(task.memory(), static_cast<int32_t>(size));
}
SYSCALL_ROW(getsockopt, Lane::kShort, Support::kPartial, SysGetsockopt,
            "options without effect in the sandbox read back what was set");

}  // namespace
}  // namespace sandbox::syscalls
