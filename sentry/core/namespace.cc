#include "sentry/core/namespace.h"

#include <sched.h>

#include <atomic>

#include "sentry/core/user_namespace.h"

namespace sandbox {
namespace {

uint64_t NextNumber() {
  static std::atomic<uint64_t> next{4026532200};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Namespace::Namespace(int kind, RefPtr<UserNamespace> owner, uint64_t number)
    : kind_(kind), number_(number), owner_(std::move(owner)) {}

Namespace::Namespace(int kind, RefPtr<UserNamespace> owner) : Namespace(kind, std::move(owner), NextNumber()) {}

const char* NamespaceKindName(int kind) {
  switch (kind) {
    case CLONE_NEWCGROUP:
      return "cgroup";
    case CLONE_NEWIPC:
      return "ipc";
    case CLONE_NEWNET:
      return "net";
    case CLONE_NEWNS:
      return "mnt";
    case CLONE_NEWPID:
      return "pid";
    case CLONE_NEWUSER:
      return "user";
    case CLONE_NEWUTS:
      return "uts";
    default:
      return "?";
  }
}

}  // namespace sandbox
