#include "runsc/container/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/cleanup.h"
#include "base/io/pass_fds.h"

namespace sandbox {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t put = ::write(fd, data, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data += put;
    size -= put;
  }
  return true;
}

// False at the end of input, or when the other side is gone.
bool Copy(int from, int to) {
  char buffer[8192];
  ssize_t got;
  do {
    got = ::read(from, buffer, sizeof(buffer));
  } while (got < 0 && errno == EINTR);
  return got > 0 && WriteAll(to, buffer, static_cast<size_t>(got));
}

void CopyWindowSize(int from, int to) {
  winsize size;
  if (::ioctl(from, TIOCGWINSZ, &size) == 0) (void)::ioctl(to, TIOCSWINSZ, &size);
}

// Everything a program may be sent; what only the kernel means, and job control of runsc itself, stays as it is.
sigset_t ForwardedSignals() {
  sigset_t mask;
  sigfillset(&mask);
  for (const int signo : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGCHLD, SIGPIPE, SIGTSTP, SIGTTIN,
                          SIGTTOU, SIGCONT}) {
    sigdelset(&mask, signo);
  }
  return mask;
}

}  // namespace

absl::StatusOr<Pty> OpenPty(const spec::Process& process) {
  Pty pty;
  pty.master.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.master.valid() || ::unlockpt(pty.master.get()) != 0) return Failed("opening a pty");
  // By descriptor: no name of it need exist here.
  pty.slave.reset(::ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.slave.valid()) return Failed("opening a pty's other side");
  // Without the privilege it stays the caller's, who is the only user there is then.
  (void)!::fchown(pty.slave.get(), process.user.uid, static_cast<gid_t>(-1));
  const spec::ConsoleSize& wanted = process.console_size;
  if (wanted.height != 0 || wanted.width != 0) {
    winsize size = {};
    size.ws_row = static_cast<unsigned short>(wanted.height);
    size.ws_col = static_cast<unsigned short>(wanted.width);
    if (::ioctl(pty.master.get(), TIOCSWINSZ, &size) != 0) return Failed("setting the window size");
  }
  return pty;
}

absl::Status SendConsole(const std::string& socket_path, BorrowedFd master) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path))
    return absl::InvalidArgumentError("console socket: path too long");
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (!socket.valid() || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Failed("console socket " + socket_path);
  }
  const auto sent = SendWithFds(socket.borrow(), std::as_bytes(std::span("/dev/ptmx", 9)), {&master, 1});
  if (sent.ok()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("console socket ", socket_path, ": ", std::strerror(sent.error().value())));
}

void HoldSignals() {
  const sigset_t mask = ForwardedSignals();
  ::sigprocmask(SIG_BLOCK, &mask, nullptr);
}

absl::Status ServeForeground(BorrowedFd master, BorrowedFd until, const std::function<void(int)>& forward) {
  termios saved;
  const bool raw = master.valid() && ::tcgetattr(0, &saved) == 0;
  if (raw) {
    termios changed = saved;
    ::cfmakeraw(&changed);
    ::tcsetattr(0, TCSANOW, &changed);
    CopyWindowSize(0, master.get());
  }
  Cleanup restore([&] {
    if (raw) ::tcsetattr(0, TCSANOW, &saved);
  });
  HoldSignals();
  const sigset_t forwarded = ForwardedSignals();
  const UniqueFd signals(::signalfd(-1, &forwarded, SFD_CLOEXEC));
  if (!signals.valid()) return Failed("signalfd");
  pollfd fds[4] = {{master.get(), POLLIN, 0},
                   {master.valid() ? 0 : -1, POLLIN, 0},
                   {signals.get(), POLLIN, 0},
                   {until.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(fds, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return Failed("poll");
    }
    // Output first: the end is looked at when none is left.
    if (fds[0].revents != 0) {
      if (!Copy(master.get(), 1)) fds[0].fd = -1;
      continue;
    }
    if (fds[3].revents != 0) return absl::OkStatus();
    if (fds[1].revents != 0 && !Copy(0, master.get())) fds[1].fd = -1;
    if (fds[2].revents == 0) continue;
    signalfd_siginfo info;
    if (::read(signals.get(), &info, sizeof(info)) != sizeof(info)) continue;
    if (info.ssi_signo == SIGWINCH && master.valid()) {
      CopyWindowSize(0, master.get());
    } else {
      forward(static_cast<int>(info.ssi_signo));
    }
  }
}

absl::Status CheckConsole(const spec::Process& process, const std::string& console_socket, bool detach) {
  if (!process.terminal && !console_socket.empty()) {
    return absl::InvalidArgumentError("cannot use console socket if runsc will not detach or allocate tty");
  }
  if (process.terminal && detach && console_socket.empty()) {
    return absl::InvalidArgumentError("cannot allocate tty if runsc will detach without setting console socket");
  }
  return absl::OkStatus();
}

}  // namespace sandbox
