#include "sentry/kernel/pid_namespace.h"

#include <sched.h>

#include "sentry/core/user_namespace.h"

namespace sandbox {

int32_t Pid::In(const PidNamespace& view) const {
  const size_t level = view.level();
  return level < numbers.size() && numbers[level].space.get() == &view ? numbers[level].number : 0;
}

PidNamespace::PidNamespace(RefPtr<PidNamespace> parent, RefPtr<UserNamespace> owner)
    : Namespace(CLONE_NEWPID, std::move(owner)), parent_(std::move(parent)), level_(parent_->level_ + 1) {}

PidNamespace::PidNamespace(InitialTag) : Namespace(CLONE_NEWPID, UserNamespace::Root(), kInitialPid), level_(0) {}

const RefPtr<PidNamespace>& PidNamespace::Root() {
  static const RefPtr<PidNamespace> root(new PidNamespace(InitialTag{}));
  return root;
}

bool PidNamespace::IsWithin(const PidNamespace& outer) const {
  for (const PidNamespace* at = this; at != nullptr; at = at->parent_.get()) {
    if (at == &outer) return true;
  }
  return false;
}

PidRef PidNamespace::Find(int32_t number) const {
  MutexLock lock(mu_);
  const auto found = numbers_.find(number);
  return found == numbers_.end() ? nullptr : found->second.lock();
}

// Forgets numbers that nobody has any more: two for each that is given, so that there are never many.
void PidNamespace::SweepLocked() {
  for (int i = 0; i < 2 && !numbers_.empty(); ++i) {
    auto at = numbers_.upper_bound(swept_);
    if (at == numbers_.end()) at = numbers_.begin();
    swept_ = at->first;
    if (at->second.expired()) numbers_.erase(at);
  }
}

Result<int32_t> PidNamespace::Choose(int32_t wanted, int32_t most) {
  constexpr int32_t kFirstRecycled = 300;  // Linux: RESERVED_PIDS
  MutexLock lock(mu_);
  SweepLocked();
  const auto taken = [&](int32_t number) NO_THREAD_SAFETY_ANALYSIS {
    const auto found = numbers_.find(number);
    return found != numbers_.end() && !found->second.expired();
  };
  if (wanted != 0) {
    if (taken(wanted)) return Err(EEXIST);
    return wanted;
  }
  for (int32_t tried = 0; tried < most; ++tried) {
    if (++last_ >= most) last_ = kFirstRecycled;
    if (!taken(last_)) return last_;
  }
  return Err(EAGAIN);
}

void PidNamespace::Enter(int32_t number, const PidRef& pid) {
  MutexLock lock(mu_);
  numbers_[number] = pid;
}

int32_t PidNamespace::last() const {
  MutexLock lock(mu_);
  return last_;
}

void PidNamespace::set_last(int32_t number) {
  MutexLock lock(mu_);
  last_ = number;
}

}  // namespace sandbox
