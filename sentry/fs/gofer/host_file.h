// Donated host descriptors: regular files that the gofer opened for us, and the bounded cache that keeps them open
// after the guest closed them, so that opening a hot file again costs no round trip.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/unique_fd.h"

namespace sandbox {

class GoferInode;

struct HostFile {
  HostFile(UniqueFd descriptor, int mode) : fd(std::move(descriptor)), access(mode) {}
  UniqueFd fd;
  int access;  // O_RDONLY, O_WRONLY or O_RDWR: what the host enforces on it
};
using HostFileRef = RefPtr<HostFile>;

// The one cache of the process. Open guest files hold their descriptor themselves; the cache only bounds what stays
// open beyond them.
class HostFileCache {
 public:
  static HostFileCache& Get();

  // The inode's open descriptor with exactly this access mode, or null.
  HostFileRef Find(const GoferInode& inode, int access);
  void Insert(const GoferInode& inode, HostFileRef file);
  // Forgets all descriptors of an inode, which is going away or has lost its last name.
  void Drop(const GoferInode& inode);

 private:
  HostFileCache();
  struct Entry {
    uintptr_t key;
    HostFileRef file;
  };
  // Inodes are at least 8-byte aligned, which leaves the low bits for the access mode.
  static uintptr_t Key(const GoferInode& inode, int access) {
    return reinterpret_cast<uintptr_t>(&inode) | static_cast<uintptr_t>(access);
  }

  const size_t capacity_;
  Mutex mu_{LockRank::kLeaf};
  std::list<Entry> lru_ GUARDED_BY(mu_);  // most recent first
  std::unordered_map<uintptr_t, std::list<Entry>::iterator> index_ GUARDED_BY(mu_);
};

}  // namespace sandbox
