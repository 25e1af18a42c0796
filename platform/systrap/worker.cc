#include "platform/systrap/worker.h"

#include <algorithm>
#include <utility>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/router.h"
#include "platform/systrap/shared_watch.h"

namespace sandbox::platform::systrap {
namespace {

constexpr size_t kStackSize = 256 * 1024;

thread_local Worker* this_worker = nullptr;
thread_local GuestThread* current_thread = nullptr;

}  // namespace

class Worker {
 public:
  Worker(WorkerPool& pool, WorkerPool::Job job) : pool_(pool), job_(std::move(job)) {}

  static void* Main(void* self) {
    std::unique_ptr<Worker> worker(static_cast<Worker*>(self));
    this_worker = worker.get();
    worker->Run();
    return nullptr;
  }

  void GiveUpDuty() {
    // Nobody would see what is posted at the open door.
    if (RefPtr<GuestThread> thread = std::move(watched_); thread && thread->StopWatching()) {
      pool_.ServePosted(std::move(thread));
    }
    if (std::exchange(watches_shared_, false)) {
      for (RefPtr<GuestThread>& thread : pool_.shared_watch_.End()) pool_.ServePosted(std::move(thread));
    }
    if (const RefPtr<Listener> next = std::move(next_)) pool_.Dispatch(next);
    LeaveDuty();
  }

  bool OnDutyAt(const Listener* listener) const {
    return duty_.get() == listener && !next_ && !watched_ && !watches_shared_;
  }
  void WatchAfterTrap(RefPtr<GuestThread> thread) { watched_ = std::move(thread); }
  void WatchSharedAfterTrap() { watches_shared_ = true; }

  bool TakeNext(const RefPtr<Listener>& listener) {
    if (current_thread == nullptr || next_ || watches_shared_) return false;
    next_ = listener;
    return true;
  }

 private:
  friend class WorkerPool;

  void Run() {
    for (;;) {
      WorkerPool::Job job = std::move(job_);
      if (job.thread && job.notification) {
        job.thread->ServeTrap(*job.notification);
      } else if (job.thread && job.posted) {
        job.thread->ServePosted();
      } else if (job.thread && job.deferred) {
        job.thread->ServeDeferred();
      } else if (job.thread) {
        job.thread->ServeDeath();
      }
      if (job.thread) AfterTrap();
      job.thread = nullptr;
      if (job.on_duty) duty_ = job.listener;
      if (job.listener || next_) Receive(std::move(job.listener));
      if (!pool_.Park(this)) return;
    }
  }

  void LeaveDuty() {
    const RefPtr<Listener> listener = std::move(duty_);
    if (listener && listener->LeaveDuty()) pool_.Dispatch(listener);
  }

  // Serves what comes, as long as this worker has the duty, there or where it was sent next.
  void Receive(RefPtr<Listener> listener) {
    for (;;) {
      if (next_) {
        LeaveDuty();
        listener = duty_ = std::move(next_);
      }
      if (!duty_) {
        if (!listener->TryDuty()) return;
        duty_ = listener;
      }
      Notification notification;
      switch (listener->Receive(&notification)) {
        case Listener::Received::kNotification:
          Route(pool_, listener, notification, RouteMode::kServe);
          AfterTrap();
          Watch();
          WatchShared();
          break;
        case Listener::Received::kBusy:
          if (listener->LeaveSurplusDuty()) {
            duty_ = nullptr;
            return;
          }
          // A thread in the middle of a round receives for us, and hands on what is not its own.
          listener->WaitNotReceiving(60'000);
          break;
        case Listener::Received::kTimeout:
          break;
        case Listener::Received::kGone:
          duty_ = nullptr;
          (void)listener->LeaveDuty();
          return;
      }
    }
  }

  // Serves the calls of the thread whose door was left open, until it stops calling.
  void Watch() {
    while (const RefPtr<GuestThread> thread = std::move(watched_)) {
      if (!thread->AwaitPosted()) continue;
      thread->ServePosted();
      AfterTrap();
    }
  }

  // Serves the calls of all who were given to the shared watch, while it pays. Their listeners have others on duty.
  void WatchShared() {
    if (!watches_shared_) return;
    LeaveDuty();
    while (watches_shared_) {  // a trap that blocks this thread ends it
      const RefPtr<GuestThread> thread = pool_.shared_watch_.Next();
      if (!thread) break;
      thread->ServePosted();
      AfterTrap();
    }
    if (!std::exchange(watches_shared_, false)) return;
    for (const RefPtr<GuestThread>& thread : pool_.shared_watch_.End()) {
      thread->ServePosted();
      AfterTrap();
    }
  }

  void AfterTrap() {
    if (pool_.after_trap_) pool_.after_trap_();
  }

  WorkerPool& pool_;
  WorkerPool::Job job_;
  RefPtr<Listener> duty_;  // where this worker has the duty
  RefPtr<GuestThread> watched_;
  bool watches_shared_ = false;
  RefPtr<Listener> next_;  // where it will have the duty after the trap it serves; counted already
  CondVar wake_;
  bool has_job_ = false;  // guarded by the pool's lock
};

WorkerPool::~WorkerPool() { Shutdown(); }

void WorkerPool::DispatchAfterTrap(RefPtr<Listener> listener) {
  if (this_worker == nullptr || !this_worker->TakeNext(listener)) Dispatch(std::move(listener));
}

void WorkerPool::Dispatch(RefPtr<Listener> listener) {
  Job job;
  job.listener = std::move(listener);
  job.on_duty = true;
  Give(std::move(job));
}

void WorkerPool::Serve(RefPtr<GuestThread> thread, RefPtr<Listener> listener, const Notification& notification) {
  Job job;
  job.thread = std::move(thread);
  job.listener = std::move(listener);
  job.notification = notification;
  Give(std::move(job));
}

void WorkerPool::ServeDeferred(RefPtr<GuestThread> thread) {
  Job job;
  job.thread = std::move(thread);
  job.deferred = true;
  Give(std::move(job));
}

void WorkerPool::ServePosted(RefPtr<GuestThread> thread) {
  Job job;
  job.thread = std::move(thread);
  job.posted = true;
  Give(std::move(job));
}

void WorkerPool::DeliverDeath(RefPtr<GuestThread> thread) {
  Job job;
  job.thread = std::move(thread);
  Give(std::move(job));
}

void WorkerPool::Give(Job job) {
  {
    MutexLock lock(mu_);
    if (stopping_) return;
    if (!parked_.empty()) {
      Worker* const worker = parked_.back();
      parked_.pop_back();
      worker->job_ = std::move(job);
      worker->has_job_ = true;
      worker->wake_.NotifyOne();
      return;
    }
    ++alive_;
  }
  auto worker = std::make_unique<Worker>(*this, std::move(job));
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setstacksize(&attributes, kStackSize) == 0);
  CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, &attributes, &Worker::Main, worker.release()) == 0);
  CHECK(pthread_attr_destroy(&attributes) == 0);
}

bool WorkerPool::Park(Worker* worker) {
  MutexLock lock(mu_);
  if (!stopping_ && parked_.size() < kMaxParked) {
    worker->has_job_ = false;
    parked_.push_back(worker);
    while (!worker->has_job_ && !stopping_) worker->wake_.Wait(mu_);
    if (worker->has_job_) return true;
    std::erase(parked_, worker);
  }
  if (--alive_ == 0) ended_.NotifyAll();
  return false;
}

void WorkerPool::Shutdown() {
  MutexLock lock(mu_);
  stopping_ = true;
  for (Worker* worker : parked_) worker->wake_.NotifyOne();
  while (alive_ != 0) ended_.Wait(mu_);
}

GuestThread* CurrentGuestThread() { return current_thread; }

ServingScope::ServingScope(GuestThread* thread) : before_(current_thread) { current_thread = thread; }
ServingScope::~ServingScope() { current_thread = before_; }

bool OnDutyAt(const Listener* listener) { return this_worker != nullptr && this_worker->OnDutyAt(listener); }

void WatchAfterTrap(RefPtr<GuestThread> thread) { this_worker->WatchAfterTrap(std::move(thread)); }

void WatchSharedAfterTrap() { this_worker->WatchSharedAfterTrap(); }

void GiveUpDuty() {
  if (this_worker != nullptr) this_worker->GiveUpDuty();
}

}  // namespace sandbox::platform::systrap
