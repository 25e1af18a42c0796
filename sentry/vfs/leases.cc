#include "sentry/vfs/leases.h"

#include <signal.h>

#include <algorithm>

#include "sentry/vfs/async_io.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

Result<void> Leases::Set(const Inode& inode, const FileRef& file, int fd, int type) {
  if (type == F_UNLCK) {
    {
      MutexLock lock(mu_);
      if (std::erase_if(leases_, [&](const Lease& lease) { return lease.key == file.get(); }) == 0) return Err(EAGAIN);
    }
    queue_.Notify(kReadable);
    return {};
  }
  // Linux: check_conflicting_open.
  if (type == F_RDLCK && inode.HasWriters()) return Err(EAGAIN);
  if (type == F_WRLCK &&
      (inode.writers() != (file->writable() ? 1 : 0) || inode.readers() != (file->writable() ? 0 : 1))) {
    return Err(EAGAIN);
  }
  {
    MutexLock lock(mu_);
    Lease* mine = nullptr;
    for (Lease& lease : leases_) {
      if (lease.key == file.get())
        mine = &lease;
      else if (type == F_WRLCK || lease.breaking_to == F_UNLCK)
        return Err(EAGAIN);
    }
    if (mine == nullptr) {
      leases_.push_back({file.get(), file, fd, type, -1, {}});
      return {};
    }
    // The answer to a break may only be what was asked for.
    if (mine->breaking_to == F_UNLCK || (mine->breaking_to == F_RDLCK && type == F_WRLCK)) return Err(EAGAIN);
    mine->type = type;
    mine->breaking_to = -1;
    mine->fd = fd;
  }
  queue_.Notify(kReadable);
  return {};
}

int Leases::Get(const FileDescription& file) const {
  MutexLock lock(mu_);
  for (const Lease& lease : leases_) {
    if (lease.key == &file) return lease.breaking_to >= 0 ? lease.breaking_to : lease.type;
  }
  return F_UNLCK;
}

void Leases::Expire() {
  const MonotonicTime now = MonotonicNow();
  for (Lease& lease : leases_) {
    if (lease.breaking_to == F_RDLCK && lease.break_end <= now) {
      lease.type = F_RDLCK;
      lease.breaking_to = -1;
    }
  }
  std::erase_if(leases_, [&](const Lease& lease) { return lease.breaking_to == F_UNLCK && lease.break_end <= now; });
}

Result<void> Leases::TryBreak(bool write, Deadline* until) {
  std::vector<std::pair<FileRef, int>> told;
  bool conflict = false;
  {
    MutexLock lock(mu_);
    Expire();
    for (Lease& lease : leases_) {
      if (!write && lease.type == F_RDLCK) continue;
      conflict = true;
      const int target = write ? F_UNLCK : F_RDLCK;
      if (lease.breaking_to < 0) {
        lease.break_end = MonotonicTime{MonotonicNow().ns + kBreakTimeNs};
        if (FileRef file = lease.file.lock()) told.emplace_back(std::move(file), lease.fd);
        lease.breaking_to = target;
      } else if (target == F_UNLCK) {
        lease.breaking_to = F_UNLCK;
      }
      if (!*until || lease.break_end < **until) *until = lease.break_end;
    }
  }
  for (const auto& [file, fd] : told) file->async().Signal(POLL_MSG, fd);
  if (conflict) return Err(EAGAIN);
  return {};
}

Result<void> Leases::Break(Context& context, bool write, bool wait) {
  Deadline until;
  auto result = TryBreak(write, &until);
  if (!result.Is(EAGAIN) || !wait) return result;
  Waker waker(context);
  queue_.Register(waker, kReadable);
  for (;;) {
    until.reset();
    result = TryBreak(write, &until);
    if (!result.Is(EAGAIN)) break;
    const auto slept = context.Block(until);
    if (slept.ok() || slept.Is(ETIMEDOUT)) continue;
    result = slept.error();
    break;
  }
  queue_.Unregister(waker);
  return result;
}

void Leases::Release(const FileDescription* file) {
  {
    MutexLock lock(mu_);
    if (std::erase_if(leases_, [&](const Lease& lease) { return lease.key == file; }) == 0) return;
  }
  queue_.Notify(kReadable);
}

}  // namespace sandbox
