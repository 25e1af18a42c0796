#include "platform/systrap/stub_pool.h"

#include "base/log.h"

namespace sandbox::platform::systrap {

StubPool::StubPool(Zygote& zygote, int size) : zygote_(zygote), size_(size < 0 ? 0 : size) {
  if (size_ == 0) return;
  running_ = true;
  const auto main = [](void* self) -> void* {
    static_cast<StubPool*>(self)->Refill();
    return nullptr;
  };
  CHECK(pthread_create(&refiller_, nullptr, main, this) == 0);
}

Result<PoolStub> StubPool::Take() {
  {
    MutexLock lock(mu_);
    if (!ready_.empty()) {
      PoolStub stub = std::move(ready_.back());
      ready_.pop_back();
      wanted_.NotifyOne();
      return stub;
    }
  }
  return zygote_.ForkStub();
}

void StubPool::Refill() {
  for (;;) {
    {
      MutexLock lock(mu_);
      while (!stopping_ && ready_.size() >= size_) wanted_.Wait(mu_);
      if (stopping_) return;
    }
    auto stub = zygote_.ForkStub();
    if (!stub.ok()) {
      // Out of memory or processes. Whoever needs a stub tries again, and gets the error.
      LOGF(kWarning, "cannot prepare a stub: errno %d", stub.error().value());
      return;
    }
    MutexLock lock(mu_);
    ready_.push_back(std::move(stub).value());
  }
}

void StubPool::Shutdown() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wanted_.NotifyOne();
  }
  if (running_) CHECK(pthread_join(refiller_, nullptr) == 0);
  running_ = false;
}

}  // namespace sandbox::platform::systrap
