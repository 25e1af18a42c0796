// Where a task stands in the mount tree: root, working directory, umask (Linux: struct fs_struct). Shared by CLONE_FS.
#pragma once

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/vfs/path.h"

namespace sandbox {

class FsContext {
 public:
  FsContext(Path root, Path cwd, uint32_t umask) : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}
  RefPtr<FsContext> Fork() const;

  Path root() const;
  Path cwd() const;
  uint32_t umask() const;
  void SetRoot(Path root);
  void SetCwd(Path cwd);
  uint32_t SetUmask(uint32_t umask);  // returns the old one

 private:
  mutable Mutex mu_{LockRank::kFsContext};
  Path root_ GUARDED_BY(mu_);
  Path cwd_ GUARDED_BY(mu_);
  uint32_t umask_ GUARDED_BY(mu_);
};

}  // namespace sandbox
