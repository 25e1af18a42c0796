// mmap(2), munmap(2), mprotect(2), brk(2) and the growth of stacks.
#include <sys/resource.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"

namespace sandbox {
namespace {

using platform::MemoryOp;

// End of TASK_SIZE on x86-64: munmap and mprotect accept any range below it, mapped or not.
constexpr uint64_t kTaskSize = 0x7ffffffff000;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
// What Linux maps of a fresh main stack.
constexpr uint64_t kInitialStack = 132 << 10;
// What a caller may be using below its stack pointer: the red zone, and what the call returns to.
constexpr uint64_t kStackSlack = 64 << 10;

MemoryOp MapOp(const Vma& vma, int flags, const Mappable::HostBacking& backing) {
  MemoryOp op{.kind = MemoryOp::Kind::kMapAnonymous, .range = vma.range, .prot = vma.prot};
  op.flags = (vma.shared ? MAP_SHARED : MAP_PRIVATE) | (vma.no_reserve ? MAP_NORESERVE : 0);
  if ((flags & MAP_POPULATE && !(flags & MAP_NONBLOCK)) || vma.locked) op.flags |= MAP_POPULATE;
  if (!backing.fd.valid()) {
    op.flags |= MAP_ANONYMOUS;
    return op;
  }
  op.kind = MemoryOp::Kind::kMapFile;
  op.fd = backing.fd;
  op.keep_alive = backing.keep_alive;
  op.offset = vma.offset + backing.offset_delta;
  return op;
}

// The part of a range that mprotect may change. Linux goes mapping by mapping and keeps what it did
// before the first hole or refusal.
struct Protectable {
  GuestAddr end;         // of the part from the start on
  Result<void> refusal;  // why it stops there
  bool changes = false;
  uint64_t new_data = 0;  // bytes that begin to count as data
};

// `keep_exec`: nothing may become executable (PR_SET_MDWE).
Protectable FindProtectable(const VmaSet& vmas, GuestRange range, int prot, bool keep_exec) {
  Protectable found{.end = range.start};
  vmas.ForEach(range, [&](const Vma& vma) {
    if (vma.range.start > found.end)
      found.refusal = Err(ENOMEM);
    else if (prot & ~vma.max_prot)
      found.refusal = Err(EACCES);
    else if (keep_exec && (prot & PROT_EXEC) && ((prot & PROT_WRITE) || !(vma.prot & PROT_EXEC)))
      found.refusal = Err(EACCES);
    else if (vma.sealed)
      found.refusal = Err(EPERM);
    if (!found.refusal.ok()) return false;
    const GuestAddr end = std::min(vma.range.end, range.end);
    if (!vma.writable() && !vma.shared && !vma.grows_down && (prot & PROT_WRITE)) found.new_data += end - found.end;
    found.end = end;
    found.changes |= vma.prot != prot;
    return true;
  });
  if (found.refusal.ok() && found.end < range.end) found.refusal = Err(ENOMEM);
  return found;
}

}  // namespace

Result<GuestAddr> MemoryManager::Map(Context& context, platform::Thread& thread, const MapRequest& request) {
  if (request.length == 0) return Err(EINVAL);
  const uint64_t length = TRY(PageRoundUp(request.length));
  uint64_t file_end;
  if (__builtin_add_overflow(request.offset, length, &file_end)) return Err(EOVERFLOW);
  const bool fixed = request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  if (fixed && !request.hint.IsPageAligned()) return Err(EINVAL);
  if (request.prot & ~request.max_prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) return Err(EACCES);
  if (denies_exec_gain() && (request.prot & PROT_WRITE) && (request.prot & PROT_EXEC)) return Err(EACCES);

  Mappable::HostBacking backing;
  if (request.mappable != nullptr) {
    const bool shared = (request.flags & MAP_TYPE) != MAP_PRIVATE;
    backing = TRY(request.mappable->Back(context, request.offset, length, {request.prot, request.max_prot, shared}));
  }
  const TextPlan plan = PlanText(request, length, backing);
  Batch batch;
  const auto addr = [&]() -> Result<GuestAddr> {
    MutexLock lock(mu_);
    AwaitTexts({request.hint, GuestAddr(request.hint.value() + length)});
    auto result = MapLocked(context, thread, request, length, backing, plan, batch);
    if (result.ok()) Remember(thread, batch);
    return result;
  }();
  if (addr.ok()) Queue(thread, batch);
  return addr;
}

Result<GuestAddr> MemoryManager::MapLocked(Context& context, platform::Thread& thread, const MapRequest& request,
                                           uint64_t length, const Mappable::HostBacking& backing, const TextPlan& plan,
                                           Batch& batch) {
  TRY(CheckMapCount(1));
  Vma vma;
  vma.prot = request.prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
  vma.max_prot = request.max_prot;
  vma.shared = (request.flags & MAP_TYPE) != MAP_PRIVATE;
  if (vma.shared && backing.read_only) vma.max_prot &= ~PROT_WRITE;
  vma.grows_down = request.flags & MAP_GROWSDOWN;
  vma.locked = lock_future_ || (request.flags & MAP_LOCKED);
  vma.no_reserve = request.flags & MAP_NORESERVE;
  vma.label = request.label;
  // A private mapping of /dev/zero is anonymous memory.
  if (request.mappable != nullptr && (backing.fd.valid() || vma.shared)) {
    vma.mappable = request.mappable;
    vma.offset = request.offset;
  }

  TRY(PlaceLocked(thread, request, length, plan.room, vma));
  TRY(CheckUnsealed(vma.range));
  if (vma.locked) TRY(CheckLock(context, length, EAGAIN));
  TRY(CheckExpand(context, vma, vmas_.MappedBytes(vma.range)));
  TRY(CheckMapCount(1 + vmas_.SplitsNeeded(vma.range)));

  DisturbTexts(vma.range, Disturbance::kGone, batch);
  MapText(vma, plan, backing, MapOp(vma, request.flags, backing), batch);
  return vma.range.start;
}

Result<void> MemoryManager::PlaceLocked(platform::Thread& thread, const MapRequest& request, uint64_t length,
                                        uint64_t room, Vma& vma) {
  GuestAddr start;
  if (request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    vma.range = TRY(FixedRange(request.hint, length));
    if (request.flags & MAP_FIXED_NOREPLACE && !IsFree(thread, vma.range)) return Err(EEXIST);
    start = vma.range.start;
  } else {
    const bool huge = vma.mappable == nullptr && length >= kHugePage && length % kHugePage == 0;
    if (room != 0 && request.hint.IsNull()) {
      const auto with_room = ChooseAddress(thread, {}, length + room, request.flags, false);
      if (with_room.ok()) start = *with_room + room;
    }
    if (start.IsNull()) start = TRY(ChooseAddress(thread, request.hint, length, request.flags, huge));
    vma.range = {start, start + length};
  }
  // Where somebody else chose the place, the room is a wish.
  const GuestRange below{start - std::min(start.value(), room), start};
  if (room != 0 && range_.Contains(below) && IsFree(thread, below)) vma.zone_below = room;
  return {};
}

void MemoryManager::UnmapLocked(GuestRange range, Batch& batch, std::optional<GuestAddr> old_brk) {
  // Only the guest's part of the address space may be touched on the host.
  range = {std::max(range.start, range_.start), std::min(range.end, range_.end)};
  if (range.empty() || !vmas_.Overlaps(range)) return;
  DisturbTexts(range, Disturbance::kGone, batch);
  Undo undo{.kind = MemoryOp::Kind::kUnmap, .range = range, .frees = true, .brk = old_brk};
  undo.before = vmas_.Remove(range);
  batch.undo.push_back(std::move(undo));
  batch.ops.push_back({.kind = MemoryOp::Kind::kUnmap, .range = range});
}

Result<void> MemoryManager::Unmap(Context&, platform::Thread& thread, GuestAddr addr, uint64_t length) {
  if (!addr.IsPageAligned() || addr.value() > kTaskSize || length > kTaskSize - addr.value()) return Err(EINVAL);
  length = TRY(PageRoundUp(length));
  if (length == 0) return Err(EINVAL);
  const GuestRange range{addr, addr + length};
  Batch batch;
  {
    MutexLock lock(mu_);
    AwaitTexts(range);
    TRY(CheckUnsealed(range));
    // Only a hole in the middle of one mapping adds to the count.
    const Vma* first = vmas_.Find(range.start);
    if (first != nullptr && first->range.start < range.start && first->range.end > range.end) TRY(CheckMapCount(1));
    UnmapLocked(range, batch);
    Remember(thread, batch);
  }
  Queue(thread, batch);
  return {};
}

Result<void> MemoryManager::Protect(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length,
                                    int prot) {
  const int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || !addr.IsPageAligned()) return Err(EINVAL);
  if (length == 0) return {};
  length = TRY(PageRoundUp(length));
  const auto end = addr.Add(length);
  if (length == 0 || !end.ok()) return Err(ENOMEM);
  // PROT_SEM is accepted and means nothing, as on every architecture.
  if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | 0x8)) return Err(EINVAL);
  prot &= PROT_READ | PROT_WRITE | PROT_EXEC;

  GuestRange range{addr, *end};
  Result<void> result;
  Batch batch;
  {
    MutexLock lock(mu_);
    AwaitTexts(range);
    const Vma* first = vmas_.FindFrom(range.start);
    if (first == nullptr) return Err(ENOMEM);
    if (grows & PROT_GROWSDOWN) {
      if (first->range.start >= range.end) return Err(ENOMEM);
      if (!first->grows_down) return Err(EINVAL);
      range.start = first->range.start;
    } else if (grows & PROT_GROWSUP) {
      return Err(EINVAL);  // no mapping grows up on x86-64
    }
    const Protectable allowed = FindProtectable(vmas_, range, prot, denies_exec_gain());
    result = allowed.refusal;
    range.end = allowed.end;
    if (range.empty() || !allowed.changes) return result;
    if (allowed.new_data > 0 && vmas_.totals().data + allowed.new_data > context.rlimit(RLIMIT_DATA)) {
      return Err(ENOMEM);
    }
    TRY(CheckMapCount(vmas_.SplitsNeeded(range)));
    if (prot & PROT_WRITE) DisturbTexts(range, Disturbance::kWritable, batch);
    Add(batch, {.kind = MemoryOp::Kind::kProtect, .range = range, .prot = prot});
    vmas_.Modify(range, [&](Vma& vma) { vma.prot = prot; });
    Remember(thread, batch);
  }
  Queue(thread, batch);
  return result;
}

Result<GuestAddr> MemoryManager::Brk(Context& context, platform::Thread& thread, GuestAddr addr) {
  Batch batch;
  GuestAddr result;
  {
    MutexLock lock(mu_);
    AwaitTexts(range_);
    const GuestAddr old = brk_;
    if (addr < layout_.start_brk || addr >= range_.end || old.IsNull()) return old;
    const uint64_t data = (addr - layout_.start_brk) + (layout_.end_data - layout_.start_data);
    if (data > context.rlimit(RLIMIT_DATA)) return old;
    const GuestAddr old_end((old.value() + kPageMask) & ~kPageMask);
    const GuestAddr new_end((addr.value() + kPageMask) & ~kPageMask);
    if (new_end < old_end) {
      if (!CheckUnsealed({new_end, old_end}).ok()) return old;
      UnmapLocked({new_end, old_end}, batch, old);
    } else if (new_end > old_end) {
      Vma heap{.range = {old_end, new_end}, .prot = PROT_READ | PROT_WRITE, .max_prot = 7, .label = "[heap]"};
      heap.locked = lock_future_;
      // One page stays free above the heap, and a stack's guard gap.
      const Vma* next = vmas_.FindFrom(old_end);
      const uint64_t room = next != nullptr ? std::max(VmaSet::RoomBelow(*next), kPageSize) : kPageSize;
      if (next != nullptr && next->range.start < new_end + room) return old;
      if (!range_.Contains(heap.range) || QuarantinedIn(thread, heap.range)) return old;
      if (!CheckExpand(context, heap, 0).ok() || !CheckMapCount(1).ok()) return old;
      if (heap.locked && !CheckLock(context, heap.range.length(), EAGAIN).ok()) return old;
      Add(batch, MapOp(heap, 0, {}));
      batch.undo.back().brk = old;
      vmas_.Insert(std::move(heap));
    }
    brk_ = result = addr;
    Remember(thread, batch);
  }
  Queue(thread, batch);
  return result;
}

Result<GuestRange> MemoryManager::MapStack(Context& context, platform::Thread& thread, uint64_t stack_limit,
                                           uint64_t needed, int prot) {
  const uint64_t least = kInitialStack + TRY(PageRoundUp(needed));
  const uint64_t size = std::max(std::min(stack_limit & ~kPageMask, kMaxMainStack), least);
  const GuestRange range{stack_top_ - size, stack_top_};
  {
    MutexLock lock(mu_);
    stack_reserve_ = size - least;
  }
  MapRequest request{.hint = range.start, .length = size, .prot = prot};
  request.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN | MAP_NORESERVE;
  request.label = "[stack]";
  TRY(Map(context, thread, request));
  return range;
}

// Linux's stack was never that large; here what lies below `sp` may have been used and is lost, which a program that
// keeps to its stack does not notice.
void MemoryManager::LimitStack(platform::Thread& thread, GuestAddr sp, uint64_t limit) {
  Batch batch;
  {
    MutexLock lock(mu_);
    const Vma* const stack = vmas_.Find(sp);
    if (stack == nullptr || !stack->grows_down || stack->range.end != stack_top_) return;
    const uint64_t kept = std::max((limit + kPageMask) & ~kPageMask, kInitialStack);
    const GuestAddr used = (sp - std::min(sp.value(), kStackSlack)).PageDown();
    const GuestAddr bottom = kept >= stack_top_.value() ? GuestAddr() : stack_top_ - kept;
    const GuestRange beyond{stack->range.start, std::min(used, bottom)};
    if (beyond.empty() || !CheckUnsealed(beyond).ok()) return;
    UnmapLocked(beyond, batch);
    stack_reserve_ -= std::min(stack_reserve_, beyond.length());
    Remember(thread, batch);
  }
  Queue(thread, batch);
}

bool MemoryManager::GrowStack(Context& context, platform::Thread& thread, GuestAddr addr) {
  const GuestAddr start = addr.PageDown();
  if (!range_.Contains(start)) return false;
  Batch batch;
  {
    MutexLock lock(mu_);
    const Vma* stack = vmas_.FindFrom(start);
    if (stack == nullptr || stack->range.start <= start || !stack->grows_down) return false;
    if (stack->range.end - start > context.rlimit(RLIMIT_STACK)) return false;
    // The guard gap is kept to any accessible neighbour that is not a stack itself (Linux:
    // expand_downwards).
    const Vma* below = vmas_.FindBefore(start);
    if (below != nullptr && below->prot != PROT_NONE && !below->grows_down &&
        start - below->range.end < VmaSet::kStackGuardGap) {
      return false;
    }
    Vma added = *stack;
    added.range = {start, stack->range.start};
    if (QuarantinedIn(thread, added.range) || !CheckExpand(context, added, 0).ok()) return false;
    Add(batch, MapOp(added, 0, {}));
    vmas_.Insert(std::move(added));
    Remember(thread, batch);
  }
  Queue(thread, batch);
  return true;
}

}  // namespace sandbox
