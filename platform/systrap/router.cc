#include "platform/systrap/router.h"

#include <csignal>

#include "base/log.h"
#include "platform/stub/thread_page.h"
#include "platform/systrap/guest_thread.h"

namespace sandbox::platform::systrap {
namespace {

// A host thread that no guest thread stands for: a child saying hello, or one that has no business here.
void RouteUnknown(Listener& listener, const Notification& notification) {
  const bool hello =
      notification.nr == stub::kDoorbell && notification.args[0] == static_cast<uint64_t>(stub::Bell::kHello);
  if (hello) {
    if (const RefPtr<GuestThread> child = listener.TakePending(notification.args[1])) {
      child->Hello(notification);
      return;
    }
  }
  // It waits in its notification, so the number cannot have been reused.
  LOGF(kWarning, "systrap: unknown host thread %d: killed", notification.tid);
  (void)::kill(notification.tid, SIGKILL);
}

}  // namespace

void Route(WorkerPool& workers, const RefPtr<Listener>& listener, const Notification& notification, RouteMode mode) {
  RefPtr<GuestThread> thread = listener->Find(notification.tid);
  if (!thread) thread = listener->BindAndFind(notification.tid);
  if (!thread) {
    RouteUnknown(*listener, notification);
  } else if (thread->Deliver(notification)) {
    if (mode == RouteMode::kServe) {
      thread->ServeTrap(notification);
    } else {
      workers.Serve(thread, listener, notification);
    }
  }
}

}  // namespace sandbox::platform::systrap
