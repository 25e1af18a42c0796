// PID namespaces (pid_namespaces(7)) and the numbers of one task in each of them (Linux: struct pid).
//
// Inside the sentry a task, process group or session is named by its number in the root namespace; Kernel translates
// where a guest names or sees one.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/namespace.h"

namespace sandbox {

class PidNamespace;
class ThreadGroup;

// One task's numbers, the root namespace's first. Held by all that the number names: while somebody does, it is not
// given to another.
struct Pid {
  struct Number {
    RefPtr<PidNamespace> space;
    int32_t number;
  };
  std::vector<Number> numbers;

  int32_t root() const { return numbers.front().number; }
  PidNamespace& space() const { return *numbers.back().space; }
  int32_t own() const { return numbers.back().number; }  // in the namespace it was made in
  int32_t In(const PidNamespace& view) const;            // 0: not to be seen from there
};
using PidRef = RefPtr<const Pid>;

class PidNamespace final : public Namespace {
 public:
  static constexpr size_t kMostLevels = 32;
  // The sandbox's; numbers of it are what the sentry itself uses.
  static const RefPtr<PidNamespace>& Root();
  PidNamespace(RefPtr<PidNamespace> parent, RefPtr<UserNamespace> owner);

  const RefPtr<PidNamespace>& parent() const { return parent_; }
  RefPtr<Namespace> outer() const override { return parent_; }
  size_t level() const { return level_; }
  bool root() const { return level_ == 0; }
  bool IsWithin(const PidNamespace& outer) const;

  PidRef Find(int32_t number) const;
  // A free number, or `wanted` when that is not 0: EEXIST; EAGAIN when there is none below `most`. Choosing and
  // entering: under the kernel's tree lock.
  Result<int32_t> Choose(int32_t wanted, int32_t most);
  void Enter(int32_t number, const PidRef& pid);
  int32_t last() const;
  void set_last(int32_t number);  // ns_last_pid

  // Under the kernel's tree lock.
  ThreadGroup* init = nullptr;  // its first process; null before it came and after it ended
  bool dying = false;           // it ended: nothing may start here

 private:
  struct InitialTag {};
  explicit PidNamespace(InitialTag);
  void SweepLocked() REQUIRES(mu_);

  const RefPtr<PidNamespace> parent_;
  const size_t level_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::map<int32_t, WeakRef<const Pid>> numbers_ GUARDED_BY(mu_);
  int32_t last_ GUARDED_BY(mu_) = 0, swept_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox
