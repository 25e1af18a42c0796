// Mount options of config.json: flags of mount(2), and what is left for the file system.
#pragma once

#include <string>
#include <vector>

#include "sentry/vfs/mount.h"

namespace sandbox::boot {

struct MountOptions {
  MountFlags flags = 0;
  unsigned long propagation = 0;  // MS_SHARED, MS_PRIVATE…; 0 = not given
  bool copy_up = false;           // tmpcopyup
  std::string data;               // comma separated, for the file system
};

MountOptions ParseMountOptions(const std::vector<std::string>& options);
// Names that are flags or propagation types, sorted.
std::vector<std::string> KnownMountOptions();

}  // namespace sandbox::boot
