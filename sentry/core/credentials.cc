#include "sentry/core/credentials.h"

#include <algorithm>

namespace sandbox {

bool Credentials::InGroup(uint32_t id) const {
  return id == fsgid || std::find(groups.begin(), groups.end(), id) != groups.end();
}

// Linux: cap_capable. Whoever made a namespace, seen from outside, has every capability in it.
bool Credentials::HasIn(const UserNamespace& ns, int cap) const {
  for (const UserNamespace* at = &ns;; at = at->parent().get()) {
    if (at == user_ns.get()) return HasOwn(cap);
    if (at->level() <= user_ns->level()) return false;
    if (at->parent() == user_ns && at->owner_uid() == euid) return true;
  }
}

bool Credentials::HasOver(uint32_t owner, uint32_t group, int cap) const {
  return HasOwn(cap) && user_ns->Seen(IdKind::kUser, owner) && user_ns->Seen(IdKind::kGroup, group);
}

Result<uint32_t> Credentials::ActualUid(uint32_t id) const {
  const auto actual = user_ns->Actual(IdKind::kUser, id);
  if (!actual) return Err(EINVAL);
  return *actual;
}

Result<uint32_t> Credentials::ActualGid(uint32_t id) const {
  const auto actual = user_ns->Actual(IdKind::kGroup, id);
  if (!actual) return Err(EINVAL);
  return *actual;
}

}  // namespace sandbox
