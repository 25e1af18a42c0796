// Where mappings go: layout randomisation (Linux: arch_pick_mmap_layout, arch_align_stack, arch_randomize_brk) and the
// choice of free ranges (arch_get_unmapped_area_topdown).
#include <sys/random.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"

namespace sandbox {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kHugePage = uint64_t{2} << 20;

// A page-aligned number below `limit`.
uint64_t RandomPages(uint64_t limit) {
  if (limit < kPageSize) return 0;
  uint64_t value = 0;
  CHECK(getrandom(&value, sizeof(value), 0) == sizeof(value));
  return value % limit & ~kPageMask;
}

}  // namespace

void MemoryManager::SetUpLayout(uint64_t stack_limit, bool randomize) {
  randomize_ = randomize;
  const uint64_t span = range_.length();
  // Linux: 22 bits of pages for the stack, 28 for mmap and PIE on x86-64. Less where a platform offers less room.
  const uint64_t stack_random = std::min(16 * kGiB, span / 4096);
  const uint64_t map_random = std::min(1024 * kGiB, span / 128);
  const uint64_t end = range_.end.PageDown().value();
  stack_top_ = GuestAddr(end - (randomize ? RandomPages(stack_random) : 0));
  const uint64_t stack = std::clamp<uint64_t>(stack_limit, 128 << 20, std::max<uint64_t>(span / 6, 128 << 20));
  const uint64_t gap = (stack & ~kPageMask) + VmaSet::kStackGuardGap + stack_random;
  mmap_base_ = GuestAddr(end - std::min(gap + (randomize ? RandomPages(map_random) : 0), span / 2)).PageDown();
  pie_base_ = GuestAddr(end / 3 * 2 + (randomize ? RandomPages(map_random) : 0)).PageDown();
}

GuestAddr MemoryManager::PieBase(uint64_t length, uint64_t align) {
  MutexLock lock(mu_);
  const uint64_t mask = std::max(align, kPageSize) - 1;
  const GuestAddr base((pie_base_.value() + mask) & ~mask);
  const auto end = base.Add(length);
  if (end.ok() && range_.Contains(GuestRange{base, *end}) && !vmas_.Overlaps({base, *end})) return base;
  return {};
}

Result<GuestAddr> MemoryManager::FindFree(platform::Thread& thread, uint64_t length, uint64_t align) {
  MutexLock lock(mu_);
  if (length > range_.length()) return Err(ENOMEM);
  const auto found = SearchGap(thread, {range_.start, mmap_base_}, length, std::max(align, kPageSize));
  if (!found) return Err(ENOMEM);
  return *found;
}

void MemoryManager::SetUpBrk(GuestAddr end) {
  const uint64_t start = (end.value() + kPageMask) & ~kPageMask;
  MutexLock lock(mu_);
  brk_ = GuestAddr(start + (randomize_ ? RandomPages(32 << 20) : 0));
  layout_.start_brk = brk_;
}

Result<GuestRange> MemoryManager::FixedRange(GuestAddr start, uint64_t length) const {
  if (start.value() < kMinAddress) return Err(EPERM);
  const auto end = start.Add(length);
  if (!end.ok() || !range_.Contains(GuestRange{start, *end})) return Err(ENOMEM);
  return GuestRange{start, *end};
}

std::optional<GuestRange> MemoryManager::QuarantinedIn(platform::Thread& thread, GuestRange range) const {
  for (const auto& [owner, pending] : pending_) {
    if (owner == &thread) continue;  // its own ops run in order
    for (const Undo& undo : pending) {
      if (undo.frees && undo.range.Overlaps(range)) return undo.range;
    }
  }
  return std::nullopt;
}

bool MemoryManager::IsFree(platform::Thread& thread, GuestRange range) const {
  return !vmas_.Overlaps(range) && !QuarantinedIn(thread, range);
}

std::optional<GuestAddr> MemoryManager::SearchGap(platform::Thread& thread, GuestRange within, uint64_t length,
                                                  uint64_t align) {
  auto found = align == kPageSize ? vmas_.FindGapCached(within, length) : vmas_.FindGapTopDown(within, length, align);
  while (found) {
    const auto blocked = QuarantinedIn(thread, {*found, *found + length});
    if (!blocked) return found;
    if (blocked->start <= within.start) return std::nullopt;
    within.end = std::min(within.end, blocked->start);
    found = vmas_.FindGapTopDown(within, length, align);
  }
  return std::nullopt;
}

Result<GuestAddr> MemoryManager::ChooseAddress(platform::Thread& thread, GuestAddr hint, uint64_t length, int flags,
                                               bool huge) {
  if (length > range_.length()) return Err(ENOMEM);
  // Linux: round_hint_to_min, then the hint is taken when it is free with its guard gap.
  if (!hint.IsNull()) {
    const GuestAddr start = std::max(GuestAddr((hint.value() + kPageMask) & ~kPageMask), range_.start);
    const auto end = start.Add(length);
    if (end.ok() && range_.Contains(GuestRange{start, *end}) && IsFree(thread, {start, *end})) {
      const Vma* next = vmas_.FindFrom(*end);
      if (next == nullptr || next->range.start - *end >= VmaSet::RoomBelow(*next)) return start;
    }
  }
  if (flags & MAP_32BIT) {
    const GuestRange low{std::max(range_.start, GuestAddr(0x40000000)), std::min(range_.end, GuestAddr(0x80000000))};
    const auto found = low.empty() ? std::nullopt : vmas_.FindGapBottomUp(low, length);
    if (!found || !IsFree(thread, {*found, *found + length})) return Err(ENOMEM);
    return *found;
  }
  const GuestRange below{range_.start, mmap_base_};
  if (huge) {
    if (const auto found = SearchGap(thread, below, length, kHugePage)) return *found;
  }
  if (const auto found = SearchGap(thread, below, length, kPageSize)) return *found;
  // Everything below the base is taken: the room above it, next to the stack, is the last resort.
  if (const auto found = vmas_.FindGapTopDown({mmap_base_, range_.end}, length, kPageSize);
      found && IsFree(thread, {*found, *found + length})) {
    return *found;
  }
  return Err(ENOMEM);
}

}  // namespace sandbox
