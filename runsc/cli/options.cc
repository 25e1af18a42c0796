#include "runsc/cli/options.h"

#include <unistd.h>

#include <cstdlib>

namespace sandbox::cli {

std::string DefaultRoot() {
  if (::geteuid() == 0) return "/run/runsc";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != 0) return std::string(runtime) + "/runsc";
  return "/tmp/runsc-" + std::to_string(::geteuid());
}

}  // namespace sandbox::cli
