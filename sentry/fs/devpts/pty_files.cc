#include "sentry/fs/devpts/pty_files.h"

#include <signal.h>

#include <algorithm>

#include "sentry/fs/devpts/tty_ioctl.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr int64_t kTenthNs = 100'000'000;  // the unit of VTIME

}  // namespace

PtyMaster::PtyMaster(Path path, int flags, RefPtr<Pty> pty)
    : FileDescription(std::move(path), flags), pty_(std::move(pty)) {}
PtyMaster::~PtyMaster() { pty_->CloseMaster(); }

Result<size_t> PtyMaster::Read(Context&, IoSequence& to, int64_t*, int) { return pty_->MasterRead(to); }
Result<size_t> PtyMaster::Write(Context&, IoSequence& from, int64_t*, int) { return pty_->MasterWrite(from); }
Result<int64_t> PtyMaster::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  return PtyMasterIoctl(context, *pty_, path(), request, argument);
}

PtySlave::PtySlave(Path path, int flags, RefPtr<Pty> pty, uint64_t generation)
    : FileDescription(std::move(path), flags), pty_(std::move(pty)), generation_(generation) {}

PtySlave::~PtySlave() { pty_->CloseSlave(); }

Result<FileRef> OpenPtySlave(Context& context, const RefPtr<Pty>& pty, const Path& path, int flags) {
  const uint64_t generation = TRY(pty->OpenSlave());
  auto file = MakeRef<PtySlave>(path, flags, pty, generation);
  Task* task = Task::Of(context);
  if (!(flags & O_NOCTTY) && task != nullptr) JobControl::AcquireOnOpen(*task, pty->self());
  return FileRef(std::move(file));
}

// True once `tenths` of a second have passed since the first call (or the last with `restart`); wakes the reader then.
bool PtySlave::TimePassed(uint8_t tenths, bool restart) {
  MutexLock lock(timer_mu_);
  const MonotonicTime now = MonotonicNow();
  if (read_deadline_ && !restart) {
    if (now < *read_deadline_) return false;
    read_deadline_.reset();
    return true;
  }
  read_deadline_ = MonotonicTime{now.ns + tenths * kTenthNs};
  if (timer_ == nullptr) timer_ = std::make_unique<Timer>([pty = pty_.get()] { pty->slave_queue().Notify(kReadable); });
  timer_->Arm(*read_deadline_);
  return false;
}

PtySlave::Enough PtySlave::Judge(const Pty::InputState& state, size_t wanted) {
  if (state.canonical) return Enough::kTake;
  if (nonblocking()) return state.bytes > 0 || state.min > 0 || state.time > 0 ? Enough::kTake : Enough::kNothing;
  if (state.min == 0) {
    if (state.bytes > 0) return Enough::kTake;
    if (state.time == 0) return Enough::kNothing;
    return TimePassed(state.time, false) ? Enough::kNothing : Enough::kWait;
  }
  if (state.bytes >= std::min<size_t>(state.min, wanted)) return Enough::kTake;
  if (state.time == 0 || state.bytes == 0) return Enough::kWait;
  // The timer runs between bytes: a new one starts it again.
  bool grew;
  {
    MutexLock lock(timer_mu_);
    grew = std::exchange(seen_bytes_, state.bytes) != state.bytes;
  }
  return TimePassed(state.time, grew) ? Enough::kTake : Enough::kWait;
}

Result<size_t> PtySlave::Read(Context& context, IoSequence& to, int64_t*, int) {
  if (pty_->HungUp(generation_)) return size_t{0};
  if (Task* task = Task::Of(context)) TRY(JobControl::CheckAccess(*task, *pty_, SIGTTIN));
  if (to.empty()) return size_t{0};
  switch (Judge(pty_->input_state(), to.remaining())) {
    case Enough::kWait:
      return Err(EAGAIN);
    case Enough::kNothing:
      return size_t{0};
    case Enough::kTake:
      break;
  }
  {
    MutexLock lock(timer_mu_);
    read_deadline_.reset();
    seen_bytes_ = 0;
  }
  return pty_->SlaveTake(to);
}

Result<size_t> PtySlave::Write(Context& context, IoSequence& from, int64_t*, int) {
  Task* task = Task::Of(context);
  if (task != nullptr && pty_->tostop()) TRY(JobControl::CheckAccess(*task, *pty_, SIGTTOU));
  return pty_->SlaveWrite(generation_, from);
}

Result<int64_t> PtySlave::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (pty_->HungUp(generation_)) return Err(request == TIOCSPGRP ? ENOTTY : EIO);
  return PtySlaveIoctl(context, *pty_, request, argument);
}

}  // namespace sandbox
