// tmpfs: a file system in memory (Linux: mm/shmem.c, tmpfs(5)). Everything is in the sentry's heap, except the bytes
// of large or mapped files (data.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/tmpfs/usage.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/reconfigure.h"

namespace sandbox {

struct TmpfsOptions {
  uint64_t max_bytes = 0;   // 0 = unlimited
  uint64_t max_inodes = 0;  // 0 = unlimited
  uint32_t mode = 01777;
  uint32_t uid = 0, gid = 0;
  std::string shown;  // what /proc/mounts prints
};

// "size=64k,mode=1777,uid=0,gid=0,nr_inodes=1k,nr_blocks=…"; sizes with k, m, g, t, or a percentage of memory. EINVAL.
Result<TmpfsOptions> ParseTmpfsOptions(std::string_view text);

class TmpfsFileSystem final : public FileSystem, public Reconfigurable {
 public:
  static RefPtr<TmpfsFileSystem> Create(const TmpfsOptions& options = {});
  explicit TmpfsFileSystem(const TmpfsOptions& options);
  ~TmpfsFileSystem() override;

  std::string_view type_name() const override { return "tmpfs"; }
  InodeRef root() override { return root_; }
  Result<FsStat> StatFs(Context& context) override;
  std::string MountOptions() const override;
  // size, nr_blocks and nr_inodes; others are read and ignored.
  Result<void> Reconfigure(std::string_view options) override;
  const RefPtr<TmpfsUsage>& usage() const { return usage_; }

 private:
  const RefPtr<TmpfsUsage> usage_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::string shown_ GUARDED_BY(mu_);
  InodeRef root_;
};

}  // namespace sandbox
