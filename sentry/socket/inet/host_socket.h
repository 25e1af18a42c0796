// --network=host: each guest socket of AF_INET and AF_INET6 is a host socket of the sentry. The sandbox's filter allows
// socket(2) for these families in that mode only.
#pragma once

#include <functional>
#include <string_view>

#include "sentry/fs/host/host_notifier.h"
#include "sentry/socket/socket.h"

namespace sandbox {

// Makes AF_INET and AF_INET6 those of the host. Before the first guest instruction.
void UseHostNetwork();
// Who binds sockets to ports that the host refuses to the sentry; `address` as in bind(2). Before the first guest
// instruction.
using PortBinder = std::function<Result<void>(BorrowedFd socket, std::string_view address)>;
void SetPortBinder(PortBinder binder);

class HostSocket : public Socket {
 public:
  // `fd` is non-blocking and belongs to nobody else.
  HostSocket(int family, int type, int protocol, int flags, UniqueFd fd);

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Listen(Context& context, int backlog) override;
  Result<SocketRef> Accept(Context& context, int flags) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> FinishConnect(Context& context) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  SocketSummary Summary(Context& context) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &pollable_.queue(); }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 protected:
  // `error`, after arming for `events` when it is EAGAIN.
  Errno WouldBlock(Errno error, EventMask events);
  const UniqueFd fd_;
  HostPollable pollable_;
};

}  // namespace sandbox
