// VmaSet: the ordered, non-overlapping mappings of one address space with their totals (Linux: the maple tree of struct
// mm_struct and its total_vm, data_vm, locked_vm). A plain data structure: it knows no limits, no locks and no host.
//
// Neighbours that differ in nothing are always merged, so that the list looks as the host's does.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/guest_addr.h"
#include "sentry/mm/vma.h"

namespace sandbox {

class VmaSet {
 public:
  // Bytes, by what the resource limits count.
  struct Totals {
    uint64_t all = 0, data = 0, locked = 0, stack = 0, exec = 0;
  };
  // Linux keeps this many bytes free below a mapping that grows downwards (stack_guard_gap).
  static constexpr uint64_t kStackGuardGap = 256 * kPageSize;

  VmaSet() = default;
  ~VmaSet();
  VmaSet(const VmaSet&) = delete;
  VmaSet& operator=(const VmaSet&) = delete;

  size_t count() const { return vmas_.size(); }
  const Totals& totals() const { return totals_; }

  // Bytes that must stay free below a mapping.
  static uint64_t RoomBelow(const Vma& vma) { return vma.grows_down ? kStackGuardGap : vma.zone_below; }

  // The mapping that contains `addr`, or null.
  const Vma* Find(GuestAddr addr) const;
  // The first mapping that ends after `addr`, or null (Linux: find_vma).
  const Vma* FindFrom(GuestAddr addr) const;
  // The mapping before the one that contains or follows `addr`, or null.
  const Vma* FindBefore(GuestAddr addr) const;
  bool Overlaps(GuestRange range) const;
  // True when every page of `range` is mapped.
  bool Covers(GuestRange range) const;
  // How many bytes of `range` are mapped.
  uint64_t MappedBytes(GuestRange range) const;
  // The parts of mappings inside `range`, ascending.
  std::vector<Vma> Slices(GuestRange range) const;
  // Calls `f` with every mapping that overlaps `range`, unclipped, ascending, until it returns false.
  void ForEach(GuestRange range, const std::function<bool(const Vma&)>& f) const;

  // Adds a mapping and merges it with its neighbours. Precondition: the range is free.
  void Insert(Vma vma);
  // Takes everything in `range` out, splitting at the edges. Returns the parts removed.
  std::vector<Vma> Remove(GuestRange range);
  // Changes every mapping inside `range` (splitting at the edges) and merges afterwards. `change` must not touch the
  // range or the offset.
  void Modify(GuestRange range, const std::function<void(Vma&)>& change);
  // Makes `range` look as `before`, which was made by Slices.
  void Restore(GuestRange range, std::vector<Vma> before);

  // How many mappings a removal or change of `range` may add by splitting.
  size_t SplitsNeeded(GuestRange range) const;

  // The highest free range of `length` bytes in `within`, aligned to `align`; none when nothing fits.
  std::optional<GuestAddr> FindGapTopDown(GuestRange within, uint64_t length, uint64_t align) const;
  // Lowest instead of highest.
  std::optional<GuestAddr> FindGapBottomUp(GuestRange within, uint64_t length) const;
  // As FindGapTopDown with page alignment; remembers where smaller gaps end, so that a process with very many mappings
  // does not pay for all of them on each call (Linux up to 3.7: free_area_cache). The result is the same.
  std::optional<GuestAddr> FindGapCached(GuestRange within, uint64_t length);
  // `range` became available again without Remove (it left quarantine).
  void NoteFreed(GuestRange range);

 private:
  using Map = std::map<GuestAddr, Vma>;

  Map::const_iterator FirstEndingAfter(GuestAddr addr) const;
  void Emplace(Vma vma);
  Vma Extract(Map::const_iterator it);
  void SplitAt(GuestAddr addr);
  void MergeAround(GuestRange range);
  void Account(const Vma& vma, int sign);
  // Lower end of what must stay free before the mapping.
  static uint64_t StartWithRoom(const Vma& vma);

  Map vmas_;  // by start
  Totals totals_;
  // No gap of at least cache_length_ bytes ends above cache_end_. Zero length = unknown.
  uint64_t cache_length_ = 0;
  GuestAddr cache_end_;
  GuestRange cache_within_;
};

}  // namespace sandbox
