// Peer groups (mount_namespaces(7)): mounts that tell each other of what is mounted on them, and the slaves that are
// told by them. All of it under mount_tree_mu.
#pragma once

#include <cstdint>
#include <vector>

#include "sentry/vfs/mount.h"

namespace sandbox {

struct PeerGroup {
  PeerGroup();
  ~PeerGroup();
  PeerGroup(const PeerGroup&) = delete;

  const uint32_t id;            // as mountinfo shows it; the lowest free one
  std::vector<Mount*> members;  // all with the same master
  std::vector<Mount*> slaves;   // those whose master this is
};

// Everyone who is told of what is mounted on `mount`: its peers, their slaves, and so on; without `mount`.
std::vector<Mount*> ToldBy(const Mount& mount) REQUIRES(mount_tree_mu);

}  // namespace sandbox
