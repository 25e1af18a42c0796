// A guest thread that is kept off the processor of the sentry thread which watches its page. The answer to a
// notification wakes the guest on the processor of whoever gives it, where it would run first and find nobody to take
// up its next call.
#pragma once

#include <sched.h>

namespace sandbox::platform::systrap {

class KeptOff {
 public:
  // Keeps host thread `tid` off `processor`, until LetGo. Where the guest or its engine leaves it no other one, it
  // stays.
  void Keep(int tid, int processor);
  // The same for one of several that share the other processors and wake each other: it does not interrupt those that
  // run when it is woken (SCHED_BATCH), since it comes to their calls soon enough, and interrupting another processor
  // may cost more than a call (48 µs on a paravirtual host).
  void KeepAmongOthers(int tid, int processor);
  // It runs where and as it could before, or where it was told to meanwhile. Nothing if it is not kept off; a thread
  // that is gone needs it no more.
  void LetGo();

 private:
  int tid_ = -1;                      // -1: not kept off
  cpu_set_t own_ = {}, others_ = {};  // where it may run, without and with this
  int batch_tid_ = -1;                // -1: its policy is its own
};

}  // namespace sandbox::platform::systrap
