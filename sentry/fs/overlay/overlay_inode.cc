#include "sentry/fs/overlay/overlay_inode.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/fs/overlay/overlay_file.h"

namespace sandbox {

OverlayInode::OverlayInode(FileSystem& fs, std::vector<InodeRef> lowers, InodeRef upper, uint32_t mode, uint64_t ino)
    : Inode(fs), lowers_(std::move(lowers)), ino_(ino), upper_owner_(std::move(upper)) {
  set_type(mode);
  upper_raw_.store(upper_owner_.get(), std::memory_order_release);
  if (lowers_.empty()) links_below_.store(0);
}

OverlayInode::~OverlayInode() {
  if (lowers_.empty()) return;
  if (auto fs = overlay(); fs.ok()) (*fs)->Expired(lowers_.front().get());
}

Result<RefPtr<OverlayFs>> OverlayInode::overlay() const {
  auto fs = std::static_pointer_cast<OverlayFs>(Inode::fs());
  if (fs == nullptr) return Err(ESTALE);
  return fs;
}

Result<Attr> OverlayInode::GetAttr(Context& context) {
  Attr attr = TRY(top().GetAttr(context));
  attr.ino = ino_;
  // The upper object has no names of its own: what counts is what the lower one had, and what changed since.
  const int64_t below = links_below_.load(std::memory_order_acquire);
  const int64_t links = (below >= 0 ? below : attr.nlink) + link_delta_.load(std::memory_order_relaxed);
  attr.nlink = links > 0 ? static_cast<uint32_t>(links) : 0;
  return attr;
}

void OverlayInode::PinSelf() {
  if (lowers_.empty()) return;
  if (auto fs = overlay(); fs.ok()) (*fs)->Pin(self(), lowers_.front());
}

void OverlayInode::AddLinks(int delta) {
  link_delta_.fetch_add(delta, std::memory_order_relaxed);
  PinSelf();
}

Result<void> OverlayInode::SetAttr(Context& context, const AttrChange& change) {
  TRY(CopyUp(change.size.value_or(UINT64_MAX)));
  return upper()->SetAttr(context, change);
}

Result<std::string> OverlayInode::ReadLink(Context& context) { return top().ReadLink(context); }

Result<FileRef> OverlayInode::Open(Context& context, const Path& path, int flags) {
  switch (Type(context)) {
    case S_IFDIR:
      return FileRef(MakeRef<OverlayDirFile>(path, flags, self()));
    case S_IFREG:
      break;
    default:
      return Inode::Open(context, path, flags);  // device nodes
  }
  if ((flags & O_ACCMODE) != O_RDONLY) TRY(CopyUp());
  if (upper() != nullptr) return upper()->Open(context, path, flags);
  // Without a path: locks and inotify events belong to the overlay's description, not to this one as well.
  FileRef lower = TRY(lowers_.front()->Open(context, Path{}, flags));
  return FileRef(MakeRef<OverlayFile>(path, flags, self(), std::move(lower)));
}

Result<std::string> OverlayInode::GetXattr(Context& context, std::string_view name) {
  return top().GetXattr(context, name);
}

Result<void> OverlayInode::SetXattr(Context& context, std::string_view name, std::string_view value, int flags) {
  TRY(CopyUp());
  return upper()->SetXattr(context, name, value, flags);
}

Result<std::vector<std::string>> OverlayInode::ListXattr(Context& context) { return top().ListXattr(context); }

Result<void> OverlayInode::RemoveXattr(Context& context, std::string_view name) {
  TRY(CopyUp());
  return upper()->RemoveXattr(context, name);
}

}  // namespace sandbox
