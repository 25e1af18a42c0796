#include "sentry/mm/call_memory.h"

#include <cstring>

namespace sandbox {
namespace {

// From here on two more trips to the stub cost less than a second copy.
constexpr size_t kLargeRead = 256 * 1024;

}  // namespace

Result<size_t> CallMemory::ReadSome(GuestAddr from, void* to, size_t size) {
  if (mm_->range().Contains(from) && thread_->ReadInput(from, to, size)) {
    mm_->ShowOriginal(from, to, size);
    return size;
  }
  thread_->SettleCallData();
  return mm_->ReadSome(from, to, size);
}

Result<size_t> CallMemory::WriteSome(GuestAddr to, const void* from, size_t size) {
  if (size == 0) return size_t{0};
  if (char* const room = Reserve(to, size)) {
    std::memcpy(room, from, size);
    Commit(to, size);
    return size;
  }
  thread_->SettleCallData();
  return mm_->WriteSome(to, from, size);
}

char* CallMemory::Reserve(GuestAddr to, size_t size) {
  char* const room = thread_->ReserveOutput(size);
  return room != nullptr && mm_->IsPlainMemory(to, size) ? room : nullptr;
}

// A buffer that reaches out of the guest's memory fails elsewhere: there the stub has something mapped.
std::optional<Result<size_t>> CallMemory::ReadFile(GuestAddr to, size_t size, BorrowedFd fd, uint64_t offset) {
  if (size < kLargeRead || !mm_->range().Contains(to) || size > mm_->range().end - to) return std::nullopt;
  return thread_->ReadFile(GuestRange{to, to + size}, fd, offset);
}

void CallMemory::Commit(GuestAddr to, size_t size) { thread_->CommitOutput(to, size); }

}  // namespace sandbox
