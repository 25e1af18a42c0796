// Directory contents and names: listing, linking, removing, renaming.

#include <dirent.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/host_sys.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/ops.h"

namespace sandbox::gofer {
namespace {

// The kernel's struct linux_dirent64: fixed part, then the name.
struct RawDirent {
  uint64_t ino;
  int64_t next;
  uint16_t length;
  uint8_t type;
};
constexpr size_t kRawName = 19;  // offset of the name: behind the fields, without the padding of RawDirent

// A handle in a request that may be absent (0).
Result<NodeRef> GetOptional(NodeTable& nodes, Handle handle) {
  if (handle == 0) return NodeRef();
  return nodes.Get(handle);
}

bool IsAt(const Target& dir, const std::string& name, const NodeRef& node) {
  const auto attr = StatIn(dir.fd->borrow(), name.c_str());
  return attr.ok() && attr->dev == node->dev() && attr->ino == node->ino();
}

// Keeps `victim` reachable after its name goes, when it is what `name` in `dir` refers to; says whether it did.
bool PinVictim(NodeTable& nodes, const Target& dir, const std::string& name, const NodeRef& victim) {
  if (victim == nullptr || !IsAt(dir, name, victim)) return false;
  // Failing to pin costs the guest an ESTALE on an unlinked open file, not more.
  return nodes.Pin(victim).ok();
}

}  // namespace

bool HasRoom(const Target& dir) {
  constexpr uint64_t kFreeBytes = 64 << 20, kFreeFiles = 4096;
  const auto st = host::StatFs(dir.fd->borrow());
  if (!st.ok()) return false;
  // File systems that make inodes as they need them report none at all.
  const bool files = st->f_files == 0 || st->f_ffree >= kFreeFiles;
  return files && st->f_bavail >= kFreeBytes / std::max<uint64_t>(static_cast<uint64_t>(st->f_bsize), 1);
}

Result<void> OpReadDir(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto position = in.Get<uint64_t>();
  if (!in.Done()) return Err(EPROTO);
  const Target dir = TRY(GetTarget(nodes, header.handle));
  if (dir.node->type() != S_IFDIR) return Err(ENOTDIR);
  const UniqueFd fd = TRY(Reopen(dir.fd->borrow(), O_RDONLY | O_DIRECTORY));
  if (position != 0) (void)TRY(host::Seek(fd.borrow(), static_cast<int64_t>(position), SEEK_SET));
  DirReply head{position, 0, 0};
  const size_t head_at = reply.body.size();
  reply.body.Put(head);
  alignas(8) char buffer[32 * 1024];
  for (bool full = false; !full;) {
    const long size = ::syscall(SYS_getdents64, fd.get(), buffer, sizeof(buffer));
    if (size < 0) return LastErrno();
    if (size == 0) {
      head.end = 1;
      break;
    }
    for (long at = 0; at < size;) {
      RawDirent raw;
      std::memcpy(&raw, buffer + at, kRawName);
      const std::string_view name(buffer + at + kRawName);
      at += raw.length;
      if (reply.body.room() < sizeof(DirRecord) + 2 + name.size()) {
        full = true;
        break;
      }
      head.next = static_cast<uint64_t>(raw.next);
      if (name == "." || name == "..") continue;
      reply.body.Put(DirRecord{raw.ino, raw.type, 0});
      reply.body.PutString(name);
      ++reply.count;
    }
  }
  reply.body.PutAt(head_at, head);
  return {};
}

namespace {

// A name for what may have none: linked by its descriptor, checked to be what was meant where the host needs a name.
Result<void> AddName(NodeTable& nodes, const Target& dir, const std::string& name, const Target& target) {
  if (target.node->tree() != dir.node->tree()) return Err(EXDEV);
  if (::linkat(target.fd->get(), "", dir.fd->get(), name.c_str(), AT_EMPTY_PATH) == 0) return {};
  // Before Linux 6.10 AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH.
  if (errno != ENOENT) return LastErrno();
  const auto place = nodes.PlaceOf(target.node);
  if (place.parent == nullptr) return Err(ENOENT);
  if (place.name.empty()) {
    const std::string number = std::to_string(target.fd->get());
    TRY(HostResult(::linkat(ReopenDir().get(), number.c_str(), dir.fd->get(), name.c_str(), AT_SYMLINK_FOLLOW)));
    return {};
  }
  const SharedFd parent = TRY(nodes.Fd(place.parent));
  TRY(HostResult(::linkat(parent->get(), place.name.c_str(), dir.fd->get(), name.c_str(), 0)));
  if (IsAt(dir, name, target.node)) return {};
  ::unlinkat(dir.fd->get(), name.c_str(), 0);
  return Err(ESTALE);
}

// After AddName: the newest name is the node's, and an unnamed file has one now.
Result<void> PutLinked(NodeTable& nodes, const Target& dir, const std::string& name, const Target& target,
                       Reply& reply) {
  nodes.Moved(target.node, dir.node, name);
  nodes.Unpin(target.node);
  if (reply.unread) return {};
  reply.body.Put(TRY(StatIn(target.fd->borrow(), "")));
  reply.body.Put(TRY(StatIn(dir.fd->borrow(), "")));
  reply.room = HasRoom(dir);
  return {};
}

// Whether what is made in `dir` gets an access control list from it.
Result<bool> HandsDownAcl(const Target& dir) {
  const UniqueFd fd = TRY(Reopen(dir.fd->borrow(), O_RDONLY | O_DIRECTORY));
  if (::fgetxattr(fd.get(), XATTR_NAME_POSIX_ACL_DEFAULT, nullptr, 0) >= 0) return true;
  if (errno == ENODATA || errno == EOPNOTSUPP) return false;
  return LastErrno();
}

}  // namespace

Result<void> OpPlace(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<PlaceRequest>();
  const std::string name = TRY(GetName(in));
  constexpr uint32_t kTimes = SetAttrRequest::kAtime | SetAttrRequest::kMtime;
  if (!in.Done() || (want.valid & ~kTimes) != 0) return Err(EPROTO);
  const Target dir = TRY(GetWritableDir(nodes, header.handle));
  const Target file = TRY(GetWritable(nodes, want.file));
  if (file.node->type() != S_IFREG) return Err(EINVAL);
  if (!(header.flags & kPlaceProven) && TRY(HandsDownAcl(dir))) return Err(EOPNOTSUPP);
  SetAttrRequest times{};
  times.valid = want.valid;
  times.atime_s = times.mtime_s = want.seconds;
  times.atime_ns = times.mtime_ns = want.nanoseconds;
  if (want.valid != 0) TRY(SetTimes(file, times));
  TRY(AddName(nodes, dir, name, file));
  return PutLinked(nodes, dir, name, file, reply);
}

Result<void> OpLink(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const Handle target_handle = in.Get<Handle>();
  const std::string name = TRY(GetName(in));
  if (!in.Done()) return Err(EPROTO);
  const Target dir = TRY(GetWritableDir(nodes, header.handle));
  const Target target = TRY(GetWritable(nodes, target_handle));
  if (target.node->type() == S_IFDIR) return Err(EPERM);
  TRY(AddName(nodes, dir, name, target));
  return PutLinked(nodes, dir, name, target, reply);
}

Result<void> OpUnlink(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<UnlinkRequest>();
  const std::string name = TRY(GetName(in));
  if (!in.Done() || want.is_dir > 1) return Err(EPROTO);
  const Target dir = TRY(GetWritableDir(nodes, header.handle));
  const NodeRef victim = TRY(GetOptional(nodes, want.victim));
  const bool pinned = PinVictim(nodes, dir, name, victim);
  if (::unlinkat(dir.fd->get(), name.c_str(), want.is_dir ? AT_REMOVEDIR : 0) != 0) {
    const Errno error = LastErrno();
    if (pinned) nodes.Unpin(victim);  // it still has its name
    return error;
  }
  if (reply.unread) return {};
  reply.body.Put(TRY(StatIn(dir.fd->borrow(), "")));
  reply.room = HasRoom(dir);
  return {};
}

Result<void> OpRename(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<RenameRequest>();
  const std::string old_name = TRY(GetName(in));
  const std::string new_name = TRY(GetName(in));
  if (!in.Done()) return Err(EPROTO);
  if (want.flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) return Err(EINVAL);
  const Target old_dir = TRY(GetWritableDir(nodes, header.handle));
  const Target new_dir = TRY(GetWritableDir(nodes, want.new_dir));
  if (old_dir.node->tree() != new_dir.node->tree()) return Err(EXDEV);
  const NodeRef moved = TRY(GetOptional(nodes, want.moved));
  const NodeRef replaced = TRY(GetOptional(nodes, want.replaced));
  const bool exchange = want.flags & RENAME_EXCHANGE;
  const bool pinned = !exchange && PinVictim(nodes, new_dir, new_name, replaced);
  if (::renameat2(old_dir.fd->get(), old_name.c_str(), new_dir.fd->get(), new_name.c_str(), want.flags) != 0) {
    const Errno error = LastErrno();
    if (pinned) nodes.Unpin(replaced);
    return error;
  }
  // Only what is seen to be there is recorded: a client that lies about `moved` gains a stale node.
  if (moved != nullptr && IsAt(new_dir, new_name, moved)) nodes.Moved(moved, new_dir.node, new_name);
  if (exchange && replaced != nullptr && IsAt(old_dir, old_name, replaced))
    nodes.Moved(replaced, old_dir.node, old_name);
  if (reply.unread) return {};
  reply.body.Put(TRY(StatIn(old_dir.fd->borrow(), "")));
  reply.body.Put(TRY(StatIn(new_dir.fd->borrow(), "")));
  reply.room = HasRoom(new_dir);
  return {};
}

}  // namespace sandbox::gofer
