// Guest memory as the handler of a task's own call sees it. Arguments that came along with the call are read without
// asking the host, and results go with the answer where the platform offers that (platform::Thread::ReadInput).
//
// A result may only be delayed when it cannot fail for a reason that the caller has to be told now: its memory must be
// private, anonymous and writable. Then nothing but another thread that unmaps it during the call can be in the way,
// and the call fails with EFAULT, where on Linux it might have succeeded, or have moved a part.
#pragma once

#include <memory>

#include "base/ref.h"
#include "platform/api/platform.h"
#include "sentry/core/guest_memory.h"
#include "sentry/mm/memory_manager.h"

namespace sandbox {

class CallMemory final : public GuestMemory {
 public:
  // The owner's members, which change in exec.
  CallMemory(const std::unique_ptr<platform::Thread>& thread, const RefPtr<MemoryManager>& mm)
      : thread_(thread), mm_(mm) {}

  Result<size_t> ReadSome(GuestAddr from, void* to, size_t size) override;
  Result<size_t> WriteSome(GuestAddr to, const void* from, size_t size) override;
  char* Reserve(GuestAddr to, size_t size) override;
  void Commit(GuestAddr to, size_t size) override;
  std::optional<Result<size_t>> ReadFile(GuestAddr to, size_t size, BorrowedFd fd, uint64_t offset) override;
  void Settle() override { thread_->SettleCallData(); }

 private:
  const std::unique_ptr<platform::Thread>& thread_;
  const RefPtr<MemoryManager>& mm_;
};

}  // namespace sandbox
