// Who is bound to which port of the sandbox's own network (Linux: struct inet_bind_hashbucket).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/socket/inet/inet_address.h"

namespace sandbox {

// What bind(2) compares.
struct BindClaim {
  InetAddress address;
  bool v6_only = false;
  bool reuse_address = false;
  bool reuse_port = false;
  uint32_t uid = 0;
};

// One table for each protocol. `Endpoint` is what a packet to a port is delivered to.
template <typename Endpoint>
class PortTable {
 public:
  // Claims the port, or an ephemeral one for port zero; the port. EADDRINUSE.
  Result<uint16_t> Claim(BindClaim claim, const RefPtr<Endpoint>& owner) {
    MutexLock lock(mu_);
    if (claim.address.port != 0) {
      if (ConflictsLocked(claim)) return Err(EADDRINUSE);
      ports_[claim.address.port].push_back({claim, owner});
      return claim.address.port;
    }
    for (int tries = 0; tries <= kLastEphemeral - kFirstEphemeral; ++tries) {
      claim.address.port = next_;
      next_ = next_ == kLastEphemeral ? kFirstEphemeral : next_ + 1;
      if (ports_.count(claim.address.port) != 0) continue;
      ports_[claim.address.port].push_back({claim, owner});
      return claim.address.port;
    }
    return Err(EADDRINUSE);
  }
  void Release(uint16_t port, const Endpoint* owner) {
    MutexLock lock(mu_);
    auto it = ports_.find(port);
    if (it == ports_.end()) return;
    std::erase_if(it->second, [&](const Entry& entry) {
      const auto known = entry.owner.lock();
      return known == nullptr || known.get() == owner;
    });
    if (it->second.empty()) ports_.erase(it);
  }
  // Those that take a packet to `to`, the one bound to exactly that address first. Those that share a name by
  // SO_REUSEPORT have their turn by `spread`, a number made of who sends.
  std::vector<RefPtr<Endpoint>> Find(const InetAddress& to, uint32_t spread = 0) const {
    std::vector<RefPtr<Endpoint>> exact, wild;
    bool shared = true;
    MutexLock lock(mu_);
    auto it = ports_.find(to.port);
    if (it == ports_.end()) return exact;
    for (const Entry& entry : it->second) {
      auto owner = entry.owner.lock();
      if (owner == nullptr || !Covers(entry.claim, to)) continue;
      shared = shared && entry.claim.reuse_port;
      (entry.claim.address.IsAny() ? wild : exact).push_back(std::move(owner));
    }
    if (shared) {
      for (auto* group : {&exact, &wild}) {
        if (!group->empty()) std::rotate(group->begin(), group->begin() + spread % group->size(), group->end());
      }
    }
    exact.insert(exact.end(), wild.begin(), wild.end());
    return exact;
  }

 private:
  static constexpr uint16_t kFirstEphemeral = 32768, kLastEphemeral = 60999;  // net.ipv4.ip_local_port_range
  struct Entry {
    BindClaim claim;
    WeakRef<Endpoint> owner;
  };

  static bool Covers(const BindClaim& bound, const InetAddress& address) {
    if (!bound.address.IsAny()) return bound.address.SameHost(address);
    return bound.address.v4 ? address.v4 : !address.v4 || !bound.v6_only;
  }
  bool ConflictsLocked(const BindClaim& claim) const REQUIRES(mu_) {
    auto it = ports_.find(claim.address.port);
    if (it == ports_.end()) return false;
    for (const Entry& entry : it->second) {
      const auto owner = entry.owner.lock();
      if (owner == nullptr) continue;
      if (!Covers(entry.claim, claim.address) && !Covers(claim, entry.claim.address)) continue;
      if (entry.claim.reuse_port && claim.reuse_port && entry.claim.uid == claim.uid) continue;
      if (entry.claim.reuse_address && claim.reuse_address && !owner->listening()) continue;
      return true;
    }
    return false;
  }

  mutable Mutex mu_{LockRank::kSocket};
  std::map<uint16_t, std::vector<Entry>> ports_ GUARDED_BY(mu_);
  uint16_t next_ GUARDED_BY(mu_) = kFirstEphemeral;
};

}  // namespace sandbox
