#include "sentry/fs/tmpfs/tmpfs.h"

#include <unistd.h>

#include <charconv>

#include "base/guest_addr.h"
#include "sentry/fs/tmpfs/directory.h"
#include "sentry/vfs/fs_registry.h"

namespace sandbox {
namespace {

uint64_t MemoryBytes() { return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * kPageSize; }

// memparse() of Linux with a percentage of memory; EINVAL for anything left over.
Result<uint64_t> ParseSize(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return Err(EINVAL);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (suffix.empty()) return value;
  if (suffix == "%") return MemoryBytes() / 100 * value;
  static constexpr std::string_view kUnits = "kmgtpe";
  const size_t unit = kUnits.find(static_cast<char>(suffix[0] | 0x20));
  if (suffix.size() != 1 || unit == std::string_view::npos) return Err(EINVAL);
  const unsigned shift = 10 * static_cast<unsigned>(unit + 1);
  if (value > UINT64_MAX >> shift) return Err(EINVAL);
  return value << shift;
}

Result<uint32_t> ParseNumber(std::string_view text, int base) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return Err(EINVAL);
  return value;
}

Result<void> ApplyOption(std::string_view key, std::string_view value, TmpfsOptions& options) {
  if (key == "size") {
    options.max_bytes = TRY(ParseSize(value));
  } else if (key == "nr_blocks") {
    const uint64_t blocks = TRY(ParseSize(value));
    if (blocks > UINT64_MAX / kPageSize) return Err(EINVAL);
    options.max_bytes = blocks * kPageSize;
  } else if (key == "nr_inodes") {
    options.max_inodes = TRY(ParseSize(value));
  } else if (key == "mode") {
    options.mode = TRY(ParseNumber(value, 8)) & 07777;
  } else if (key == "uid") {
    options.uid = TRY(ParseNumber(value, 10));
  } else if (key == "gid") {
    options.gid = TRY(ParseNumber(value, 10));
  } else if (key != "huge" && key != "mpol" && key != "inode32" && key != "inode64" && key != "noswap") {
    return Err(EINVAL);
  }
  return {};
}

Result<void> ParseInto(std::string_view text, TmpfsOptions& options) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view option = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (option.empty()) continue;
    const size_t equals = std::min(option.find('='), option.size());
    TRY(ApplyOption(option.substr(0, equals), option.substr(std::min(equals + 1, option.size())), options));
  }
  return {};
}

// The text with the limits as they are now.
std::string WithLimits(std::string_view text, const TmpfsUsage& usage) {
  std::string shown;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view option = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (option.starts_with("size=") || option.starts_with("nr_blocks=") || option.starts_with("nr_inodes=")) continue;
    shown += std::string(option) + ",";
  }
  shown += "size=" + std::to_string(usage.max_pages() * kPageSize / 1024) + "k";
  if (usage.max_inodes() != 0) shown += ",nr_inodes=" + std::to_string(usage.max_inodes());
  return shown;
}

const FileSystemTypeRegistrar registrar({
    .name = "tmpfs",
    .create = [](Context&, std::string_view, std::string_view text) -> Result<RefPtr<FileSystem>> {
      TmpfsOptions options = TRY(ParseTmpfsOptions(text));
      return RefPtr<FileSystem>(TmpfsFileSystem::Create(options));
    },
});

std::atomic<uint64_t>& AllMaxPages() {
  static std::atomic<uint64_t> pages{MemoryBytes() / 2 / kPageSize};
  return pages;
}

}  // namespace

uint64_t TmpfsUsage::all_max_pages() { return AllMaxPages().load(std::memory_order_relaxed); }
void TmpfsUsage::set_all_max_pages(uint64_t pages) { AllMaxPages().store(pages, std::memory_order_relaxed); }

Result<void> TmpfsFileSystem::Reconfigure(std::string_view text) {
  TmpfsOptions options;
  options.max_bytes = usage_->max_pages() * kPageSize;
  options.max_inodes = usage_->max_inodes();
  TRY(ParseInto(text, options));
  TRY(usage_->SetLimits((options.max_bytes + kPageMask) / kPageSize, options.max_inodes));
  MutexLock lock(mu_);
  shown_ = WithLimits(shown_, *usage_);
  return {};
}

std::string TmpfsFileSystem::MountOptions() const {
  MutexLock lock(mu_);
  return shown_;
}

Result<TmpfsOptions> ParseTmpfsOptions(std::string_view text) {
  TmpfsOptions options;
  options.max_bytes = MemoryBytes() / 2;
  options.shown = std::string(text);
  TRY(ParseInto(text, options));
  return options;
}

RefPtr<TmpfsFileSystem> TmpfsFileSystem::Create(const TmpfsOptions& options) {
  auto fs = MakeRef<TmpfsFileSystem>(options);
  (void)fs->usage_->ChargeInode();
  fs->root_ = MakeRef<TmpfsDirectory>(*fs, fs->usage_, S_IFDIR | options.mode, options.uid, options.gid);
  return fs;
}

TmpfsFileSystem::TmpfsFileSystem(const TmpfsOptions& options)
    : usage_(MakeRef<TmpfsUsage>((options.max_bytes + kPageMask) / kPageSize, options.max_inodes)),
      shown_(options.shown) {}

TmpfsFileSystem::~TmpfsFileSystem() {
  // In a loop: a guest may nest directories deeper than destructors could recurse.
  std::vector<InodeRef> pending = {std::move(root_)};
  while (!pending.empty()) {
    const InodeRef inode = std::move(pending.back());
    pending.pop_back();
    if (inode == nullptr || static_cast<TmpfsInode&>(*inode).mode_type() != S_IFDIR) continue;
    for (InodeRef& child : static_cast<TmpfsDirectory&>(*inode).TakeChildren()) pending.push_back(std::move(child));
  }
}

Result<FsStat> TmpfsFileSystem::StatFs(Context&) {
  FsStat stat;
  stat.type = 0x01021994;  // TMPFS_MAGIC
  stat.fsid = device();
  if (const uint64_t max = usage_->max_pages(); max != 0) {
    const uint64_t used = std::min(usage_->pages(), max);
    stat.blocks = max;
    stat.blocks_free = stat.blocks_available = max - used;
  }
  if (const uint64_t max = usage_->max_inodes(); max != 0) {
    stat.files = max;
    stat.files_free = max - std::min(usage_->inodes(), max);
  }
  return stat;
}

}  // namespace sandbox
