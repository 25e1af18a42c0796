// AF_PACKET sockets on the sandbox's own network (packet(7)): frames of its loopback device.
#pragma once

#include <linux/if_packet.h>

#include <map>

#include "sentry/socket/inet/loopback_device.h"
#include "sentry/socket/receive_queue.h"
#include "sentry/socket/socket.h"

namespace sandbox {

// What frames are delivered to; the socket owns it.
class PacketEndpoint final : public PacketListener {
 public:
  explicit PacketEndpoint(int socket_type) : type(socket_type) { incoming.SetMaxMessages(kMaxFrames); }
  void Passes(const Frame& frame, bool outgoing) override;

  const int type;
  ReceiveQueue incoming;
  WaitQueue wait_queue;
  std::atomic<uint16_t> protocol{0};  // ETH_P_*; 0 = nothing arrives
  std::atomic<uint32_t> taken{0}, dropped{0};

 private:
  static constexpr size_t kMaxFrames = 1024;
};

class PacketSocket final : public Socket {
 public:
  // `protocol` in network order, as the guest gives it. EPERM, ESOCKTNOSUPPORT.
  static Result<SocketRef> Make(Context& context, int type, int protocol, int flags);
  PacketSocket(int type, int protocol, int flags);
  ~PacketSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }

 protected:
  ReceiveQueue* filtered_queue() override { return &endpoint_->incoming; }

 private:
  const RefPtr<PacketEndpoint> endpoint_;
  std::atomic<int> interface_{0};  // bound to; 0 = all
  Mutex mu_{LockRank::kLeaf};
  std::map<int, int> stored_ GUARDED_BY(mu_);  // options of SOL_PACKET that change nothing here
};

}  // namespace sandbox
