#include "platform/systrap/stub_pool.h"

#include <algorithm>
#include <optional>

#include "base/log.h"

namespace sandbox::platform::systrap {

StubPool::StubPool(Zygote& zygote, int size) : zygote_(zygote), size_(size < 0 ? 0 : size) { Refill(); }

void StubPool::Refill() {
  size_t missing;
  {
    MutexLock lock(mu_);
    missing = size_ - std::min(size_, coming_.size());
  }
  for (; missing != 0; --missing) {
    auto stub = zygote_.ForkStub();
    if (!stub.ok()) return;
    MutexLock lock(mu_);
    coming_.push_back(std::move(*stub));
  }
}

Result<StubPool::Taken> StubPool::Take() {
  std::optional<PoolStub> first;
  {
    MutexLock lock(mu_);
    if (!coming_.empty()) {
      first = std::move(coming_.front());
      coming_.pop_front();
    }
  }
  if (first) {
    if (auto report = first->Await(); report.ok()) return Taken{std::move(*first), std::move(*report)};
    LOGF(kWarning, "a stub did not come up");
  }
  PoolStub stub = TRY(zygote_.ForkStub());
  PoolStub::Report report = TRY(stub.Await());
  return Taken{std::move(stub), std::move(report)};
}

}  // namespace sandbox::platform::systrap
