// Stubs prepared for exec. One is taken when a program is to be loaded, and the next is forked when that program has
// started: before, it would only take the processor from it.
#pragma once

#include <deque>

#include "base/mutex.h"
#include "platform/systrap/zygote.h"

namespace sandbox::platform::systrap {

class StubPool {
 public:
  // Has `size` of them forked.
  StubPool(Zygote& zygote, int size);

  struct Taken {
    PoolStub stub;
    PoolStub::Report report;
  };
  // The one that was forked first; when that failed, or there is none, one that is forked now. EAGAIN, ENOMEM, EMFILE.
  Result<Taken> Take() EXCLUDES(mu_);
  // Has as many forked as are missing. Out of memory, descriptors or processes it leaves them for later.
  void Refill() EXCLUDES(mu_);

 private:
  Zygote& zygote_;
  const size_t size_;
  Mutex mu_{LockRank::kLeaf};
  std::deque<PoolStub> coming_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::systrap
