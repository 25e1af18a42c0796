#include "sentry/core/context.h"

#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>

namespace sandbox {

void Waker::Notify(EventMask) { context_.Wake(); }

MonotonicTime MonotonicNow() {
  timespec ts;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
  return MonotonicTime{ts.tv_sec * 1'000'000'000 + ts.tv_nsec};
}

int64_t RealtimeNowNs() {
  timespec ts;
  CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

namespace {

// The kernel has no guest memory; every access faults.
class NoMemory final : public GuestMemory {
 public:
  Result<size_t> ReadSome(GuestAddr, void*, size_t) override { return Err(EFAULT); }
  Result<size_t> WriteSome(GuestAddr, const void*, size_t) override { return Err(EFAULT); }
};

// One per sentry thread, so that Wake finds the thread that blocks.
class KernelThreadContext final : public Context {
 public:
  KernelThreadContext() {
    auto creds = std::make_shared<Credentials>();
    creds->permitted = creds->effective = creds->bounding = kAllCapabilities;
    creds_ = std::move(creds);
  }
  const Credentials& creds() const override { return *creds_; }
  CredentialsRef creds_ref() const override { return creds_; }
  GuestMemory& memory() override { return memory_; }
  uint64_t rlimit(int) const override { return RLIM_INFINITY; }
  int32_t tgid() const override { return 0; }
  int32_t tid() const override { return 0; }
  void RaiseSignal(int) override {}
  Result<void> Block(const Deadline& deadline) override {
    std::unique_lock<std::mutex> lock(mu_);
    while (!awake_) {
      if (!deadline) {
        cv_.wait(lock);
        continue;
      }
      const std::chrono::steady_clock::time_point at{std::chrono::nanoseconds(deadline->ns)};
      if (cv_.wait_until(lock, at) == std::cv_status::timeout && !awake_) return Err(ETIMEDOUT);
    }
    awake_ = false;
    return {};
  }
  Result<void> BlockKillable(const Deadline& deadline) override { return Block(deadline); }
  void Wake() override {
    std::lock_guard<std::mutex> lock(mu_);
    awake_ = true;
    cv_.notify_one();
  }
  bool Interrupted() const override { return false; }

 private:
  CredentialsRef creds_;
  NoMemory memory_;
  std::mutex mu_;
  std::condition_variable cv_;
  bool awake_ = false;
};

}  // namespace

Context& KernelContext() {
  thread_local KernelThreadContext context;
  return context;
}

}  // namespace sandbox
