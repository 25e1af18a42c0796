// Copy-up: an object of a lower layer gets an upper one before its first change (Linux: fs/overlayfs/copy_up.c).

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>

#include "sentry/fs/overlay/overlay_inode.h"

namespace sandbox {
namespace {

constexpr size_t kCopyChunk = 256 * 1024;

// Moves the next stretch of data, at most `end` - *offset bytes. Returns false at the end of the file.
Result<bool> CopyStretch(Context& context, FileDescription& from, FileDescription& to, char* buffer, int64_t* offset,
                         int64_t end) {
  const size_t want = std::min<size_t>(kCopyChunk, static_cast<size_t>(end - *offset));
  int64_t at = *offset;
  IoSequence in = IoSequence::Kernel(buffer, want);
  const size_t got = TRY(from.Read(context, in, &at, 0));
  if (got == 0) return false;
  IoSequence out = IoSequence::Kernel(buffer, got);
  int64_t put_at = *offset;
  while (!out.empty()) {
    if (TRY(to.Write(context, out, &put_at, 0)) == 0) return Err(EIO);
  }
  *offset = put_at;
  return true;
}

}  // namespace

Result<void> OverlayInode::CopyData(Inode& to, uint64_t size) {
  // The kernel copies: neither permissions nor limits of the task that happens to cause it apply.
  Context& kernel = KernelContext();
  const uint64_t full = TRY(lowers_.front()->GetAttr(kernel)).size;
  const auto end = static_cast<int64_t>(std::min(full, size));
  if (end == 0) return {};
  const FileRef source = TRY(lowers_.front()->Open(kernel, Path{}, O_RDONLY));
  const FileRef target = TRY(to.Open(kernel, Path{}, O_RDWR));
  const auto buffer = std::make_unique_for_overwrite<char[]>(kCopyChunk);
  for (int64_t offset = 0; offset < end;) {
    // Holes stay holes. A file system that cannot tell says where data starts by an error: then all of it is data.
    auto data = source->Seek(kernel, offset, SEEK_DATA);
    if (data.Is(ENXIO)) break;
    if (data.ok() && *data > offset) {
      offset = std::min(*data, end);
      continue;
    }
    auto hole = data.ok() ? source->Seek(kernel, offset, SEEK_HOLE) : Result<int64_t>(end);
    const int64_t stop = hole.ok() ? std::min(*hole, end) : end;
    while (offset < stop) {
      if (!TRY(CopyStretch(kernel, *source, *target, buffer.get(), &offset, stop))) break;
    }
    if (offset < stop) break;  // shorter than it said
  }
  AttrChange length;
  length.size = static_cast<uint64_t>(end);
  return to.SetAttr(kernel, length);
}

Result<void> OverlayInode::CopyXattrs(Inode& to) {
  Context& kernel = KernelContext();
  const auto names = lowers_.front()->ListXattr(kernel);
  if (!names.ok()) return {};  // a file system without them
  for (const std::string& name : *names) {
    const auto value = lowers_.front()->GetXattr(kernel, name);
    if (!value.ok()) continue;
    const auto set = to.SetXattr(kernel, name, *value, 0);
    // What the upper file system does not take is lost, as on Linux for an upper without xattrs.
    if (!set.ok() && !set.Is(EOPNOTSUPP) && !set.Is(EPERM)) return set;
  }
  return {};
}

Result<void> OverlayInode::CopyUp(uint64_t size) {
  if (upper() != nullptr) return {};
  auto fs = TRY(overlay());
  MutexLock lock(copy_mu_);
  if (upper() != nullptr) return {};
  Context& kernel = KernelContext();
  const Attr attr = TRY(lowers_.front()->GetAttr(kernel));
  CreateArgs args;
  args.mode = attr.mode;
  args.rdev = attr.rdev;
  args.uid = attr.uid;
  args.gid = attr.gid;
  if (attr.IsSymlink()) args.target = TRY(lowers_.front()->ReadLink(kernel));
  InodeRef made = TRY(fs->MakeUpper(kernel, args));
  if (attr.IsRegular()) TRY(CopyData(*made, size));
  if (!attr.IsSymlink()) TRY(CopyXattrs(*made));
  AttrChange rest;
  rest.mode = attr.mode & 07777;  // data and owner changes may have cleared set-id bits
  if (attr.IsSymlink()) rest.mode.reset();
  rest.atime = attr.atime;
  rest.mtime = attr.mtime;
  TRY(made->SetAttr(kernel, rest));
  links_below_.store(attr.nlink, std::memory_order_release);
  upper_owner_ = std::move(made);
  upper_raw_.store(upper_owner_.get(), std::memory_order_release);
  PinSelf();
  return {};
}

}  // namespace sandbox
