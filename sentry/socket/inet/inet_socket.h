// What TCP and UDP sockets of the sandbox's own network share: options and names (ip(7), ipv6(7)).
#pragma once

#include <map>

#include "sentry/socket/inet/inet_address.h"
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
  // Checks an address to bind: EADDRNOTAVAIL when it is not ours, EACCES for a privileged port.
  Result<BindClaim> MakeClaim(Context& context, const InetAddress& address);
  // A destination as it is reached: any becomes loopback. ENETUNREACH without a way there.
  Result<InetAddress> Destination(const SocketAddress& address) const;
  bool v6_only() const { return v6_only_.load(); }
  virtual size_t readable_bytes() const = 0;

 private:
  using OptionKey = std::pair<int, int>;
  Result<void> SetCongestion(OptionIn value);

  std::atomic<bool> v6_only_{false};
  std::atomic<size_t> congestion_{0};
  mutable Mutex options_mu_{LockRank::kLeaf};
  std::map<OptionKey, int> stored_ GUARDED_BY(options_mu_);
};

}  // namespace sandbox
