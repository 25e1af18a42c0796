// UTS and IPC namespaces (namespaces(7)). Mount namespaces are the VFS's; user, pid, network and cgroup namespaces are
// not built: clone and unshare answer EINVAL for them, as a kernel without them does.
#pragma once

#include <string>

#include "base/mutex.h"
#include "base/ref.h"

namespace sandbox {

class UtsNamespace {
 public:
  UtsNamespace(std::string hostname, std::string domainname)
      : hostname_(std::move(hostname)), domainname_(std::move(domainname)) {}
  RefPtr<UtsNamespace> Fork() const { return MakeRef<UtsNamespace>(hostname(), domainname()); }
  std::string hostname() const {
    MutexLock lock(mu_);
    return hostname_;
  }
  std::string domainname() const {
    MutexLock lock(mu_);
    return domainname_;
  }
  void SetHostname(std::string name) {
    MutexLock lock(mu_);
    hostname_ = std::move(name);
  }
  void SetDomainname(std::string name) {
    MutexLock lock(mu_);
    domainname_ = std::move(name);
  }

 private:
  mutable Mutex mu_{LockRank::kLeaf};
  std::string hostname_ GUARDED_BY(mu_), domainname_ GUARDED_BY(mu_);
};

// System V and POSIX message queue objects hang off it; each subsystem attaches its own table on first use.
class IpcNamespace {
 public:
  enum Subsystem { kShm, kSem, kMsg, kMqueue, kSubsystemCount };
  // The subsystem's table, made by `make` when there is none yet.
  template <typename T, typename Make>
  RefPtr<T> Table(Subsystem which, Make make) {
    MutexLock lock(mu_);
    if (tables_[which] == nullptr) tables_[which] = make();
    return std::static_pointer_cast<T>(tables_[which]);
  }
  // The same, null when it was never used.
  template <typename T>
  RefPtr<T> Existing(Subsystem which) {
    MutexLock lock(mu_);
    return std::static_pointer_cast<T>(tables_[which]);
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  RefPtr<void> tables_[kSubsystemCount] GUARDED_BY(mu_);
};

}  // namespace sandbox
