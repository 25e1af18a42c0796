#include "sentry/fs/devpts/host_tty.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "abi/termbits.h"
#include "base/host_sys.h"
#include "sentry/fs/devpts/tty_ioctl.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

// Terminals seen so far, so that stdin, stdout and stderr on one terminal share it.
Guarded<std::vector<WeakRef<HostTerminal>>>& Terminals() {
  static Guarded<std::vector<WeakRef<HostTerminal>>> terminals(LockRank::kLeaf);
  return terminals;
}

Result<RefPtr<HostTerminal>> TerminalFor(int fd, uint64_t device) {
  UniqueFd own = TRY(host::Duplicate(BorrowedFd(fd)));
  return Terminals().With([&](auto& terminals) -> RefPtr<HostTerminal> {
    std::erase_if(terminals, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : terminals) {
      auto known = weak.lock();
      if (known != nullptr && known->host_device() == device) return known;
    }
    auto fresh = MakeRef<HostTerminal>(std::move(own), device);
    terminals.push_back(fresh);
    return fresh;
  });
}

// Passes a request with a fixed-size structure to the host terminal: out of the guest once, or into it.
template <typename T>
Result<int64_t> PassGet(Context& context, int fd, unsigned long request, uint64_t to) {
  T value{};
  TRY(host::Control(BorrowedFd(fd), request, &value));
  TRY(OutPtr<T>(GuestAddr(to)).Write(context.memory(), value));
  return 0;
}
template <typename T>
Result<int64_t> PassSet(Context& context, int fd, unsigned long request, uint64_t from) {
  T value = TRY(InPtr<T>(GuestAddr(from)).Read(context.memory()));
  TRY(host::Control(BorrowedFd(fd), request, &value));
  return 0;
}
Result<int64_t> PassNumber(int fd, unsigned long request, uint64_t number, uint64_t maximum) {
  if (number > maximum) return Err(EINVAL);
  TRY(host::Control(BorrowedFd(fd), request, reinterpret_cast<void*>(number)));
  return 0;
}

bool ChangesTerminal(uint32_t request) {
  switch (request) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCXONC:
    case TCFLSH:
    case TCSBRK:
      return true;
    default:
      return false;
  }
}

// Exactly the requests that are safe to hand on; the sandbox's filter lets no other through.
Result<int64_t> HostRequest(Context& context, int fd, uint32_t request, uint64_t argument) {
  switch (request) {
    case TCGETS:
      return PassGet<abi::Termios>(context, fd, request, argument);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
      return PassSet<abi::Termios>(context, fd, request, argument);
    case TIOCGWINSZ:
      return PassGet<winsize>(context, fd, request, argument);
    case TIOCSWINSZ:
      TRY(InPtr<winsize>(GuestAddr(argument)).Read(context.memory()));
      return 0;  // the host's to decide
    case FIONREAD:
    case TIOCOUTQ:
      return PassGet<int32_t>(context, fd, request, argument);
    case TCXONC:
      return PassNumber(fd, request, argument, TCION);
    case TCFLSH:
      return PassNumber(fd, request, argument, TCIOFLUSH);
    case TCSBRK:
      return PassNumber(fd, request, 1, 1);  // drains; a break on the user's line is not for guests
    default:
      return Err(ENOTTY);
  }
}

Result<FileRef> OpenDonatedTty(UniqueFd fd) {
  const struct stat st = TRY(host::Stat(fd.borrow()));
  const int flags = TRY(host::StatusFlags(fd.borrow()));
  auto terminal = TRY(TerminalFor(fd.get(), st.st_rdev));
  return FileRef(MakeRef<HostTty>(Path{}, std::move(fd), flags & O_ACCMODE, std::move(terminal)));
}

[[maybe_unused]] const bool registered = [] {
  SetDonatedTtyOpener(&OpenDonatedTty);
  return true;
}();

}  // namespace

HostTerminal::~HostTerminal() {
  if (released_) released_();
}

void HostTerminal::ShownAs(uint32_t number, std::function<void()> released) {
  constexpr unsigned kSlaveMajor = 136;  // as pty.cc numbers them
  device_.store(makedev(kSlaveMajor, number));
  released_ = std::move(released);
}

Result<FileRef> HostTerminal::OpenTerminal(Context&, const Path& path, int flags) {
  if (hung_up()) return Err(EIO);
  UniqueFd fd = TRY(host::Duplicate(fd_.borrow()));
  // The host descriptor may be open for one direction only; the guest gets no more than that.
  const int host = TRY(host::StatusFlags(fd.borrow())) & O_ACCMODE;
  const int wanted = flags & O_ACCMODE;
  if (host != O_RDWR && host != wanted) flags = (flags & ~O_ACCMODE) | host;
  return FileRef(MakeRef<HostTty>(path, std::move(fd), flags, std::static_pointer_cast<HostTerminal>(self())));
}

HostTty::HostTty(Path path, UniqueFd fd, int flags, RefPtr<HostTerminal> terminal)
    : HostFile(std::move(path), std::move(fd), flags, S_IFCHR, false), terminal_(std::move(terminal)) {}

Result<size_t> HostTty::Read(Context& context, IoSequence& to, int64_t* offset, int rwf) {
  if (terminal_->hung_up()) return size_t{0};
  if (Task* task = Task::Of(context)) TRY(JobControl::CheckAccess(*task, *terminal_, SIGTTIN));
  return HostFile::Read(context, to, offset, rwf);
}

Result<size_t> HostTty::Write(Context& context, IoSequence& from, int64_t* offset, int rwf) {
  if (terminal_->hung_up()) return Err(EIO);
  return HostFile::Write(context, from, offset, rwf);
}

Result<int64_t> HostTty::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  const auto job_control = JobControlIoctl(context, *terminal_, request, argument, false);
  if (!job_control.Is(kNotJobControl)) return job_control;
  Task* task = Task::Of(context);
  if (task != nullptr && ChangesTerminal(request)) TRY(JobControl::CheckAccess(*task, *terminal_, SIGTTOU));
  return HostRequest(context, host_fd(), request, argument);
}

Result<Attr> HostTty::GetAttr(Context& context) {
  const InodeRef node = path().inode();
  return node != nullptr ? node->GetAttr(context) : HostFile::GetAttr(context);
}

RefPtr<HostTerminal> DonatedTerminal(const FileRef& file) {
  auto* tty = dynamic_cast<HostTty*>(file.get());
  return tty != nullptr ? tty->terminal() : nullptr;
}

}  // namespace sandbox
