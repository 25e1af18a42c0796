// Contexts of Linux's asynchronous I/O (io_setup(2); Linux: struct kioctx): finished requests wait in them for
// io_getevents(2). They belong to an address space and are named by the address of a page in it.
//
// Reads, writes and syncs run inside io_submit, as they do on Linux for buffered files; only polls finish later.
#pragma once

#include <linux/aio_abi.h>

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/fs/anon/eventfd.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class AioContext : public RefFromThis<AioContext> {
 public:
  explicit AioContext(uint32_t size) : size_(size) {}
  ~AioContext();

  uint32_t size() const { return size_; }
  // Room for one more event, which Finish fills: EAGAIN when there is none, EINVAL when the context is destroyed.
  Result<void> Reserve();
  void Unreserve();
  void Finish(const io_event& event, const RefPtr<EventFd>& tell);
  // IOCB_CMD_POLL: finishes when `file` shows one of `events`. The slot is reserved.
  void Poll(Context& context, const FileRef& file, EventMask events, const io_event& event, RefPtr<EventFd> tell);
  // io_cancel(2) of the poll with this iocb: EINVAL when there is none under way.
  Result<void> Cancel(uint64_t iocb);
  // Up to `most` events once `least` are there, fewer at the deadline. kErestartsys when interrupted with none.
  Result<std::vector<io_event>> Wait(Context& context, size_t least, size_t most, const Deadline& deadline);
  void Destroy();

 private:
  class PollEntry;
  std::vector<io_event> Take(size_t most);

  const uint32_t size_;
  Mutex mu_{LockRank::kFile};
  uint32_t reserved_ GUARDED_BY(mu_) = 0;
  bool destroyed_ GUARDED_BY(mu_) = false;
  std::deque<io_event> done_ GUARDED_BY(mu_);
  std::map<uint64_t, RefPtr<PollEntry>> polls_ GUARDED_BY(mu_);  // by the address of their iocb
  WaitQueue queue_;
};

// All contexts, by address space and page.
class AioTable {
 public:
  static constexpr uint32_t kMaxEvents = 65536;  // /proc/sys/fs/aio-max-nr, in all contexts together

  static AioTable& Get();
  // EAGAIN when all contexts together would be too large.
  Result<void> Add(const RefPtr<MemoryManager>& mm, GuestAddr page, uint32_t size);
  RefPtr<AioContext> Find(const RefPtr<MemoryManager>& mm, GuestAddr page);    // null = none
  RefPtr<AioContext> Remove(const RefPtr<MemoryManager>& mm, GuestAddr page);  // null = none
  uint64_t events() const;

 private:
  using Contexts = std::map<GuestAddr, RefPtr<AioContext>>;
  // Contexts of address spaces that are gone; destroyed by the caller without the lock.
  std::vector<RefPtr<AioContext>> DropDead() REQUIRES(mu_);

  mutable Mutex mu_{LockRank::kLeaf};
  std::map<WeakRef<MemoryManager>, Contexts, std::owner_less<>> all_ GUARDED_BY(mu_);
  uint64_t events_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox
