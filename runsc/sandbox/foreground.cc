#include "runsc/sandbox/foreground.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/control/message.h"

namespace sandbox {
namespace {

constexpr int kForwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1, SIGUSR2, SIGALRM,
                              SIGCONT, SIGTSTP, SIGWINCH, SIGPIPE, SIGURG,  SIGIO,   SIGPWR};

}  // namespace

absl::StatusOr<SignalForwarder> SignalForwarder::Create() {
  SignalForwarder forwarder;
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signo : kForwarded) sigaddset(&mask, signo);
  if (::sigprocmask(SIG_BLOCK, &mask, &forwarder.old_mask_) != 0) {
    return absl::InternalError(absl::StrCat("sigprocmask: ", std::strerror(errno)));
  }
  forwarder.armed_ = true;
  forwarder.signals_.reset(::signalfd(-1, &mask, SFD_CLOEXEC));
  if (!forwarder.signals_.valid()) return absl::InternalError(absl::StrCat("signalfd: ", std::strerror(errno)));
  return forwarder;
}

SignalForwarder::SignalForwarder(SignalForwarder&& other) noexcept
    : signals_(std::move(other.signals_)), old_mask_(other.old_mask_), armed_(std::exchange(other.armed_, false)) {}

SignalForwarder::~SignalForwarder() {
  if (armed_) ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

absl::Status SignalForwarder::ForwardOne(BorrowedFd control) {
  signalfd_siginfo info;
  if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return absl::OkStatus();
  const int signo = static_cast<int>(info.ssi_signo);
  const char* origin = info.ssi_code == SI_KERNEL ? control::kFromTerminal : "";
  auto status = control::Send(control, {control::Message::Kind::kSignal, signo, origin});
  // Ctrl-Z stops the job as its shell sees it, and that is us; SIGCONT arrives through the same road.
  if (status.ok() && signo == SIGTSTP) ::raise(SIGSTOP);
  return status;
}

absl::StatusOr<int> SignalForwarder::ForwardUntilExit(BorrowedFd control) {
  for (;;) {
    pollfd fds[2] = {{control.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (fds[0].revents != 0) {
      auto message = control::Receive(control);
      if (!message.ok()) return absl::UnavailableError("the sandbox's kernel died");
      if (message->kind == control::Message::Kind::kExited) return message->number;
      if (message->kind == control::Message::Kind::kFailed) return absl::InternalError(message->text);
      continue;
    }
    // A sentry that is gone shows on the control socket next.
    if (fds[1].revents != 0) (void)ForwardOne(control);
  }
}

}  // namespace sandbox
