// A running sandbox as runsc sees it: the sentry and gofer processes, and the control connection.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/boot/config.h"

namespace sandbox {

// A host folder or file that the gofer serves.
struct HostTree {
  std::string host_path;
  std::string destination;  // mount point in the container; "/" for the root
  bool readonly = false;
};

class Sandbox {
 public:
  // Starts the gofer and the sentry, and through them the container's first process. Fails with the reason the sentry
  // gave; nothing is left running then.
  static absl::StatusOr<Sandbox> Start(boot::BootConfig config, const std::vector<HostTree>& trees, int log_fd);

  Sandbox(Sandbox&& other) noexcept;
  Sandbox& operator=(Sandbox&&) = delete;
  // Kills what still runs and reaps it.
  ~Sandbox();

  // Serves as the container's foreground stand-in: forwards signals to it until it ends. Returns the wait status.
  absl::StatusOr<int> WaitForeground();

  // Exit code runsc should report for a Start that failed: 127 not found, 126 not executable, else 1.
  static int ExitCodeOf(const absl::Status& status);

 private:
  Sandbox() = default;

  UniqueFd control_;
  pid_t sentry_ = -1;
  pid_t gofer_ = -1;
};

}  // namespace sandbox
