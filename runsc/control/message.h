// Messages between runsc and a sentry: one JSON object per SOCK_SEQPACKET datagram, at most 64 KiB, with descriptors
// beside it where a kind says so. The sentry is less trusted than runsc: runsc bounds and validates what it receives.
//
// Three kinds of connection carry them:
//   boot      runsc create|run|do, from the fork to the moment the container is kept (kDetach) or ends
//   stand-in  the host process that stands for a guest process (runsc/sandbox/stand_in.h): signals in, exit status out
//   control   accepted from the socket in the container's state folder: one request, one kOk or kFailed each; kExec
//   turns
//             the connection into a stand-in's
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/io/pass_fds.h"
#include "base/unique_fd.h"

namespace sandbox::control {

// Text of a kSignal that a terminal made: it is meant for the foreground process group.
inline constexpr char kFromTerminal[] = "terminal";
// Text of a kSignal that goes to every process of the container.
inline constexpr char kToAll[] = "all";
// Most descriptors beside one message.
inline constexpr size_t kMaxFds = kMaxPassedFds;

struct Message {
  enum class Kind {
    kSignal,     // to the sentry: deliver `number` to the connection's process (control: the container's init)
    kStarted,    // from the sentry: the process runs; on a boot connection: is loaded and may be started
    kExited,     // from the sentry: `number` is the process's wait status (wait(2))
    kFailed,     // from the sentry: it could not be done; `text` says why, `number` is the exit code for runsc
    kDetach,     // boot, to the sentry: the end of this connection is no longer the end of the sandbox
    kStart,      // control requests. kStart: let the created container run
    kExec,       // descriptors: a memory file with the process (spec::Process, JSON), then the process's 0, 1, 2, …
    kWait,       // answered with kExited
    kProcesses,  // `text` of the answer: a JSON array of {pid, ppid, uid, start, cpu_ns, tty, args}
    kStatus,     // `text` of the answer: "created", "running", "paused" or "stopped"
    kOk,
    kCreate,  // descriptors: runsc/boot/config.h, kJoin…. Makes the further container `container`; answered with
              // kStarted. It ends with the connection until kDetach is sent on it
    kPause,   // stops the container's processes: none runs once this is answered
    kResume,
    kUpdate,   // `text`: the new limits (boot::ToJson)
    kProfile,  // `text` of the answer: boot::ProfileJson, of the whole sandbox
  };
  Kind kind = Kind::kSignal;
  int number = 0;
  std::string text;
  std::string container;  // control requests: its id; empty = the one the sandbox was made for
};

absl::Status Send(BorrowedFd socket, const Message& message, const std::vector<BorrowedFd>& fds = {});
// Waits for one message. OutOfRange at the end of the connection, InvalidArgument for anything malformed. With `fds`
// null, descriptors the peer sent never enter this process.
absl::StatusOr<Message> Receive(BorrowedFd socket, std::vector<UniqueFd>* fds = nullptr);
// Sends a request and waits for its answer; a kFailed answer is an error with its text.
absl::StatusOr<Message> Call(BorrowedFd socket, const Message& request, const std::vector<BorrowedFd>& fds = {});

// The exit code runsc should end with, carried by an error: 127 for a program that was not found, 126 for one that
// cannot be executed, 1 unless set.
absl::Status WithExitCode(absl::Status status, int code);
int ExitCodeOf(const absl::Status& status);

}  // namespace sandbox::control
