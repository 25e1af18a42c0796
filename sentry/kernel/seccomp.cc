#include "sentry/kernel/seccomp.h"

#include <linux/audit.h>
#include <linux/capability.h>

#include <algorithm>

#include "base/cleanup.h"
#include "sentry/kernel/seccomp_notify.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr size_t kMaxChainInsns = (1 << 18) / sizeof(sock_filter);
constexpr size_t kFilterPenalty = 4;

// Actions compare as signed numbers: KILL_PROCESS is the lowest.
bool Overrides(uint32_t a, uint32_t b) {
  const auto order = [](uint32_t verdict) { return static_cast<int32_t>(verdict & SECCOMP_RET_ACTION_FULL); };
  return order(a) < order(b);
}

}  // namespace

SeccompFilter::SeccompFilter(std::vector<sock_filter> program, RefPtr<const SeccompFilter> previous, Options options)
    : program_(std::move(program)), previous_(std::move(previous)), options_(std::move(options)) {
  chain_insns_ = program_.size();
  if (previous_ != nullptr) {
    chain_insns_ += previous_->chain_insns_ + kFilterPenalty;
    chain_length_ = previous_->chain_length_ + 1;
  }
  for (int nr = 0; nr < kCachedCalls; ++nr) {
    if (previous_ != nullptr && !previous_->always_allowed_[nr]) continue;
    always_allowed_[nr] = ConstantSeccompVerdict(program_, nr, AUDIT_ARCH_X86_64) == uint32_t{SECCOMP_RET_ALLOW};
  }
}

// Iteratively: a chain of thousands must not end in as many nested destructors.
SeccompFilter::~SeccompFilter() {
  if (options_.listener != nullptr) options_.listener->FilterGone();
  RefPtr<const SeccompFilter> next = std::move(previous_);
  while (next != nullptr && next.use_count() == 1) {
    RefPtr<const SeccompFilter> after = std::move(const_cast<SeccompFilter&>(*next).previous_);
    next = std::move(after);
  }
}

Result<RefPtr<SeccompFilter>> SeccompFilter::Make(std::vector<sock_filter> program,
                                                  RefPtr<const SeccompFilter> previous, Options options) {
  TRY(CheckSeccompProgram(program));
  const size_t before = previous == nullptr ? 0 : previous->chain_insns_ + kFilterPenalty;
  if (before + program.size() > kMaxChainInsns) return Err(ENOMEM);
  return RefPtr<SeccompFilter>(new SeccompFilter(std::move(program), std::move(previous), std::move(options)));
}

bool SeccompFilter::AlwaysAllows(std::span<const int> calls) const {
  return std::all_of(calls.begin(), calls.end(), [this](int nr) { return always_allowed_[static_cast<size_t>(nr)]; });
}

SeccompFilter::Verdict SeccompFilter::Run(const SeccompData& data) const {
  Verdict verdict{SECCOMP_RET_ALLOW, 0, nullptr};
  const bool cacheable = data.arch == AUDIT_ARCH_X86_64 && data.nr >= 0 && data.nr < kCachedCalls;
  if (cacheable && always_allowed_[data.nr]) return verdict;
  uint32_t lowest = SECCOMP_RET_ALLOW;
  for (const SeccompFilter* filter = this; filter != nullptr; filter = filter->previous_.get()) {
    const uint32_t one = RunSeccompProgram(filter->program_, data);
    if (!Overrides(one, lowest)) continue;
    lowest = one;
    verdict = {one & SECCOMP_RET_ACTION_FULL, static_cast<uint16_t>(one & SECCOMP_RET_DATA), filter};
  }
  return verdict;
}

bool SeccompFilter::IsAncestor(const SeccompFilter* ancestor, const SeccompFilter* of) {
  if (ancestor == nullptr) return true;
  for (; of != nullptr; of = of->previous_.get()) {
    if (of == ancestor) return true;
  }
  return false;
}

bool SeccompFilter::HasListener() const {
  for (const SeccompFilter* filter = this; filter != nullptr; filter = filter->previous_.get()) {
    if (filter->options_.listener != nullptr) return true;
  }
  return false;
}

Result<void> EnterSeccompStrict(Task& task) {
  if (task.seccomp_mode() == SECCOMP_MODE_FILTER) return Err(EINVAL);
  TRY(task.AttachSeccomp({SECCOMP_MODE_STRICT, nullptr}, false));
  return {};
}

Result<int64_t> InstallSeccompFilter(Task& task, uint64_t flags, std::vector<sock_filter> program) {
  if (!task.no_new_privs.load() && !task.creds().HasOwn(CAP_SYS_ADMIN)) return Err(EACCES);
  const SeccompState old = task.seccomp();
  SeccompFilter::Options options;
  options.log = flags & SECCOMP_FILTER_FLAG_LOG;
  options.wait_killable = flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) {
    if (old.filter != nullptr && old.filter->HasListener()) return Err(EBUSY);
    options.listener = MakeRef<SeccompListener>();
  }
  auto filter = TRY(SeccompFilter::Make(std::move(program), old.filter, options));
  if (old.mode == SECCOMP_MODE_STRICT) return Err(EINVAL);
  std::optional<Fd> listener;
  if (options.listener != nullptr) {
    auto file = MakeRef<SeccompListenerFile>(options.listener);
    listener = TRY(task.fds().Install(task, std::move(file), true));
  }
  const int64_t refused =
      TRY(task.AttachSeccomp({SECCOMP_MODE_FILTER, std::move(filter)}, flags & SECCOMP_FILTER_FLAG_TSYNC));
  if (refused != 0) {
    if (listener) (void)task.fds().Close(task, *listener);
    if (flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH) return Err(ESRCH);
    return refused;
  }
  return listener ? listener->number() : 0;
}

}  // namespace sandbox
