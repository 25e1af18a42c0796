// What a container's configuration asks of procfs: a proc for its processes, and limits of its IPC namespace under
// /proc/sys (sysctl(8)): kernel/shm*, kernel/msg*, kernel/sem, fs/mqueue/*.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/vfs/inode.h"

namespace sandbox::proc {

// Shows the processes of `view`, which need not exist yet.
RefPtr<FileSystem> MakeProc(RefPtr<PidNamespace> view);

struct IpcSetting {
  const char* path;  // below /proc/sys
  std::string (*get)(IpcNamespace& ipc);
  Result<void> (*set)(IpcNamespace& ipc, std::string_view text);  // EINVAL
};

std::span<const IpcSetting> IpcSettings();

}  // namespace sandbox::proc
