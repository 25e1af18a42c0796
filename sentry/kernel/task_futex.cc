// Futexes where guest threads are host threads and their memory is host memory: the host queues them all, but for PI
// locks, which are in FutexTable. The platform lets threads wait and wake without a trap; what comes here all the same
// (a call site that was not rewritten, a watched task, a wait that a signal interrupted, a thread that ends) is made by
// the thread on the sentry's order. So no word's waiters are ever in two places.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox {

Result<int64_t> Task::MakeHostCall(const platform::HostCall& call, bool sleeps) {
  if (!sleeps) return thread_->RunCall(call);
  if (Interrupted() || !thread_->BeginCall(call).ok()) return Err(kErestartsys);
  while (!thread_->CallEnded()) {
    if (!Block(std::nullopt).ok()) break;
  }
  const auto result = thread_->EndCall();
  if (result.Is(EINTR)) return Err(kErestartsys);
  return result;
}

void Task::WakeOneWaiter(GuestAddr word) {
  if (!HasHostFutexes()) {
    (void)kernel_.futexes().Wake(*this, word, true, 1, FUTEX_BITSET_MATCH_ANY);
    return;
  }
  // Fails when the host's thread is gone; nobody else can name this memory then.
  (void)thread_->RunCall({.nr = __NR_futex, .args = {word.value(), FUTEX_WAKE, 1, 0, 0, 0}});
}

}  // namespace sandbox
