// Mutexes with a mandatory rank. A thread may only take a mutex whose rank is higher than every rank it holds; debug
// builds (-DSANDBOX_LOCK_RANKS) check it. clang's -Wthread-safety checks the annotations.
#pragma once

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"  // GUARDED_BY, NO_THREAD_SAFETY_ANALYSIS
#include "base/lock_rank.h"

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
#define REQUIRES(...) TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) TSA(release_capability(__VA_ARGS__))

namespace sandbox {

// Called around every lock operation in rank-checking builds.
void LockRankPush(LockRank rank);
void LockRankPop(LockRank rank);

class TSA(capability("mutex")) Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ACQUIRE() {
#ifdef SANDBOX_LOCK_RANKS
    LockRankPush(rank_);
#endif
    mu_.lock();
  }
  void Unlock() RELEASE() {
    mu_.unlock();
#ifdef SANDBOX_LOCK_RANKS
    LockRankPop(rank_);
#endif
  }
  // For std::condition_variable waits only; see CondVar.
  std::mutex& native() { return mu_; }

 private:
  std::mutex mu_;
  [[maybe_unused]] const LockRank rank_;
};

class TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() RELEASE() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// A condition variable for sentry-internal hand-offs. Guest-visible blocking uses Context::Block instead.
class CondVar {
 public:
  void Wait(Mutex& mu) REQUIRES(mu) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mu.native(), std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

// A value that can only be reached with its lock held: `tasks_.With([](auto& t) { … })`.
template <typename T>
class Guarded {
 public:
  template <typename... Args>
  explicit Guarded(LockRank rank, Args&&... args) : mu_(rank), value_(std::forward<Args>(args)...) {}
  template <typename F>
  decltype(auto) With(F&& f) NO_THREAD_SAFETY_ANALYSIS {
    MutexLock lock(mu_);
    return std::forward<F>(f)(value_);
  }

 private:
  Mutex mu_;
  T value_;
};

}  // namespace sandbox
