// The container's mount tree, from its configuration: root, overlay, then the mounts in the bundle's order.
#pragma once

#include "absl/status/statusor.h"
#include "base/ref.h"
#include "runsc/boot/config.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/vfs/mount.h"

namespace sandbox::boot {

absl::StatusOr<RefPtr<MountNamespace>> BuildMounts(const BootConfig& config, const RefPtr<GoferClient>& gofer);

}  // namespace sandbox::boot
