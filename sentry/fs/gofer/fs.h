// GoferFs: a host directory tree, reached through the gofer process (gofer/server).
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/prepared.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

class GoferInode;
using GoferInodeRef = RefPtr<GoferInode>;

struct GoferOptions {
  // Nothing but this sandbox changes the tree while it runs: names, attributes and listings are cached until we change
  // them. Otherwise every use asks the host again.
  bool exclusive = true;
  bool read_only = false;
  std::string origin = {};  // FileSystem::origin
};

// What the inodes of one tree share. Outlives the GoferFs as long as an inode does.
class GoferTree : public RefFromThis<GoferTree> {
 public:
  GoferTree(RefPtr<GoferClient> client, GoferOptions options, uint64_t device)
      : client_(std::move(client)), options_(options), device_(device), prepared_(*client_) {}

  GoferClient& client() const { return *client_; }
  bool exclusive() const { return options_.exclusive; }
  bool read_only() const { return options_.read_only; }
  PreparedFiles& prepared() { return prepared_; }

  // When a change last found the file system `device` far from full (gofer::ReplyHeader::room), on CLOCK_MONOTONIC.
  void NoteRoom(uint64_t device);
  int64_t room_ns(uint64_t device) const;

  // The inode for an object the gofer found: the one that exists (hard links are one inode), or a new one.
  GoferInodeRef Intern(FileSystem& fs, GoferEntry entry);
  // The object's last name is gone: its number may be used again by another one.
  void Remove(const GoferInode& inode);
  // From the inode's destructor.
  void Expired(const GoferInode& inode);

  // Host inode number as the guest sees it. A tree may span several host file systems; the guest sees one device, so
  // the numbers of the others are moved out of the way.
  uint64_t GuestIno(uint64_t dev, uint64_t ino);

 private:
  struct Key {
    uint64_t dev, ino;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const { return key.ino * 0x9e3779b97f4a7c15u ^ key.dev; }
  };

  const RefPtr<GoferClient> client_;
  const GoferOptions options_;
  const uint64_t device_;  // of the root, on the host
  mutable Mutex mu_{LockRank::kLeaf};
  std::unordered_map<Key, WeakRef<GoferInode>, KeyHash> inodes_ GUARDED_BY(mu_);
  std::vector<uint64_t> other_devices_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, int64_t> room_ns_ GUARDED_BY(mu_);
  PreparedFiles prepared_;
};
using GoferTreeRef = RefPtr<GoferTree>;

class GoferFs final : public FileSystem {
 public:
  GoferFs(GoferTreeRef tree, std::string origin) : tree_(std::move(tree)), origin_(std::move(origin)) {}
  // Tree number `index` of what the server exports; EINVAL when there is no such tree.
  static Result<RefPtr<GoferFs>> Create(RefPtr<GoferClient> client, size_t index, GoferOptions options);

  std::string_view type_name() const override { return "gofer"; }
  InodeRef root() override;
  Result<FsStat> StatFs(Context& context) override;
  Result<void> Sync(Context& context) override;
  bool exclusive() const override { return tree_->exclusive(); }
  std::string_view origin() const override { return origin_; }

 private:
  const GoferTreeRef tree_;
  const std::string origin_;
  GoferInodeRef root_;
};

}  // namespace sandbox
