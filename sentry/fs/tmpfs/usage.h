// Space and inode accounting of one tmpfs instance, shared by its inodes (Linux: struct shmem_sb_info). It outlives
// the file system as long as an inode does.
#pragma once

#include <algorithm>
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
    const uint64_t all = all_pages_.fetch_add(pages, std::memory_order_relaxed) + pages;
    const uint64_t max = max_pages();
    if ((max == 0 || now <= max) && all <= all_max_pages()) return {};
    ReleasePages(pages);
    return Err(ENOSPC);
  }
  void ReleasePages(uint64_t pages) {
    pages_.fetch_sub(pages, std::memory_order_relaxed);
    all_pages_.fetch_sub(pages, std::memory_order_relaxed);
  }
  // For memory that exists already (pages a guest touched through a mapping).
  void AddPages(int64_t pages) { ReleasePages(static_cast<uint64_t>(-pages)); }
  // Pages that may still be charged.
  uint64_t room() const {
    const auto left = [](uint64_t max, uint64_t used) { return max > used ? max - used : 0; };
    const uint64_t of_all = left(all_max_pages(), all_pages_.load(std::memory_order_relaxed));
    return max_pages() == 0 ? of_all : std::min(of_all, left(max_pages(), pages()));
  }

  // What all instances of the sandbox may hold together, memory files and overlays included: whatever guests mount,
  // they cannot fill the host. Half of its memory until something else is set.
  static uint64_t all_max_pages();
  static void set_all_max_pages(uint64_t pages);
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
  // EINVAL below what is in use.
  Result<void> SetLimits(uint64_t max_pages, uint64_t max_inodes) {
    if ((max_pages != 0 && max_pages < pages()) || (max_inodes != 0 && max_inodes < inodes())) return Err(EINVAL);
    max_pages_.store(max_pages, std::memory_order_relaxed);
    max_inodes_.store(max_inodes, std::memory_order_relaxed);
    return {};
  }
  uint64_t max_inodes() const { return max_inodes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> max_pages_, max_inodes_;
  std::atomic<uint64_t> pages_{0}, inodes_{0};
  std::atomic<uint64_t> next_ino_{1};
  static inline std::atomic<uint64_t> all_pages_{0};
};

}  // namespace sandbox
