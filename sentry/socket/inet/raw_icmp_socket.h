// The raw ICMP socket of ping(8): the host gives a sentry without privileges no raw sockets, but echo sockets (icmp(7),
// "ping_group_range"), which do the same but for the identifier, which is the host's there, and the IP header, which only raw
// ones show. Both are put back here. What is no echo request cannot be sent, and only replies to one's own arrive.
#pragma once

#include <atomic>

#include "sentry/socket/inet/host_socket.h"

namespace sandbox {

class RawIcmpSocket final : public HostSocket {
 public:
  // EPERM without CAP_NET_RAW, or when the host has no echo socket for us.
  static Result<SocketRef> Create(Context& context, int flags);
  RawIcmpSocket(int flags, UniqueFd fd);

  // EPERM for anything but an echo request.
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;

 private:
  std::atomic<uint16_t> id_{0};  // of the last request, network order
};

}  // namespace sandbox
