// System V shared memory (shmget(2)): a memory file each, attached as an ordinary shared mapping.
#pragma once

#include <atomic>

#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/sysv_ipc.h"
#include "sentry/mm/mappable.h"

namespace sandbox {

class ShmTable;

// One segment. What is mapped is the segment itself, so that mappings are counted wherever they
// come and go: attach, fork, split, exit.
class ShmSegment final : public Mappable, public RefFromThis<ShmSegment> {
 public:
  ShmSegment(WeakRef<ShmTable> table, RefPtr<SharedSegment> memory, uint64_t size, int32_t creator, int32_t key);

  Result<HostBacking> Back(Context& context, uint64_t offset, uint64_t length, const Use& use) override {
    return memory_->Back(context, offset, length, use);
  }
  void CountMapping(int delta, bool writable_shared) override;
  Identity MappingIdentity() const override;

  uint64_t size() const { return size_; }
  uint64_t resident_pages() const { return memory_->AllocatedPages(); }
  // IPC_RMID: goes with its last mapping.
  void Destroy();

  IpcPermissions permissions;  // the table's lock
  int id = 0;
  std::atomic<int64_t> attach_time{0}, detach_time{0}, change_time;
  std::atomic<int32_t> last_pid{0};
  std::atomic<int> attached{0};
  std::atomic<bool> destroyed{false};
  std::atomic<bool> locked{false};  // SHM_LOCK
  const int32_t creator_pid;

 private:
  const WeakRef<ShmTable> table_;
  const RefPtr<SharedSegment> memory_;
  const uint64_t size_;
  const int32_t first_key_;
};

class ShmTable final : public IpcTable<ShmSegment>, public RefFromThis<ShmTable> {
 public:
  static constexpr size_t kMaxSegments = 4096;  // SHMMNI
  ShmTable() : IpcTable(kMaxSegments) {}
  static RefPtr<ShmTable> Of(IpcNamespace& ipc);
  Result<int> Get(Context& context, int32_t key, uint64_t size, int flags);
};

}  // namespace sandbox
