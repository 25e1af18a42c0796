// Guest memory as stub code reaches it: a bad address is an error, not the end of the process.
#pragma once

#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {

// Each returns -EFAULT, having done a part of it perhaps.
extern "C" {
// lock cmpxchg; the value found.
STUB_TEXT long StubCompareExchange(uint64_t address, uint32_t expected, uint32_t desired);
STUB_TEXT long StubCopy(uint64_t to, uint64_t from, uint64_t size);
// XSAVE of the components `features` to an aligned address.
STUB_TEXT long StubSaveState(uint64_t to, uint64_t features);

STUB_TEXT void StubAccessBegin();
STUB_TEXT void StubAccessEnd();
STUB_TEXT void StubAccessFixup();
}

// False where the sentry would have to look: at a bad address, and in the stub's own region, which is none of the
// guest's.
STUB_INLINE bool InGuest(uint64_t address, uint64_t size) {
  return address < kRegionStart && size <= kRegionStart - address;
}
STUB_INLINE bool ReadGuest(void* to, uint64_t from, uint64_t size) {
  return InGuest(from, size) && StubCopy(reinterpret_cast<uint64_t>(to), from, size) == 0;
}
STUB_INLINE bool WriteGuest(uint64_t to, const void* from, uint64_t size) {
  return InGuest(to, size) && StubCopy(to, reinterpret_cast<uint64_t>(from), size) == 0;
}

}  // namespace sandbox::platform::stub
