#include "platform/systrap/kept_off.h"

#include <utility>

namespace sandbox::platform::systrap {

void KeptOff::Keep(int tid, int processor) {
  if (tid_ >= 0 || tid < 0 || processor < 0 || processor >= CPU_SETSIZE) return;
  if (::sched_getaffinity(tid, sizeof(own_), &own_) != 0) return;
  cpu_set_t others = own_;
  CPU_CLR(static_cast<size_t>(processor), &others);
  if (CPU_COUNT(&others) != 0 && ::sched_setaffinity(tid, sizeof(others), &others) == 0) tid_ = tid;
}

void KeptOff::LetGo() {
  const int tid = std::exchange(tid_, -1);
  if (tid >= 0) (void)::sched_setaffinity(tid, sizeof(own_), &own_);
}

}  // namespace sandbox::platform::systrap
