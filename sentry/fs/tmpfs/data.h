// The bytes of one tmpfs file. They live in sentry pages while the file is small and nobody maps
// it, and in a memory file of its own (memfd) after that, which a stub can map. Descriptors of the
// sentry are scarce, so a file gets one only when it must, and large files stay in pages once the
// budget is spent.
//
// Not thread-safe: the inode's lock guards it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/guest_addr.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/tmpfs/usage.h"

namespace sandbox {

// A memory file of the host: the writable descriptor, and one for those who may only read, made on
// demand.
class HostMemory {
 public:
  static Result<RefPtr<HostMemory>> Create(const char* name);
  ~HostMemory();
  HostMemory(UniqueFd fd) : fd_(std::move(fd)) {}
  BorrowedFd fd() const { return fd_.borrow(); }
  // Opened O_RDONLY, so that a hostile stub cannot turn a read-only mapping into a writable one.
  // The reopener's error; EACCES without one.
  Result<BorrowedFd> ReadOnly();
  uint64_t AllocatedPages() const;

  // How many exist: the descriptor budget.
  static int count();
  // Opens a memory file again with O_RDONLY. Only a process that sees a /proc can, and a confined
  // sentry does not, so boot hands in somebody who can: the gofer.
  using Reopener = std::function<Result<UniqueFd>(BorrowedFd memory)>;
  static void SetReopener(Reopener reopener);

 private:
  const UniqueFd fd_;
  Mutex mu_{LockRank::kLeaf};
  UniqueFd read_only_ GUARDED_BY(mu_);  // once set, for ever
};

class TmpfsData {
 public:
  explicit TmpfsData(RefPtr<TmpfsUsage> usage) : usage_(std::move(usage)) {}
  ~TmpfsData();
  TmpfsData(const TmpfsData&) = delete;

  uint64_t size() const { return size_; }
  uint64_t allocated_pages() const;

  // Bytes read; 0 at or after the end.
  Result<size_t> Read(uint64_t offset, char* to, size_t count) const;
  // Bytes written, fewer when space runs out on the way; ENOSPC when nothing fits. Grows the file.
  Result<size_t> Write(uint64_t offset, const char* from, size_t count);
  Result<void> Resize(uint64_t size);
  // Backs [offset, offset + length) with pages, growing the file unless `keep_size`.
  Result<void> Allocate(uint64_t offset, uint64_t length, bool keep_size);
  Result<void> PunchHole(uint64_t offset, uint64_t length);
  // SEEK_DATA and SEEK_HOLE: ENXIO past the end.
  Result<int64_t> SeekData(uint64_t offset) const;
  Result<int64_t> SeekHole(uint64_t offset) const;
  // Forbids writes (F_SEAL_WRITE, F_SEAL_FUTURE_WRITE) on the memory file, if there is one. EBUSY
  // while it is mapped writable.
  Result<void> SealWrites(uint32_t seals);
  bool in_host_memory() const { return host_ != nullptr; }
  // Moves the bytes to a memory file. ENOMEM or the host's error.
  Result<RefPtr<HostMemory>> ToHostMemory();

 private:
  using Page = std::unique_ptr<char[]>;
  Result<size_t> ReadPages(uint64_t offset, char* to, size_t count) const;
  Result<size_t> WritePages(uint64_t offset, const char* from, size_t count);
  // Makes the page if it is missing; not `zeroed` when all of it is about to be written.
  Result<char*> PageAt(uint64_t index, bool zeroed);
  bool ShouldMove(uint64_t end) const;
  // The memory file has pages for all of the range already.
  bool IsBacked(uint64_t offset, size_t count) const;
  void Recount();  // after a change to host memory

  const RefPtr<TmpfsUsage> usage_;
  uint64_t size_ = 0;
  std::map<uint64_t, Page> pages_;  // by index; absent = hole
  RefPtr<HostMemory> host_;         // when set, pages_ is empty
  uint64_t charged_pages_ = 0;
};

}  // namespace sandbox
