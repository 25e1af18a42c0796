#include "platform/ptrace/worker_pool.h"

#include <pthread.h>

#include "base/check.h"
#include "base/cleanup.h"

namespace sandbox::platform::ptrace {
namespace {

// Address space only; handlers keep PATH_MAX-sized buffers and little else on the stack.
constexpr size_t kStackSize = 512 * 1024;
// Idle workers beyond this many end: they are left over from a burst.
constexpr size_t kMaxIdle = 64;

}  // namespace

WorkerPool::~WorkerPool() {
  MutexLock lock(mu_);
  stopping_ = true;
  for (Worker* worker : idle_) worker->wake.Set();
  idle_.clear();
  while (count_ > 0) ended_.Wait(mu_);
}

void WorkerPool::Spawn() {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, kStackSize);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  CHECK(pthread_create(&thread, &attr, &ThreadMain, this) == 0);
  pthread_attr_destroy(&attr);
}

void WorkerPool::Post(RefPtr<Tracee> tracee) {
  {
    MutexLock lock(mu_);
    if (!idle_.empty()) {
      Worker* worker = idle_.back();
      idle_.pop_back();
      worker->work = std::move(tracee);
      worker->wake.Set();
      return;
    }
    unclaimed_.push_back(std::move(tracee));
    ++count_;
  }
  Spawn();
}

void* WorkerPool::ThreadMain(void* pool) {
  static_cast<WorkerPool*>(pool)->WorkerMain();
  return nullptr;
}

void WorkerPool::WorkerMain() {
  Worker self;
  for (;;) {
    bool claimed = true;
    {
      MutexLock lock(mu_);
      if (!unclaimed_.empty()) {
        self.work = std::move(unclaimed_.back());
        unclaimed_.pop_back();
      } else if (stopping_ || idle_.size() >= kMaxIdle) {
        --count_;
        ended_.NotifyAll();
        return;
      } else {
        idle_.push_back(&self);
        claimed = false;
      }
    }
    if (!claimed) self.wake.Wait();
    if (self.work == nullptr) continue;  // the pool is ending
    serve_(self.work);
    self.work.reset();
  }
}

}  // namespace sandbox::platform::ptrace
