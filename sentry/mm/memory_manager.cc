// Life of an address space, access to its bytes, and the bookkeeping of ops that are on their way to the host.
#include "sentry/mm/memory_manager.h"

#include <algorithm>
#include <utility>

namespace sandbox {

MemoryManager::MemoryManager(RefPtr<platform::AddressSpace> space, GuestRange range, RefPtr<TextCache> text_cache)
    : space_(std::move(space)),
      range_{std::max(range.start, GuestAddr(kMinAddress)), range.end},
      text_cache_(std::move(text_cache)) {
  SetUpLayout(kMaxMainStack, /*randomize=*/true);
}

MemoryManager::~MemoryManager() = default;

Result<size_t> MemoryManager::ReadSome(GuestAddr from, void* to, size_t size) {
  if (size == 0) return size_t{0};
  if (!range_.Contains(from)) return Err(EFAULT);
  const size_t got = TRY(space_->Read(from, to, std::min<uint64_t>(size, range_.end - from)));
  ShowOriginal(from, to, got);
  return got;
}

Result<size_t> MemoryManager::WriteSome(GuestAddr to, const void* from, size_t size) {
  if (size == 0) return size_t{0};
  if (!range_.Contains(to)) return Err(EFAULT);
  return space_->Write(to, from, std::min<uint64_t>(size, range_.end - to));
}

bool MemoryManager::IsPlainMemory(GuestAddr addr, size_t size) const {
  MutexLock lock(mu_);
  const Vma* const vma = vmas_.Find(addr);
  return vma != nullptr && vma->writable() && !vma->shared && vma->mappable == nullptr && size <= vma->range.end - addr;
}

void MemoryManager::Add(Batch& batch, platform::MemoryOp op) {
  Undo undo{.kind = op.kind, .range = op.range, .target = op.target, .before = vmas_.Slices(op.range)};
  if (!op.target.empty()) undo.before_target = vmas_.Slices(op.target);
  batch.undo.push_back(std::move(undo));
  batch.ops.push_back(std::move(op));
}

void MemoryManager::Remember(platform::Thread& thread, Batch& batch) {
  UnmapZones(batch);
  if (batch.undo.empty()) return;
  auto& pending = pending_[&thread];
  std::move(batch.undo.begin(), batch.undo.end(), std::back_inserter(pending));
  batch.undo.clear();
  pending_count_.store(static_cast<int>(pending_.size()), std::memory_order_release);
  peak_bytes_ = std::max(peak_bytes_, TotalBytes());
}

void MemoryManager::Queue(platform::Thread& thread, Batch& batch) {
  for (auto& op : batch.ops) thread.QueueMemoryOp(std::move(op));
}

void MemoryManager::OpsExecuted(platform::Thread& thread) {
  if (pending_count_.load(std::memory_order_acquire) == 0) return;
  std::vector<Undo> done;  // destroyed after the lock: it may hold the last reference to a file
  MutexLock lock(mu_);
  auto node = pending_.extract(&thread);
  if (node.empty()) return;
  done = std::move(node.mapped());
  for (const Undo& undo : done) {
    if (undo.frees) vmas_.NoteFreed(undo.range);
  }
  pending_count_.store(static_cast<int>(pending_.size()), std::memory_order_release);
}

std::optional<int64_t> MemoryManager::OpFailed(platform::Thread& thread, const platform::MemoryOp& op,
                                               int failed_errno) {
  std::optional<int64_t> answer = -failed_errno;
  std::vector<Undo> dropped;
  {
    MutexLock lock(mu_);
    const auto it = pending_.find(&thread);
    if (it == pending_.end()) return answer;
    auto& pending = it->second;
    const auto failed = std::find_if(pending.begin(), pending.end(), [&](const Undo& undo) {
      return undo.kind == op.kind && undo.range == op.range && undo.target == op.target;
    });
    // Those from the failed one on did not happen; the last is undone first.
    dropped.assign(std::make_move_iterator(failed), std::make_move_iterator(pending.end()));
    pending.erase(failed, pending.end());
    for (auto undo = dropped.rbegin(); undo != dropped.rend(); ++undo) {
      if (!undo->target.empty()) vmas_.Restore(undo->target, undo->before_target);
      vmas_.Restore(undo->range, undo->before);
      if (undo->brk) {
        brk_ = *undo->brk;
        answer = static_cast<int64_t>(brk_.value());
      }
      for (const TextMapping& text : undo->texts) TakeBackText(text);
    }
    const bool all_internal =
        !dropped.empty() && std::all_of(dropped.begin(), dropped.end(), [](const Undo& undo) { return undo.internal; });
    if (all_internal) answer.reset();
  }
  OpsExecuted(thread);
  return answer;
}

RefPtr<MemoryManager> MemoryManager::Fork(RefPtr<platform::AddressSpace> space, platform::Thread* child) {
  auto copy = MakeRef<MemoryManager>(std::move(space), range_, text_cache_);
  Batch batch;
  {
    MutexLock lock(mu_);
    AwaitTexts(range_);
    MutexLock copy_lock(copy->mu_);  // equal rank: a new object nobody else can hold
    copy->dumpable_ = dumpable();
    copy->core_filter_ = core_filter();
    copy->mdwe_ = InheritedMdwe();
    copy->stack_top_ = stack_top_;
    copy->mmap_base_ = mmap_base_;
    copy->pie_base_ = pie_base_;
    copy->randomize_ = randomize_;
    copy->brk_ = brk_;
    copy->stack_reserve_ = stack_reserve_;
    copy->layout_ = layout_;
    copy->executable_ = executable_;
    for (Vma& vma : vmas_.Slices(range_)) {
      if (vma.dont_fork) {
        batch.ops.push_back({.kind = platform::MemoryOp::Kind::kUnmap, .range = vma.range});
        continue;
      }
      if (vma.wipe_on_fork) {
        batch.ops.push_back({.kind = platform::MemoryOp::Kind::kMapAnonymous,
                             .range = vma.range,
                             .prot = vma.prot,
                             .flags = MAP_PRIVATE | MAP_ANONYMOUS});
      }
      vma.locked = false;  // memory locks are not inherited (mlock(2))
      copy->vmas_.Insert(std::move(vma));
    }
    copy->peak_bytes_ = copy->TotalBytes();
    copy->InheritTexts(*this);
  }
  if (child != nullptr) Queue(*child, batch);
  return copy;
}

std::optional<Vma> MemoryManager::Find(GuestAddr addr) const {
  MutexLock lock(mu_);
  const Vma* vma = vmas_.Find(addr);
  return vma != nullptr ? std::optional<Vma>(*vma) : std::nullopt;
}

std::vector<Vma> MemoryManager::List() const {
  MutexLock lock(mu_);
  return vmas_.Slices(range_);
}

uint64_t MemoryManager::TotalBytes() const {
  const uint64_t all = vmas_.totals().all;
  return all - std::min(all, stack_reserve_);
}

uint64_t MemoryManager::total_bytes() const {
  MutexLock lock(mu_);
  return TotalBytes();
}

VmaSet::Totals MemoryManager::totals() const {
  MutexLock lock(mu_);
  VmaSet::Totals totals = vmas_.totals();
  totals.all = TotalBytes();
  totals.stack -= std::min(totals.stack, stack_reserve_);
  return totals;
}

uint64_t MemoryManager::peak_bytes() const {
  MutexLock lock(mu_);
  return peak_bytes_;
}

GuestAddr MemoryManager::brk() const {
  MutexLock lock(mu_);
  return brk_;
}

MmLayout MemoryManager::layout() const {
  MutexLock lock(mu_);
  return layout_;
}

void MemoryManager::SetLayout(const MmLayout& layout) {
  MutexLock lock(mu_);
  layout_ = layout;
}

RefPtr<void> MemoryManager::executable() const {
  MutexLock lock(mu_);
  return executable_;
}

void MemoryManager::SetExecutable(RefPtr<void> file) {
  MutexLock lock(mu_);
  executable_.swap(file);  // the old one is released after the lock
}

}  // namespace sandbox
