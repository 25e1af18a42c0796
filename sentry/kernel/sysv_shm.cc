#include "sentry/kernel/sysv_shm.h"

#include "base/guest_addr.h"
#include "base/log.h"
#include "sentry/fs/tmpfs/shared_memory.h"

namespace sandbox {
namespace {

int64_t NowSeconds() { return RealtimeNowNs() / 1'000'000'000; }

uint64_t Pages(uint64_t bytes) { return bytes / kPageSize + (bytes % kPageSize != 0); }

}  // namespace

ShmSegment::ShmSegment(WeakRef<ShmTable> table, RefPtr<SharedSegment> memory, uint64_t size, int32_t creator,
                       int32_t key, std::shared_ptr<std::atomic<uint64_t>> all_pages)
    : change_time(NowSeconds()),
      creator_pid(creator),
      table_(std::move(table)),
      memory_(std::move(memory)),
      size_(size),
      first_key_(key),
      all_pages_(std::move(all_pages)) {
  all_pages_->fetch_add(Pages(size_));
}

ShmSegment::~ShmSegment() { all_pages_->fetch_sub(Pages(size_)); }

void ShmSegment::CountMapping(int delta, bool writable_shared) {
  memory_->CountMapping(delta, writable_shared);
  (delta > 0 ? attach_time : detach_time) = NowSeconds();
  if (attached.fetch_add(delta) + delta > 0 || !destroyed.load()) return;
  if (const auto table = table_.lock()) table->Remove(id);
}

Mappable::Identity ShmSegment::MappingIdentity() const {
  Identity identity = memory_->MappingIdentity();
  identity.inode = static_cast<uint64_t>(id);  // as Linux shows it, for ipcs(1) users who read maps
  identity.path = StrPrintf("/SYSV%08x (deleted)", first_key_);
  return identity;
}

void ShmSegment::Destroy() {
  const auto table = table_.lock();
  if (table == nullptr) return;
  table->Hide(*this);
  destroyed = true;
  if (attached.load() == 0) table->Remove(id);
}

RefPtr<ShmTable> ShmTable::Of(IpcNamespace& ipc) {
  return ipc.Table<ShmTable>(IpcNamespace::kShm, [] { return MakeRef<ShmTable>(); });
}

Result<int> ShmTable::Get(Context& context, int32_t key, uint64_t size, int flags) {
  return IpcTable::Get(
      context, key, flags,
      [&]() -> Result<RefPtr<ShmSegment>> {
        if (size == 0 || size > max_bytes.load()) return Err(EINVAL);
        const uint64_t bytes = TRY(PageRoundUp(size));
        if (bytes > uint64_t{1} << 46) return Err(ENOMEM);
        // One at a time: the table's lock is held.
        if (pages_->load() + Pages(size) > max_pages.load()) return Err(ENOSPC);
        auto memory = TRY(MakeSharedMemory(bytes));
        return MakeRef<ShmSegment>(weak_from_this(), std::move(memory), size, context.tgid(), key, pages_);
      },
      [&](const ShmSegment& segment) -> Result<void> {
        if (segment.size() < size) return Err(EINVAL);
        return {};
      });
}

}  // namespace sandbox
