// AF_NETLINK sockets (netlink(7)): requests are answered at once into the socket's own queue.
#pragma once

#include <linux/netlink.h>

#include "sentry/socket/receive_queue.h"
#include "sentry/socket/socket.h"

namespace sandbox {

class NetlinkSocket final : public Socket {
 public:
  NetlinkSocket(int type, int protocol, int flags);
  ~NetlinkSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

  // Queues a datagram from the kernel and wakes readers (mq_notify(3) with SIGEV_THREAD).
  void DeliverFromKernel(std::string datagram);

 private:
  Result<uint32_t> EnsurePort(Context& context);
  void Reply(std::string datagram);

  std::atomic<uint32_t> port_{0};
  std::atomic<uint32_t> groups_{0};
  std::atomic<uint32_t> switches_{0};  // bits of NETLINK_PKTINFO and its like
  ReceiveQueue incoming_;
};

}  // namespace sandbox
