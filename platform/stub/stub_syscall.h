// Host system calls of stub code, and the few primitives it uses instead of a C library.
#pragma once

#include <cstdint>

#include "platform/stub/stub.h"

namespace sandbox::platform::stub {

#define STUB_INLINE static inline __attribute__((always_inline))

STUB_INLINE long Call6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
  long ret;
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(ret)
               : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return ret;
}
STUB_INLINE long Call4(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  long ret;
  register uint64_t r10 asm("r10") = d;
  asm volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return ret;
}
STUB_INLINE long Call3(long nr, uint64_t a, uint64_t b = 0, uint64_t c = 0) {
  long ret;
  asm volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return ret;
}

// Call numbers (asm/unistd_64.h) that stub code may use directly; the filter's list (systrap/filter.cc) matches.
inline constexpr long kSysMmap = 9, kSysMprotect = 10, kSysMunmap = 11, kSysRtSigprocmask = 14, kSysRtSigreturn = 15,
                      kSysPread64 = 17, kSysSchedYield = 24, kSysMremap = 25, kSysMadvise = 28, kSysDup2 = 33,
                      kSysGetpid = 39, kSysSendto = 44, kSysSendmsg = 46, kSysRecvmsg = 47, kSysClone = 56,
                      kSysExit = 60, kSysClose = 3, kSysGetrusage = 98, kSysSigaltstack = 131, kSysPrctl = 157,
                      kSysArchPrctl = 158, kSysFutex = 202, kSysExitGroup = 231, kSysOpenat = 257, kSysSeccomp = 317,
                      kSysMembarrier = 324, kSysRseq = 334;

inline constexpr long kMapShared = 1, kMapPrivate = 2, kMapFixed = 0x10, kMapAnonymous = 0x20;
inline constexpr long kProtReadWrite = 3;
inline constexpr long kAdviceDontFork = 10;

STUB_INLINE long Ring(Bell bell, uint64_t arg = 0) { return Call3(kDoorbell, static_cast<uint64_t>(bell), arg, 0); }
// Sleeps until *word != 0. Shared futex: the sentry wakes it through its own mapping.
STUB_INLINE void WaitNonZero(uint32_t* word) {
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0) {
    const long r = Call4(kSysFutex, reinterpret_cast<uint64_t>(word), /*FUTEX_WAIT*/ 0, 0, 0);
    // Without futexes there is no way to wait; the sentry being gone shows as ENOSYS.
    if (r == -38) Call3(kSysExitGroup, 1);
  }
}
STUB_INLINE uint64_t CycleCounter() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return static_cast<uint64_t>(high) << 32 | low;
}
// Waits for the answer of the sentry, awake for as long as it says, and takes it.
STUB_INLINE void AwaitGo(ThreadPage* page) {
  const uint64_t start = CycleCounter();
  while (__atomic_load_n(&page->go, __ATOMIC_ACQUIRE) == 0) {
    if (CycleCounter() - start < __atomic_load_n(&page->spin_cycles, __ATOMIC_RELAXED)) {
      __builtin_ia32_pause();
      continue;
    }
    // Either the sentry sees this, or we see its answer.
    __atomic_store_n(&page->sleeping, 1, __ATOMIC_SEQ_CST);
    WaitNonZero(&page->go);
    __atomic_store_n(&page->sleeping, 0, __ATOMIC_RELAXED);
  }
  page->go = 0;
}
STUB_INLINE void SetAndWake(uint32_t* word) {
  __atomic_store_n(word, 1, __ATOMIC_RELEASE);
  Call4(kSysFutex, reinterpret_cast<uint64_t>(word), /*FUTEX_WAKE*/ 1, 1, 0);
}
// Has the fast lane leave by way of the sentry. One instruction, since the handler that interrupts it does the same.
STUB_INLINE void SetInterrupted(ThreadPage* page, uint32_t why) {
  asm volatile("orl %1, %0" : "+m"(page->interrupted) : "ir"(why) : "memory");
}
STUB_INLINE void TakeUsageAlong(ThreadPage* page, uint64_t nr) {
  if (BringsUsage(nr)) Call3(kSysGetrusage, /*RUSAGE_SELF*/ 0, reinterpret_cast<uint64_t>(page->usage));
}
STUB_INLINE const Config* GetConfig() { return reinterpret_cast<const Config*>(kConfigStart); }
STUB_INLINE void CopyBytes(void* to, const void* from, uint64_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}
STUB_INLINE ThreadPage* PageOf(uint64_t address_in_slot) {
  return reinterpret_cast<ThreadPage*>(address_in_slot & ~(kSlotSize - 1));
}

}  // namespace sandbox::platform::stub
