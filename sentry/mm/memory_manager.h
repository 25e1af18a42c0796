// MemoryManager: the list of a process's mappings (Linux: struct mm_struct). It is policy: it chooses addresses,
// enforces limits and permissions, and answers /proc/*/maps. The truth is the host's page table of the stub; changes
// get there as MemoryOps queued on the calling thread, which runs them before it resumes.
//
// The list changes at once, the host a little later. Two rules keep them together:
// - Quarantine: a freed range is not handed out to another thread before the thread that freed it has executed its op
//   (OpsExecuted), or the late unmap would destroy the new mapping.
// - Undo: what an op replaced is remembered until it has run, and restored when the host refuses it (OpFailed).
//
// Lock: `mu_` (kMm). Ops are queued, Mappables asked for their backing, and guest memory copied without it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_addr.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/context.h"
#include "sentry/core/guest_memory.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/text_cache.h"
#include "sentry/mm/vma.h"
#include "sentry/mm/vma_set.h"

namespace sandbox {

struct MapRequest {
  GuestAddr hint;
  uint64_t length = 0;  // bytes, not rounded
  int prot = 0;
  int flags = 0;              // MAP_*
  RefPtr<Mappable> mappable;  // null = anonymous
  uint64_t offset = 0;
  int max_prot = 7;  // from the file's access mode
  std::string label;
  // The mapping is the first of an ELF image of this many bytes, which the caller placed; 0 = unknown.
  uint64_t image_bytes = 0;
};

// Addresses the loader fills in (prctl PR_SET_MM, /proc/*/stat, cmdline and environ).
struct MmLayout {
  GuestAddr start_code, end_code, start_data, end_data, start_brk, start_stack;
  GuestAddr arg_start, arg_end, env_start, env_end;
  GuestAddr vdso;
  std::vector<uint64_t> auxv;
};

class MemoryManager final : public GuestMemory {
 public:
  // Mappings one process may have (vm.max_map_count). The host's limit counts the stub's own mappings too, and splits
  // that the host makes and we do not, so ours is lower.
  static constexpr size_t kMaxMappings = 65000;
  // vm.mmap_min_addr.
  static constexpr uint64_t kMinAddress = 65536;

  // `range`: platform.guest_range(). Layout randomisation is drawn here. `text_cache`: null = no text is rewritten.
  MemoryManager(RefPtr<platform::AddressSpace> space, GuestRange range, RefPtr<TextCache> text_cache = nullptr);
  ~MemoryManager() override;

  // GuestMemory over the host address space; EFAULT outside the guest's range, whose rest belongs to the stub.
  Result<size_t> ReadSome(GuestAddr from, void* to, size_t size) override;
  Result<size_t> WriteSome(GuestAddr to, const void* from, size_t size) override;

  // Whether the range is private anonymous memory that may be written.
  bool IsPlainMemory(GuestAddr addr, size_t size) const;
  // Puts the original text into a copy of `size` bytes at `from`.
  void ShowOriginal(GuestAddr from, void* copy, size_t size) {
    if (rewritten_count_.load(std::memory_order_acquire) != 0) UnpatchRead(from, copy, size);
  }

  const RefPtr<platform::AddressSpace>& space() const { return space_; }
  GuestRange range() const { return range_; }

  // mmap(2) … with Linux's errors. `thread` is the stopped caller (or the new process's first thread in exec).
  Result<GuestAddr> Map(Context& context, platform::Thread& thread, const MapRequest& request);
  Result<void> Unmap(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length);
  Result<void> Protect(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length, int prot);
  Result<GuestAddr> Remap(Context& context, platform::Thread& thread, GuestAddr old_addr, uint64_t old_length,
                          uint64_t new_length, int flags, GuestAddr new_addr);
  Result<GuestAddr> Brk(Context& context, platform::Thread& thread, GuestAddr addr);
  Result<void> Advise(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length, int advice);

  // mlock(2) family: brought in and accounted. The host's memory is the host's to swap; a sandbox pins nothing.
  // `on_fault`: MLOCK_ONFAULT.
  Result<void> Lock(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length, bool on_fault);
  Result<void> Unlock(GuestAddr addr, uint64_t length);
  Result<void> LockAll(Context& context, platform::Thread& thread, int flags);  // MCL_*
  Result<void> UnlockAll();
  // mseal(2): the mappings of the range stay as they are.
  Result<void> Seal(GuestAddr addr, uint64_t length);
  // mbind(2), set_mempolicy_home_node(2) for node 0.
  Result<void> SetPolicy(GuestAddr addr, uint64_t length, MemoryPolicy policy);
  Result<void> CheckHomeNode(GuestAddr addr, uint64_t length) const;
  Result<void> Sync(Context& context, GuestAddr addr, uint64_t length, int flags);  // MS_*
  // ENOMEM unless every page of the range is mapped (mincore(2), mlock(2)).
  Result<void> CheckMapped(GuestAddr addr, uint64_t length) const;
  // PR_SET_VMA_ANON_NAME; empty removes the name.
  Result<void> SetAnonName(GuestAddr addr, uint64_t length, const std::string& name);

  // The copy a forked child gets; `space` is the child's. `child` runs what MADV_DONTFORK and MADV_WIPEONFORK ask for
  // before its first instruction.
  RefPtr<MemoryManager> Fork(RefPtr<platform::AddressSpace> space, platform::Thread* child = nullptr);
  // The ops `thread` queued before this trap have run (called at each trap and at its exit), or one failed.
  void OpsExecuted(platform::Thread& thread);
  // Restores the list to what the host has. Returns what the call that queued the op must answer instead of success:
  // the host's errno, negated, or where the break is for brk(2), which has no errors.
  // None when the op was not the call's.
  std::optional<int64_t> OpFailed(platform::Thread& thread, const platform::MemoryOp& op, int failed_errno);

  // A fault the host could not resolve: true when it was a legal growth of a stack mapping and the access can be
  // repeated.
  bool GrowStack(Context& context, platform::Thread& thread, GuestAddr addr);

  // --- Rewritten text (mm_text.cc). ---
  // `thread` trapped for a call that could have come without a trap; `ip` is behind the instruction. Nothing may be
  // queued on the thread. May rewrite the text it came from, and replace it in this process.
  void NoteSlowCall(platform::Thread& thread, GuestAddr ip);
  // Puts the original text back, for good: somebody is going to look at it or change it from outside. False when it is
  // there already.
  bool RestoreTexts(platform::Thread& thread);
  // Bytes that an image of `image_bytes` needs free below it.
  uint64_t TrampolineRoom(uint64_t image_bytes) const;

  // RLIMIT_STACK became `limit`: what the main stack has beyond it, below `sp`, is taken away again.
  void LimitStack(platform::Thread& thread, GuestAddr sp, uint64_t limit);

  // For the loader. Places the mapping area below a stack of `stack_limit` bytes; `randomize` is false for
  // ADDR_NO_RANDOMIZE.
  void SetUpLayout(uint64_t stack_limit, bool randomize);
  GuestAddr stack_top() const { return stack_top_; }
  // Where a position-independent executable of `length` bytes starts.
  GuestAddr PieBase(uint64_t length, uint64_t align);
  // A free range of the mapping area, not reserved: for several mappings that belong together.
  Result<GuestAddr> FindFree(platform::Thread& thread, uint64_t length, uint64_t align);
  // Start of the heap for a program that ends at `end`.
  void SetUpBrk(GuestAddr end);
  // The main stack: the whole of what RLIMIT_STACK allows is mapped at once (bounded by kMaxMainStack), so that the
  // sentry can write below what the guest has touched. Only the part Linux would map counts against RLIMIT_AS.
  static constexpr uint64_t kMaxMainStack = uint64_t{8} << 20;
  // `needed`: bytes the loader will put there at once.
  Result<GuestRange> MapStack(Context& context, platform::Thread& thread, uint64_t stack_limit, uint64_t needed,
                              int prot);

  std::optional<Vma> Find(GuestAddr addr) const;  // mapping containing addr
  std::vector<Vma> List() const;                  // ascending
  uint64_t total_bytes() const;
  VmaSet::Totals totals() const;
  uint64_t peak_bytes() const;
  GuestAddr brk() const;
  MmLayout layout() const;
  void SetLayout(const MmLayout& layout);

  // What a futex or another shared object at `addr` is keyed by: the object and offset for shared mappings, else
  // this address space. EFAULT when unmapped.
  struct FutexPlace {
    const void* object;  // identity only
    uint64_t offset;
    RefPtr<void> keep_alive;
  };
  Result<FutexPlace> PlaceOf(GuestAddr addr, bool force_private) const;

  // The executable's file description, for /proc/*/exe (an opaque reference: mm does not know files).
  RefPtr<void> executable() const;
  void SetExecutable(RefPtr<void> file);
  bool dumpable() const { return dumpable_.load(); }
  void set_dumpable(bool on) { dumpable_.store(on); }
  // PR_SET_MDWE (prctl(2)): nothing becomes executable that is or was not.
  bool denies_exec_gain() const { return mdwe_.load() != 0; }
  uint32_t mdwe() const { return mdwe_.load(); }  // PR_MDWE_*
  void set_mdwe(uint32_t flags) { mdwe_.store(flags); }
  // What a child, or the next program, starts with.
  uint32_t InheritedMdwe() const;
  // /proc/<pid>/coredump_filter: which mappings a core dump has; inherited by fork and exec.
  uint32_t core_filter() const { return core_filter_.load(); }
  void set_core_filter(uint32_t filter) { core_filter_.store(filter); }

 private:
  // A mapping of a file's text that is, or may be, rewritten.
  struct TextMapping {
    enum class State {
      kOriginal,   // the file's pages
      kReplacing,  // on its way from kOriginal to kRewritten; changes of the range wait
      kRewritten,  // the copy's pages
      kRetired,    // the file's pages again; the zone stays for threads that are inside
    };
    GuestRange text, room;  // `room` was left free for the zone, below the image
    RefPtr<CachedText> cached = {};
    Mappable::HostBacking backing = {};
    RefPtr<const TextCopy> copy = {};  // null while kOriginal
    State state = State::kOriginal;
    uint32_t slow_calls = 0;
    GuestRange zone() const;  // the mapped part of the room
  };
  // What one queued op replaced, to be put back if it fails.
  struct Undo {
    platform::MemoryOp::Kind kind;
    GuestRange range, target;
    bool frees = false;              // `range` is quarantined until the op has run
    bool internal = false;           // not what the call asked for
    std::vector<TextMapping> texts;  // that this and the ops after it disturbed
    std::vector<Vma> before, before_target;
    std::optional<GuestAddr> brk;
  };
  // Ops of one call: built under the lock, queued on the thread after it.
  struct Batch {
    std::vector<platform::MemoryOp> ops;
    std::vector<Undo> undo;
    std::vector<TextMapping> gone;  // their zones are unmapped after everything else
  };
  // What Remap does with one mapping, or a part of it.
  struct Move {
    Vma vma;  // as it was found
    GuestRange from, to;
    bool keep_old = false;               // MREMAP_DONTUNMAP, or an old length of zero: the source stays mapped
    Mappable::HostBacking backing = {};  // of the object, for keep_old
  };

  // Appends the op with what it replaced (default: what its range holds now, so call before changing the list).
  void Add(Batch& batch, platform::MemoryOp op) REQUIRES(mu_);
  // Hands the batch over. Under the lock: remembers the undo records; without it: queues.
  void Remember(platform::Thread& thread, Batch& batch) REQUIRES(mu_);
  static void Queue(platform::Thread& thread, Batch& batch);

  // --- Limits (mm_limits.cc). ---
  Result<void> CheckExpand(Context& context, const Vma& added, uint64_t replaced) const REQUIRES(mu_);
  Result<void> CheckLock(Context& context, uint64_t added_bytes, int err) const REQUIRES(mu_);
  Result<void> SetLocked(GuestRange range, bool locked) REQUIRES(mu_);
  void Populate(GuestRange range, Batch& batch) const REQUIRES(mu_);
  Result<void> CheckMapCount(size_t added) const REQUIRES(mu_);
  Result<void> CheckUnsealed(GuestRange range) const REQUIRES(mu_);  // EPERM

  // --- Addresses (mm_address.cc). ---
  Result<GuestAddr> ChooseAddress(platform::Thread& thread, GuestAddr hint, uint64_t length, int flags, bool huge)
      REQUIRES(mu_);
  std::optional<GuestAddr> SearchGap(platform::Thread& thread, GuestRange within, uint64_t length, uint64_t align)
      REQUIRES(mu_);
  std::optional<GuestRange> QuarantinedIn(platform::Thread& thread, GuestRange range) const REQUIRES(mu_);
  bool IsFree(platform::Thread& thread, GuestRange range) const REQUIRES(mu_);
  // ENOMEM when a fixed range leaves the guest's part of the address space, EPERM below mmap_min_addr.
  Result<GuestRange> FixedRange(GuestAddr start, uint64_t length) const;

  uint64_t TotalBytes() const REQUIRES(mu_);

  // --- Rewritten text (mm_text.cc). ---
  // What is known of a mapping before the lock is taken.
  struct TextPlan {
    std::optional<FileVersion> version;  // of executable text
    uint64_t room = 0;                   // bytes to leave free below an image
  };
  enum class Disturbance {
    kGone,      // unmapped, or something else is mapped there
    kMoved,     // pages are taken elsewhere
    kWritable,  // contents may change, or be looked at
  };
  TextPlan PlanText(const MapRequest& request, uint64_t length, const Mappable::HostBacking& backing) const;
  GuestRange RoomOf(const Vma& text) const REQUIRES(mu_);
  TextMapping* FindText(GuestAddr addr) REQUIRES(mu_);
  std::optional<TextMapping> EnterText(const Vma& vma, const FileVersion& version,
                                       const Mappable::HostBacking& backing) const REQUIRES(mu_);
  // Adds `op`, which maps `vma`, to the batch and the mapping to the list; maps the copy instead when there is one.
  void MapText(const Vma& vma, const TextPlan& plan, const Mappable::HostBacking& backing, platform::MemoryOp op,
               Batch& batch) REQUIRES(mu_);
  void AddInternal(Batch& batch, platform::MemoryOp op) REQUIRES(mu_);
  void ShowTrampolines(const TextMapping& text) REQUIRES(mu_);
  void CountRewritten() REQUIRES(mu_);
  // Waits while text that `range` concerns is being replaced: microseconds. First thing under the lock.
  void AwaitTexts(GuestRange range) REQUIRES(mu_);
  // Before anything else is done to `range`: puts originals back and forgets what cannot be rewritten any more.
  void DisturbTexts(GuestRange range, Disturbance kind, Batch& batch) REQUIRES(mu_);
  // One that is not kOriginal. Returns whether it has to be remembered.
  bool DisturbText(TextMapping& text, GuestRange range, Disturbance kind, Batch& batch) REQUIRES(mu_);
  void UnmapZones(Batch& batch) REQUIRES(mu_);
  void RestoreOriginal(const TextMapping& text, Batch& batch) REQUIRES(mu_);
  void TakeBackText(const TextMapping& text) REQUIRES(mu_);
  void ReplaceText(platform::Thread& thread, GuestAddr addr, const RefPtr<const TextCopy>& copy);
  bool BeginReplace(GuestAddr addr, const RefPtr<const TextCopy>& copy, GuestRange* range, GuestRange* zone);
  void EndReplace(GuestAddr addr, bool done);
  // `size` bytes were read at `from`.
  void UnpatchRead(GuestAddr from, void* data, size_t size);
  void InheritTexts(const MemoryManager& parent) REQUIRES(mu_);

  // --- Steps of the calls. ---
  Result<GuestAddr> MapLocked(Context& context, platform::Thread& thread, const MapRequest& request, uint64_t length,
                              const Mappable::HostBacking& backing, const TextPlan& plan, Batch& batch) REQUIRES(mu_);
  // Where the mapping goes; sets its range and zone_below.
  Result<void> PlaceLocked(platform::Thread& thread, const MapRequest& request, uint64_t length, uint64_t room,
                           Vma& vma) REQUIRES(mu_);
  void UnmapLocked(GuestRange range, Batch& batch, std::optional<GuestAddr> old_brk = {}) REQUIRES(mu_);
  Result<GuestAddr> RemapLocked(Context& context, platform::Thread& thread, Move& move, uint64_t old_length,
                                uint64_t new_length, int flags, GuestAddr new_addr, Batch& batch) REQUIRES(mu_);
  // Grows without moving; none when the neighbour is in the way.
  bool GrowInPlace(platform::Thread& thread, const Vma& vma, GuestRange old, uint64_t new_length, Batch& batch)
      REQUIRES(mu_);
  void MoveLocked(Move& move, Batch& batch) REQUIRES(mu_);
  Result<GuestAddr> MoveSeveral(const Move& move, Batch& batch) REQUIRES(mu_);

  const RefPtr<platform::AddressSpace> space_;
  const GuestRange range_;
  const RefPtr<TextCache> text_cache_;
  std::atomic<bool> dumpable_{true};
  std::atomic<uint32_t> core_filter_{0x33};
  std::atomic<uint32_t> mdwe_{0};
  // Drawn once; changed only by SetUpLayout, before the process runs.
  GuestAddr stack_top_, mmap_base_, pie_base_;
  bool randomize_ = true;

  mutable Mutex mu_{LockRank::kMm};
  VmaSet vmas_ GUARDED_BY(mu_);
  GuestAddr brk_ GUARDED_BY(mu_);
  uint64_t stack_reserve_ GUARDED_BY(mu_) = 0;  // part of the main stack that is mapped ahead of need
  bool lock_future_ GUARDED_BY(mu_) = false;    // MCL_FUTURE
  uint64_t peak_bytes_ GUARDED_BY(mu_) = 0;
  MmLayout layout_ GUARDED_BY(mu_);
  RefPtr<void> executable_ GUARDED_BY(mu_);
  // By the thread that queued them; the pointer is a key only.
  std::map<const platform::Thread*, std::vector<Undo>> pending_ GUARDED_BY(mu_);
  std::vector<TextMapping> texts_ GUARDED_BY(mu_);
  bool rewriting_ GUARDED_BY(mu_) = true;
  CondVar text_replaced_;                // with mu_: nothing is kReplacing any more
  std::atomic<bool> has_texts_{false};   // texts_ is not empty
  std::atomic<int> rewritten_count_{0};  // texts_ with a copy, to keep reads off the lock
  std::atomic<int> pending_count_{0};    // size of pending_, to keep OpsExecuted off the lock
};

}  // namespace sandbox
