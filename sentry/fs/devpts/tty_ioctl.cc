#include "sentry/fs/devpts/tty_ioctl.h"

#include <linux/capability.h>
#include <signal.h>

#include <algorithm>
#include <array>

#include "sentry/fs/devpts/devpts_fs.h"
#include "sentry/fs/devpts/pty_files.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

// Requests of asm-generic/ioctls.h that the C library's headers spell with its own structures.
constexpr uint32_t kTcGets2 = 0x802c542a, kTcSets2 = 0x402c542b, kTcSetsw2 = 0x402c542c, kTcSetsf2 = 0x402c542d;
constexpr uint32_t kTiocGetDiscipline = 0x5424, kTiocSetDiscipline = 0x5423;
constexpr uint32_t kTiocGetExclusive = 0x80045440, kTiocGetPacket = 0x80045438, kTiocGetLock = 0x80045439;
constexpr uint32_t kTiocGetDevice = 0x80045432, kTiocSignal = 0x40045436;

template <typename T>
Result<int64_t> Give(Context& context, uint64_t to, const T& value) {
  TRY(OutPtr<T>(GuestAddr(to)).Write(context.memory(), value));
  return 0;
}
template <typename T>
Result<T> Get(Context& context, uint64_t from) {
  return InPtr<T>(GuestAddr(from)).Read(context.memory());
}

// An ioctl that changes the terminal stops a background caller first (Linux: tty_check_change).
Result<void> CheckChange(Context& context, Terminal& terminal, bool from_master) {
  Task* task = Task::Of(context);
  if (from_master || task == nullptr) return {};
  return JobControl::CheckAccess(*task, terminal, SIGTTOU);
}

Result<int64_t> SetTermios(Context& context, Pty& pty, uint64_t argument, bool two, bool flush, bool from_master) {
  TRY(CheckChange(context, pty, from_master));
  const abi::Termios termios =
      two ? TRY(Get<abi::Termios2>(context, argument)).base : TRY(Get<abi::Termios>(context, argument));
  if (flush) pty.Flush(true, false);
  pty.SetTermios(termios);
  return 0;
}

Result<int64_t> FlowControl(Context& context, Pty& pty, uint64_t action, bool from_master) {
  TRY(CheckChange(context, pty, from_master));
  switch (action) {
    case TCOOFF:
      pty.SetStopped(true);
      return 0;
    case TCOON:
      pty.SetStopped(false);
      return 0;
    case TCIOFF:
      pty.SendChar(VSTOP);
      return 0;
    case TCION:
      pty.SendChar(VSTART);
      return 0;
    default:
      return Err(EINVAL);
  }
}

Result<int64_t> Flush(Context& context, Pty& pty, uint64_t what, bool from_master) {
  TRY(CheckChange(context, pty, from_master));
  if (what != TCIFLUSH && what != TCOFLUSH && what != TCIOFLUSH) return Err(EINVAL);
  pty.Flush(what != TCOFLUSH, what != TCIFLUSH);
  return 0;
}

// As if the byte had been typed: for administrators only (Linux: dev.tty.legacy_tiocsti).
Result<int64_t> TypeIn(Context& context, Pty& pty, uint64_t argument) {
  if (!context.creds().Has(CAP_SYS_ADMIN)) return Err(EIO);
  char typed = TRY(Get<char>(context, argument));
  IoSequence from = IoSequence::Kernel(&typed, sizeof(typed));
  TRY(pty.MasterWrite(from));
  return 0;
}

// struct termio, the older and shorter form of settings.
struct OldTermios {
  static constexpr size_t kChars = 8;
  uint16_t iflag, oflag, cflag, lflag;
  uint8_t line;
  std::array<uint8_t, kChars> cc;
};

OldTermios ToOld(const abi::Termios& settings) {
  const auto low = [](uint32_t flags) { return static_cast<uint16_t>(flags); };
  OldTermios old{low(settings.iflag), low(settings.oflag), low(settings.cflag), low(settings.lflag), settings.line, {}};
  std::copy_n(settings.cc.begin(), OldTermios::kChars, old.cc.begin());
  return old;
}

// Leaves alone what it has no room for.
Result<int64_t> SetOld(Context& context, Pty& pty, uint64_t argument, bool flush, bool from_master) {
  constexpr uint32_t kHigh = 0xffff0000;
  TRY(CheckChange(context, pty, from_master));
  const auto old = TRY(Get<OldTermios>(context, argument));
  abi::Termios settings = pty.termios();
  settings.iflag = (settings.iflag & kHigh) | old.iflag;
  settings.oflag = (settings.oflag & kHigh) | old.oflag;
  settings.cflag = (settings.cflag & kHigh) | old.cflag;
  settings.lflag = (settings.lflag & kHigh) | old.lflag;
  std::copy(old.cc.begin(), old.cc.end(), settings.cc.begin());
  if (flush) pty.Flush(true, false);
  pty.SetTermios(settings);
  return 0;
}

// What both sides answer alike: on the master these speak of the slave's settings.
Result<int64_t> CommonIoctl(Context& context, Pty& pty, uint32_t request, uint64_t argument, bool from_master) {
  switch (request) {
    case TCGETS:
      return Give(context, argument, pty.termios());
    case kTcGets2:
      return Give(context, argument, abi::Termios2{pty.termios()});
    case TCSETS:
    case TCSETSW:
      return SetTermios(context, pty, argument, false, false, from_master);
    case TCSETSF:
      return SetTermios(context, pty, argument, false, true, from_master);
    case kTcSets2:
    case kTcSetsw2:
      return SetTermios(context, pty, argument, true, false, from_master);
    case kTcSetsf2:
      return SetTermios(context, pty, argument, true, true, from_master);
    case TIOCGWINSZ:
      return Give(context, argument, pty.window());
    case TIOCSWINSZ:
      pty.SetWindow(TRY(Get<winsize>(context, argument)));
      return 0;
    case TCXONC:
      return FlowControl(context, pty, argument, from_master);
    case TCFLSH:
      return Flush(context, pty, argument, from_master);
    case TCSBRK:  // what was written is with the other side already, and a break says nothing to it
    case TCSBRKP:
      TRY(CheckChange(context, pty, from_master));
      return 0;
    case kTiocGetDiscipline:
      return Give(context, argument, int32_t{0});  // N_TTY
    case kTiocSetDiscipline:
      return TRY(Get<int32_t>(context, argument)) == 0 ? Result<int64_t>(0) : Err(EINVAL);
    case TIOCEXCL:
    case TIOCNXCL:
      return 0;
    case kTiocGetExclusive:
      return Give(context, argument, int32_t{0});
    case kTiocGetDevice:
      return Give(context, argument, static_cast<uint32_t>(pty.device()));
    case TIOCSTI:
      return TypeIn(context, pty, argument);
    case TCGETA:
      return Give(context, argument, ToOld(pty.termios()));
    case TCSETA:
    case TCSETAW:
      return SetOld(context, pty, argument, false, from_master);
    case TCSETAF:
      return SetOld(context, pty, argument, true, from_master);
    case TIOCGSOFTCAR:
      return Give(context, argument, int32_t{(pty.termios().cflag & CLOCAL) != 0});
    case TIOCSSOFTCAR: {
      abi::Termios settings = pty.termios();
      const bool on = TRY(Get<int32_t>(context, argument)) != 0;
      settings.cflag = on ? settings.cflag | CLOCAL : settings.cflag & ~uint32_t{CLOCAL};
      pty.SetTermios(settings);
      return 0;
    }
    case TIOCSBRK:
    case TIOCCBRK:
      return 0;
    default:
      break;
  }
  const auto result = JobControlIoctl(context, pty, request, argument, from_master);
  return result.Is(kNotJobControl) ? Err(ENOTTY) : result;
}

}  // namespace

Result<int64_t> JobControlIoctl(Context& context, Terminal& terminal, uint32_t request, uint64_t argument,
                                bool from_master) {
  Task* task = Task::Of(context);
  if (task == nullptr) return Err(ENOTTY);
  switch (request) {
    case TIOCGPGRP:
      return Give(context, argument, TRY(JobControl::Foreground(*task, terminal, from_master)));
    case TIOCGSID:
      return Give(context, argument, TRY(JobControl::SessionId(*task, terminal, from_master)));
    case TIOCSPGRP:
      TRY(JobControl::SetForeground(*task, terminal, TRY(Get<int32_t>(context, argument))));
      return 0;
    case TIOCSCTTY:
      TRY(JobControl::Acquire(*task, terminal.self(), argument == 1));
      return 0;
    case TIOCNOTTY:
      TRY(JobControl::Release(*task, terminal.self()));
      return 0;
    default:
      return Err(kNotJobControl);
  }
}

Result<int64_t> PtySlaveIoctl(Context& context, Pty& pty, uint32_t request, uint64_t argument) {
  if (request == FIONREAD) {
    const auto state = pty.input_state();
    return Give(context, argument, static_cast<int32_t>(state.bytes));
  }
  if (request == TIOCOUTQ) return Give(context, argument, static_cast<int32_t>(pty.output_bytes()));
  return CommonIoctl(context, pty, request, argument, false);
}

Result<int64_t> PtyMasterIoctl(Context& context, Pty& pty, const Path& path, uint32_t request, uint64_t argument) {
  switch (request) {
    case TIOCGPTN:
      return Give(context, argument, pty.index());
    case TIOCSPTLCK:
      pty.SetLocked(TRY(Get<int32_t>(context, argument)) != 0);
      return 0;
    case kTiocGetLock:
      return Give(context, argument, int32_t{pty.locked()});
    case TIOCPKT:
      pty.SetPacketMode(TRY(Get<int32_t>(context, argument)) != 0);
      return 0;
    case kTiocGetPacket:
      return Give(context, argument, int32_t{pty.packet_mode()});
    case kTiocSignal:
      if (argument != SIGINT && argument != SIGQUIT && argument != SIGTSTP) return Err(EINVAL);
      pty.Signal(static_cast<int>(argument));
      return 0;
    case TIOCGPTPEER: {
      Task* task = Task::Of(context);
      if (task == nullptr) return Err(EINVAL);
      const int flags = static_cast<int>(argument);
      const Path place = TRY(FindSlave(context, path, pty.index()));
      auto slave = TRY(OpenPtySlave(context, std::static_pointer_cast<Pty>(pty.self()), place, flags));
      return int64_t{TRY(task->fds().Install(context, std::move(slave), (flags & O_CLOEXEC) != 0)).number()};
    }
    case FIONREAD:
      return Give(context, argument, static_cast<int32_t>(pty.output_bytes()));
    case TIOCOUTQ:
      return Give(context, argument, int32_t{0});
    default:
      return CommonIoctl(context, pty, request, argument, true);
  }
}

}  // namespace sandbox
