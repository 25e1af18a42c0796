// What the calls on mounts share: permission, and flags as mount(2) and as fsmount(2) name them.
#pragma once

#include "base/result.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/mount.h"

namespace sandbox::syscalls {

inline constexpr unsigned long kPropagationFlags = (1 << 17) | (1 << 18) | (1 << 19) | (1 << 20);  // MS_UNBINDABLE …

// Linux: may_mount. EPERM.
Result<void> CheckMayMount(Task& task);
// MS_* flags a mount keeps of mount(2)'s: relatime unless something else was said.
MountFlags MountFlagsOf(unsigned long flags);
// The same of MOUNT_ATTR_*, whose access times are a number. EINVAL for unknown ones.
Result<MountFlags> MountFlagsOfAttributes(uint64_t attributes);
uint64_t AttributesOf(MountFlags flags);
inline constexpr MountFlags kAccessTimeFlags = (1 << 10) | (1 << 21) | (1 << 24);  // MS_NOATIME, RELATIME, STRICTATIME

// New options for a file system that is mounted; those that cannot change ignore them.
Result<void> Reconfigure(FileSystem& fs, std::string_view options);

}  // namespace sandbox::syscalls
