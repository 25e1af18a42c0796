// Waiting for several files at once: what poll(2), ppoll(2), select(2) and pselect6(2) share (Linux: fs/select.c).
#pragma once

#include <span>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/file.h"

namespace sandbox {

struct PollEntry {
  FileRef file;          // null entries are skipped and keep their `found`
  EventMask wanted = 0;  // kEventAlways is added
  EventMask found = 0;   // out: wanted & state
};

// Fills `found` of every entry and returns how many are not zero, once there is one or the deadline passes.
// kErestartsys when a signal interrupted the wait.
Result<size_t> PollFiles(Context& context, std::span<PollEntry> entries, const Deadline& deadline);

}  // namespace sandbox
