#include "sentry/vfs/propagation.h"

#include <algorithm>
#include <set>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/peer_group.h"

namespace sandbox {

Result<void> Propagation::Plan(const MountRef& tree, const Path& point) {
  from_ns_ = point.mount->ns();
  place_ = point.dentry;
  const RefPtr<PeerGroup> peers = point.mount->peers();
  if (peers == nullptr) return {};
  done_.push_back(peers.get());
  // Copies join groups of the tree, not this one; but the tree itself may be a peer of the place.
  for (Mount* const member : std::vector<Mount*>(peers->members)) {
    if (member != point.mount.get()) TRY(PlanOne(*member, tree, false, true));
  }
  return PlanSlaves(*peers, tree);
}

Result<void> Propagation::PlanSlaves(const PeerGroup& group, const MountRef& original) {
  for (Mount* const slave : std::vector<Mount*>(group.slaves)) {
    const RefPtr<PeerGroup> peers = slave->peers();
    if (peers == nullptr) {
      TRY(PlanOne(*slave, original, true, false));
      continue;
    }
    if (std::find(done_.begin(), done_.end(), peers.get()) != done_.end()) continue;
    done_.push_back(peers.get());
    // The first copy is a slave of the original's, the others are its peers.
    MountRef first;
    for (Mount* const member : std::vector<Mount*>(peers->members)) {
      MountRef copy = TRY(PlanOne(*member, first != nullptr ? first : original, first == nullptr, true));
      if (first == nullptr) first = std::move(copy);
    }
    TRY(PlanSlaves(*peers, first != nullptr ? first : original));
  }
  return {};
}

Result<MountRef> Propagation::PlanOne(Mount& mount, const MountRef& original, bool as_slave, bool shared) {
  if (mount.ns() == nullptr || !place_->IsBelow(*mount.root())) return MountRef();
  MountCopier copier;
  copier.as_slave = as_slave;
  copier.make_shared = shared;
  copier.peers_as_slaves = mount.ns()->owner() != from_ns_->owner();
  std::vector<MountRef> tree = TRY(copier.Copy(original, original->root()));
  if (copier.peers_as_slaves) {
    for (const MountRef& copy : tree) {
      copy->LockFlags();
      if (copy != tree.front()) copy->set_locked(true);
    }
  }
  planned_ += tree.size();
  if (mount.ns()->mounts_.size() + planned_ > MountNamespace::kMaxMounts) {
    MountCopier::Discard(tree);
    return Err(ENOSPC);
  }
  MountRef root = tree.front();
  copies_.push_back({mount.shared_from_this(), std::move(tree)});
  return root;
}

void Propagation::AttachBelow(const MountRef& mount, const Path& point) {
  const MountRef above = point.mount->ChildOn(*point.dentry);
  if (above != nullptr) MountNamespace::Detach(above);
  MountNamespace::Attach(mount, point);
  if (above != nullptr) MountNamespace::Attach(above, {mount, mount->root()});
}

void Propagation::Carry() {
  for (const Copy& copy : copies_) {
    AttachBelow(copy.tree.front(), {copy.onto, place_});
    copy.onto->ns()->TakeIn(copy.tree);
  }
}

void Propagation::Drop() {
  for (const Copy& copy : copies_) MountCopier::Discard(copy.tree);
}

Result<void> Propagation::Unmount(std::vector<MountRef>& gone, bool detach) {
  std::vector<std::pair<MountRef, Path>> uncovered;  // what was mounted on a copy, and where that was
  std::set<const Mount*> going;
  for (const MountRef& mount : gone) going.insert(mount.get());
  // Leaves first, so that what a copy still carries is what stays.
  for (size_t i = gone.size(); i-- > 0;) {
    const Path point = gone[i]->point();
    if (point.empty()) continue;
    for (Mount* const told : ToldBy(*point.mount)) {
      MountRef copy = told->ChildOn(*point.dentry);
      if (copy == nullptr || going.count(copy.get()) != 0) continue;
      if (copy->locked() && going.count(told) == 0) continue;
      std::vector<MountRef> staying;
      {
        MutexLock lock(copy->mu_);
        for (const Mount::Child& child : copy->children_) {
          if (going.count(child.mount.get()) == 0) staying.push_back(child.mount);
        }
      }
      const MountRef above = copy->ChildOn(*copy->root());
      const bool covered = staying.size() == 1 && staying.front() == above;
      if (!staying.empty() && !covered) continue;
      // References: the list of its namespace, its parent's, ours.
      constexpr long kIdleReferences = 3;
      if (!detach && !covered && copy.use_count() > kIdleReferences) return Err(EBUSY);
      if (covered) uncovered.emplace_back(above, Path{told->shared_from_this(), point.dentry});
      going.insert(copy.get());
      gone.push_back(std::move(copy));
    }
  }
  for (const auto& [above, place] : uncovered) {
    MountNamespace::Detach(place.mount->ChildOn(*place.dentry));
    MountNamespace::Detach(above);
    MountNamespace::Attach(above, place);
  }
  return {};
}

}  // namespace sandbox
