// Attributes, file system statistics and extended attributes.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/host_sys.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/ops.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace sandbox::gofer {
namespace {

// A descriptor for calls that O_PATH ones refuse. Only files and directories can be opened without side effects.
Result<UniqueFd> OpenTarget(const Target& target, int access) {
  switch (target.node->type()) {
    case S_IFDIR:
      return Reopen(target.fd->borrow(), O_RDONLY | O_DIRECTORY);
    case S_IFREG:
      return Reopen(target.fd->borrow(), access);
    default:
      return Err(EOPNOTSUPP);
  }
}

Result<void> SetMode(const Target& target, uint32_t mode) {
  if (mode & ~07777u) return Err(EINVAL);
  if (target.node->type() == S_IFLNK) return Err(EOPNOTSUPP);
  if (::syscall(SYS_fchmodat2, target.fd->get(), "", mode, AT_EMPTY_PATH) == 0) return {};
  if (errno != ENOSYS && errno != EINVAL) return LastErrno();
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));  // before Linux 6.6
  TRY(HostResult(::fchmod(fd.get(), mode)));
  return {};
}

Result<void> SetSize(const Target& target, uint64_t size) {
  if (target.node->type() != S_IFREG) return Err(EINVAL);
  if (size > INT64_MAX) return Err(EINVAL);
  const UniqueFd fd = TRY(Reopen(target.fd->borrow(), O_WRONLY));
  TRY(host::Truncate(fd.borrow(), size));
  return {};
}

}  // namespace

Result<void> SetTimes(const Target& target, const SetAttrRequest& want) {
  if (want.atime_ns >= 1'000'000'000 || want.mtime_ns >= 1'000'000'000) return Err(EINVAL);
  timespec times[2] = {{want.atime_s, want.atime_ns}, {want.mtime_s, want.mtime_ns}};
  if (!(want.valid & SetAttrRequest::kAtime)) times[0].tv_nsec = UTIME_OMIT;
  if (!(want.valid & SetAttrRequest::kMtime)) times[1].tv_nsec = UTIME_OMIT;
  TRY(HostResult(::utimensat(target.fd->get(), "", times, AT_EMPTY_PATH)));
  return {};
}

Result<void> OpGetAttr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  if (!in.Done()) return Err(EPROTO);
  const NodeRef node = TRY(nodes.Get(header.handle));  // also for blocked nodes: a mount point is visible
  const SharedFd fd = TRY(nodes.Fd(node));
  reply.body.Put(TRY(StatIn(fd->borrow(), "")));
  return {};
}

// Order: owner before mode, since chown clears set-id bits; times last, since a truncation changes them.
Result<void> OpSetAttr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto want = in.Get<SetAttrRequest>();
  if (!in.Done() || want.valid & ~SetAttrRequest::kAll) return Err(EPROTO);
  const Target target = TRY(GetWritable(nodes, header.handle));
  if (want.valid & SetAttrRequest::kSize) TRY(SetSize(target, want.size));
  if (want.valid & (SetAttrRequest::kUid | SetAttrRequest::kGid)) {
    const uid_t uid = (want.valid & SetAttrRequest::kUid) ? want.uid : static_cast<uid_t>(-1);
    const gid_t gid = (want.valid & SetAttrRequest::kGid) ? want.gid : static_cast<gid_t>(-1);
    TRY(HostResult(::fchownat(target.fd->get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)));
  }
  if (want.valid & SetAttrRequest::kMode) TRY(SetMode(target, want.mode));
  if (want.valid & (SetAttrRequest::kAtime | SetAttrRequest::kMtime)) TRY(SetTimes(target, want));
  if (reply.unread) return {};
  reply.body.Put(TRY(StatIn(target.fd->borrow(), "")));
  return {};
}

Result<void> OpStatFs(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetTarget(nodes, header.handle));
  const struct statfs st = TRY(host::StatFs(target.fd->borrow()));
  StatFsReply out{};
  out.type = static_cast<uint64_t>(st.f_type);
  out.block_size = static_cast<uint64_t>(st.f_bsize);
  out.blocks = st.f_blocks;
  out.blocks_free = st.f_bfree;
  out.blocks_available = st.f_bavail;
  out.files = st.f_files;
  out.files_free = st.f_ffree;
  out.name_max = static_cast<uint64_t>(st.f_namelen);
  out.flags = static_cast<uint64_t>(st.f_flags);
  reply.body.Put(out);
  return {};
}

Result<void> OpGetXattr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const std::string name(in.GetString(kMaxXattrName));
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetTarget(nodes, header.handle));
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));
  std::string value(kMaxXattrValue, '\0');
  const ssize_t size = ::fgetxattr(fd.get(), name.c_str(), value.data(), value.size());
  if (size < 0) return errno == ERANGE ? Err(E2BIG) : LastErrno();
  value.resize(static_cast<size_t>(size));
  reply.body.PutString(value);
  return {};
}

Result<void> OpSetXattr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply&) {
  const std::string name(in.GetString(kMaxXattrName));
  const std::string_view value = in.GetString(kMaxXattrValue);
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetWritable(nodes, header.handle));
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));
  TRY(HostResult(::fsetxattr(fd.get(), name.c_str(), value.data(), value.size(), static_cast<int>(header.flags))));
  return {};
}

Result<void> OpListXattr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetTarget(nodes, header.handle));
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));
  std::string names(kMaxXattrValue, '\0');
  const ssize_t size = ::flistxattr(fd.get(), names.data(), names.size());
  if (size < 0) return errno == ERANGE ? Err(E2BIG) : LastErrno();
  names.resize(static_cast<size_t>(size));
  reply.body.PutString(names);  // as the host gives them: each ends with a NUL
  return {};
}

Result<void> OpRemoveXattr(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply&) {
  const std::string name(in.GetString(kMaxXattrName));
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetWritable(nodes, header.handle));
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));
  TRY(HostResult(::fremovexattr(fd.get(), name.c_str())));
  return {};
}

Result<void> OpSync(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply&) {
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetTarget(nodes, header.handle));
  const UniqueFd fd = TRY(OpenTarget(target, O_RDONLY));
  TRY(host::Sync(fd.borrow(), false));
  return {};
}

}  // namespace sandbox::gofer
