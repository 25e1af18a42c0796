// Open files on their way in unix messages (SCM_RIGHTS; Linux: net/unix/garbage.c). A socket that is referred to only
// by messages which nobody can receive any more would live for ever: such sockets are found here, and what is queued
// in them is dropped.
//
// The lock is never taken while that of a queue is held: messages are made, emptied and destroyed outside it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// The files of one message. Counted while they are in it; moved with it.
class InFlightFiles {
 public:
  InFlightFiles() = default;
  // `uid`: real user of the sender, whose count they are in.
  InFlightFiles(std::vector<FileRef> files, uint32_t uid);
  InFlightFiles(InFlightFiles&& other) noexcept { *this = std::move(other); }
  InFlightFiles& operator=(InFlightFiles&& other) noexcept;
  ~InFlightFiles() { (void)Take(); }

  bool empty() const { return files_.empty(); }
  const std::vector<FileRef>& files() const { return files_; }
  // The receiver's now.
  std::vector<FileRef> Take();
  // References beside these, which are not in flight (MSG_PEEK).
  InFlightFiles Glimpse() const;

 private:
  std::vector<FileRef> files_;
  uint32_t uid_ = 0;
  bool counted_ = false;
};

// ETOOMANYREFS when the caller's user has more files in flight than RLIMIT_NOFILE allows (unix(7)).
Result<void> CheckInFlightLimit(Context& context);

// Looks for sockets that only unreachable messages refer to, soon and without locks, when any socket is in flight. May
// be called with any lock held.
void CollectInFlightSoon();

}  // namespace sandbox
