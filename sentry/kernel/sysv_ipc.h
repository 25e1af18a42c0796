// What System V shared memory, semaphores and message queues share: keys, identifiers and permissions (svipc(7), Linux:
// ipc/util.c).
#pragma once

#include <linux/capability.h>
#include <sys/ipc.h>

#include <atomic>
#include <ctime>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"

namespace sandbox {

// Owner and mode of one object; its owner's lock guards it.
struct IpcPermissions {
  int32_t key = IPC_PRIVATE;
  uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0;
  uint32_t mode = 0;  // permission bits
};

// Linux's ipcperms: `wanted` is a mode such as 0400, in any of its three places. EACCES.
inline Result<void> CheckIpc(const Credentials& creds, const IpcPermissions& permissions, uint32_t wanted) {
  const uint32_t requested = (wanted >> 6 | wanted >> 3 | wanted) & 7;
  uint32_t granted = permissions.mode;
  if (creds.euid == permissions.cuid || creds.euid == permissions.uid)
    granted >>= 6;
  else if (creds.InGroup(permissions.cgid) || creds.InGroup(permissions.gid))
    granted >>= 3;
  if ((requested & ~granted & 7) != 0 && !creds.HasOver(permissions.uid, permissions.gid, CAP_IPC_OWNER))
    return Err(EACCES);
  return {};
}

// IPC_SET and IPC_RMID are the owner's, the creator's and CAP_SYS_ADMIN's. EPERM.
inline Result<void> CheckIpcOwner(const Credentials& creds, const IpcPermissions& permissions) {
  if (creds.euid == permissions.cuid || creds.euid == permissions.uid) return {};
  if (!creds.HasOver(permissions.uid, permissions.gid, CAP_SYS_ADMIN)) return Err(EPERM);
  return {};
}

inline IpcPermissions NewIpcPermissions(const Credentials& creds, int32_t key, int flags) {
  return {.key = key,
          .uid = creds.euid,
          .gid = creds.egid,
          .cuid = creds.euid,
          .cgid = creds.egid,
          .mode = static_cast<uint32_t>(flags) & 0777};
}

// For and from the guest. EINVAL for ids that mean nothing to it.
inline void CopyPermissions(const Credentials& reader, const IpcPermissions& from, ipc_perm& to) {
  to.__key = from.key;
  to.uid = reader.ShownUid(from.uid);
  to.gid = reader.ShownGid(from.gid);
  to.cuid = reader.ShownUid(from.cuid);
  to.cgid = reader.ShownGid(from.cgid);
  to.mode = static_cast<decltype(to.mode)>(from.mode);
}

inline Result<void> SetPermissions(const Credentials& writer, const ipc_perm& from, IpcPermissions& to) {
  to.uid = TRY(writer.ActualUid(from.uid));
  to.gid = TRY(writer.ActualGid(from.gid));
  to.mode = from.mode & 0777;
  return {};
}

// The objects of one kind in one namespace. T has `IpcPermissions permissions` and `int id`.
template <typename T>
class IpcTable {
 public:
  explicit IpcTable(size_t most) : most_(most) {}

  // The get family: finds by key or makes with `make()`. `check(object)` has the last word on an existing one.
  template <typename Make, typename Check>
  Result<int> Get(Context& context, int32_t key, int flags, Make make, Check check) {
    MutexLock lock(mu_);
    if (key != IPC_PRIVATE) {
      if (const auto found = by_key_.find(key); found != by_key_.end()) {
        const T& object = *objects_.at(found->second);
        if ((flags & IPC_CREAT) && (flags & IPC_EXCL)) return Err(EEXIST);
        TRY(CheckIpc(context.creds(), object.permissions, static_cast<uint32_t>(flags) & 0777));
        TRY(check(object));
        return found->second;
      }
      if (!(flags & IPC_CREAT)) return Err(ENOENT);
    }
    if (objects_.size() >= most_.load()) return Err(ENOSPC);
    RefPtr<T> object = TRY(make());
    object->permissions = NewIpcPermissions(context.creds(), key, flags);
    object->id = NextId();
    const int id = object->id;
    if (key != IPC_PRIVATE) by_key_[key] = id;
    objects_.emplace(id, std::move(object));
    return id;
  }
  // EINVAL when there is none.
  Result<RefPtr<T>> Find(int id) const {
    MutexLock lock(mu_);
    const auto it = objects_.find(id);
    if (it == objects_.end()) return Err(EINVAL);
    return it->second;
  }
  // For the *_STAT commands, which count objects from zero.
  Result<RefPtr<T>> At(int index) const {
    MutexLock lock(mu_);
    if (index < 0 || static_cast<size_t>(index) >= objects_.size()) return Err(EINVAL);
    return std::next(objects_.begin(), index)->second;
  }
  std::vector<RefPtr<T>> All() const {
    MutexLock lock(mu_);
    std::vector<RefPtr<T>> all;
    for (const auto& [id, object] : objects_) all.push_back(object);
    return all;
  }
  // No longer found by its key, or at all.
  void Hide(T& object) {
    MutexLock lock(mu_);
    by_key_.erase(object.permissions.key);
    object.permissions.key = IPC_PRIVATE;
  }
  void Remove(int id) {
    RefPtr<T> last;  // destroyed after the lock
    MutexLock lock(mu_);
    if (auto node = objects_.extract(id); !node.empty()) {
      last = std::move(node.mapped());
      by_key_.erase(last->permissions.key);
    }
  }
  // Settings of /proc/sys/kernel: msgmni and its kin, and msg_next_id and its kin (-1 = none; used up by the next get).
  size_t most() const { return most_.load(); }
  void set_most(size_t most) { most_.store(most); }
  int wanted_id() const { return wanted_id_.load(); }
  void set_wanted_id(int id) { wanted_id_.store(id); }
  size_t size() const {
    MutexLock lock(mu_);
    return objects_.size();
  }
  // Permissions change under the table's lock.
  template <typename F>
  auto WithLock(F f) const {
    MutexLock lock(mu_);
    return f();
  }

 private:
  // Identifiers are not reused soon, so that a stale one finds nothing.
  int NextId() REQUIRES(mu_) {
    if (const int wanted = wanted_id_.exchange(-1); wanted >= 0 && !objects_.contains(wanted)) return wanted;
    do {
      last_id_ = last_id_ == 0x7fffffff ? 0 : last_id_ + 1;
    } while (objects_.contains(last_id_));
    return last_id_;
  }

  std::atomic<size_t> most_;
  std::atomic<int> wanted_id_{-1};
  mutable Mutex mu_{LockRank::kIpc};
  std::map<int, RefPtr<T>> objects_ GUARDED_BY(mu_);
  std::map<int32_t, int> by_key_ GUARDED_BY(mu_);
  int last_id_ GUARDED_BY(mu_) = -1;
};

}  // namespace sandbox
