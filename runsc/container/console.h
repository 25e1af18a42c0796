// Terminals of containers: a pty of the host. The guest's side is donated to the sentry, whose guests see it as their
// terminal (sentry/fs/devpts/host_tty.h); the other side goes to the engine through --console-socket or is served by
// runsc in the foreground.
#pragma once

#include <sys/ioctl.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/spec/spec.h"

namespace sandbox {

struct Pty {
  UniqueFd master, slave;
};

// With the window size that the process asks for, if any. Owned by the process's uid, as a login would make it.
absl::StatusOr<Pty> OpenPty(const spec::Process& process);

// Connects to the socket and passes the master's descriptor (runc's terminal mode "detached").
absl::Status SendConsole(const std::string& socket_path, BorrowedFd master);

// Blocks the signals that ServeForeground passes on, for a time before it: none may be lost, or end runsc, between the
// start of the process and the service. Not before processes of ours are forked, which would inherit it.
void HoldSignals();

// What a foreground runsc does for a process that another process of the host stands for: passes its own signals to
// `forward` and, with a valid `master`, copies between its streams and the process's terminal, until `until` (a pidfd)
// is readable and all output is out. Its own terminal is raw meanwhile, window changes are passed on, and it is
// restored.
absl::Status ServeForeground(BorrowedFd master, BorrowedFd until, const std::function<void(int signo)>& forward);

// --console-socket and `terminal: true` go together: InvalidArgument with runc's texts.
absl::Status CheckConsole(const spec::Process& process, const std::string& console_socket, bool detach);

}  // namespace sandbox
