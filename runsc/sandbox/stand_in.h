// A host process that stands for a guest process: engines hold its pid, signal it, and reap it. It passes the signals
// it gets on to the sentry and ends with the guest process's exit status. The gofer stands for the container's init, a
// forked runsc for each `exec`; runsc itself in the foreground does the same (foreground.h).
//
// With a terminal it is the session leader whose controlling terminal is the host's pty: ^C, ^Z and window changes
// become signals to it, which it marks as the terminal's, for the guest's foreground process group.
#pragma once

#include <signal.h>

#include "absl/status/status.h"
#include "base/unique_fd.h"

namespace sandbox {

// As a shell reports a wait status, and what the stand-in exits with: the code, or 128 + signal.
int ExitCodeOfWait(int wait_status);

class StandIn {
 public:
  // `connection`: to the sentry (control/message.h). `sentry`: its pidfd, or invalid; with it the end is reported only
  // when the sentry and so everything of the sandbox is gone. `record`: a file that gets the exit code in decimal, or
  // invalid.
  StandIn(UniqueFd connection, UniqueFd sentry, UniqueFd record)
      : connection_(std::move(connection)), sentry_(std::move(sentry)), record_(std::move(record)) {}

  // Blocks every signal it will forward and makes `terminal`, if valid, the controlling terminal of the calling
  // process, which must lead a session without one. Call before other threads are made: they must not take the signals.
  absl::Status Prepare(BorrowedFd terminal);
  // Returns the exit code: the guest process's, or 128 + SIGKILL when the sentry ended without reporting one.
  int Run();
  // Closes every descriptor of the process from 3 on but its own, after Prepare.
  void CloseOthers();
  BorrowedFd connection() const { return connection_.borrow(); }

 private:
  void TakeMessage();
  void PassSignal();

  UniqueFd connection_, sentry_, record_, signals_;
  int exit_code_ = 128 + SIGKILL;
};

}  // namespace sandbox
