// Work whose cause is noticed under locks that it must not run under: a signal for SIGIO is decided
// inside WaitQueue::Notify, with the lock of the queue and often those of its object, and is sent
// later.
#pragma once

#include <functional>

namespace sandbox {

// Runs `work` without locks: on a thread inside a DeferredScope before its task sleeps or resumes
// its guest, elsewhere soon, on a thread that exists for this. May be called with any lock held.
void Defer(std::function<void()> work);
// Runs what this thread deferred. Callers hold no lock.
void RunDeferred();

// Marks a thread as one that calls RunDeferred itself; the end runs what is left.
class DeferredScope {
 public:
  DeferredScope();
  ~DeferredScope();
  DeferredScope(const DeferredScope&) = delete;

 private:
  const bool outermost_;
};

}  // namespace sandbox
