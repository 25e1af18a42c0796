// From a notification to the guest thread it concerns, and from there to the trap handler.
#pragma once

#include "base/ref.h"
#include "platform/systrap/listener.h"
#include "platform/systrap/worker.h"

namespace sandbox::platform::systrap {

enum class RouteMode {
  kServe,    // traps are served right here
  kHandOff,  // the caller is in the middle of a trap: traps go to another worker
};

void Route(WorkerPool& workers, const RefPtr<Listener>& listener, const Notification& notification, RouteMode mode);

}  // namespace sandbox::platform::systrap
