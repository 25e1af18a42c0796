// The bases of FS and GS, by whatever way the host has (systrap/segment_bases.h).
//
// GS of a stub thread holds the address of its slot, for the fast lane, except while the guest uses GS itself. Where
// its base cannot be read cheaply there is no fast lane, and GS is the guest's.
#pragma once

#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {

STUB_INLINE uint64_t ReadFsBase() {
  uint64_t v = 0;
  if (GetConfig()->bases_readable) {
    asm volatile("rdfsbase %0" : "=r"(v));
  } else {
    Call3(kSysArchPrctl, /*ARCH_GET_FS*/ 0x1003, reinterpret_cast<uint64_t>(&v));
  }
  return v;
}
STUB_INLINE uint64_t ReadGsBase() {
  uint64_t v = 0;
  if (GetConfig()->bases_readable) {
    asm volatile("rdgsbase %0" : "=r"(v));
  } else {
    Call3(kSysArchPrctl, /*ARCH_GET_GS*/ 0x1004, reinterpret_cast<uint64_t>(&v));
  }
  return v;
}
// Addresses outside the user half would fault; the sentry never sends one, a guest may.
STUB_INLINE void WriteFsBase(uint64_t v) {
  if (v >> 47 != 0) return;
  if (GetConfig()->bases_writable) {
    asm volatile("wrfsbase %0" : : "r"(v));
  } else {
    Call3(kSysArchPrctl, /*ARCH_SET_FS*/ 0x1002, v);
  }
}
STUB_INLINE void WriteGsBase(uint64_t v) {
  if (v >> 47 != 0) return;
  if (GetConfig()->bases_writable) {
    asm volatile("wrgsbase %0" : : "r"(v));
  } else {
    Call3(kSysArchPrctl, /*ARCH_SET_GS*/ 0x1001, v);
  }
}

// The guest's GS base as it knows it: zero while the host's is the slot.
STUB_INLINE uint64_t GuestGsBase(const ThreadPage* page, uint64_t host) {
  return GetConfig()->bases_readable && host == reinterpret_cast<uint64_t>(page) ? 0 : host;
}
STUB_INLINE uint64_t HostGsBase(const ThreadPage* page, uint64_t guest) {
  return GetConfig()->bases_readable && guest == 0 ? reinterpret_cast<uint64_t>(page) : guest;
}

}  // namespace sandbox::platform::stub
