#include "runsc/sandbox/stand_in.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "runsc/control/message.h"

namespace sandbox {

int ExitCodeOfWait(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

absl::Status StandIn::Prepare(BorrowedFd terminal) {
  sigset_t mask;
  sigfillset(&mask);
  // Our own faults, the filter's, and what only the kernel means.
  for (const int signo : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGCHLD, SIGPIPE})
    sigdelset(&mask, signo);
  if (::sigprocmask(SIG_SETMASK, &mask, nullptr) != 0) {
    return absl::InternalError(absl::StrCat("sigprocmask: ", std::strerror(errno)));
  }
  signals_.reset(::signalfd(-1, &mask, SFD_CLOEXEC));
  if (!signals_.valid()) return absl::InternalError(absl::StrCat("signalfd: ", std::strerror(errno)));
  if (terminal.valid() && ::ioctl(terminal.get(), TIOCSCTTY, 0) != 0) {
    return absl::InternalError(absl::StrCat("taking the terminal: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

void StandIn::CloseOthers() {
  std::array kept = {connection_.get(), signals_.get(), sentry_.get(), record_.get()};
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (const int fd : kept) {
    if (fd < 3) continue;
    if (static_cast<unsigned>(fd) > next) ::syscall(SYS_close_range, next, fd - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  ::syscall(SYS_close_range, next, ~0u, 0);
}

void StandIn::TakeMessage() {
  const auto message = control::Receive(connection_.borrow());
  if (message.ok() && message->kind != control::Message::Kind::kExited) return;
  if (message.ok()) exit_code_ = ExitCodeOfWait(message->number);
  connection_.reset();
}

void StandIn::PassSignal() {
  signalfd_siginfo info;
  if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return;
  if (!connection_.valid()) return;
  const char* origin = info.ssi_code == SI_KERNEL ? control::kFromTerminal : "";
  // A sentry that is gone shows on the connection next.
  (void)control::Send(connection_.borrow(),
                      {control::Message::Kind::kSignal, static_cast<int>(info.ssi_signo), origin});
}

int StandIn::Run() {
  // poll(2) ignores entries whose descriptor is negative.
  while (connection_.valid() || sentry_.valid()) {
    pollfd fds[3] = {{connection_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {sentry_.get(), POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (fds[0].revents != 0) {
      TakeMessage();
    } else if (fds[2].revents != 0) {
      break;  // with nothing left to read on the connection
    } else if (fds[1].revents != 0) {
      PassSignal();
    }
  }
  if (record_.valid()) {
    const std::string text = std::to_string(exit_code_);
    (void)!::write(record_.get(), text.data(), text.size());  // a full disk must not keep the process from ending
  }
  return exit_code_;
}

}  // namespace sandbox
