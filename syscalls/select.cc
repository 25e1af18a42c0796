// select(2), pselect6(2): poll with bit sets.
#include <sys/resource.h>

#include <array>
#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/vfs/poll.h"
#include "syscalls/row.h"
#include "syscalls/wait_time.h"

namespace sandbox::syscalls {
namespace {

constexpr int kMaxFds = 1 << 20;
constexpr int kBitsPerWord = 64;

// The three sets of select(2) and the events that each stands for (Linux: POLLIN_SET, POLLOUT_SET, POLLEX_SET).
constexpr std::array<EventMask, 3> kSetEvents = {
    kEventIn | kEventRdNorm | kEventRdBand | kEventHup | kEventErr,
    kEventOut | kEventWrNorm | kEventWrBand | kEventErr,
    kEventPri,
};
constexpr std::array<EventMask, 3> kSetWanted = {
    kEventIn | kEventRdNorm | kEventRdBand,
    kEventOut | kEventWrNorm | kEventWrBand,
    kEventPri,
};

using Bits = std::vector<uint64_t>;
struct FdSets {
  std::array<GuestAddr, 3> addrs;
  std::array<Bits, 3> bits;
};

bool Has(const Bits& bits, int fd) { return !bits.empty() && (bits[fd / kBitsPerWord] >> fd % kBitsPerWord & 1); }

Result<FdSets> ReadSets(Task& task, int count, const std::array<GuestAddr, 3>& addrs) {
  FdSets sets{addrs, {}};
  const size_t words = (count + kBitsPerWord - 1) / kBitsPerWord;
  for (size_t s = 0; s < addrs.size(); ++s) {
    if (!addrs[s].IsNull()) sets.bits[s] = TRY(InPtr<uint64_t>(addrs[s]).ReadArray(task.memory(), words));
  }
  return sets;
}

// One entry for each descriptor that is in any set; `fds` says which. EBADF when one is not open.
Result<std::vector<PollEntry>> Entries(Task& task, int count, const FdSets& sets, std::vector<int>& fds) {
  std::vector<PollEntry> entries;
  for (int fd = 0; fd < count; ++fd) {
    EventMask wanted = 0;
    for (size_t s = 0; s < sets.bits.size(); ++s) {
      if (Has(sets.bits[s], fd)) wanted |= kSetWanted[s];
    }
    if (wanted == 0) continue;
    entries.push_back({TRY(task.fds().Get(Fd(fd))), wanted, 0});
    fds.push_back(fd);
  }
  return entries;
}

Result<int> DoSelect(Task& task, int count, const std::array<GuestAddr, 3>& addrs, const Deadline& deadline) {
  if (count < 0) return Err(EINVAL);
  count = std::min(count, kMaxFds);
  FdSets sets = TRY(ReadSets(task, count, addrs));
  std::vector<int> fds;
  auto entries = TRY(Entries(task, count, sets, fds));
  const auto polled = PollFiles(task, entries, deadline);
  if (!polled.ok()) return Err(polled.Is(kErestartsys) ? kErestartnohand : polled.error().value());

  int total = 0;
  for (size_t s = 0; s < sets.bits.size(); ++s) {
    Bits& wanted = sets.bits[s];
    if (wanted.empty()) continue;
    Bits out(wanted.size());
    for (size_t i = 0; i < fds.size(); ++i) {
      if (!Has(wanted, fds[i]) || (entries[i].found & kSetEvents[s]) == 0) continue;
      out[fds[i] / kBitsPerWord] |= uint64_t{1} << fds[i] % kBitsPerWord;
      ++total;
    }
    TRY(OutPtr<uint64_t>(addrs[s]).WriteArray(task.memory(), out));
  }
  return total;
}

Result<int> SysSelect(Task& task, int count, GuestAddr in, GuestAddr out, GuestAddr except, GuestAddr timeout) {
  Deadline deadline;
  if (!timeout.IsNull()) {
    const auto tv = TRY(InPtr<timeval>(timeout).Read(task.memory()));
    // Microseconds may exceed a second here (Linux: kern_select).
    if (tv.tv_sec < 0 || tv.tv_usec < 0) return Err(EINVAL);
    const int64_t seconds = std::min<int64_t>(tv.tv_sec, INT64_MAX / 4) + tv.tv_usec / 1'000'000;
    deadline = DeadlineAfter(TRY(TimespecToNs({seconds, tv.tv_usec % 1'000'000 * 1000})));
  }
  const auto result = DoSelect(task, count, {in, out, except}, deadline);
  WriteRemainingTimeval(task, timeout, deadline);
  return result;
}
SYSCALL_ROW(select, Lane::kMayBlock, Support::kFull, SysSelect, "");

// The sixth argument of pselect6: pointer and size of the mask.
struct MaskArgument {
  uint64_t set;
  uint64_t size;
};

Result<int> SysPselect6(Task& task, int count, GuestAddr in, GuestAddr out, GuestAddr except, GuestAddr timeout,
                        InPtr<MaskArgument> mask) {
  MaskArgument argument{};
  if (!mask.IsNull()) argument = TRY(mask.Read(task.memory()));
  const Deadline deadline = TRY(ReadDeadline(task, timeout));
  TRY(ApplyWaitMask(task, GuestAddr(argument.set), argument.size));
  const auto result = DoSelect(task, count, {in, out, except}, deadline);
  WriteRemainingTimespec(task, timeout, deadline);
  return result;
}
SYSCALL_ROW(pselect6, Lane::kMayBlock, Support::kFull, SysPselect6, "");

}  // namespace
}  // namespace sandbox::syscalls
