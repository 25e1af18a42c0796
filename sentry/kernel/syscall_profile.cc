#include "sentry/kernel/syscall_profile.h"

#include <sched.h>

#include <algorithm>
#include <atomic>

namespace sandbox {
namespace {

constexpr size_t kLanes = 3;
constexpr size_t kShards = 4;  // of processors; never touched pages of these tables cost nothing

struct Counter {
  std::atomic<uint64_t> calls, busy_ns, slept_ns;
};
Counter counters[kShards][SyscallProfile::kOther + 1][kLanes];

}  // namespace

void SyscallProfile::Record(uint64_t nr, Lane lane, int64_t busy_ns, int64_t slept_ns) {
  const size_t shard = static_cast<size_t>(::sched_getcpu()) % kShards;
  Counter& counter = counters[shard][std::min(nr, kOther)][static_cast<size_t>(lane)];
  counter.calls.fetch_add(1, std::memory_order_relaxed);
  counter.busy_ns.fetch_add(static_cast<uint64_t>(std::max<int64_t>(busy_ns, 0)), std::memory_order_relaxed);
  if (slept_ns > 0) counter.slept_ns.fetch_add(static_cast<uint64_t>(slept_ns), std::memory_order_relaxed);
}

std::vector<SyscallProfile::Row> SyscallProfile::Rows() {
  std::vector<Row> rows;
  for (uint64_t nr = 0; nr <= kOther; ++nr) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      Row row{.nr = nr, .lane = static_cast<Lane>(lane)};
      for (auto& shard : counters) {
        const Counter& counter = shard[nr][lane];
        row.calls += counter.calls.load(std::memory_order_relaxed);
        row.busy_ns += counter.busy_ns.load(std::memory_order_relaxed);
        row.slept_ns += counter.slept_ns.load(std::memory_order_relaxed);
      }
      if (row.calls != 0) rows.push_back(row);
    }
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.busy_ns > b.busy_ns; });
  return rows;
}

}  // namespace sandbox
