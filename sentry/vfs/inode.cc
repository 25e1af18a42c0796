#include "sentry/vfs/inode.h"

#include <linux/capability.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inotify_hooks.h"
#include "sentry/vfs/leases.h"
#include "sentry/vfs/on_demand.h"
#include "sentry/vfs/path.h"
#include "sentry/vfs/record_locks.h"
#include "sentry/vfs/special.h"

namespace sandbox {
namespace {

// Anonymous device numbers, major 0 (Linux: get_anon_bdev).
uint64_t NextDevice() {
  static std::atomic<uint32_t> next{20};
  return makedev(0, next.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace

FileTime FileTimeNow() {
  const int64_t now = RealtimeNowNs();
  return {now / 1'000'000'000, static_cast<uint32_t>(now % 1'000'000'000)};
}

RefPtr<Inode> Path::inode() const { return dentry == nullptr ? nullptr : dentry->inode(); }

FileSystem::FileSystem() : device_(NextDevice()) {}

RefPtr<Dentry> FileSystem::root_dentry() {
  InodeRef inode = root();  // outside the lock: the file system takes its own
  MutexLock lock(root_mu_);
  RefPtr<Dentry> dentry = root_dentry_.lock();
  if (dentry == nullptr) {
    dentry = MakeRef<Dentry>(nullptr, "", std::move(inode));
    root_dentry_ = dentry;
  }
  return dentry;
}

Inode::~Inode() {
  delete locks_.load(std::memory_order_relaxed);
  delete leases_.load(std::memory_order_relaxed);
  delete watches_.load(std::memory_order_relaxed);
}

uint32_t Inode::FetchType(Context& context) {
  auto attr = GetAttr(context);
  if (!attr.ok()) return 0;
  type_.store(attr->type(), std::memory_order_relaxed);
  return attr->type();
}

Result<void> Inode::SetAttr(Context&, const AttrChange&) { return Err(EPERM); }
Result<InodeRef> Inode::Lookup(Context&, std::string_view) { return Err(ENOTDIR); }
Result<InodeRef> Inode::Revalidate(Context& context, std::string_view name, const InodeRef&) {
  return Lookup(context, name);
}
Result<InodeRef> Inode::Create(Context&, std::string_view, const CreateArgs&) { return Err(EPERM); }
Result<void> Inode::Link(Context&, std::string_view, const InodeRef&) { return Err(EPERM); }
Result<void> Inode::Unlink(Context&, std::string_view, const InodeRef&) { return Err(EPERM); }
Result<void> Inode::Rmdir(Context&, std::string_view, const InodeRef&) { return Err(EPERM); }
Result<void> Inode::Rename(Context&, std::string_view, const InodeRef&, Inode&, std::string_view, const InodeRef&,
                           unsigned) {
  return Err(EPERM);
}
Result<InodeRef> Inode::CreateUnlinked(Context&, const CreateArgs&) { return Err(EOPNOTSUPP); }
Result<std::string> Inode::ReadLink(Context&) { return Err(EINVAL); }
Result<Path> Inode::Jump(Context&) { return Path{}; }

Result<FileRef> Inode::Open(Context& context, const Path& path, int flags) {
  return OpenSpecial(context, path, TRY(GetAttr(context)), flags);
}

Result<std::string> Inode::GetXattr(Context&, std::string_view) { return Err(EOPNOTSUPP); }
Result<void> Inode::SetXattr(Context&, std::string_view, std::string_view, int) { return Err(EOPNOTSUPP); }
Result<std::vector<std::string>> Inode::ListXattr(Context&) { return Err(EOPNOTSUPP); }
Result<void> Inode::RemoveXattr(Context&, std::string_view) { return Err(EOPNOTSUPP); }

Result<void> Inode::CheckAccess(Context& context, int mask) {
  const Credentials& creds = context.creds();
  // The common case of root needs no attributes.
  if (creds.Has(CAP_DAC_OVERRIDE) && (!(mask & X_OK) || type_.load(std::memory_order_relaxed) == S_IFDIR)) return {};
  return CheckMode(creds, TRY(GetAccessAttr(context)), mask);
}

RecordLocks& Inode::locks() { return OnDemand(locks_); }
Leases& Inode::leases() { return OnDemand(leases_); }
InotifyWatches& Inode::watches() { return OnDemand(watches_); }

RefPtr<void> Inode::attachment() const {
  MutexLock lock(attachment_mu_);
  return attachment_;
}

void Inode::set_attachment(RefPtr<void> object) {
  MutexLock lock(attachment_mu_);
  attachment_.swap(object);  // the old one is destroyed after the lock
}

RefPtr<void> Inode::attach_if_absent(RefPtr<void> object) {
  MutexLock lock(attachment_mu_);
  if (attachment_ == nullptr) attachment_ = object;
  return attachment_;
}

Result<void> Inode::AcquireWrite() {
  int count = write_count_.load(std::memory_order_relaxed);
  do {
    if (count < 0) return Err(ETXTBSY);
  } while (!write_count_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed));
  return {};
}

Result<void> Inode::DenyWrite() {
  int count = write_count_.load(std::memory_order_relaxed);
  do {
    if (count > 0) return Err(ETXTBSY);
  } while (!write_count_.compare_exchange_weak(count, count - 1, std::memory_order_relaxed));
  return {};
}

bool IsOwnerOrCapable(const Credentials& creds, const Attr& attr) {
  return creds.fsuid == attr.uid || (creds.HasOwn(CAP_FOWNER) && creds.user_ns->Seen(IdKind::kUser, attr.uid));
}

Result<void> CheckMode(const Credentials& creds, const Attr& attr, int mask) {
  uint32_t bits = attr.mode;
  if (creds.fsuid == attr.uid) {
    bits >>= 6;
  } else if (creds.InGroup(attr.gid)) {
    bits >>= 3;
  }
  static_assert(R_OK == 4 && W_OK == 2 && X_OK == 1);  // the same order as the mode bits
  if ((mask & ~bits & 7) == 0) return {};
  // Linux: generic_permission's capability fallbacks.
  const auto has = [&](int capability) { return creds.HasOver(attr.uid, attr.gid, capability); };
  if (attr.IsDir()) {
    if (!(mask & W_OK) && has(CAP_DAC_READ_SEARCH)) return {};
    if (has(CAP_DAC_OVERRIDE)) return {};
    return Err(EACCES);
  }
  if (mask == R_OK && has(CAP_DAC_READ_SEARCH)) return {};
  if ((!(mask & X_OK) || (attr.mode & 0111)) && has(CAP_DAC_OVERRIDE)) return {};
  return Err(EACCES);
}

}  // namespace sandbox
