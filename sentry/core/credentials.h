// Who a task is (Linux: struct cred). Immutable once published; changing credentials makes a new object.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ref.h"
#include "sentry/core/user_namespace.h"

namespace sandbox {

using CapabilitySet = uint64_t;  // bit per CAP_* (linux/capability.h)
inline constexpr CapabilitySet kAllCapabilities = (uint64_t{1} << 41) - 1;

struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  CapabilitySet permitted = 0, effective = 0, inheritable = 0, bounding = 0, ambient = 0;
  uint32_t securebits = 0;
  RefPtr<UserNamespace> user_ns = UserNamespace::Root();

  // Over the whole sandbox, over what belongs to `ns`, and over the own user namespace (Linux: capable, ns_capable).
  bool Has(int cap) const { return HasOwn(cap) && user_ns->initial(); }
  bool HasIn(const UserNamespace& ns, int cap) const;
  bool HasOwn(int cap) const { return (effective >> cap) & 1; }
  // Over a file of that owner (Linux: capable_wrt_inode_uidgid): both must have a name in the user namespace.
  bool HasOver(uint32_t owner, uint32_t group, int cap) const;
  bool InGroup(uint32_t id) const;  // fsgid or supplementary

  // Ids as the guest names them.
  uint32_t ShownUid(uint32_t id) const { return user_ns->Shown(IdKind::kUser, id); }
  uint32_t ShownGid(uint32_t id) const { return user_ns->Shown(IdKind::kGroup, id); }
  Result<uint32_t> ActualUid(uint32_t id) const;  // EINVAL for one without meaning there
  Result<uint32_t> ActualGid(uint32_t id) const;
};

using CredentialsRef = std::shared_ptr<const Credentials>;

}  // namespace sandbox
