#include "sentry/vfs/fd_table.h"

#include <sys/resource.h>

#include <algorithm>
#include <climits>

#include "sentry/vfs/dnotify.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/record_locks.h"

namespace sandbox {
namespace {

constexpr int32_t kMaxFds = 1 << 20;  // Linux: sysctl fs.nr_open

int32_t Limit(Context& context) {
  return static_cast<int32_t>(std::min<uint64_t>(context.rlimit(RLIMIT_NOFILE), kMaxFds));
}

// What close(2) does to a description that left the table `owner` (Linux: filp_close).
Result<void> Released(Context& context, const FdTable* owner, FileRef file) {
  auto result = file->OnClose(context);
  if (const InodeRef inode = file->path().inode()) {
    // POSIX: closing any descriptor of a file drops all the process's record locks on it.
    if (RecordLocks* locks = inode->locks_or_null()) locks->ReleaseOwner(owner);
    UnwatchDirectory(*inode, *file, owner);
  }
  return result;
}

}  // namespace

FdTable::~FdTable() { CloseAll(KernelContext()); }

Result<FileRef> FdTable::GetAny(Fd fd) const {
  MutexLock lock(mu_);
  const auto index = static_cast<uint32_t>(fd.number());
  if (index >= entries_.size() || entries_[index].file == nullptr) return Err(EBADF);
  return entries_[index].file;
}

Result<FileRef> FdTable::Get(Fd fd) const {
  FileRef file = TRY(GetAny(fd));
  if (file->is_path_only()) return Err(EBADF);
  return file;
}

int32_t FdTable::FindFree(int32_t from) const {
  int32_t fd = std::max(from, first_free_hint_);
  const auto size = static_cast<int32_t>(entries_.size());
  while (fd < size && entries_[fd].file != nullptr) ++fd;
  return fd;
}

void FdTable::Put(int32_t fd, FileRef file, bool close_on_exec) {
  if (fd >= static_cast<int32_t>(entries_.size())) entries_.resize(std::max<size_t>(fd + 1, entries_.size() * 3 / 2));
  entries_[fd] = {std::move(file), close_on_exec};
}

Result<Fd> FdTable::Install(Context& context, FileRef file, bool close_on_exec, int32_t from) {
  const int32_t limit = Limit(context);
  if (from < 0 || (from > 0 && from >= limit)) return Err(EINVAL);
  MutexLock lock(mu_);
  const int32_t fd = FindFree(from);
  if (fd >= limit) return Err(EMFILE);
  if (from <= first_free_hint_) first_free_hint_ = fd + 1;
  Put(fd, std::move(file), close_on_exec);
  return Fd(fd);
}

Result<std::pair<Fd, Fd>> FdTable::InstallPair(Context& context, FileRef a, FileRef b, bool close_on_exec) {
  const int32_t limit = Limit(context);
  MutexLock lock(mu_);
  const int32_t first = FindFree(0);
  int32_t second = first + 1;
  while (second < static_cast<int32_t>(entries_.size()) && entries_[second].file != nullptr) ++second;
  if (second >= limit) return Err(EMFILE);
  first_free_hint_ = second + 1;
  Put(first, std::move(a), close_on_exec);
  Put(second, std::move(b), close_on_exec);
  return std::pair(Fd(first), Fd(second));
}

Result<void> FdTable::InstallAt(Context& context, Fd fd, FileRef file, bool close_on_exec) {
  if (fd.number() < 0 || fd.number() >= Limit(context)) return Err(EBADF);
  FileRef old;
  {
    MutexLock lock(mu_);
    if (fd.number() < static_cast<int32_t>(entries_.size())) old = std::move(entries_[fd.number()].file);
    Put(fd.number(), std::move(file), close_on_exec);
  }
  if (old != nullptr) (void)Released(context, this, std::move(old));  // dup2(2): its error is lost
  return {};
}

Result<void> FdTable::Close(Context& context, Fd fd) {
  FileRef file;
  {
    MutexLock lock(mu_);
    const auto index = static_cast<uint32_t>(fd.number());
    if (index >= entries_.size() || entries_[index].file == nullptr) return Err(EBADF);
    file = std::move(entries_[index].file);
    first_free_hint_ = std::min(first_free_hint_, fd.number());
  }
  return Released(context, this, std::move(file));
}

Result<void> FdTable::CloseRange(Context& context, uint32_t first, uint32_t last, bool set_cloexec_only) {
  if (first > last) return Err(EINVAL);
  std::vector<FileRef> closed;
  {
    MutexLock lock(mu_);
    for (size_t i = first; i <= last && i < entries_.size(); ++i) {
      if (entries_[i].file == nullptr) continue;
      if (set_cloexec_only) {
        entries_[i].close_on_exec = true;
        continue;
      }
      closed.push_back(std::move(entries_[i].file));
      first_free_hint_ = std::min(first_free_hint_, static_cast<int32_t>(i));
    }
  }
  for (FileRef& file : closed) (void)Released(context, this, std::move(file));
  return {};
}

Result<bool> FdTable::GetCloseOnExec(Fd fd) const {
  MutexLock lock(mu_);
  const auto index = static_cast<uint32_t>(fd.number());
  if (index >= entries_.size() || entries_[index].file == nullptr) return Err(EBADF);
  return bool{entries_[index].close_on_exec};
}

Result<void> FdTable::SetCloseOnExec(Fd fd, bool on) {
  MutexLock lock(mu_);
  const auto index = static_cast<uint32_t>(fd.number());
  if (index >= entries_.size() || entries_[index].file == nullptr) return Err(EBADF);
  entries_[index].close_on_exec = on;
  return {};
}

void FdTable::CloseOnExec(Context& context) {
  std::vector<FileRef> closed;
  {
    MutexLock lock(mu_);
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].file == nullptr || !entries_[i].close_on_exec) continue;
      closed.push_back(std::move(entries_[i].file));
      first_free_hint_ = std::min(first_free_hint_, static_cast<int32_t>(i));
    }
  }
  for (FileRef& file : closed) (void)Released(context, this, std::move(file));
}

RefPtr<FdTable> FdTable::Fork() const {
  auto copy = MakeRef<FdTable>();
  MutexLock lock(mu_);
  size_t used = entries_.size();
  while (used > 0 && entries_[used - 1].file == nullptr) --used;
  MutexLock copy_lock(copy->mu_);  // equal rank: nobody else knows the copy yet
  copy->entries_.assign(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(used));
  copy->first_free_hint_ = first_free_hint_;
  return copy;
}

std::vector<int32_t> FdTable::Numbers() const {
  std::vector<int32_t> numbers;
  MutexLock lock(mu_);
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].file != nullptr) numbers.push_back(static_cast<int32_t>(i));
  }
  return numbers;
}

void FdTable::CloseAll(Context& context) { (void)CloseRange(context, 0, UINT_MAX, false); }

}  // namespace sandbox
