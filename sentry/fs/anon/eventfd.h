// eventfd(2): a counter that is read, written and polled (Linux: fs/eventfd.c).
#pragma once

#include "sentry/vfs/anon_file.h"

namespace sandbox {

class EventFd final : public AnonFile {
 public:
  EventFd(uint32_t initial, bool semaphore, int flags);

  // Adds to the counter from inside the sentry; stops at the maximum and never fails (Linux: eventfd_signal).
  void Signal(uint64_t count);

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &wait_queue_; }
  std::string FdInfo(Context& context) override;

 private:
  static constexpr uint64_t kMax = ~uint64_t{0} - 1;

  const bool semaphore_;
  Mutex mu_{LockRank::kLeaf};
  uint64_t count_ GUARDED_BY(mu_);
  WaitQueue wait_queue_;
};

}  // namespace sandbox
