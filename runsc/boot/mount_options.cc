#include "runsc/boot/mount_options.h"

#include <sys/mount.h>

#include <algorithm>

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
    // The recursive forms (mount_setattr(2)): what is mounted below a bound tree is part of it here.
    {"rro", MS_RDONLY, 0},
    {"rrw", 0, MS_RDONLY},
    {"rnosuid", MS_NOSUID, 0},
    {"rsuid", 0, MS_NOSUID},
    {"rnodev", MS_NODEV, 0},
    {"rdev", 0, MS_NODEV},
    {"rnoexec", MS_NOEXEC, 0},
    {"rexec", 0, MS_NOEXEC},
    {"rnoatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME},
    {"ratime", 0, MS_NOATIME},
    {"rnodiratime", MS_NODIRATIME, 0},
    {"rdiratime", 0, MS_NODIRATIME},
    {"rrelatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME},
    {"rnorelatime", 0, MS_RELATIME},
    {"rstrictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
    {"rnostrictatime", 0, MS_STRICTATIME},
    {"rnosymfollow", MS_NOSYMFOLLOW, 0},
    {"rsymfollow", 0, MS_NOSYMFOLLOW},
    // Mean nothing to this kernel's file systems.
    {"acl", 0, 0},
    {"noacl", 0, 0},
    {"dirsync", 0, 0},
    {"iversion", 0, 0},
    {"noiversion", 0, 0},
    {"lazytime", 0, 0},
    {"nolazytime", 0, 0},
    {"mand", 0, 0},
    {"nomand", 0, 0},
    {"silent", 0, 0},
    {"loud", 0, 0},
    {"remount", 0, 0},
    // Say how the host would bind; the tree is the gofer's either way.
    {"bind", 0, 0},
    {"rbind", 0, 0},
};

struct PropagationOption {
  const char* name;
  unsigned long type;
};

constexpr PropagationOption kPropagation[] = {{"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
                                              {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
                                              {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
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
    if (option == "tmpcopyup") {
      parsed.copy_up = true;
      continue;
    }
    if (!parsed.data.empty()) parsed.data += ',';
    parsed.data += option;
  }
  return parsed;
}

std::vector<std::string> KnownMountOptions() {
  std::vector<std::string> names;
  for (const FlagOption& option : kFlagOptions) names.push_back(option.name);
  for (const PropagationOption& option : kPropagation) names.push_back(option.name);
  names.push_back("tmpcopyup");
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sandbox::boot
