// Space and inode accounting of one tmpfs instance, shared by its inodes (Linux: struct shmem_sb_info). It outlives
// the file system as long as an inode does.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"

namespace sandbox {

class TmpfsUsage {
 public:
  // Zero means unlimited.
  TmpfsUsage(uint64_t max_pages, uint64_t max_inodes) : max_pages_(max_pages), max_inodes_(max_inodes) {}

  // ENOSPC over the limit.
  Result<void> ChargePages(uint64_t pages) {
    const uint64_t now = pages_.fetch_add(pages, std::memory_order_relaxed) + pages;
    const uint64_t max = max_pages();
    if (max == 0 || now <= max) return {};
    pages_.fetch_sub(pages, std::memory_order_relaxed);
    return Err(ENOSPC);
  }
  void ReleasePages(uint64_t pages) { pages_.fetch_sub(pages, std::memory_order_relaxed); }
  // For memory that exists already (pages a guest touched through a mapping).
  void AddPages(int64_t pages) { pages_.fetch_add(static_cast<uint64_t>(pages), std::memory_order_relaxed); }
  Result<void> ChargeInode() {
    const uint64_t now = inodes_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (max_inodes() == 0 || now <= max_inodes()) return {};
    ReleaseInode();
    return Err(ENOSPC);
  }
  void ReleaseInode() { inodes_.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }
  uint64_t inodes() const { return inodes_.load(std::memory_order_relaxed); }
  uint64_t max_pages() const { return max_pages_.load(std::memory_order_relaxed); }
  uint64_t max_inodes() const { return max_inodes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> max_pages_, max_inodes_;
  std::atomic<uint64_t> pages_{0}, inodes_{0};
  std::atomic<uint64_t> next_ino_{1};
};

}  // namespace sandbox
