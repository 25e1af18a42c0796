// Seccomp inside the sandbox: the filters a task put on itself (seccomp(2), Linux:
// kernel/seccomp.c). They are the guest's own; what the host lets our processes do is another
// matter (runsc/hostfilter).
#pragma once

#include <bitset>
#include <memory>
#include <span>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/kernel/seccomp_bpf.h"

namespace sandbox {

class SeccompListener;
class Task;

// One filter and, through `previous`, all that were there before it. Immutable once installed.
class SeccompFilter {
 public:
  struct Options {
    bool log = false;                            // SECCOMP_FILTER_FLAG_LOG
    bool wait_killable = false;                  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    RefPtr<SeccompListener> listener = nullptr;  // SECCOMP_FILTER_FLAG_NEW_LISTENER
  };
  // EINVAL for a bad program, ENOMEM when the chain is too long (32768 instructions, each filter
  // counting 4 more).
  static Result<RefPtr<SeccompFilter>> Make(std::vector<sock_filter> program, RefPtr<const SeccompFilter> previous,
                                            Options options);
  ~SeccompFilter();

  struct Verdict {
    uint32_t action;  // SECCOMP_RET_* without data
    uint16_t data;
    const SeccompFilter* filter = nullptr;  // whose verdict it was; null when all allow
  };
  // The most restrictive verdict of the chain; among equals that of the newest filter.
  Verdict Run(const SeccompData& data) const;

  // Whether all of the chain allow each of these calls, whatever its arguments.
  bool AlwaysAllows(std::span<const int> calls) const;

  const RefPtr<const SeccompFilter>& previous() const { return previous_; }
  const Options& options() const { return options_; }
  int chain_length() const { return chain_length_; }
  // True when `ancestor` (null: no filter) is this filter or one before it.
  static bool IsAncestor(const SeccompFilter* ancestor, const SeccompFilter* of);
  bool HasListener() const;  // somewhere in the chain

 private:
  SeccompFilter(std::vector<sock_filter> program, RefPtr<const SeccompFilter> previous, Options options);

  static constexpr int kCachedCalls = 512;
  const std::vector<sock_filter> program_;
  RefPtr<const SeccompFilter> previous_;
  const Options options_;
  size_t chain_insns_ = 0;
  int chain_length_ = 1;
  std::bitset<kCachedCalls> always_allowed_;  // by the whole chain, whatever the arguments
  friend struct SeccompFilterTest;
};

// What a task runs under (Linux: struct seccomp). Guarded by the task's own lock.
struct SeccompState {
  int mode = SECCOMP_MODE_DISABLED;
  RefPtr<const SeccompFilter> filter = nullptr;
};

// seccomp(SECCOMP_SET_MODE_STRICT). EINVAL when filters are in place.
Result<void> EnterSeccompStrict(Task& task);
// seccomp(SECCOMP_SET_MODE_FILTER), flags SECCOMP_FILTER_FLAG_*: 0, a listener's descriptor, or the
// id of a thread that cannot be synchronised. EACCES without no_new_privs and CAP_SYS_ADMIN.
Result<int64_t> InstallSeccompFilter(Task& task, uint64_t flags, std::vector<sock_filter> program);

}  // namespace sandbox
