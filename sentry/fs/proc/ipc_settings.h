// Limits of an IPC namespace under /proc/sys (sysctl(8)): kernel/shm*, kernel/msg*, kernel/sem, fs/mqueue/*.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/kernel/namespaces.h"

namespace sandbox::proc {

struct IpcSetting {
  const char* path;  // below /proc/sys
  std::string (*get)(IpcNamespace& ipc);
  Result<void> (*set)(IpcNamespace& ipc, std::string_view text);  // EINVAL
};

std::span<const IpcSetting> IpcSettings();

}  // namespace sandbox::proc
