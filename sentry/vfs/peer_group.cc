#include "sentry/vfs/peer_group.h"

#include <sys/mount.h>

#include <algorithm>
#include <set>

namespace sandbox {
namespace {

std::set<uint32_t>& Ids() {
  static auto* const ids = new std::set<uint32_t>;
  return *ids;
}

uint32_t TakeId() {
  uint32_t id = 1;
  for (const uint32_t taken : Ids()) {
    if (taken != id) break;
    ++id;
  }
  Ids().insert(id);
  return id;
}

void Collect(const PeerGroup& group, const Mount& without, std::set<const PeerGroup*>& seen, std::vector<Mount*>& told)
    REQUIRES(mount_tree_mu) {
  if (!seen.insert(&group).second) return;
  for (Mount* const member : group.members) {
    if (member != &without) told.push_back(member);
  }
  for (Mount* const slave : group.slaves) {
    if (slave->peers() != nullptr) {
      Collect(*slave->peers(), without, seen, told);
    } else {
      told.push_back(slave);
    }
  }
}

}  // namespace

PeerGroup::PeerGroup() : id(TakeId()) {}
PeerGroup::~PeerGroup() { Ids().erase(id); }

std::vector<Mount*> ToldBy(const Mount& mount) {
  std::vector<Mount*> told;
  std::set<const PeerGroup*> seen;
  if (mount.peers() != nullptr) Collect(*mount.peers(), mount, seen, told);
  return told;
}

void Mount::JoinPeers(RefPtr<PeerGroup> group) {
  peers_ = std::move(group);
  peers_->members.push_back(this);
}

void Mount::BecomeSlaveOf(RefPtr<PeerGroup> group) {
  if (master_ != nullptr) std::erase(master_->slaves, this);
  master_ = std::move(group);
  if (master_ != nullptr) master_->slaves.push_back(this);
}

// Linux: change_mnt_propagation.
void Mount::SetPropagation(unsigned long type) {
  if (type == MS_SHARED) {
    unbindable_ = false;
    if (peers_ == nullptr) JoinPeers(MakeRef<PeerGroup>());
    return;
  }
  if (peers_ != nullptr) {
    const RefPtr<PeerGroup> left = std::move(peers_);
    std::erase(left->members, this);
    if (!left->members.empty()) {
      BecomeSlaveOf(left);
    } else {
      // The last peer: whoever listened to it listens to its master now.
      for (Mount* const slave : std::vector<Mount*>(left->slaves)) slave->BecomeSlaveOf(master_);
    }
  }
  if (type == MS_SLAVE) return;
  BecomeSlaveOf(nullptr);
  unbindable_ = type == MS_UNBINDABLE;
}

}  // namespace sandbox
