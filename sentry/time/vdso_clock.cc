#include "sentry/time/vdso_clock.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include "base/guest_addr.h"
#include "base/host_sys.h"
#include "platform/arch/cycle_counter.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace sandbox {
namespace {

constexpr int64_t kMaxWindowNs = 100'000'000;
constexpr int64_t kMinSpanNs = 5'000'000;      // before it, the rate is not known well enough
constexpr int64_t kAnchorNs = 10'000'000'000;  // how old an anchor gets: rates follow the host's clock discipline
constexpr int64_t kMaxCorrectionNs = 50'000;   // beyond it, the host's clock was set or the machine slept
constexpr int64_t kSameOffsetNs = 10'000;      // differences between clocks below this are noise of reading

int64_t ReadHost(clockid_t clock) {
  timespec ts = {};
  (void)::clock_gettime(clock, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

// The first bytes of a file of the host's.
template <size_t kSize>
std::string_view ReadStart(const char* path, char (&text)[kSize]) {
  const auto file = host::OpenAt(BorrowedFd(AT_FDCWD), path, O_RDONLY);
  const auto size = file.ok() ? host::Read(file->borrow(), text, kSize) : file.error();
  return {text, size.ok() ? *size : 0};
}

// Whether the host derives its time from the counter; only then is the counter known to be steady and the same on all
// processors. A virtual machine's kvm-clock is made of it too, by parameters that its host may change; where the
// processor says that the counter never changes its rate, they stay. Asked when the process starts: later it has no
// files to open.
const bool host_uses_counter = [] {
  char source[16], processor[4096];
  const std::string_view name = ReadStart("/sys/devices/system/clocksource/clocksource0/current_clocksource", source);
  if (!name.starts_with("kvm-clock")) return name.starts_with("tsc");
  const std::string_view flags = ReadStart("/proc/cpuinfo", processor);
  const auto has = [&](std::string_view flag) { return flags.find(flag) != flags.npos; };
  return has(" constant_tsc ") && has(" nonstop_tsc ");
}();

int64_t Elapsed(const VdsoParams& params, uint64_t counter) {
  return static_cast<int64_t>((static_cast<unsigned __int128>(counter - params.base_counter) * params.ns_per_count) >>
                              32);
}

}  // namespace

VdsoClock& VdsoClock::Get() {
  static VdsoClock clock;
  return clock;
}

VdsoClock::VdsoClock() {
  if (!host_uses_counter) return;
  auto made = host::MemoryFile("vvar", MFD_ALLOW_SEALING);
  if (!made.ok() || !host::Truncate(made->borrow(), kPageSize).ok()) return;
  UniqueFd fd = std::move(*made);
  void* const page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  // No mapping made from now on can be written to, whoever holds the descriptor.
  constexpr int kSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (page == MAP_FAILED || !host::AddSeals(fd.borrow(), kSeals).ok()) return;
  (void)::madvise(page, kPageSize, MADV_DONTFORK);  // stubs have no use for a writable view
  page_ = static_cast<volatile VdsoParams*>(page);
  fd_ = std::move(fd);
  anchor_ = next_anchor_ = Take();
}

VdsoClock::Sample VdsoClock::Take() {
  // Of some readings the one that took the least time: the others were interrupted.
  Sample best;
  uint64_t best_cost = ~uint64_t{0};
  for (int i = 0; i < 4; ++i) {
    const uint64_t before = arch::CycleCounter();
    const int64_t monotonic = ReadHost(CLOCK_MONOTONIC);
    const uint64_t after = arch::CycleCounter();
    if (after - before >= best_cost) continue;
    best_cost = after - before;
    best.counter = before + (after - before) / 2;
    best.monotonic_ns = monotonic;
  }
  const int64_t reference = ReadHost(CLOCK_MONOTONIC);
  best.realtime_ns = best.monotonic_ns + (ReadHost(CLOCK_REALTIME) - reference);
  best.boottime_ns = best.monotonic_ns + (ReadHost(CLOCK_BOOTTIME) - reference);
  return best;
}

VdsoParams VdsoClock::Next(const VdsoParams& old, const Sample& anchor, const Sample& now) {
  VdsoParams next = {};
  const int64_t span_ns = now.monotonic_ns - anchor.monotonic_ns;
  const uint64_t span_count = now.counter - anchor.counter;
  if (span_ns < kMinSpanNs || static_cast<int64_t>(span_count) <= 0) return next;  // window 0: not yet
  const auto rate = static_cast<uint64_t>((static_cast<unsigned __int128>(span_ns) << 32) / span_count);
  if (rate == 0) return next;
  const int64_t window_ns = std::min(kMaxWindowNs, 2 * span_ns);
  next.base_counter = now.counter;
  next.window = static_cast<uint64_t>((static_cast<unsigned __int128>(window_ns) << 32) / rate);
  next.ns_per_count = rate;
  next.monotonic_ns = static_cast<uint64_t>(now.monotonic_ns);
  int64_t realtime_offset = now.realtime_ns - now.monotonic_ns, boottime_offset = now.boottime_ns - now.monotonic_ns;
  if (old.window != 0) {
    // Continue where the old page is at this moment, ahead or behind, and be right again at the window's end.
    const auto predicted = static_cast<int64_t>(old.monotonic_ns) + Elapsed(old, now.counter);
    const int64_t ahead = predicted - now.monotonic_ns;
    if (std::abs(ahead) < std::min(kMaxCorrectionNs, window_ns / 8)) {
      next.monotonic_ns = static_cast<uint64_t>(predicted);
      next.ns_per_count =
          static_cast<uint64_t>((static_cast<unsigned __int128>(window_ns - ahead) << 32) / next.window);
    }
    const auto keep = [&](int64_t offset, uint64_t old_ns) {
      const int64_t before = static_cast<int64_t>(old_ns) - static_cast<int64_t>(old.monotonic_ns);
      return std::abs(offset - before) < kSameOffsetNs ? before : offset;
    };
    realtime_offset = keep(realtime_offset, old.realtime_ns);
    boottime_offset = keep(boottime_offset, old.boottime_ns);
  }
  next.realtime_ns = next.monotonic_ns + static_cast<uint64_t>(realtime_offset);
  next.boottime_ns = next.monotonic_ns + static_cast<uint64_t>(boottime_offset);
  return next;
}

void VdsoClock::Renew() {
  if (page_ == nullptr) return;
  MutexLock lock(mu_);
  if (current_.window != 0 && arch::CycleCounter() - current_.base_counter < current_.window) return;
  const Sample now = Take();
  if (now.monotonic_ns - next_anchor_.monotonic_ns > kAnchorNs / 2) {
    anchor_ = next_anchor_;
    next_anchor_ = now;
  }
  // Much later than the window, nobody has read the old page near its end: start afresh.
  const bool stale = now.counter - current_.base_counter > 8 * current_.window;
  const VdsoParams next = Next(stale ? VdsoParams{} : current_, anchor_, now);
  const uint32_t sequence = page_->sequence;
  __atomic_store_n(&page_->sequence, sequence + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  page_->base_counter = next.base_counter;
  page_->window = next.window;
  page_->ns_per_count = next.ns_per_count;
  page_->monotonic_ns = next.monotonic_ns;
  page_->realtime_ns = next.realtime_ns;
  page_->boottime_ns = next.boottime_ns;
  __atomic_store_n(&page_->sequence, sequence + 2, __ATOMIC_RELEASE);
  current_ = next;
}

std::optional<int64_t> VdsoClock::Read(clockid_t clock) {
  if (page_ == nullptr) return std::nullopt;
  Renew();
  const uint64_t ns = abi::ReadClockPage(page_, clock);
  if (ns == 0) return std::nullopt;
  return static_cast<int64_t>(ns);
}

}  // namespace sandbox
