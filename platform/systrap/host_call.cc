// Calls that the guest thread makes on the host by itself, on the sentry's order.
#include <sys/resource.h>

#include <cstring>

#include "platform/systrap/guest_thread.h"

namespace sandbox::platform::systrap {
namespace {

// A read so large costs more through the sentry than getting the thread out of its notification does.
constexpr uint64_t kWorthParking = 1 << 20;

}  // namespace

void GuestThread::FillCall(const HostCall& call) {
  EnsureRegisters();
  stub::HostCall& out = (*page_)->call;
  out.nr = call.nr;
  std::copy(call.args.begin(), call.args.end(), std::begin(out.args));
  out.has_deadline = call.deadline_ns.has_value();
  const int64_t ns = call.deadline_ns.value_or(0);
  out.deadline[0] = ns / 1'000'000'000;
  out.deadline[1] = ns % 1'000'000'000;
}

Result<int64_t> GuestThread::RunCall(const HostCall& call) {
  FillCall(call);
  TRY(Round(stub::Command::kCall, 0));
  const int64_t result = (*page_)->result;
  if (result < 0) return Err(result > -4096 ? static_cast<int>(-result) : EINVAL);
  return result;
}

std::optional<Result<size_t>> GuestThread::ReadFile(GuestRange to, BorrowedFd fd, uint64_t offset) {
  if (!ops_.empty()) return std::nullopt;
  // A thread that has to be parked takes its file along.
  const bool notified = hold_ == Hold::kNotified;
  if (notified && to.length() < kWorthParking) return std::nullopt;
  if (!notified && !EnsureRung().ok()) return std::nullopt;
  const auto remote = listener_->AddFd(notification_, fd.get());
  if (!remote.ok()) return std::nullopt;
  if (notified) EnsureRegisters();
  (*page_)->read = {.address = to.start.value(), .length = to.length(), .offset = offset, .fd = *remote};
  if (!Round(stub::Command::kRead, 0).ok()) return Result<size_t>(Err(EINTR));  // the thread is gone
  const int64_t result = (*page_)->result;
  if (result < 0 && result > -4096) return Result<size_t>(Err(static_cast<int>(-result)));
  if (result < 0 || static_cast<uint64_t>(result) > to.length()) return Result<size_t>(Err(EIO));
  return Result<size_t>(static_cast<size_t>(result));
}

Result<void> GuestThread::BeginCall(const HostCall& call) {
  FillCall(call);
  {
    MutexLock lock(mu_);
    if (dead_) return Err(EINTR);
    calling_ = true;
  }
  in_call_ = true;
  Post(stub::Command::kCall, stub::Resume::kUnchanged, 0);
  return {};
}

bool GuestThread::CallEnded() {
  MutexLock lock(mu_);
  return bell_.has_value() || dead_;
}

Result<int64_t> GuestThread::EndCall() {
  if (!CallEnded()) SendControlSignal();
  const auto bell = AwaitBell();
  in_call_ = false;
  {
    MutexLock lock(mu_);
    calling_ = false;
  }
  if (!bell.ok()) return Err(EINTR);
  if (*bell != stub::Bell::kDone) {
    KillHostile("unexpected bell");
    return Err(EINTR);
  }
  const int64_t result = (*page_)->result;
  if (result < 0) return Err(result > -4096 ? static_cast<int>(-result) : EINVAL);
  return result;
}

AddressSpace::Usage GuestThread::OwnUsage() {
  static_assert(sizeof(stub::ThreadPage::usage) == sizeof(rusage));
  const uint64_t at = stub::SlotAddress(slot_) + offsetof(stub::ThreadPage, usage);
  if (!usage_came_ && !RunCall({.nr = SYS_getrusage, .args = {static_cast<uint64_t>(RUSAGE_SELF), at}}).ok()) return {};
  rusage usage;
  std::memcpy(&usage, (*page_)->usage, sizeof(usage));
  return {.peak_resident = static_cast<uint64_t>(usage.ru_maxrss) * 1024,
          .minor_faults = static_cast<uint64_t>(usage.ru_minflt),
          .major_faults = static_cast<uint64_t>(usage.ru_majflt)};
}

std::optional<uint64_t> GuestThread::WaitsInCall() const {
  const uint32_t nr = __atomic_load_n(&(*page_)->asleep_in, __ATOMIC_RELAXED);
  if (nr == 0) return std::nullopt;
  return nr;
}

}  // namespace sandbox::platform::systrap
