// Hands descriptors to guest processes: one socket whose receiving end every guest process inherits from the zygote.
//
// It must work for a sentry in an empty root, without capabilities, whose filter knows no path: so the sentry sends
// with SCM_RIGHTS and the guest thread is made to receive. All processes share the receiving end, hence one transfer
// at a time: whoever holds the channel has sent, its guest thread receives without waiting, and what was not taken
// (the thread died) is taken back before the next transfer, or a file would end up in another process.
#pragma once

#include <span>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox::platform::ptrace {

class DescriptorChannel {
 public:
  static constexpr size_t kMaxDescriptors = 16;  // in one message

  DescriptorChannel(UniqueFd send, UniqueFd receive)
      : send_(std::move(send)), receive_(std::move(receive)), mu_(LockRank::kPlatform) {}

  // Held around Send and the injected receive, including the wait for the guest thread: it cannot block there.
  Mutex& mu() ABSL_LOCK_RETURNED(mu_) { return mu_; }
  Result<void> Send(std::span<const BorrowedFd> fds) REQUIRES(mu_);
  // After a receive that failed.
  void TakeBack() REQUIRES(mu_);

 private:
  UniqueFd send_;
  UniqueFd receive_;
  Mutex mu_;
};

}  // namespace sandbox::platform::ptrace
