// What a shared futex is keyed by. Two processes may reach one file through different Mappables, so files are keyed by
// device and inode (Linux: get_futex_key with its inode sequence number), through one object interned per file.
#include <map>

#include "sentry/mm/memory_manager.h"

namespace sandbox {
namespace {

struct FileKey {};

RefPtr<FileKey> InternFile(uint64_t device, uint64_t inode) {
  static Mutex mu{LockRank::kLeaf};
  static std::map<std::pair<uint64_t, uint64_t>, WeakRef<FileKey>> keys;
  MutexLock lock(mu);
  auto& entry = keys[{device, inode}];
  auto key = entry.lock();
  if (key == nullptr) {
    // Dead entries go now and then, so that the table stays as large as the set of files in use.
    static size_t sweep_at = 64;
    if (keys.size() >= sweep_at) {
      std::erase_if(keys, [](const auto& item) { return item.second.expired(); });
      sweep_at = 2 * keys.size() + 64;
    }
    key = MakeRef<FileKey>();
    keys[{device, inode}] = key;
  }
  return key;
}

}  // namespace

Result<MemoryManager::FutexPlace> MemoryManager::PlaceOf(GuestAddr addr, bool force_private) const {
  if (!range_.Contains(addr)) return Err(EFAULT);
  if (force_private) return FutexPlace{this, addr.value(), nullptr};
  RefPtr<Mappable> mappable;
  uint64_t offset;
  {
    MutexLock lock(mu_);
    const Vma* vma = vmas_.Find(addr);
    if (vma == nullptr) return Err(EFAULT);
    if (!vma->shared || vma->mappable == nullptr) return FutexPlace{this, addr.value(), nullptr};
    mappable = vma->mappable;
    offset = vma->offset + (addr - vma->range.start);
  }
  const auto identity = mappable->MappingIdentity();
  if (identity.device == 0 && identity.inode == 0) return FutexPlace{mappable.get(), offset, mappable};
  auto key = InternFile(identity.device, identity.inode);
  const void* object = key.get();
  return FutexPlace{object, offset, std::move(key)};
}

}  // namespace sandbox
