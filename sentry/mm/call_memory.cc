#include "sentry/mm/call_memory.h"

#include <cstring>

namespace sandbox {

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

void CallMemory::Commit(GuestAddr to, size_t size) { thread_->CommitOutput(to, size); }

}  // namespace sandbox
