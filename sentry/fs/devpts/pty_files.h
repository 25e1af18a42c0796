// The open files of a pseudo terminal: the master (/dev/ptmx) and the slave (/dev/pts/N).
#pragma once

#include <memory>

#include "sentry/fs/devpts/pty.h"
#include "sentry/time/timer.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class PtyMaster final : public FileDescription {
 public:
  PtyMaster(Path path, int flags, RefPtr<Pty> pty);
  ~PtyMaster() override;
  const RefPtr<Pty>& pty() const { return pty_; }

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  bool writes_all() const override { return true; }
  EventMask Readiness(Context&, EventMask) override { return pty_->MasterReadiness(); }
  WaitQueue* wait_queue() override { return &pty_->master_queue(); }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 private:
  const RefPtr<Pty> pty_;
};

class PtySlave final : public FileDescription {
 public:
  PtySlave(Path path, int flags, RefPtr<Pty> pty, uint64_t generation);
  ~PtySlave() override;
  const RefPtr<Pty>& pty() const { return pty_; }

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  bool writes_all() const override { return true; }
  EventMask Readiness(Context&, EventMask) override { return pty_->SlaveReadiness(generation_); }
  WaitQueue* wait_queue() override { return &pty_->slave_queue(); }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 private:
  // Whether a raw read may return now (VMIN and VTIME of termios(3)); EAGAIN to wait, 0 for "return nothing".
  enum class Enough { kWait, kTake, kNothing };
  Enough Judge(const Pty::InputState& state, size_t wanted);
  bool TimePassed(uint8_t tenths, bool restart);

  const RefPtr<Pty> pty_;
  const uint64_t generation_;
  Mutex timer_mu_{LockRank::kTty};
  std::unique_ptr<Timer> timer_ GUARDED_BY(timer_mu_);
  Deadline read_deadline_ GUARDED_BY(timer_mu_);
  size_t seen_bytes_ GUARDED_BY(timer_mu_) = 0;
};

// open(2) of the slave; takes it as controlling terminal unless O_NOCTTY.
Result<FileRef> OpenPtySlave(Context& context, const RefPtr<Pty>& pty, const Path& path, int flags);

}  // namespace sandbox
