// Where the platform's own memory lies inside every stub: one region at the very top of the user address space.
//
//   kRegionStart            stub code (shared by all, read-execute)
//   kConfigStart            read-only configuration, among it the seccomp program
//   kClockPage              the page of the guests' vDSO (abi/clock_page.h); zeroes when there is none
//   kSlotsStart + n * 128K  slot n: everything one guest thread needs in the stub
//
// A slot is found from any stack pointer inside it (sp & ~(kSlotSize-1)), so handlers need no register of their own.
// Guest code carries it in GS while the guest has no use for GS itself; the fast lane recognises its own by the upper
// half of the address, which no guest mapping has, and the alignment.
//
//   +0x00000  thread page (thread_page.h) \  shared with the sentry, a memory file of their own,
//   +0x01000  data of calls (call_data.h)  /  not inherited by fork
//   +0x10000  SlotPrivate: hand-over from a cloning thread to its child
//   +0x11000  stack of the fast lane (fast_lane.cc); in slot 0 also of the zygote and of a fresh pool stub
//   +0x14000  alternate signal stack; guest registers and extended state are saved here on every trap
#pragma once

#include <cstdint>

namespace sandbox::platform::stub {

inline constexpr uint64_t kRegionStart = 0x7fff'0000'0000;
inline constexpr uint64_t kRegionEnd = 0x7fff'ffff'f000;
inline constexpr uint64_t kTextStart = kRegionStart;
inline constexpr uint64_t kTextMax = 0x8000;
inline constexpr uint64_t kConfigStart = kTextStart + kTextMax;
inline constexpr uint64_t kConfigSize = 0x8000;
inline constexpr uint64_t kClockPage = kConfigStart + kConfigSize;
inline constexpr uint64_t kSlotsStart = kRegionStart + 0x20000;
inline constexpr uint64_t kSlotSize = 0x20000;
inline constexpr uint64_t kMaxSlots = (kRegionEnd - kSlotsStart) / kSlotSize;

inline constexpr uint64_t kSlotPageSize = 0x1000;
inline constexpr uint64_t kSlotSharedSize = 0x10000;
inline constexpr uint64_t kSlotPrivate = 0x10000;
inline constexpr uint64_t kSlotFastStackEnd = 0x14000;
inline constexpr uint64_t kSlotAltStack = 0x14000;
inline constexpr uint64_t kSlotAltStackSize = kSlotSize - kSlotAltStack;

// Where code and configuration wait, with a small stack above them, until the region is free (StubRelocate).
inline constexpr uint64_t kRelocationBlock = kTextMax + kConfigSize + 0x4000;

inline constexpr uint64_t SlotAddress(uint64_t index) { return kSlotsStart + index * kSlotSize; }

// The call number of a doorbell. Routed to the sentry by the filter; no Linux call will ever have it. Below the x32
// bit.
inline constexpr uint32_t kDoorbell = 0x2fe11000;
// Makes a guest thread leave guest code. A classic signal, so that repeated ones coalesce.
inline constexpr int kControlSignal = 10;  // SIGUSR1
// Lowest address the sentry may hand to guests.
inline constexpr uint64_t kGuestStart = 0x10000;

}  // namespace sandbox::platform::stub
