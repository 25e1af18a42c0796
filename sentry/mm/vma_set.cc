#include "sentry/mm/vma_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sandbox {

VmaSet::~VmaSet() {
  for (const auto& [start, vma] : vmas_) {
    if (vma.mappable != nullptr) vma.mappable->CountMapping(-1, vma.writable_shared());
  }
}

VmaSet::Map::const_iterator VmaSet::FirstEndingAfter(GuestAddr addr) const {
  auto it = vmas_.upper_bound(addr);
  if (it != vmas_.begin()) {
    auto before = std::prev(it);
    if (before->second.range.end > addr) return before;
  }
  return it;
}

const Vma* VmaSet::FindFrom(GuestAddr addr) const {
  const auto it = FirstEndingAfter(addr);
  return it == vmas_.end() ? nullptr : &it->second;
}

const Vma* VmaSet::Find(GuestAddr addr) const {
  const Vma* vma = FindFrom(addr);
  return vma != nullptr && vma->range.start <= addr ? vma : nullptr;
}

const Vma* VmaSet::FindBefore(GuestAddr addr) const {
  const auto it = FirstEndingAfter(addr);
  return it == vmas_.begin() ? nullptr : &std::prev(it)->second;
}

bool VmaSet::Overlaps(GuestRange range) const {
  const Vma* vma = FindFrom(range.start);
  return vma != nullptr && vma->range.start < range.end;
}

bool VmaSet::Covers(GuestRange range) const { return MappedBytes(range) == range.length(); }

uint64_t VmaSet::MappedBytes(GuestRange range) const {
  uint64_t bytes = 0;
  ForEach(range, [&](const Vma& vma) {
    bytes += std::min(vma.range.end, range.end) - std::max(vma.range.start, range.start);
    return true;
  });
  return bytes;
}

void VmaSet::ForEach(GuestRange range, const std::function<bool(const Vma&)>& f) const {
  for (auto it = FirstEndingAfter(range.start); it != vmas_.end() && it->first < range.end; ++it) {
    if (!f(it->second)) return;
  }
}

std::vector<Vma> VmaSet::Slices(GuestRange range) const {
  std::vector<Vma> slices;
  ForEach(range, [&](const Vma& vma) {
    slices.push_back(vma.Slice({std::max(vma.range.start, range.start), std::min(vma.range.end, range.end)}));
    return true;
  });
  return slices;
}

void VmaSet::Account(const Vma& vma, int sign) {
  const uint64_t bytes = sign > 0 ? vma.range.length() : -vma.range.length();
  totals_.all += bytes;
  if (vma.is_data()) totals_.data += bytes;
  if (vma.locked) totals_.locked += bytes;
  if (vma.grows_down) totals_.stack += bytes;
  if (vma.prot & PROT_EXEC) totals_.exec += bytes;
}

void VmaSet::Emplace(Vma vma) {
  Account(vma, 1);
  if (vma.mappable != nullptr) vma.mappable->CountMapping(1, vma.writable_shared());
  const GuestAddr start = vma.range.start;
  const bool added = vmas_.emplace(start, std::move(vma)).second;
  CHECK(added);
}

Vma VmaSet::Extract(Map::const_iterator it) {
  Vma vma = std::move(vmas_.extract(it).mapped());
  Account(vma, -1);
  if (vma.mappable != nullptr) vma.mappable->CountMapping(-1, vma.writable_shared());
  return vma;
}

void VmaSet::SplitAt(GuestAddr addr) {
  const auto it = FirstEndingAfter(addr);
  if (it == vmas_.end() || it->first >= addr) return;
  // The halves are counted before the whole goes, so that an object never sees itself unmapped in between.
  const Vma whole = it->second;
  Vma upper = whole.Slice({addr, whole.range.end});
  if (whole.mappable != nullptr) whole.mappable->CountMapping(1, whole.writable_shared());
  vmas_.at(whole.range.start).range.end = addr;
  vmas_.emplace(addr, std::move(upper));
}

void VmaSet::MergeAround(GuestRange range) {
  auto it = vmas_.lower_bound(range.start);
  if (it != vmas_.begin()) --it;
  while (it != vmas_.end() && it->first <= range.end) {
    const auto next = std::next(it);
    if (next == vmas_.end() || next->first > range.end) return;
    if (!it->second.CanMerge(next->second)) {
      it = next;
      continue;
    }
    it->second.range.end = next->second.range.end;
    if (next->second.mappable != nullptr) next->second.mappable->CountMapping(-1, next->second.writable_shared());
    vmas_.erase(next);
  }
}

void VmaSet::Insert(Vma vma) {
  CHECK(!vma.range.empty() && !Overlaps(vma.range));
  const GuestRange range = vma.range;
  Emplace(std::move(vma));
  MergeAround(range);
}

std::vector<Vma> VmaSet::Remove(GuestRange range) {
  std::vector<Vma> removed;
  if (range.empty()) return removed;
  SplitAt(range.start);
  SplitAt(range.end);
  for (auto it = vmas_.lower_bound(range.start); it != vmas_.end() && it->first < range.end;) {
    const auto next = std::next(it);
    removed.push_back(Extract(it));
    it = next;
  }
  if (!removed.empty()) NoteFreed(range);
  return removed;
}

void VmaSet::Modify(GuestRange range, const std::function<void(Vma&)>& change) {
  if (range.empty()) return;
  SplitAt(range.start);
  SplitAt(range.end);
  for (auto it = vmas_.lower_bound(range.start); it != vmas_.end() && it->first < range.end; ++it) {
    Account(it->second, -1);
    change(it->second);
    Account(it->second, 1);
  }
  MergeAround(range);
}

void VmaSet::Restore(GuestRange range, std::vector<Vma> before) {
  const auto removed = Remove(range);
  for (Vma& vma : before) Insert(std::move(vma));
}

size_t VmaSet::SplitsNeeded(GuestRange range) const {
  size_t splits = 0;
  for (const GuestAddr edge : {range.start, range.end}) {
    const Vma* vma = Find(edge);
    if (vma != nullptr && vma->range.start < edge) ++splits;
  }
  return splits;
}

uint64_t VmaSet::StartWithRoom(const Vma& vma) {
  const uint64_t start = vma.range.start.value();
  return start - std::min(start, RoomBelow(vma));
}

std::optional<GuestAddr> VmaSet::FindGapTopDown(GuestRange within, uint64_t length, uint64_t align) const {
  auto next = FirstEndingAfter(within.end);  // first mapping not wholly below the window
  uint64_t gap_end = within.end.value();
  if (next != vmas_.end()) gap_end = std::min(gap_end, StartWithRoom(next->second));
  for (;;) {
    const bool at_bottom = next == vmas_.begin();
    const auto before = at_bottom ? next : std::prev(next);
    uint64_t gap_start = within.start.value();
    if (!at_bottom) gap_start = std::max(gap_start, before->second.range.end.value());
    if (gap_end >= gap_start && gap_end - gap_start >= length) {
      const uint64_t start = (gap_end - length) & ~(align - 1);
      if (start >= gap_start) return GuestAddr(start);
    }
    if (at_bottom || gap_start == within.start.value()) return std::nullopt;
    next = before;
    gap_end = std::min(gap_end, StartWithRoom(next->second));
  }
}

std::optional<GuestAddr> VmaSet::FindGapBottomUp(GuestRange within, uint64_t length) const {
  uint64_t start = within.start.value();
  for (auto it = FirstEndingAfter(within.start);; ++it) {
    uint64_t end = within.end.value();
    if (it != vmas_.end()) end = std::min(end, StartWithRoom(it->second));
    if (end >= start && end - start >= length) return GuestAddr(start);
    if (it == vmas_.end() || it->second.range.end >= within.end) return std::nullopt;
    start = std::max(start, it->second.range.end.value());
  }
}

std::optional<GuestAddr> VmaSet::FindGapCached(GuestRange within, uint64_t length) {
  const bool usable = cache_length_ != 0 && length >= cache_length_ && cache_within_ == within;
  const GuestRange window = usable ? GuestRange{within.start, std::min(cache_end_, within.end)} : within;
  const auto found = FindGapTopDown(window, length, kPageSize);
  if (!found) return found;
  if (!usable || length == cache_length_) {
    cache_length_ = length;
    cache_end_ = *found + length;
    cache_within_ = within;
  }
  return found;
}

void VmaSet::NoteFreed(GuestRange range) {
  if (cache_length_ == 0) return;
  const Vma* next = FindFrom(range.end);
  // The gap that `range` became part of ends where the next mapping starts.
  const GuestAddr gap_end = next == nullptr ? cache_within_.end : next->range.start;
  cache_end_ = std::max(cache_end_, gap_end);
}

}  // namespace sandbox
