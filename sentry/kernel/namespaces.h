// UTS, IPC and control group namespaces (namespaces(7)), and the set of them that a task is in (Linux: struct nsproxy).
// User and network namespaces are sentry/core's, mount namespaces the VFS's. Time namespaces are not built.
#pragma once

#include <sched.h>

#include <string>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/core/net_namespace.h"
#include "sentry/core/user_namespace.h"
#include "sentry/kernel/pid_namespace.h"
#include "sentry/vfs/mount.h"

namespace sandbox {

class UtsNamespace final : public Namespace {
 public:
  UtsNamespace(std::string hostname, std::string domainname)  // the initial one
      : Namespace(CLONE_NEWUTS, UserNamespace::Root(), kInitialUts),
        hostname_(std::move(hostname)),
        domainname_(std::move(domainname)) {}
  UtsNamespace(const UtsNamespace& from, RefPtr<UserNamespace> owner)
      : Namespace(CLONE_NEWUTS, std::move(owner)), hostname_(from.hostname()), domainname_(from.domainname()) {}
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
class IpcNamespace final : public Namespace {
 public:
  IpcNamespace() : Namespace(CLONE_NEWIPC, UserNamespace::Root(), kInitialIpc) {}  // the initial one
  explicit IpcNamespace(RefPtr<UserNamespace> owner) : Namespace(CLONE_NEWIPC, std::move(owner)) {}
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

// There is one group to be in, so there is nothing in it but its number.
class CgroupNamespace final : public Namespace {
 public:
  CgroupNamespace() : Namespace(CLONE_NEWCGROUP, UserNamespace::Root(), kInitialCgroup) {}
  explicit CgroupNamespace(RefPtr<UserNamespace> owner) : Namespace(CLONE_NEWCGROUP, std::move(owner)) {}
};

struct Namespaces {
  RefPtr<MountNamespace> mounts;
  RefPtr<UtsNamespace> uts;
  RefPtr<IpcNamespace> ipc;
  RefPtr<NetNamespace> net;
  RefPtr<CgroupNamespace> cgroup;
  RefPtr<PidNamespace> pids;  // the one that children are made in; a task's own never changes
};

}  // namespace sandbox
