// devpts: the file system of pseudo terminals (Linux: fs/devpts). Its ptmx node and /dev/ptmx make pairs; each open
// pair has a node named by its number.
#pragma once

#include <map>
#include <optional>

#include "sentry/fs/devpts/pty.h"
#include "sentry/fs/synthetic/synthetic.h"

namespace sandbox {

class HostTerminal;
class Task;

struct DevptsOptions {
  uint32_t mode = 0600;
  std::optional<uint32_t> uid, gid;  // default: the opener's
  uint32_t ptmx_mode = 0;
  uint32_t max = 1 << 20;
};

class DevptsFs final : public synthetic::Fs {
 public:
  static Result<RefPtr<FileSystem>> Create(Context& context, std::string_view source, std::string_view options);

  // Nodes come and go with their terminals.
  bool exclusive() const override { return false; }
  std::string MountOptions() const override;

  // open(2) of ptmx: ENOSPC when all numbers are taken.
  Result<FileRef> OpenMaster(Context& context, const Path& path, int flags);
  // Gives the host's terminal a number and a node here, for as long as it is used: what ttyname(3) finds. ENOSPC.
  Result<uint32_t> Show(const RefPtr<HostTerminal>& terminal);

 private:
  friend class DevptsRoot;
  explicit DevptsFs(const DevptsOptions& options);
  void Release(uint32_t index);
  Result<uint32_t> FreeIndexLocked() const REQUIRES(mu_);

  const DevptsOptions options_;
  Mutex mu_{LockRank::kLeaf};
  std::map<uint32_t, RefPtr<synthetic::Node>> slaves_ GUARDED_BY(mu_);
};

// The devpts instance that an open of the device node at `path` means: the one it lives in, or the one mounted on
// "pts" beside it (Linux: devpts_mntget). ENODEV when there is none.
Result<RefPtr<DevptsFs>> FindDevpts(Context& context, const Path& path);
// Where the slave of that number is found, next to the master that was opened at `master` (TIOCGPTPEER).
Result<Path> FindSlave(Context& context, const Path& master, uint32_t index);

}  // namespace sandbox
