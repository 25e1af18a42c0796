// SOCK_RAW sockets of IPPROTO_ICMP and IPPROTO_ICMPV6, as ping programs use them, on top of the host's ICMP sockets
// (icmp(7)), which ask for no privilege: they send echo requests only, under an identifier of the host's choice, and
// receive the answers. Here the guest's identifier is put back, and IPv4 headers are put in front of what is received,
// as a raw socket does.
#pragma once

#include "sentry/socket/inet/host_socket.h"

namespace sandbox {

class IcmpSocket final : public HostSocket {
 public:
  // `fd`: an ICMP socket of the host (SOCK_DGRAM).
  static Result<RefPtr<IcmpSocket>> Make(int family, int flags, UniqueFd fd);
  IcmpSocket(int family, int protocol, int flags, UniqueFd fd)
      : HostSocket(family, SOCK_RAW, protocol, flags, std::move(fd)) {}

  // EPERM for messages other than echo requests.
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;

 private:
  std::atomic<uint16_t> identifier_{0};  // of the last request, network order
};

}  // namespace sandbox
