// The integer options of the internet protocols (ip(7), ipv6(7), tcp(7), udp(7)): what Linux checks, keeps and reads
// back. Those that a socket acts on are asked for with Value; the others change nothing that could be seen on a
// loopback network.
#pragma once

#include <map>
#include <utility>

#include "base/mutex.h"
#include "sentry/core/context.h"
#include "sentry/socket/options.h"

namespace sandbox {

class InetOptions {
 public:
  InetOptions(int family, int type, int protocol) : family_(family), type_(type), protocol_(protocol) {}

  // ENOPROTOOPT for names and levels the socket does not have, EINVAL for values Linux refuses, EPERM.
  Result<void> Set(Context& context, int level, int name, OptionIn value);
  // ENOPROTOOPT; EOPNOTSUPP for a level that nobody of the protocol knows.
  Result<int> Get(int level, int name) const;
  // Of an option that exists for this socket.
  int Value(int level, int name) const;
  // IPV6_ADDRFORM.
  void set_family(int family) { family_.store(family); }
  // Whether a receiver asked for anything but bytes and addresses (IP_PKTINFO, IPV6_RECVTCLASS …).
  bool wants_details() const { return wants_details_.load(std::memory_order_relaxed); }

 private:
  Result<int> Number(int level, int name, OptionIn value) const;

  std::atomic<int> family_;
  const int type_, protocol_;
  std::atomic<bool> wants_details_{false};
  mutable Mutex mu_{LockRank::kLeaf};
  std::map<std::pair<int, int>, int> stored_ GUARDED_BY(mu_);
};

}  // namespace sandbox
