#include "sentry/fs/tmpfs/regular.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "sentry/vfs/operations.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace sandbox {
namespace {

constexpr uint32_t kAllSeals =
    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC;

constexpr uint32_t kWriteSeals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

}  // namespace

void TmpfsRegular::FillSize(Attr& attr) const {
  attr.size = data_.size();
  attr.blocks = data_.allocated_pages() * (kPageSize / 512);
}

uint64_t TmpfsRegular::size() const {
  MutexLock lock(mu_);
  return data_.size();
}

Result<void> TmpfsRegular::Resize(uint64_t size) {
  if (size > INT64_MAX) return Err(EFBIG);
  if (size < data_.size() && (seals_ & F_SEAL_SHRINK)) return Err(EPERM);
  if (size > data_.size() && (seals_ & F_SEAL_GROW)) return Err(EPERM);
  return data_.Resize(size);
}

Result<size_t> TmpfsRegular::ReadAt(uint64_t offset, char* to, size_t count) {
  MutexLock lock(mu_);
  return data_.Read(offset, to, count);
}

Result<size_t> TmpfsRegular::WriteAt(uint64_t* offset, bool append, const char* from, size_t count) {
  MutexLock lock(mu_);
  if (append) *offset = data_.size();
  if (seals_ & kWriteSeals) return Err(EPERM);
  if ((seals_ & F_SEAL_GROW) && *offset + count > data_.size()) {
    if (*offset >= data_.size()) return Err(EPERM);
    count = data_.size() - *offset;
  }
  const size_t done = TRY(data_.Write(*offset, from, count));
  *offset += done;
  DropCapabilities();
  TouchChange(true);
  return done;
}

Result<int64_t> TmpfsRegular::Seek(int64_t offset, int whence) {
  MutexLock lock(mu_);
  if (whence == SEEK_END) {
    int64_t target;
    if (__builtin_add_overflow(static_cast<int64_t>(data_.size()), offset, &target)) return Err(EOVERFLOW);
    return target;
  }
  if (offset < 0) return Err(ENXIO);
  const auto at = static_cast<uint64_t>(offset);
  return whence == SEEK_DATA ? data_.SeekData(at) : data_.SeekHole(at);
}

// Linux: shmem_fallocate, which knows only plain allocation and holes.
Result<void> TmpfsRegular::Allocate(Context& context, int mode, int64_t offset, int64_t length) {
  if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) return Err(EOPNOTSUPP);
  const auto at = static_cast<uint64_t>(offset), count = static_cast<uint64_t>(length);
  const uint64_t end = at + count;
  if (!(mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) && end > size()) TRY(CheckSizeLimit(context, end));
  MutexLock lock(mu_);
  if (mode & FALLOC_FL_PUNCH_HOLE) {
    if (seals_ & kWriteSeals) return Err(EPERM);
    TRY(data_.PunchHole(at, count));
    TouchChange(true);
    return {};
  }
  const bool grows = !(mode & FALLOC_FL_KEEP_SIZE) && end > data_.size();
  if (grows && (seals_ & F_SEAL_GROW)) return Err(EPERM);
  TRY(data_.Allocate(at, count, mode & FALLOC_FL_KEEP_SIZE));
  TouchChange(grows);
  return {};
}

void TmpfsRegular::SetAccessTime(const FileTime& now) {
  MutexLock lock(mu_);
  attr_.atime = now;
}

Result<void> TmpfsRegular::AddSeals(uint32_t seals) {
  if (seals & ~kAllSeals) return Err(EINVAL);
  MutexLock lock(mu_);
  if (seals_ & F_SEAL_SEAL) return Err(EPERM);
  if ((seals & F_SEAL_WRITE) && !(seals_ & F_SEAL_WRITE) && writable_mappings_.load() > 0) return Err(EBUSY);
  // Linux: F_SEAL_EXEC implies the write seals on an executable file.
  if ((seals & F_SEAL_EXEC) && (attr_.mode & 0111)) {
    seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  }
  // The host enforces it too: a stub may still hold a descriptor of an earlier mapping that could
  // write.
  if (seals & kWriteSeals & ~seals_) TRY(data_.SealWrites(seals & kWriteSeals));
  seals_ |= seals;
  return {};
}

uint32_t TmpfsRegular::seals() const {
  MutexLock lock(mu_);
  return seals_;
}

void TmpfsRegular::set_initial_seals(uint32_t seals) {
  MutexLock lock(mu_);
  seals_ = seals;
}

Result<RefPtr<HostMemory>> TmpfsRegular::ToHostMemory() {
  MutexLock lock(mu_);
  const bool moves = !data_.in_host_memory();
  RefPtr<HostMemory> memory = TRY(data_.ToHostMemory());
  if (moves && (seals_ & kWriteSeals)) TRY(data_.SealWrites(seals_ & kWriteSeals));
  return memory;
}

Result<bool> TmpfsRegular::StartMapping(bool writes) {
  MutexLock lock(mu_);
  const bool sealed = seals_ & kWriteSeals;
  if (sealed && writes) return Err(EPERM);
  return sealed;
}

void TmpfsRegular::CountMapping(int delta, bool writable_shared) {
  if (!writable_shared) return;
  writable_mappings_.fetch_add(delta);
  was_mapped_writable_.store(true);
}

}  // namespace sandbox
