// AF_INET, AF_INET6 and AF_PACKET of a sandbox without a network: streams, datagrams and packets between its own
// sockets.
#include <netinet/in.h>

#include "sentry/socket/inet/packet_socket.h"
#include "sentry/socket/inet/raw_socket.h"
#include "sentry/socket/inet/tcp_socket.h"
#include "sentry/socket/inet/udp_socket.h"

namespace sandbox {
namespace {

class LoopbackFamily final : public SocketFamily {
 public:
  explicit LoopbackFamily(int family) : family_(family) {}
  Result<SocketRef> Create(Context& context, int type, int protocol, int flags) override {
    if (protocol < 0 || protocol >= IPPROTO_MAX) return Err(EINVAL);
    if (type == SOCK_STREAM) {
      if (protocol != 0 && protocol != IPPROTO_TCP) return Err(EPROTONOSUPPORT);
      auto endpoint = MakeRef<LocalEndpoint>(SOCK_STREAM, LocalEndpoint::Ending::kOneWay);
      return SocketRef(MakeRef<TcpSocket>(family_, flags, std::move(endpoint)));
    }
    if (type == SOCK_DGRAM) {
      // Echo requests without privilege are for the groups that a sysctl names; nobody's, by default (icmp(7)).
      if (protocol == (family_ == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) return Err(EACCES);
      if (protocol != 0 && protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE) return Err(EPROTONOSUPPORT);
      return SocketRef(MakeRef<UdpSocket>(family_, protocol != 0 ? protocol : IPPROTO_UDP, flags));
    }
    if (type == SOCK_RAW) return RawSocket::Make(context, family_, protocol, flags);
    return Err(ESOCKTNOSUPPORT);
  }
  // socketpair(2): what socket(2) would refuse is refused alike, the rest has no pairs.
  Result<std::pair<SocketRef, SocketRef>> CreatePair(Context& context, int type, int protocol, int flags) override {
    TRY(Create(context, type, protocol, flags));
    return Err(EOPNOTSUPP);
  }

 private:
  const int family_;
};

class PacketFamily final : public SocketFamily {
 public:
  Result<SocketRef> Create(Context& context, int type, int protocol, int flags) override {
    return PacketSocket::Make(context, type, protocol, flags);
  }
};

[[maybe_unused]] const bool registered = [] {
  static LoopbackFamily v4(AF_INET), v6(AF_INET6);
  RegisterSocketFamily(AF_INET, &v4);
  RegisterSocketFamily(AF_INET6, &v6);
  static PacketFamily packet;
  RegisterSocketFamily(AF_PACKET, &packet);
  return true;
}();

}  // namespace
}  // namespace sandbox
