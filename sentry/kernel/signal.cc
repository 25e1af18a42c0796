#include "sentry/kernel/signal.h"

namespace sandbox {

DefaultAction DefaultActionOf(int signo) {
  switch (signo) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
      return DefaultAction::kIgnore;
    case SIGCONT:
      return DefaultAction::kContinue;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return DefaultAction::kStop;
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS:
    case SIGXCPU:
    case SIGXFSZ:
      return DefaultAction::kCore;
    default:
      return DefaultAction::kTerminate;
  }
}

SignalInfo SignalInfo::Kernel(int signo) {
  SignalInfo info;
  info.signo = signo;
  info.code = SI_KERNEL;
  return info;
}

SignalInfo SignalInfo::User(int signo, int32_t pid, uint32_t uid, int code) {
  SignalInfo info;
  info.signo = signo;
  info.code = code;
  info.rt.pid = pid;
  info.rt.uid = uid;
  return info;
}

SignalInfo SignalInfo::Fault(int signo, int code, uint64_t address) {
  SignalInfo info;
  info.signo = signo;
  info.code = code;
  info.fault.address = address;
  return info;
}

bool PendingSignals::Add(const QueuedSignal& signal) {
  const int signo = signal.info.signo;
  if (!IsRealTime(signo) && Contains(signo)) return false;
  queues_[signo].push_back(signal);
  ++size_;
  set_ |= SignalBit(signo);
  return true;
}

void PendingSignals::AddBare(int signo) { set_ |= SignalBit(signo); }

std::optional<QueuedSignal> PendingSignals::Take(SignalSet allowed) {
  SignalSet candidates = set_ & allowed;
  if (candidates == 0) return std::nullopt;
  if (candidates & kSynchronousSignals) candidates &= kSynchronousSignals;
  const int signo = __builtin_ctzll(candidates) + 1;
  auto& queue = queues_[signo];
  QueuedSignal taken;
  if (queue.empty()) {
    taken.info = SignalInfo::User(signo, 0, 0);  // information was lost to the queue limit, as in Linux
  } else {
    taken = queue.front();
    queue.pop_front();
    --size_;
  }
  if (queue.empty()) set_ &= ~SignalBit(signo);
  return taken;
}

void PendingSignals::Discard(SignalSet signals) {
  for (SignalSet rest = set_ & signals; rest != 0; rest &= rest - 1) {
    const int signo = __builtin_ctzll(rest) + 1;
    size_ -= queues_[signo].size();
    queues_[signo].clear();
  }
  set_ &= ~signals;
}

void PendingSignals::DiscardTimer(const void* timer) {
  for (SignalSet rest = set_; rest != 0; rest &= rest - 1) {
    const int signo = __builtin_ctzll(rest) + 1;
    size_ -= queues_[signo].remove_if([timer](const QueuedSignal& s) { return s.timer == timer; });
    if (queues_[signo].empty()) set_ &= ~SignalBit(signo);
  }
}

QueuedSignal* PendingSignals::FindTimer(const void* timer) {
  for (SignalSet rest = set_; rest != 0; rest &= rest - 1) {
    for (QueuedSignal& s : queues_[__builtin_ctzll(rest) + 1]) {
      if (s.timer == timer) return &s;
    }
  }
  return nullptr;
}

}  // namespace sandbox
