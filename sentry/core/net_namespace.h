// Network namespaces (network_namespaces(7)). What lives in one belongs to the socket families, which attach it.
#pragma once

#include <map>
#include <string_view>

#include "base/mutex.h"
#include "sentry/core/namespace.h"

namespace sandbox {

class NetNamespace final : public Namespace {
 public:
  // The one the sandbox starts in: its interfaces are those that --network gives it.
  static const RefPtr<NetNamespace>& Root();
  explicit NetNamespace(RefPtr<UserNamespace> owner);

  bool initial() const { return number() == kInitialNet; }
  // The table that a subsystem keeps here, made at first use.
  template <typename T>
  RefPtr<T> Table(std::string_view name) {
    MutexLock lock(mu_);
    RefPtr<void>& table = tables_[name];
    if (table == nullptr) table = MakeRef<T>();
    return std::static_pointer_cast<T>(table);
  }

 private:
  struct InitialTag {};
  explicit NetNamespace(InitialTag);

  Mutex mu_{LockRank::kLeaf};
  std::map<std::string_view, RefPtr<void>> tables_ GUARDED_BY(mu_);  // by literals
};

}  // namespace sandbox
