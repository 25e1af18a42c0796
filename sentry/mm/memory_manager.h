// MemoryManager: the list of a process's mappings (Linux: struct mm_struct). It is policy: it chooses addresses,
// enforces limits and permissions, and answers /proc/*/maps. The truth is the host's page table of the stub; changes
// get there as MemoryOps queued on the calling thread, which runs them before it resumes.
//
// An unmapped range may not be handed out again to another thread before the unmapping thread has executed its op, so
// freed ranges of a multi-threaded process stay in quarantine until that thread traps again (OpsExecuted).
#pragma once

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

namespace sandbox {

// One mapping (Linux: struct vm_area_struct).
struct Vma {
  GuestRange range;
  int prot = 0;             // PROT_*
  int max_prot = 0;         // what mprotect may grant (VM_MAY*)
  bool shared = false;
  bool grows_down = false;
  bool locked = false;
  bool dont_fork = false, wipe_on_fork = false, dont_dump = false;
  RefPtr<Mappable> mappable;  // null = private anonymous
  uint64_t offset = 0;        // file offset of range.start
  std::string label;          // "[heap]", "[stack]", "[vdso]", PR_SET_VMA name
};

struct MapRequest {
  GuestAddr hint;
  uint64_t length = 0;        // bytes, not rounded
  int prot = 0;
  int flags = 0;              // MAP_*
  RefPtr<Mappable> mappable;  // null = anonymous
  uint64_t offset = 0;
  int max_prot = 7;           // from the file's access mode
  std::string label;
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
  // `range`: platform.guest_range(). Layout randomisation is drawn here.
  MemoryManager(RefPtr<platform::AddressSpace> space, GuestRange range);
  ~MemoryManager() override;

  // GuestMemory over the host address space.
  Result<size_t> ReadSome(GuestAddr from, void* to, size_t size) override;
  Result<size_t> WriteSome(GuestAddr to, const void* from, size_t size) override;

  const RefPtr<platform::AddressSpace>& space() const { return space_; }

  // mmap(2) … with Linux's errors. `thread` is the stopped caller (or the new process's first thread in exec).
  Result<GuestAddr> Map(Context& context, platform::Thread& thread, const MapRequest& request);
  Result<void> Unmap(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length);
  Result<void> Protect(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length, int prot);
  Result<GuestAddr> Remap(Context& context, platform::Thread& thread, GuestAddr old_addr, uint64_t old_length,
                          uint64_t new_length, int flags, GuestAddr new_addr);
  Result<GuestAddr> Brk(Context& context, platform::Thread& thread, GuestAddr addr);
  Result<void> Advise(Context& context, platform::Thread& thread, GuestAddr addr, uint64_t length, int advice);

  // The copy a forked child gets; `space` is the child's.
  RefPtr<MemoryManager> Fork(RefPtr<platform::AddressSpace> space);
  // The ops `thread` queued before this trap have run (called at each trap), or one failed.
  void OpsExecuted(platform::Thread& thread);
  void OpFailed(platform::Thread& thread, const platform::MemoryOp& op);

  // A fault the host could not resolve: true when it was a legal growth of a stack mapping and the access can be
  // repeated.
  bool GrowStack(Context& context, platform::Thread& thread, GuestAddr addr);

  std::optional<Vma> Find(GuestAddr addr) const;       // mapping containing addr
  std::vector<Vma> List() const;                       // ascending
  uint64_t total_bytes() const;
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

 private:
  const RefPtr<platform::AddressSpace> space_;
  const GuestRange range_;
  std::atomic<bool> dumpable_{true};
  mutable Mutex mu_{LockRank::kMm};
  std::map<GuestAddr, Vma> vmas_ GUARDED_BY(mu_);  // by start
  MmLayout layout_ GUARDED_BY(mu_);
  RefPtr<void> executable_ GUARDED_BY(mu_);
};

}  // namespace sandbox
