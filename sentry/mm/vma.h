// Vma: one mapping of a guest address space (Linux: struct vm_area_struct).
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <string>

#include "base/guest_addr.h"
#include "base/ref.h"
#include "sentry/mm/mappable.h"

namespace sandbox {

// mempolicy(7) for a machine whose only node is 0: kept and shown, without effect. Aligned for std::atomic.
struct alignas(8) MemoryPolicy {
  uint16_t mode = 0;   // MPOL_DEFAULT and so on
  uint16_t flags = 0;  // MPOL_MODE_FLAGS
  bool node0 = false;  // the nodes it names
  friend bool operator==(const MemoryPolicy&, const MemoryPolicy&) = default;
};

struct Vma {
  GuestRange range;
  int prot = 0;      // PROT_*
  int max_prot = 0;  // what mprotect may grant (VM_MAY*)
  bool shared = false;
  bool grows_down = false;
  bool locked = false;
  bool sealed = false;      // mseal(2)
  bool no_reserve = false;  // MAP_NORESERVE
  MemoryPolicy policy;
  bool dont_fork = false, wipe_on_fork = false, dont_dump = false;
  RefPtr<Mappable> mappable;  // null = private anonymous
  uint64_t offset = 0;        // file offset of range.start
  // Bytes below the start that are kept free for the trampolines of rewritten text (mm_text.cc). Nobody else sees them.
  uint64_t zone_below = 0;
  std::string label;  // "[heap]", "[stack]", "[vdso]", PR_SET_VMA name

  bool writable() const { return (prot & PROT_WRITE) != 0; }
  // Counted for seals and write-back: Linux's VM_SHARED with VM_MAYWRITE.
  bool writable_shared() const { return shared && (max_prot & PROT_WRITE) != 0; }
  // Counted against RLIMIT_DATA: Linux's is_data_mapping().
  bool is_data() const { return writable() && !shared && !grows_down; }

  // The part of this mapping inside `part`, which must lie within the range.
  Vma Slice(GuestRange part) const {
    Vma piece = *this;
    piece.offset = mappable != nullptr ? offset + (part.start - range.start) : 0;
    if (part.start != range.start) piece.zone_below = 0;
    piece.range = part;
    return piece;
  }
  // True when `next` starts where this ends and differs in nothing else (Linux: can_vma_merge_after).
  bool CanMerge(const Vma& next) const {
    return range.end == next.range.start && prot == next.prot && max_prot == next.max_prot && shared == next.shared &&
           grows_down == next.grows_down && locked == next.locked && sealed == next.sealed &&
           no_reserve == next.no_reserve && dont_fork == next.dont_fork && wipe_on_fork == next.wipe_on_fork &&
           dont_dump == next.dont_dump && policy == next.policy && mappable == next.mappable && label == next.label &&
           next.zone_below == 0 && (mappable == nullptr || offset + range.length() == next.offset);
  }
};

}  // namespace sandbox
