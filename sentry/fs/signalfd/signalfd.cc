#include "sentry/fs/signalfd/signalfd.h"

#include <sys/signalfd.h>

#include <cstdio>

namespace sandbox {
namespace {

// Linux: signalfd_copyinfo.
signalfd_siginfo Convert(const SignalInfo& info) {
  signalfd_siginfo out{};
  out.ssi_signo = info.signo;
  out.ssi_errno = info.error;
  out.ssi_code = info.code;
  if (info.code == SI_TIMER) {
    out.ssi_tid = info.timer.timer;
    out.ssi_overrun = info.timer.overrun;
    out.ssi_ptr = info.timer.value;
    out.ssi_int = static_cast<int32_t>(info.timer.value);
  } else if (info.code > 0 && info.signo == SIGCHLD) {
    out.ssi_pid = info.child.pid;
    out.ssi_uid = info.child.uid;
    out.ssi_status = info.child.status;
    out.ssi_utime = info.child.utime;
    out.ssi_stime = info.child.stime;
  } else if (info.code > 0 && info.signo == SIGIO) {
    out.ssi_band = info.poll.band;
    out.ssi_fd = info.poll.fd;
  } else {
    out.ssi_pid = info.rt.pid;
    out.ssi_uid = info.rt.uid;
    out.ssi_ptr = info.rt.value;
    out.ssi_int = static_cast<int32_t>(info.rt.value);
  }
  return out;
}

}  // namespace

SignalFd::SignalFd(SignalSet mask, int flags) : AnonFile("[signalfd]", O_RDWR | (flags & O_NONBLOCK)) { SetMask(mask); }

SignalFd::~SignalFd() {
  MutexLock lock(mu_);
  for (Forwarder& forwarder : forwarders_) forwarder.Unregister();
}

void SignalFd::SetMask(SignalSet mask) {
  mask_.store(mask & ~kUnblockable);
  wait_queue_.Notify(kReadable);
}

void SignalFd::Follow(Task& task) {
  MutexLock lock(mu_);
  for (auto it = forwarders_.begin(); it != forwarders_.end();) {
    const auto known = it->task.lock();
    if (known.get() == &task) return;
    if (known != nullptr) {
      ++it;
      continue;
    }
    it->Unregister();
    it = forwarders_.erase(it);
  }
  Forwarder& forwarder = forwarders_.emplace_back(wait_queue_, task);
  task.signal_events().Register(forwarder, kReadable);
}

Result<size_t> SignalFd::Read(Context& context, IoSequence& to, int64_t*, int) {
  if (to.remaining() < sizeof(signalfd_siginfo)) return Err(EINVAL);
  Task* task = Task::Of(context);
  if (task == nullptr) return Err(EAGAIN);
  Follow(*task);
  size_t done = 0;
  while (to.remaining() >= sizeof(signalfd_siginfo)) {
    const auto info = task->TakeSignal(mask_.load());
    if (!info) break;
    const signalfd_siginfo out = Convert(*info);
    const auto copied = to.CopyOut(&out, sizeof(out));
    if (!copied.ok() || *copied < sizeof(out)) return done > 0 ? Result<size_t>(done) : Err(EFAULT);
    done += sizeof(out);
  }
  return done > 0 ? Result<size_t>(done) : Err(EAGAIN);
}

EventMask SignalFd::Readiness(Context& context, EventMask) {
  Task* task = Task::Of(context);
  if (task == nullptr) return 0;
  Follow(*task);
  return (task->pending_signals() & mask_.load()) != 0 ? kReadable : 0;
}

std::string SignalFd::FdInfo(Context&) {
  char line[64];
  std::snprintf(line, sizeof(line), "sigmask:\t%016llx\n", static_cast<unsigned long long>(mask_.load()));
  return line;
}

}  // namespace sandbox
