#include "runsc/cli/options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace sandbox::cli {
namespace {

// Root of a user namespace alone, as rootless engines start a runtime: the host's /run is not its own then.
bool InUserNamespace() {
  std::FILE* const map = std::fopen("/proc/self/uid_map", "re");
  if (map == nullptr) return false;
  unsigned inside = 0, outside = 0, count = 0;
  const bool read = std::fscanf(map, "%u %u %u", &inside, &outside, &count) == 3;
  std::fclose(map);
  return read && (inside != 0 || outside != 0 || count != ~0u);
}

}  // namespace

std::string DefaultRoot() {
  if (::geteuid() == 0 && !InUserNamespace()) return "/run/runsc";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != 0) return std::string(runtime) + "/runsc";
  return "/tmp/runsc-" + std::to_string(::geteuid());
}

}  // namespace sandbox::cli
