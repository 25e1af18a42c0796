#include "platform/systrap/kept_off.h"

#include <utility>

namespace sandbox::platform::systrap {
namespace {

bool SetPolicy(int tid, int policy) {
  const sched_param parameters = {};
  return ::sched_setscheduler(tid, policy, &parameters) == 0;
}

}  // namespace

void KeptOff::Keep(int tid, int processor) {
  if (tid_ >= 0 || tid < 0 || processor < 0 || processor >= CPU_SETSIZE) return;
  if (::sched_getaffinity(tid, sizeof(own_), &own_) != 0) return;
  others_ = own_;
  CPU_CLR(static_cast<size_t>(processor), &others_);
  if (CPU_COUNT(&others_) != 0 && ::sched_setaffinity(tid, sizeof(others_), &others_) == 0) tid_ = tid;
}

void KeptOff::KeepAmongOthers(int tid, int processor) {
  Keep(tid, processor);
  // What an engine chose stays.
  if (batch_tid_ < 0 && ::sched_getscheduler(tid) == SCHED_OTHER && SetPolicy(tid, SCHED_BATCH)) batch_tid_ = tid;
}

void KeptOff::LetGo() {
  cpu_set_t now;
  // Unless somebody has said meanwhile where it is to run.
  if (const int tid = std::exchange(tid_, -1);
      tid >= 0 && ::sched_getaffinity(tid, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &others_)) {
    (void)::sched_setaffinity(tid, sizeof(own_), &own_);
  }
  if (const int tid = std::exchange(batch_tid_, -1); tid >= 0) (void)SetPolicy(tid, SCHED_OTHER);
}

}  // namespace sandbox::platform::systrap
