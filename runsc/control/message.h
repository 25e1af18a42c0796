// Messages between runsc and the sentry it started: one JSON object per SOCK_SEQPACKET datagram, at most 64 KiB.
// The sentry is less trusted than runsc: runsc bounds and validates what it receives.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox::control {

// Text of a kSignal that a terminal made: it is meant for the foreground process group.
inline constexpr char kFromTerminal[] = "terminal";

struct Message {
  enum class Kind {
    kSignal,   // to the sentry: deliver `number` to the container's init, or see kFromTerminal
    kStarted,  // from the sentry: the container's first process runs
    kExited,   // from the sentry: `number` is the init process's wait status (wait(2))
    kFailed,   // from the sentry: it could not start; `text` says why, `number` is the exit code for runsc
  };
  Kind kind = Kind::kSignal;
  int number = 0;
  std::string text;
};

absl::Status Send(BorrowedFd socket, const Message& message);
// Waits for one message. OutOfRange at the end of the connection, InvalidArgument for anything malformed.
absl::StatusOr<Message> Receive(BorrowedFd socket);

}  // namespace sandbox::control
