#include "sentry/fs/devpts/tty_ioctl.h"

#include <signal.h>

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
      return Err(EIO);  // Linux: dev.tty.legacy_tiocsti = 0
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
