// The integer options of IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP and IPPROTO_UDP that are kept and read back: on a loopback
// network they change nothing that could be observed otherwise (ip(7), ipv6(7), tcp(7), udp(7)).
#pragma once

#include "base/result.h"

namespace sandbox {

struct InetOption {
  enum class Kind {
    kNumber,    // between `least` and `most`, or EINVAL
    kSwitch,    // 0 or 1 from any number
    kReadOnly,  // ENOPROTOOPT when set
  };
  int level, name, initial;
  Kind kind = Kind::kSwitch;
  int least = 0, most = 0;

  // What is kept for what the guest gave: EINVAL.
  Result<int> Accept(int number) const;
};

// Null for an option that nobody knows.
const InetOption* FindInetOption(int level, int name);

}  // namespace sandbox
