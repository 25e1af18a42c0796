#include "sentry/fs/tmpfs/data.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/host_sys.h"

namespace sandbox {
namespace {

constexpr uint64_t kPagesLimit = 1 << 20;  // larger files go to host memory
constexpr int kMaxHostMemories = 6000;     // of the process's 20000 descriptors

}  // namespace

TmpfsData::~TmpfsData() { usage_->ReleasePages(charged_pages_); }

uint64_t TmpfsData::allocated_pages() const { return host_ != nullptr ? host_->AllocatedPages() : pages_.size(); }

void TmpfsData::Recount() {
  const uint64_t now = allocated_pages();
  usage_->AddPages(static_cast<int64_t>(now - charged_pages_));
  charged_pages_ = now;
}

bool TmpfsData::ShouldMove(uint64_t end) const {
  return host_ == nullptr && end > kPagesLimit && HostMemory::count() < kMaxHostMemories;
}

Result<size_t> TmpfsData::Read(uint64_t offset, char* to, size_t count) const {
  if (offset >= size_) return size_t{0};
  count = std::min<uint64_t>(count, size_ - offset);
  if (host_ == nullptr) return ReadPages(offset, to, count);
  const ssize_t got = pread(host_->fd().get(), to, count, static_cast<off_t>(offset));
  if (got < 0) return LastErrno();
  return static_cast<size_t>(got);
}

Result<size_t> TmpfsData::ReadPages(uint64_t offset, char* to, size_t count) const {
  size_t done = 0;
  while (done < count) {
    const uint64_t at = offset + done, in_page = at & kPageMask;
    const size_t step = std::min<uint64_t>(count - done, kPageSize - in_page);
    auto page = pages_.find(at / kPageSize);
    if (page == pages_.end()) {
      std::memset(to + done, 0, step);
    } else {
      std::memcpy(to + done, page->second.get() + in_page, step);
    }
    done += step;
  }
  return done;
}

Result<char*> TmpfsData::PageAt(uint64_t index, bool zeroed) {
  auto it = pages_.lower_bound(index);
  if (it != pages_.end() && it->first == index) return it->second.get();
  TRY(usage_->ChargePages(1));
  ++charged_pages_;
  Page page = zeroed ? std::make_unique<char[]>(kPageSize) : std::make_unique_for_overwrite<char[]>(kPageSize);
  it = pages_.emplace_hint(it, index, std::move(page));
  return it->second.get();
}

Result<size_t> TmpfsData::WritePages(uint64_t offset, const char* from, size_t count) {
  size_t done = 0;
  while (done < count) {
    const uint64_t at = offset + done, in_page = at & kPageMask;
    const size_t step = std::min<uint64_t>(count - done, kPageSize - in_page);
    auto page = PageAt(at / kPageSize, step < kPageSize);
    if (!page.ok()) {
      if (done == 0) return page.error();
      break;
    }
    std::memcpy(*page + in_page, from + done, step);
    done += step;
  }
  return done;
}

bool TmpfsData::IsBacked(uint64_t offset, size_t count) const {
  const off_t hole = lseek(host_->fd().get(), static_cast<off_t>(offset), SEEK_HOLE);
  return hole >= 0 && static_cast<uint64_t>(hole) >= offset + count;
}

Result<size_t> TmpfsData::Write(uint64_t offset, const char* from, size_t count) {
  if (count == 0) return size_t{0};
  if (ShouldMove(offset + count)) TRY(ToHostMemory());
  size_t done = 0;
  if (host_ == nullptr) {
    done = TRY(WritePages(offset, from, count));
  } else {
    // Near the limit every page is counted, and only existing ones may be written over.
    if (count / kPageSize + 2 > usage_->room()) {
      Recount();
      if ((count + kPageMask) / kPageSize > usage_->room() && !IsBacked(offset, count)) return Err(ENOSPC);
    }
    const ssize_t put = pwrite(host_->fd().get(), from, count, static_cast<off_t>(offset));
    if (put < 0) return LastErrno();
    done = static_cast<size_t>(put);
    Recount();
  }
  size_ = std::max(size_, offset + done);
  return done;
}

Result<void> TmpfsData::Resize(uint64_t size) {
  if (host_ != nullptr) {
    if (ftruncate(host_->fd().get(), static_cast<off_t>(size)) != 0) return LastErrno();
    Recount();
  } else if (size < size_) {
    const auto first_gone = pages_.lower_bound((size + kPageMask) / kPageSize);
    const auto gone = static_cast<uint64_t>(std::distance(first_gone, pages_.end()));
    pages_.erase(first_gone, pages_.end());
    usage_->ReleasePages(gone);
    charged_pages_ -= gone;
    // What was cut off must read as zeros if the file grows again.
    auto last = pages_.find(size / kPageSize);
    if (last != pages_.end()) std::memset(last->second.get() + (size & kPageMask), 0, kPageSize - (size & kPageMask));
  }
  size_ = size;
  return {};
}

Result<void> TmpfsData::Allocate(uint64_t offset, uint64_t length, bool keep_size) {
  const uint64_t end = offset + length;
  if (ShouldMove(end)) TRY(ToHostMemory());
  if (host_ != nullptr) {
    // What the range holds already is unknown, so at most the file's own pages are taken as a part
    // of it.
    Recount();
    const uint64_t wanted = length / kPageSize + 1;
    if (wanted - std::min(wanted, charged_pages_) > usage_->room()) return Err(ENOSPC);
    if (fallocate(host_->fd().get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length)) !=
        0) {
      return LastErrno();
    }
    Recount();
    if (!keep_size && end > size_) TRY(Resize(end));
    return {};
  }
  std::vector<uint64_t> made;  // taken back when space runs out: fallocate is all or nothing
  for (uint64_t index = offset / kPageSize; index * kPageSize < end; ++index) {
    if (pages_.contains(index)) continue;
    auto page = PageAt(index, true);
    if (!page.ok()) {
      for (uint64_t undo : made) pages_.erase(undo);
      usage_->ReleasePages(made.size());
      charged_pages_ -= made.size();
      return page.error();
    }
    made.push_back(index);
  }
  if (!keep_size) size_ = std::max(size_, end);
  return {};
}

Result<void> TmpfsData::PunchHole(uint64_t offset, uint64_t length) {
  if (host_ != nullptr) {
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(host_->fd().get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0)
      return LastErrno();
    Recount();
    return {};
  }
  const uint64_t end = offset + length;
  for (auto it = pages_.lower_bound(offset / kPageSize); it != pages_.end() && it->first * kPageSize < end;) {
    const uint64_t start = it->first * kPageSize;
    const uint64_t from = std::max(offset, start), to = std::min(end, start + kPageSize);
    if (to - from < kPageSize) {
      std::memset(it->second.get() + (from - start), 0, to - from);
      ++it;
      continue;
    }
    it = pages_.erase(it);
    usage_->ReleasePages(1);
    --charged_pages_;
  }
  return {};
}

Result<int64_t> TmpfsData::SeekData(uint64_t offset) const {
  if (offset >= size_) return Err(ENXIO);
  if (host_ != nullptr) {
    const off_t at = lseek(host_->fd().get(), static_cast<off_t>(offset), SEEK_DATA);
    if (at < 0) return LastErrno();
    return int64_t{at};
  }
  auto page = pages_.lower_bound(offset / kPageSize);
  if (page == pages_.end() || page->first * kPageSize >= size_) return Err(ENXIO);
  return static_cast<int64_t>(std::max(offset, page->first * kPageSize));
}

Result<int64_t> TmpfsData::SeekHole(uint64_t offset) const {
  if (offset >= size_) return Err(ENXIO);
  if (host_ != nullptr) {
    return host::Seek(host_->fd(), static_cast<int64_t>(offset), SEEK_HOLE);
  }
  uint64_t index = offset / kPageSize;
  for (auto page = pages_.find(index); page != pages_.end() && page->first == index; ++page) ++index;
  if (index == offset / kPageSize) return static_cast<int64_t>(offset);
  return static_cast<int64_t>(std::min(index * kPageSize, size_));
}

Result<void> TmpfsData::SealWrites(uint32_t seals) {
  return host_ != nullptr ? host::AddSeals(host_->fd(), seals) : Ok();
}

Result<RefPtr<HostMemory>> TmpfsData::ToHostMemory() {
  if (host_ != nullptr) return host_;
  RefPtr<HostMemory> host = TRY(HostMemory::Create("tmpfs"));
  if (ftruncate(host->fd().get(), static_cast<off_t>(size_)) != 0) return LastErrno();
  for (const auto& [index, page] : pages_) {
    const uint64_t start = index * kPageSize;
    if (start >= size_) continue;  // allocated past the end: only a promise
    const size_t count = std::min<uint64_t>(kPageSize, size_ - start);
    if (pwrite(host->fd().get(), page.get(), count, static_cast<off_t>(start)) != static_cast<ssize_t>(count))
      return Err(ENOMEM);
  }
  pages_.clear();
  host_ = std::move(host);
  Recount();
  return host_;
}

}  // namespace sandbox
