// Who a task is (Linux: struct cred). Immutable once published; changing credentials makes a new object.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ref.h"

namespace sandbox {

using CapabilitySet = uint64_t;  // bit per CAP_* (linux/capability.h)
inline constexpr CapabilitySet kAllCapabilities = (uint64_t{1} << 41) - 1;

struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  CapabilitySet permitted = 0, effective = 0, inheritable = 0, bounding = 0, ambient = 0;
  uint32_t securebits = 0;

  bool Has(int cap) const { return (effective >> cap) & 1; }
  bool InGroup(uint32_t id) const;  // fsgid or supplementary
};

using CredentialsRef = std::shared_ptr<const Credentials>;

}  // namespace sandbox
