#include "runsc/boot/mount_options.h"

#include <sys/mount.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace sandbox::boot {
namespace {

struct FlagOption {
  const char* name;
  MountFlags set;
  MountFlags clear;
};

constexpr FlagOption kFlagOptions[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"noatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME},
    {"atime", 0, MS_NOATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"relatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
    {"nostrictatime", 0, MS_STRICTATIME},
    {"nosymfollow", MS_NOSYMFOLLOW, 0},
    {"symfollow", 0, MS_NOSYMFOLLOW},
    // Say how the host would bind; the tree is the gofer's either way.
    {"bind", 0, 0},
    {"rbind", 0, 0},
};

struct PropagationOption {
  const char* name;
  unsigned long type;
};

constexpr PropagationOption kPropagation[] = {
    {"shared", MS_SHARED},   {"rshared", MS_SHARED | MS_REC},   {"private", MS_PRIVATE},
    {"rprivate", MS_PRIVATE | MS_REC}, {"slave", MS_SLAVE},     {"rslave", MS_SLAVE | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};

bool ApplyFlag(const std::string& option, MountOptions& parsed) {
  for (const FlagOption& known : kFlagOptions) {
    if (option != known.name) continue;
    parsed.flags = (parsed.flags & ~known.clear) | known.set;
    return true;
  }
  for (const PropagationOption& known : kPropagation) {
    if (option != known.name) continue;
    parsed.propagation = known.type;
    return true;
  }
  return false;
}

}  // namespace

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions parsed;
  for (const std::string& option : options) {
    if (ApplyFlag(option, parsed)) continue;
    if (!parsed.data.empty()) parsed.data += ',';
    parsed.data += option;
  }
  return parsed;
}

}  // namespace sandbox::boot
