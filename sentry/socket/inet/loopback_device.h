// The loopback device of a network namespace, for sockets that see packets (raw(7), packet(7)). TCP and UDP sockets of
// a sandbox deliver to each other directly; a UDP datagram becomes a packet only while somebody looks.
#pragma once

#include <atomic>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/core/net_namespace.h"
#include "sentry/socket/inet/ip_packet.h"

namespace sandbox {

struct Frame {
  uint16_t protocol = 0;  // ETH_P_*
  std::string_view payload;
};

// Gets a look at what passes.
class PacketListener {
 public:
  virtual ~PacketListener() = default;
  // Each frame passes twice.
  virtual void Passes(const Frame& /*frame*/, bool /*outgoing*/) {}
  // An IP packet that is for this host.
  virtual void Arrives(const IpPacket& /*packet*/) {}
};

class LoopbackDevice {
 public:
  static RefPtr<LoopbackDevice> Of(NetNamespace& net) { return net.Table<LoopbackDevice>("loopback"); }

  void Add(const RefPtr<PacketListener>& listener);
  void Remove(const PacketListener* listener);
  bool watched() const { return listeners_count_.load(std::memory_order_acquire) != 0; }

  // Shows a packet to the listeners.
  void Show(const IpPacket& packet);
  // The same, and gives it to whom it is for: UDP sockets, and ICMP echo, which is answered.
  void Transmit(NetNamespace& net, const IpPacket& packet);
  // A frame that `sender` made, which does not see it leave. Linux takes no IPv4 packet for the loopback network from
  // there: it has not come from here.
  void TransmitFrame(NetNamespace& net, const Frame& frame, const PacketListener* sender);

 private:
  std::vector<RefPtr<PacketListener>> Listeners();
  void Deliver(NetNamespace& net, const IpPacket& packet);

  Mutex mu_{LockRank::kSocket};
  std::vector<WeakRef<PacketListener>> listeners_ GUARDED_BY(mu_);
  std::atomic<size_t> listeners_count_{0};
};

}  // namespace sandbox
