// The container's mount tree, from its configuration: root, overlay, then the mounts in the
// bundle's order.
#pragma once

#include "absl/status/statusor.h"
#include "base/ref.h"
#include "runsc/boot/config.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/vfs/mount.h"

namespace sandbox::boot {

// `ipc`: whose queues a mount of type mqueue shows; `pids`: whose processes proc does.
absl::StatusOr<RefPtr<MountNamespace>> BuildMounts(const BootConfig& config, const RefPtr<GoferClient>& gofer,
                                                   const RefPtr<IpcNamespace>& ipc, const RefPtr<PidNamespace>& pids);

}  // namespace sandbox::boot
