// What a signal is made of: sets, siginfo, actions, and the queues of pending ones (Linux: include/uapi/asm-generic/
// siginfo.h, struct sigpending). No policy: who may send and what happens on delivery is in thread_group_signal.cc and
// task_signal.cc.
#pragma once

#include <signal.h>

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>

#include "abi/signal.h"
#include "base/result.h"

namespace sandbox {

using abi::SignalSet;
inline constexpr int kSignalCount = 64;
inline constexpr int kFirstRealTimeSignal = 32;  // the kernel's SIGRTMIN

constexpr SignalSet SignalBit(int signo) { return uint64_t{1} << (signo - 1); }
constexpr bool ValidSignal(int signo) { return signo >= 1 && signo <= kSignalCount; }
constexpr bool IsRealTime(int signo) { return signo >= kFirstRealTimeSignal; }

// Cannot be caught, blocked or ignored.
inline constexpr SignalSet kUnblockable = SignalBit(SIGKILL) | SignalBit(SIGSTOP);
inline constexpr SignalSet kStopSignals =
    SignalBit(SIGSTOP) | SignalBit(SIGTSTP) | SignalBit(SIGTTIN) | SignalBit(SIGTTOU);
inline constexpr SignalSet kSynchronousSignals = SignalBit(SIGSEGV) | SignalBit(SIGBUS) | SignalBit(SIGILL) |
                                                 SignalBit(SIGTRAP) | SignalBit(SIGFPE) | SignalBit(SIGSYS);

// sigaltstack(2).
inline constexpr int kSsAutodisarm = static_cast<int>(1u << 31);
inline constexpr uint64_t kMinSignalStack = 2048;

enum class DefaultAction { kTerminate, kCore, kIgnore, kStop, kContinue };
DefaultAction DefaultActionOf(int signo);  // signal(7)

// siginfo_t as the guest sees it.
struct SignalInfo : abi::SigInfo {
  static SignalInfo Kernel(int signo);  // SI_KERNEL
  static SignalInfo User(int signo, int32_t pid, uint32_t uid, int code = SI_USER);
  static SignalInfo Fault(int signo, int code, uint64_t address);
  bool from_user() const { return code <= 0; }
};
static_assert(sizeof(SignalInfo) == sizeof(abi::SigInfo));

struct SignalAction : abi::SigAction {
  bool is_default() const { return handler == 0; }
  bool is_ignore() const { return handler == 1; }
};
static_assert(sizeof(SignalAction) == sizeof(abi::SigAction));

// A queued signal.
struct QueuedSignal {
  SignalInfo info;
  const void* timer = nullptr;  // the POSIX timer that sent it: one entry a timer
  // Fills in what is only known when the signal is taken (a timer's overrun). Called without locks; may be null.
  std::function<void(QueuedSignal&)> before_delivery = nullptr;
};

// Pending signals of a task or a thread group. The owner's lock guards it.
class PendingSignals {
 public:
  SignalSet set() const { return set_; }
  size_t size() const { return size_; }
  bool Contains(int signo) const { return set_ & SignalBit(signo); }
  // Queues one. A standard signal that is pending already is merged. Returns false then.
  bool Add(const QueuedSignal& signal);
  // Marks a signal pending without information (queue limit reached, sender is the kernel).
  void AddBare(int signo);
  // Takes the next one in `allowed`: synchronous ones first, then the lowest number, oldest first.
  std::optional<QueuedSignal> Take(SignalSet allowed);
  void Discard(SignalSet signals);
  void DiscardTimer(const void* timer);
  QueuedSignal* FindTimer(const void* timer);

 private:
  SignalSet set_ = 0;
  size_t size_ = 0;
  std::array<std::list<QueuedSignal>, kSignalCount + 1> queues_;
};

}  // namespace sandbox
