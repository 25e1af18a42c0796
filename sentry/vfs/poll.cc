#include "sentry/vfs/poll.h"

#include <deque>

namespace sandbox {
namespace {

size_t Scan(Context& context, std::span<PollEntry> entries) {
  size_t ready = 0;
  for (PollEntry& entry : entries) {
    if (entry.file != nullptr) {
      const EventMask wanted = entry.wanted | kEventAlways;
      entry.found = entry.file->Readiness(context, wanted) & wanted;
    }
    if (entry.found != 0) ++ready;
  }
  return ready;
}

}  // namespace

Result<size_t> PollFiles(Context& context, std::span<PollEntry> entries, const Deadline& deadline) {
  size_t ready = Scan(context, entries);
  if (ready > 0) return ready;
  if (deadline && deadline->ns <= MonotonicNow().ns) return size_t{0};

  std::deque<Waker> wakers;
  for (PollEntry& entry : entries) {
    WaitQueue* queue = entry.file != nullptr ? entry.file->wait_queue() : nullptr;
    if (queue != nullptr) queue->Register(wakers.emplace_back(context), entry.wanted);
  }
  Result<size_t> result = size_t{0};
  for (;;) {
    ready = Scan(context, entries);
    if (ready > 0) {
      result = ready;
      break;
    }
    if (auto slept = context.Block(deadline); !slept.ok()) {
      if (!slept.Is(ETIMEDOUT)) result = slept.error();
      break;
    }
  }
  for (Waker& waker : wakers) waker.Unregister();
  return result;
}

}  // namespace sandbox
