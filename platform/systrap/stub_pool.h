// Stubs prepared for exec: each one taken has the next one forked, which comes up while the program is loaded.
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

 private:
  Zygote& zygote_;
  Mutex mu_{LockRank::kLeaf};
  std::deque<PoolStub> coming_ GUARDED_BY(mu_);
};

}  // namespace sandbox::platform::systrap
