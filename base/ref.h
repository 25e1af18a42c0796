// Shared ownership. The standard library's counters are the mechanism; these names keep call sites short and say
// which of the three roles a pointer plays.
#pragma once

#include <memory>
#include <utility>

namespace sandbox {

template <typename T>
using RefPtr = std::shared_ptr<T>;  // owns, may be null
template <typename T>
using WeakRef = std::weak_ptr<T>;  // observes; Lock before use
template <typename T>
using RefFromThis = std::enable_shared_from_this<T>;

template <typename T, typename... Args>
RefPtr<T> MakeRef(Args&&... args) {
  return std::make_shared<T>(std::forward<Args>(args)...);
}

}  // namespace sandbox
