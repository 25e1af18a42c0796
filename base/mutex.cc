#include "base/mutex.h"

#include <array>

#include "base/check.h"

namespace sandbox {
namespace {

struct Held {
  std::array<int, 32> ranks;
  int count = 0;
};
thread_local Held held;

}  // namespace

void LockRankPush(LockRank rank) {
  const int r = static_cast<int>(rank);
  for (int i = 0; i < held.count; ++i) CHECK(held.ranks[i] <= r);  // equal: ordered by the declaration's rule
  CHECK(held.count < static_cast<int>(held.ranks.size()));
  held.ranks[held.count++] = r;
}

void LockRankPop(LockRank rank) {
  // Locks need not be released in order, so the last equal rank is removed.
  for (int i = held.count - 1; i >= 0; --i) {
    if (held.ranks[i] != static_cast<int>(rank)) continue;
    for (int j = i + 1; j < held.count; ++j) held.ranks[j - 1] = held.ranks[j];
    --held.count;
    return;
  }
  CHECK(false);
}

}  // namespace sandbox
