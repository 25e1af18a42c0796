// mremap(2): shrink, grow in place, move, MREMAP_FIXED, MREMAP_DONTUNMAP, and the second mapping of
// shared memory that an old length of zero asks for. Checks are in the order of Linux's
// mm/mremap.c.
#include <algorithm>

#include "sentry/mm/memory_manager.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace sandbox {
namespace {

using platform::MemoryOp;

constexpr uint64_t kTaskSize = 0x7ffffffff000;

// Checks that need no list: flags, alignment, and for a chosen target its place.
Result<void> CheckArguments(GuestAddr old_addr, uint64_t old_length, uint64_t new_length, int flags,
                            GuestAddr new_addr) {
  if (flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP)) return Err(EINVAL);
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) return Err(EINVAL);
  if ((flags & MREMAP_DONTUNMAP) && old_length != new_length) return Err(EINVAL);
  if (!old_addr.IsPageAligned() || new_length == 0 || new_length > kTaskSize) return Err(EINVAL);
  if (old_length > kTaskSize || old_addr.value() > kTaskSize - old_length) return Err(EFAULT);
  if (!(flags & MREMAP_FIXED)) return {};
  if (!new_addr.IsPageAligned() || new_length > kTaskSize || new_addr.value() > kTaskSize - new_length) {
    return Err(EINVAL);
  }
  const GuestRange from{old_addr, old_addr + old_length}, to{new_addr, new_addr + new_length};
  if (from.Overlaps(to)) return Err(EINVAL);
  return {};
}

}  // namespace

Result<GuestAddr> MemoryManager::Remap(Context& context, platform::Thread& thread, GuestAddr old_addr,
                                       uint64_t old_length, uint64_t new_length, int flags, GuestAddr new_addr) {
  old_length = PageRoundUp(old_length).value_or(0);
  new_length = PageRoundUp(new_length).value_or(0);
  TRY(CheckArguments(old_addr, old_length, new_length, flags, new_addr));

  Move move;
  move.from = {old_addr, old_addr + old_length};
  move.keep_old = old_length == 0 || (flags & MREMAP_DONTUNMAP);
  const auto vma = Find(old_addr);
  if (!vma) return Err(EFAULT);
  move.vma = *vma;
  if (move.keep_old && vma->mappable != nullptr) {
    const uint64_t offset = vma->offset + (old_addr - vma->range.start);
    move.backing = TRY(vma->mappable->Back(context, offset, new_length, {vma->prot, vma->max_prot, vma->shared}));
  }
  Batch batch;
  const auto result = [&] {
    MutexLock lock(mu_);
    AwaitTexts(range_);
    auto addr = RemapLocked(context, thread, move, old_length, new_length, flags, new_addr, batch);
    Remember(thread, batch);  // what was done before a failure stays done, as in Linux
    return addr;
  }();
  Queue(thread, batch);
  return result;
}

Result<GuestAddr> MemoryManager::RemapLocked(Context& context, platform::Thread& thread, Move& move,
                                             uint64_t old_length, uint64_t new_length, int flags, GuestAddr new_addr,
                                             Batch& batch) {
  const GuestAddr old_addr = move.from.start;
  const bool to_target = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
  // Between the look-up and the lock another thread may have changed the mapping: as if this call
  // had come later.
  const Vma* vma = vmas_.Find(old_addr);
  if (vma == nullptr || vma->mappable != move.vma.mappable) return Err(EFAULT);
  move.vma = *vma;
  if (vma->sealed) return Err(EPERM);
  TRY(CheckUnsealed(move.from));
  if (to_target) TRY(CheckMapCount(3));
  if (flags & MREMAP_FIXED) move.to = TRY(FixedRange(new_addr, new_length));
  TRY(CheckUnsealed(move.to));
  if (old_length == 0 && !vma->shared) return Err(EINVAL);
  // What is left after a cut must lie in one mapping, except that several may be moved as they are
  // (since Linux 6.17).
  const bool several = std::min(old_length, new_length) > vma->range.end - old_addr;
  const bool cut_in_place = !to_target && new_length <= old_length;
  if (several && !cut_in_place) {
    if (!(flags & MREMAP_FIXED) || (flags & MREMAP_DONTUNMAP) || old_length != new_length) return Err(EFAULT);
    return MoveSeveral(move, batch);
  }
  if (old_length > new_length) {
    TRY(CheckMapCount(1));
    UnmapLocked({old_addr + new_length, move.from.end}, batch);
    old_length = new_length;
    move.from.end = old_addr + new_length;
  }
  if (!to_target && old_length == new_length) return old_addr;

  vma = vmas_.Find(old_addr);
  if (vma == nullptr) return Err(EFAULT);
  if (vma->label == "[vdso]" || vma->label == "[vvar]") return Err(EFAULT);
  const uint64_t growth = new_length - old_length;
  if (growth > 0) {
    Vma added = *vma;
    uint64_t end;
    if (__builtin_add_overflow(vma->offset + (old_addr - vma->range.start), new_length, &end)) return Err(EINVAL);
    added.range = {old_addr, old_addr + growth};
    if (vma->locked) TRY(CheckLock(context, growth, EAGAIN));
    TRY(CheckExpand(context, added, 0));
  }
  if (!to_target && old_length != 0 && GrowInPlace(thread, *vma, move.from, new_length, batch)) return old_addr;
  if (!(flags & MREMAP_MAYMOVE)) return Err(ENOMEM);
  TRY(CheckMapCount(3));
  move.vma = *vma;
  if (!(flags & MREMAP_FIXED)) {
    const GuestAddr hint = flags & MREMAP_DONTUNMAP ? new_addr.PageDown() : GuestAddr();
    const GuestAddr start = TRY(ChooseAddress(thread, hint, new_length, 0, false));
    move.to = {start, start + new_length};
  }
  MoveLocked(move, batch);
  return move.to.start;
}

Result<GuestAddr> MemoryManager::MoveSeveral(const Move& move, Batch& batch) {
  const auto parts = vmas_.Slices(move.from);
  TRY(CheckMapCount(parts.size() + 2));
  for (const Vma& part : parts) {
    const GuestAddr to = move.to.start + (part.range.start - move.from.start);
    Move one{.vma = part, .from = part.range, .to = {to, to + part.range.length()}};
    MoveLocked(one, batch);
  }
  return move.to.start;
}

bool MemoryManager::GrowInPlace(platform::Thread& thread, const Vma& vma, GuestRange old, uint64_t new_length,
                                Batch& batch) {
  if (old.end != vma.range.end) return false;
  const auto end = old.start.Add(new_length);
  if (!end.ok() || !range_.Contains(GuestRange{old.end, *end}) || !IsFree(thread, {old.end, *end})) return false;
  const Vma* next = vmas_.FindFrom(*end);
  if (next != nullptr && next->range.start - *end < VmaSet::RoomBelow(*next)) return false;
  Vma added = vma;
  added.range = {old.end, *end};
  added.zone_below = 0;
  added.offset = vma.mappable != nullptr ? vma.offset + vma.range.length() : 0;
  Add(batch, {.kind = MemoryOp::Kind::kMove, .range = old, .target = {old.start, *end}});
  vmas_.Insert(std::move(added));
  return true;
}

void MemoryManager::MoveLocked(Move& move, Batch& batch) {
  const uint64_t at = move.from.start - move.vma.range.start;
  DisturbTexts(move.to, Disturbance::kGone, batch);
  DisturbTexts(move.from, Disturbance::kMoved, batch);
  Vma moved = move.vma;
  moved.range = move.to;
  moved.zone_below = 0;
  moved.offset = moved.mappable != nullptr ? move.vma.offset + at : 0;

  MemoryOp fresh{.kind = MemoryOp::Kind::kMapAnonymous, .prot = moved.prot};
  fresh.flags = (moved.shared ? MAP_SHARED : MAP_PRIVATE) | (moved.no_reserve ? MAP_NORESERVE : 0);
  if (move.backing.fd.valid()) {
    fresh.kind = MemoryOp::Kind::kMapFile;
    fresh.fd = move.backing.fd;
    fresh.keep_alive = move.backing.keep_alive;
    fresh.offset = moved.offset + move.backing.offset_delta;
  } else {
    fresh.flags |= MAP_ANONYMOUS;
  }
  if (move.from.empty()) {  // a second mapping of the same shared object
    fresh.range = move.to;
    Add(batch, std::move(fresh));
  } else {
    Add(batch, {.kind = MemoryOp::Kind::kMove, .range = move.from, .target = move.to});
    batch.undo.back().frees = !move.keep_old;
  }
  const auto replaced = vmas_.Remove(move.to);
  if (!move.from.empty() && !move.keep_old) {
    const auto gone = vmas_.Remove(move.from);
  }
  if (!move.from.empty() && move.keep_old) {
    // MREMAP_DONTUNMAP: the pages went, an empty mapping of the same kind stays, unlocked.
    fresh.range = move.from;
    Add(batch, std::move(fresh));
    vmas_.Modify(move.from, [](Vma& vma) { vma.locked = false; });
  }
  vmas_.Insert(std::move(moved));
}

}  // namespace sandbox
