#include "sentry/core/outside.h"

#include <vector>

#include "base/mutex.h"

namespace sandbox {
namespace {

struct Shares {
  Mutex mu{LockRank::kLeaf};
  std::vector<WeakRef<OutsideShare>> all GUARDED_BY(mu);
};

Shares& AllShares() {
  static auto* shares = new Shares;  // threads may still write while the process exits
  return *shares;
}

std::vector<RefPtr<OutsideShare>> Alive() {
  std::vector<RefPtr<OutsideShare>> alive;
  Shares& shares = AllShares();
  MutexLock lock(shares.mu);
  for (const auto& weak : shares.all) {
    if (auto share = weak.lock()) alive.push_back(std::move(share));
  }
  return alive;
}

}  // namespace

void AddOutsideShare(const RefPtr<OutsideShare>& share) {
  Shares& shares = AllShares();
  MutexLock lock(shares.mu);
  std::erase_if(shares.all, [](const auto& weak) { return weak.expired(); });
  shares.all.push_back(share);
}

void SettleOutside() {
  for (const auto& share : Alive()) {
    if (share->Owes()) share->Settle();
  }
}

void DoubtOutside() {
  for (const auto& share : Alive()) share->Doubt();
}

}  // namespace sandbox
