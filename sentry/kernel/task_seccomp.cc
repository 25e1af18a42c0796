// Where a task's calls meet its filters (Linux: __seccomp_filter, secure_computing) and its own dispatcher (Linux:
// kernel/entry/syscall_user_dispatch.c).
#include <linux/audit.h>
#include <linux/prctl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "base/log.h"
#include "sentry/kernel/seccomp_notify.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr uint16_t kMaxErrno = 4095;

bool AllowedInStrictMode(uint64_t nr) {
  return nr == __NR_read || nr == __NR_write || nr == __NR_exit || nr == __NR_rt_sigreturn;
}

}  // namespace

SeccompState Task::seccomp() const {
  MutexLock lock(mu_);
  return seccomp_;
}

void Task::SetSeccomp(SeccompState state) {
  MutexLock lock(mu_);
  seccomp_mode_.store(state.mode);
  std::swap(seccomp_, state);
  // Calls that a filter wants to see trap from the thread's next one on.
  if (thread_ != nullptr) UpdateLocalIdentityLocked();
}

Result<int64_t> Task::AttachSeccomp(SeccompState next, bool all_threads) {
  MutexLock lock(group_->sig_mu_);
  const SeccompState own = seccomp();
  // Another thread's TSYNC came in between: the call is made again.
  if (next.filter != nullptr && next.filter->previous() != own.filter) return Err(kErestartnointr);
  if (own.mode != SECCOMP_MODE_DISABLED && own.mode != next.mode) return Err(EINVAL);
  if (all_threads) {
    for (const Task* other : group_->tasks_) {
      const SeccompState theirs = other->seccomp();
      const bool fits =
          theirs.mode == SECCOMP_MODE_DISABLED ||
          (theirs.mode == SECCOMP_MODE_FILTER && SeccompFilter::IsAncestor(theirs.filter.get(), own.filter.get()));
      if (other != this && !fits) return other->tid();
    }
    for (Task* other : group_->tasks_) {
      if (other == this) continue;
      if (no_new_privs.load()) other->no_new_privs.store(true);
      other->SetSeccomp(next);
    }
  }
  SetSeccomp(std::move(next));
  return 0;
}

std::optional<Result<int64_t>> Task::CheckSeccomp(platform::Trap& trap, bool* skip) {
  const SeccompState state = seccomp();
  if (state.mode == SECCOMP_MODE_STRICT) {
    if (!AllowedInStrictMode(trap.nr)) {
      Exit(SIGKILL);
      return Err(EPERM);
    }
    return std::nullopt;
  }
  if (state.filter == nullptr) return std::nullopt;
  SeccompData data = {};
  data.nr = static_cast<int>(trap.nr);
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = trap.ip.value();
  std::copy(trap.args.begin(), trap.args.end(), data.args);
  const SeccompFilter::Verdict verdict = state.filter->Run(data);
  if (verdict.filter == nullptr) return std::nullopt;
  auto answer = Obey(verdict, data, skip);
  // What the tracer made of the call is filtered again, as if nobody traced (Linux: __seccomp_filter, recheck).
  if (verdict.action != SECCOMP_RET_TRACE || answer || *skip) return answer;
  LoadCall(trap);
  data.nr = static_cast<int>(trap.nr);
  std::copy(trap.args.begin(), trap.args.end(), data.args);
  const SeccompFilter::Verdict second = state.filter->Run(data);
  if (second.filter == nullptr || second.action == SECCOMP_RET_TRACE) return std::nullopt;
  return Obey(second, data, skip);
}

std::optional<Result<int64_t>> Task::Obey(const SeccompFilter::Verdict& verdict, const SeccompData& data, bool* skip) {
  const bool kills = verdict.action == SECCOMP_RET_KILL_PROCESS || verdict.action == SECCOMP_RET_KILL_THREAD;
  if (kills || verdict.action == SECCOMP_RET_LOG || verdict.filter->options().log) {
    LOGF(kInfo, "seccomp: task %d (%s): call %d, action %#x", tid(), name().c_str(), data.nr, verdict.action);
  }
  switch (verdict.action) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
      return std::nullopt;
    case SECCOMP_RET_ERRNO: {
      const uint16_t error = std::min(verdict.data, kMaxErrno);
      if (error == 0) return Result<int64_t>(0);
      return Result<int64_t>(-int64_t{error});
    }
    case SECCOMP_RET_TRACE:
      return AskTracer(verdict.data, skip);
    case SECCOMP_RET_USER_NOTIF: {
      const RefPtr<SeccompListener> listener = verdict.filter->options().listener;
      if (listener == nullptr) return Result<int64_t>(Err(ENOSYS));
      const auto answer = listener->Ask(*this, data, verdict.filter->options().wait_killable);
      if (!answer.ok()) return Result<int64_t>(answer.error());
      if (*answer) return Result<int64_t>(**answer);
      return std::nullopt;
    }
    case SECCOMP_RET_TRAP: {
      SignalInfo info;
      info.signo = SIGSYS;
      info.code = 1;  // SYS_SECCOMP
      info.error = verdict.data;
      info.sys.call_address = data.instruction_pointer;
      info.sys.syscall = data.nr;
      info.sys.arch = data.arch;
      ForceSignal(info);
      return Result<int64_t>(data.nr);  // the handler finds the registers as before the call
    }
    case SECCOMP_RET_KILL_THREAD:
      if (group_->thread_count() > 1) {
        Exit(SIGSYS);
        return Result<int64_t>(Err(EPERM));
      }
      [[fallthrough]];
    default:
      ExitGroup(SIGSYS);
      return Result<int64_t>(Err(EPERM));
  }
}

namespace {

constexpr uint64_t kDispatchInclusive = 2;  // PR_SYS_DISPATCH_INCLUSIVE_ON, newer than the headers
constexpr int kSysUserDispatch = 2;         // si_code SYS_USER_DISPATCH

}  // namespace

Result<void> Task::SetUserDispatch(uint64_t mode, GuestAddr start, uint64_t length, GuestAddr selector) {
  const bool wraps = start.value() + length <= start.value();
  switch (mode) {
    case PR_SYS_DISPATCH_OFF:
      if (!start.IsNull() || length != 0 || !selector.IsNull()) return Err(EINVAL);
      break;
    case PR_SYS_DISPATCH_ON:
      if (!start.IsNull() && wraps) return Err(EINVAL);
      break;
    case kDispatchInclusive:
      if (length == 0 || wraps) return Err(EINVAL);
      break;
    default:
      return Err(EINVAL);
  }
  if (!selector.IsNull() && selector >= mm_->range().end) return Err(EFAULT);
  user_dispatch_ = {.mode = mode, .start = start, .selector = selector, .length = length};
  dispatches_to_user_.store(mode != PR_SYS_DISPATCH_OFF);
  UpdateLocalIdentity();
  return {};
}

bool Task::DispatchToUser(const platform::Trap& trap) {
  const bool inside = trap.ip.value() - user_dispatch_.start.value() < user_dispatch_.length;
  if (inside == (user_dispatch_.mode == PR_SYS_DISPATCH_ON)) return false;
  if (!user_dispatch_.selector.IsNull()) {
    const auto selector = InPtr<uint8_t>(user_dispatch_.selector).Read(memory());
    if (selector.ok() && *selector == SYSCALL_DISPATCH_FILTER_ALLOW) return false;
    if (!selector.ok() || *selector != SYSCALL_DISPATCH_FILTER_BLOCK) {
      ExitGroup(selector.ok() ? SIGSYS : SIGSEGV);
      return true;
    }
  }
  SignalInfo info;
  info.signo = SIGSYS;
  info.code = kSysUserDispatch;
  info.sys.call_address = trap.ip.value();
  info.sys.syscall = static_cast<int>(trap.nr);
  info.sys.arch = AUDIT_ARCH_X86_64;
  ForceSignal(info);
  FinishCall(static_cast<int64_t>(trap.nr));  // the handler finds the registers as before the call
  return true;
}

}  // namespace sandbox
