#include "sentry/fs/gofer/fs.h"

#include <algorithm>
#include <ctime>

#include "sentry/fs/gofer/inode.h"

namespace sandbox {

GoferInodeRef GoferTree::Intern(FileSystem& fs, GoferEntry entry) {
  const Key key{entry.attr.dev, entry.attr.ino};
  GoferInodeRef found;
  {
    MutexLock lock(mu_);
    WeakRef<GoferInode>& slot = inodes_[key];
    found = slot.lock();
    // The host may have given the number of a deleted object to another one.
    if (found == nullptr || !found->IsSameObject(entry.attr)) {
      auto made = MakeRef<GoferInode>(fs, shared_from_this(), std::move(entry));
      slot = made;
      return made;
    }
  }
  found->Update(std::move(entry));
  return found;
}

void GoferTree::Remove(const GoferInode& inode) {
  MutexLock lock(mu_);
  inodes_.erase({inode.host_dev(), inode.host_ino()});
}

void GoferTree::Expired(const GoferInode& inode) {
  MutexLock lock(mu_);
  auto it = inodes_.find({inode.host_dev(), inode.host_ino()});
  // Another inode may have taken the slot meanwhile.
  if (it != inodes_.end() && it->second.expired()) inodes_.erase(it);
}

void GoferTree::NoteRoom(uint64_t device) {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  MutexLock lock(mu_);
  room_ns_[device] = ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

int64_t GoferTree::room_ns(uint64_t device) const {
  MutexLock lock(mu_);
  auto it = room_ns_.find(device);
  return it == room_ns_.end() ? INT64_MIN / 2 : it->second;
}

uint64_t GoferTree::GuestIno(uint64_t dev, uint64_t ino) {
  if (dev == device_) return ino;
  MutexLock lock(mu_);
  auto it = std::find(other_devices_.begin(), other_devices_.end(), dev);
  const auto index = static_cast<uint64_t>(it - other_devices_.begin());
  if (it == other_devices_.end()) other_devices_.push_back(dev);
  return ino ^ ((index + 1) << 52);
}

Result<RefPtr<GoferFs>> GoferFs::Create(RefPtr<GoferClient> client, size_t index, GoferOptions options) {
  if (index >= client->trees().size()) return Err(EINVAL);
  const GoferClient::Tree& exported = client->trees()[index];
  if (exported.read_only) options.read_only = true;
  GoferEntry root{MakeRef<GoferHandle>(nullptr, exported.root), exported.attr, {}};
  auto tree = MakeRef<GoferTree>(std::move(client), options, exported.attr.dev);
  auto fs = MakeRef<GoferFs>(tree, options.origin);
  fs->root_ = tree->Intern(*fs, std::move(root));
  return fs;
}

InodeRef GoferFs::root() { return root_; }

Result<void> GoferFs::Sync(Context&) {
  tree_->client().Settle();
  return {};
}

Result<FsStat> GoferFs::StatFs(Context&) {
  const auto host = TRY(tree_->client().StatFs(root_->handle()->value()));
  FsStat out;
  out.type = host.type;
  out.block_size = host.block_size;
  out.blocks = host.blocks;
  out.blocks_free = host.blocks_free;
  out.blocks_available = host.blocks_available;
  out.files = host.files;
  out.files_free = host.files_free;
  out.name_max = host.name_max;
  return out;
}

}  // namespace sandbox
