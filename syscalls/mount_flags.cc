#include "syscalls/mount_flags.h"

#include <linux/capability.h>
#include <sys/mount.h>

#include <array>

#include "abi/mount.h"
#include "sentry/vfs/reconfigure.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace sandbox::syscalls {
namespace {

struct Name {
  uint64_t attribute;
  MountFlags flag;
};
constexpr std::array<Name, 6> kNames = {{{abi::kMountAttrRdonly, MS_RDONLY},
                                         {abi::kMountAttrNosuid, MS_NOSUID},
                                         {abi::kMountAttrNodev, MS_NODEV},
                                         {abi::kMountAttrNoexec, MS_NOEXEC},
                                         {abi::kMountAttrNodiratime, MS_NODIRATIME},
                                         {abi::kMountAttrNosymfollow, MS_NOSYMFOLLOW}}};

}  // namespace

Result<void> CheckMayMount(Task& task) {
  if (!task.creds().HasIn(*task.mounts()->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
  return {};
}

MountFlags MountFlagsOf(unsigned long flags) {
  MountFlags kept = flags & kMountFlagsMask;
  if (kept & MS_STRICTATIME) return kept & ~MountFlags{MS_NOATIME | MS_RELATIME};
  return kept & MS_NOATIME ? kept : kept | MS_RELATIME;
}

Result<MountFlags> MountFlagsOfAttributes(uint64_t attributes) {
  MountFlags flags = 0;
  for (const Name& name : kNames) {
    if (attributes & name.attribute) flags |= name.flag;
    attributes &= ~name.attribute;
  }
  if (attributes & ~abi::kMountAttrAtime) return Err(EINVAL);
  switch (attributes) {
    case 0:
      return flags | MS_RELATIME;
    case abi::kMountAttrNoatime:
      return flags | MS_NOATIME;
    case abi::kMountAttrStrictatime:
      return flags | MS_STRICTATIME;
    default:
      return Err(EINVAL);
  }
}

uint64_t AttributesOf(MountFlags flags) {
  uint64_t attributes = flags & MS_NOATIME       ? abi::kMountAttrNoatime
                        : flags & MS_STRICTATIME ? abi::kMountAttrStrictatime
                                                 : 0;
  for (const Name& name : kNames) {
    if (flags & name.flag) attributes |= name.attribute;
  }
  return attributes;
}

Result<void> Reconfigure(FileSystem& fs, std::string_view options) {
  auto* const changing = dynamic_cast<Reconfigurable*>(&fs);
  return changing != nullptr ? changing->Reconfigure(options) : Result<void>();
}

}  // namespace sandbox::syscalls
