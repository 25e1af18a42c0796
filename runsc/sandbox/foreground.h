// runsc standing in for the container's program on the caller's terminal.
#pragma once

#include <signal.h>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox {

// Blocks the signals a program may receive and passes them on to the sentry. Restores the mask when destroyed.
class SignalForwarder {
 public:
  static absl::StatusOr<SignalForwarder> Create();
  SignalForwarder(SignalForwarder&& other) noexcept;
  SignalForwarder& operator=(SignalForwarder&&) = delete;
  ~SignalForwarder();

  // Returns the container's wait status; Unavailable when the sentry died without reporting one.
  absl::StatusOr<int> ForwardUntilExit(BorrowedFd control);

 private:
  SignalForwarder() = default;
  absl::Status ForwardOne(BorrowedFd control);

  UniqueFd signals_;
  sigset_t old_mask_ = {};
  bool armed_ = false;
};

}  // namespace sandbox
