// signalfd(2): reads pending signals of whoever reads (Linux: fs/signalfd.c).
#pragma once

#include <list>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"

namespace sandbox {

class SignalFd final : public AnonFile {
 public:
  SignalFd(SignalSet mask, int flags);
  ~SignalFd() override;

  void SetMask(SignalSet mask);

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &wait_queue_; }
  std::string FdInfo(Context& context) override;

 private:
  // Hands a task's signal events on to those who wait for this file. Whose signals they are depends on who asks, so
  // there is one for each task that has read or polled.
  struct Forwarder final : WaitEntry {
    Forwarder(WaitQueue& to, Task& task) : to(to), task(task.weak_from_this()) {}
    void Notify(EventMask) override { to.Notify(kReadable); }
    WaitQueue& to;
    const WeakRef<Task> task;
  };
  void Follow(Task& task);

  std::atomic<SignalSet> mask_;
  Mutex mu_{LockRank::kEpoll};
  std::list<Forwarder> forwarders_ GUARDED_BY(mu_);
  WaitQueue wait_queue_;
};

}  // namespace sandbox
