// What TCP and UDP sockets of the sandbox's own network share: options and names (ip(7), ipv6(7)).
#pragma once

#include <netinet/in.h>

#include "sentry/socket/inet/inet_address.h"
#include "sentry/socket/inet/inet_options.h"
#include "sentry/socket/inet/port_table.h"
#include "sentry/socket/socket.h"

namespace sandbox {

class InetSocket : public Socket {
 public:
  InetSocket(int family, int type, int protocol, int flags) : Socket(family, type, protocol, flags) {}

  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 protected:
  Result<void> BecomeV4(Context& context, OptionIn value);
  // Checks an address to bind: EADDRNOTAVAIL when it is not ours, EACCES for a privileged port.
  Result<BindClaim> MakeClaim(Context& context, const InetAddress& address);
  // A destination as it is reached: any becomes loopback. ENETUNREACH without a way there.
  Result<InetAddress> Destination(const SocketAddress& address);
  bool v6_only() { return inet_options().Value(IPPROTO_IPV6, IPV6_V6ONLY) != 0; }
  virtual InetOptions& inet_options() = 0;
  virtual bool bound() const = 0;  // to a port
  virtual bool has_peer() const = 0;
  virtual size_t readable_bytes() const = 0;
  virtual bool at_mark() const { return false; }
};

}  // namespace sandbox
