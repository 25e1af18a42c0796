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
  // `all_pages` counts those of the namespace.
  ShmSegment(WeakRef<ShmTable> table, RefPtr<SharedSegment> memory, uint64_t size, int32_t creator, int32_t key,
             std::shared_ptr<std::atomic<uint64_t>> all_pages);
  ~ShmSegment() override;

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
  const std::shared_ptr<std::atomic<uint64_t>> all_pages_;
};

class ShmTable final : public IpcTable<ShmSegment>, public RefFromThis<ShmTable> {
 public:
  static constexpr size_t kMaxSegments = 4096;  // SHMMNI
  ShmTable() : IpcTable(kMaxSegments) {}
  static RefPtr<ShmTable> Of(IpcNamespace& ipc);
  Result<int> Get(Context& context, int32_t key, uint64_t size, int flags);
  // /proc/sys/kernel/shmmax and shmall: of one segment, and of all of them in pages.
  static constexpr uint64_t kNoLimit = ~uint64_t{0} - (uint64_t{1} << 24);
  std::atomic<uint64_t> max_bytes{kNoLimit}, max_pages{kNoLimit};

 private:
  const std::shared_ptr<std::atomic<uint64_t>> pages_ = std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace sandbox
