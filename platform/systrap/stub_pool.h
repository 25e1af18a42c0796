// Stubs prepared for exec, refilled in the background.
#pragma once

#include <pthread.h>

#include <vector>

#include "base/mutex.h"
#include "platform/systrap/zygote.h"

namespace sandbox::platform::systrap {

class StubPool {
 public:
  StubPool(Zygote& zygote, int size);
  ~StubPool() { Shutdown(); }

  // A prepared stub, or one forked now when there is none.
  Result<PoolStub> Take() EXCLUDES(mu_);
  void Shutdown() EXCLUDES(mu_);

 private:
  void Refill();

  Zygote& zygote_;
  const size_t size_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<PoolStub> ready_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  CondVar wanted_;
  pthread_t refiller_ = {};
  bool running_ = false;
};

}  // namespace sandbox::platform::systrap
