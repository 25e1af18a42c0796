#include "sentry/fs/gofer/host_file.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>

namespace sandbox {
namespace {

// A quarter of the descriptors that the process may have.
size_t Capacity() {
  constexpr size_t kLeast = 128, kMost = 16384;
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kLeast;
  return static_cast<size_t>(std::clamp<rlim_t>(limit.rlim_cur / 4, kLeast, kMost));
}

}  // namespace

HostFileCache::HostFileCache() : capacity_(Capacity()) {}

HostFileCache& HostFileCache::Get() {
  static auto* cache = new HostFileCache;  // never destroyed: inodes may outlive static destruction
  return *cache;
}

HostFileRef HostFileCache::Find(const GoferInode& inode, int access) {
  MutexLock lock(mu_);
  auto it = index_.find(Key(inode, access));
  if (it == index_.end()) return nullptr;
  lru_.splice(lru_.begin(), lru_, it->second);
  return it->second->file;
}

void HostFileCache::Insert(const GoferInode& inode, HostFileRef file) {
  const uintptr_t key = Key(inode, file->access);
  std::list<Entry> evicted;  // closed after the lock is released
  MutexLock lock(mu_);
  if (auto it = index_.find(key); it != index_.end()) {
    evicted.splice(evicted.begin(), lru_, it->second);
    index_.erase(it);
  }
  lru_.push_front({key, std::move(file)});
  index_[key] = lru_.begin();
  while (lru_.size() > capacity_) {
    index_.erase(lru_.back().key);
    evicted.splice(evicted.begin(), lru_, std::prev(lru_.end()));
  }
}

void HostFileCache::Drop(const GoferInode& inode) {
  std::list<Entry> dropped;
  MutexLock lock(mu_);
  for (const int access : {O_RDONLY, O_WRONLY, O_RDWR}) {
    auto it = index_.find(Key(inode, access));
    if (it == index_.end()) continue;
    dropped.splice(dropped.begin(), lru_, it->second);
    index_.erase(it);
  }
}

}  // namespace sandbox
