// Opening and making objects.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/host_sys.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/ops.h"

namespace sandbox::gofer {
namespace {

// What the guest may ask for. O_NOATIME needs ownership, which the gofer has; it is the sentry's rule, not ours.
constexpr uint32_t kOpenFlags = O_ACCMODE | O_NOATIME;

// Gives a new object its owner. A gofer without CAP_CHOWN (rootless) cannot; the sentry sees the owner that it got and
// remembers the one it wanted.
Result<void> SetOwner(BorrowedFd fd, const CreateRequest& want) {
  if (::fchownat(fd.get(), "", want.uid, want.gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0) return {};
  if (errno == EPERM || errno == EINVAL) return {};
  return LastErrno();
}

Result<void> MakeObject(BorrowedFd dir, const char* name, const CreateRequest& want, const std::string& target) {
  const uint32_t permissions = want.mode & 07777;
  switch (want.mode & S_IFMT) {
    case S_IFDIR:
      TRY(HostResult(::mkdirat(dir.get(), name, permissions)));
      return {};
    case S_IFLNK:
      TRY(HostResult(::symlinkat(target.c_str(), dir.get(), name)));
      return {};
    case S_IFIFO:
    case S_IFSOCK:
      // Placeholders: the pipe or socket itself lives in the sentry.
      TRY(HostResult(::mknodat(dir.get(), name, (want.mode & S_IFMT) | permissions, 0)));
      return {};
    case S_IFCHR:
      // A whiteout (0, 0) is the one device that names no driver.
      if (want.rdev != 0) return Err(EPERM);
      TRY(HostResult(::mknodat(dir.get(), name, S_IFCHR | permissions, 0)));
      return {};
    default:
      return Err(EPERM);  // a device node of the host
  }
}

// chown clears set-id bits, so they are set (again) last. Returns what the object is like then.
Result<FileAttr> FinishNew(BorrowedFd object, BorrowedFd open_file, const CreateRequest& want) {
  const FileAttr now = TRY(StatIn(object, ""));
  const bool owned = now.uid == want.uid && now.gid == want.gid;
  const bool special = open_file.valid() && (want.mode & (S_ISUID | S_ISGID | S_ISVTX));
  if (owned && !special) return now;
  if (!owned) TRY(SetOwner(object, want));
  if (special) TRY(HostResult(::fchmod(open_file.get(), want.mode & 07777)));
  return StatIn(object, "");
}

Result<void> PutNew(const FileAttr& attr, Handle handle, const Target& dir, Reply& reply) {
  reply.body.Put(Entry{handle, 0, 0, attr});
  reply.body.PutString("");
  reply.body.Put(TRY(StatIn(dir.fd->borrow(), "")));
  reply.count = 1;
  reply.room = HasRoom(dir);
  return {};
}

Result<void> CreateRegular(NodeTable& nodes, const Target& dir, const std::string& name, const CreateRequest& want,
                           Reply& reply) {
  const int flags = static_cast<int>(want.open_flags & kOpenFlags) | O_CREAT | O_EXCL | O_NOCTTY | O_NONBLOCK;
  UniqueFd fd = TRY(OpenIn(dir.fd->borrow(), name.c_str(), flags, want.mode & 07777));
  const auto finished = FinishNew(fd.borrow(), fd.borrow(), want);
  if (!finished.ok()) {
    ::unlinkat(dir.fd->get(), name.c_str(), 0);
    return finished.error();
  }
  const FileAttr& attr = *finished;
  const Made made = TRY(MakeHandle(nodes, dir, name, attr));
  reply.fds.push_back(std::move(fd));
  return PutNew(attr, made.handle, dir, reply);
}

}  // namespace

Result<UniqueFd> OpenForGuest(NodeTable& nodes, const Target& file, uint32_t flags) {
  if (flags & ~kOpenFlags || (flags & O_ACCMODE) == O_ACCMODE) return Err(EINVAL);
  // The type was read from the object the descriptor refers to (or is checked to be the same one), so a fifo, socket
  // or device can never be opened here, whatever happens to the name meanwhile.
  if (file.node->type() != S_IFREG) return Err(file.node->type() == S_IFLNK ? ELOOP : ENXIO);
  if ((flags & O_ACCMODE) != O_RDONLY && nodes.read_only(*file.node)) return Err(EROFS);
  auto fd = Reopen(file.fd->borrow(), static_cast<int>(flags));
  if (fd.Is(EPERM) && (flags & O_NOATIME)) return Reopen(file.fd->borrow(), static_cast<int>(flags & ~O_NOATIME));
  return fd;
}

Result<void> OpOpen(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  if (!in.Done()) return Err(EPROTO);
  const Target file = TRY(GetTarget(nodes, header.handle));
  UniqueFd fd = TRY(OpenForGuest(nodes, file, header.flags));
  reply.body.Put(TRY(StatIn(fd.borrow(), "")));
  reply.fds.push_back(std::move(fd));
  return {};
}

Result<void> OpCreate(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<CreateRequest>();
  const std::string name = TRY(GetName(in));
  const std::string target(in.GetString(kMaxTarget));
  if (!in.Done()) return Err(EPROTO);
  if (target.find('\0') != std::string::npos) return Err(EINVAL);
  const Target dir = TRY(GetWritableDir(nodes, header.handle));
  if (S_ISREG(want.mode)) return CreateRegular(nodes, dir, name, want, reply);
  TRY(MakeObject(dir.fd->borrow(), name.c_str(), want, target));
  const auto undo = [&](Errno error) {
    ::unlinkat(dir.fd->get(), name.c_str(), S_ISDIR(want.mode) ? AT_REMOVEDIR : 0);
    return error;
  };
  auto object = OpenIn(dir.fd->borrow(), name.c_str(), O_PATH);
  if (!object.ok()) return object.error();  // removed by somebody else already
  if (const auto done = FinishNew(object->borrow(), {}, want); !done.ok()) return undo(done.error());
  if (S_ISDIR(want.mode) && (want.mode & (S_ISGID | S_ISVTX))) {
    auto opened = TRY(Reopen(object->borrow(), O_RDONLY | O_DIRECTORY));
    TRY(HostResult(::fchmod(opened.get(), want.mode & 07777)));
  }
  const FileAttr attr = TRY(StatIn(object->borrow(), ""));
  const Made made = TRY(MakeHandle(nodes, dir, name, attr));
  nodes.SetFd(made.node, std::move(*object));
  return PutNew(attr, made.handle, dir, reply);
}

namespace {

Result<void> MakeUnnamed(NodeTable& nodes, const Target& dir, const CreateRequest& want, Reply& reply) {
  // An unnamed file can only be made writable, and its descriptor is the only way to it: the guest gets read and write.
  UniqueFd fd = TRY(OpenIn(dir.fd->borrow(), ".", O_RDWR | O_TMPFILE, want.mode & 07777));
  const FileAttr attr = TRY(FinishNew(fd.borrow(), fd.borrow(), want));
  NodeRef node = nodes.MakeNode(dir.node, "", attr, false);
  nodes.SetFd(node, TRY(host::Duplicate(fd.borrow())));
  TRY(nodes.Pin(node));
  reply.body.Put(Entry{TRY(nodes.NewHandle(std::move(node))), 0, 0, attr});
  reply.body.PutString("");
  reply.fds.push_back(std::move(fd));
  ++reply.count;
  return {};
}

}  // namespace

Result<void> OpTmpfile(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<CreateRequest>();
  if (!in.Done() || header.flags == 0 || header.flags > kMaxDescriptors) return Err(EPROTO);
  const Target dir = TRY(GetWritableDir(nodes, header.handle));
  for (uint32_t i = 0; i < header.flags; ++i) {
    const auto made = MakeUnnamed(nodes, dir, want, reply);
    if (made.ok()) continue;
    if (reply.count == 0) return made;
    break;
  }
  reply.room = HasRoom(dir);
  return {};
}

}  // namespace sandbox::gofer
