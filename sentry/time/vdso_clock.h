// The page from which guests' vDSO reads the time: a base and a rate, good for a short window.
//
// Nothing updates it periodically, so an idle sandbox wakes nobody. When the window has passed, the vDSO makes the real
// system call, and serving that call renews the page: one call a window and sandbox, however many clocks are read.
//
// The rate comes from the host's own clock over the time since an anchor that is moved now and then, so the error is
// that of two readings (tens of nanoseconds) over that span; the window is never longer than twice the span. A renewed
// page continues where the old one would be and works off the difference within the window, so time never steps back.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>

#include "abi/clock_page.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox {

using VdsoParams = abi::ClockPage;

class VdsoClock {
 public:
  // The one of the process; made on first use, which must be before the sentry confines itself.
  static VdsoClock& Get();

  // A read-only page for guests, or invalid when the host's time is not that of the counter.
  BorrowedFd page() const { return fd_.borrow(); }
  // Renews the page when its window has passed. Called when a guest reads a clock by system call.
  void Renew();
  // What a guest that reads the page sees, after renewing it; nullopt for clocks that it does not have. It may be some
  // nanoseconds off the host's clock, and whoever reads by turns must not see time step back.
  std::optional<int64_t> Read(clockid_t clock);

  // One reading of the host.
  struct Sample {
    uint64_t counter = 0;
    int64_t monotonic_ns = 0, realtime_ns = 0, boottime_ns = 0;
  };
  // What the page becomes at `now`, given what it was and the anchor of the rate. Pure; the sequence is left alone.
  static VdsoParams Next(const VdsoParams& old, const Sample& anchor, const Sample& now);

 private:
  VdsoClock();
  static Sample Take();

  UniqueFd fd_;
  volatile VdsoParams* page_ = nullptr;
  Mutex mu_{LockRank::kLeaf};
  VdsoParams current_ GUARDED_BY(mu_) = {};
  Sample anchor_ GUARDED_BY(mu_), next_anchor_ GUARDED_BY(mu_);
};

}  // namespace sandbox
