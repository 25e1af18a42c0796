#include "gofer/server/host_fs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>

#include "base/host_sys.h"

namespace sandbox::gofer {
namespace {

std::atomic<int> reopen_dir{-1};

// Only reached on kernels without openat2 (before 5.6). One validated component with O_NOFOLLOW
// cannot leave `dir` either; what is lost is the kernel's own check of that claim.
Result<UniqueFd> OpenWithoutOpenat2(BorrowedFd dir, const char* name, int flags, uint32_t mode) {
  return host::OpenAt(dir, name, flags, mode);
}

}  // namespace

Result<UniqueFd> OpenIn(BorrowedFd dir, const char* name, int flags, uint32_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(static_cast<uint32_t>(flags | O_CLOEXEC | O_NOFOLLOW));
  how.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a rename or mount elsewhere on the host raced with the check for ".."; there is none,
  // so it soon passes. EXDEV: the object was found and then moved out of `dir` before the kernel
  // checked that it is beneath it; one component without links cannot lead out otherwise. Looking
  // again finds what has the name now, or nothing.
  for (int attempt = 0; attempt < 64; ++attempt) {
    const long fd = ::syscall(SYS_openat2, dir.get(), name, &how, sizeof(how));
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == ENOSYS) return OpenWithoutOpenat2(dir, name, static_cast<int>(how.flags), mode);
    if (errno != EAGAIN && errno != EINTR && errno != EXDEV) break;
  }
  return errno == EXDEV ? Err(ESTALE) : LastErrno();
}

Result<void> InitReopen() {
  if (reopen_dir.load() >= 0) return {};
  reopen_dir = TRY(host::OpenAt(BorrowedFd(AT_FDCWD), "/proc/self/fd", O_PATH | O_DIRECTORY)).release();
  return {};
}

BorrowedFd ReopenDir() { return BorrowedFd(reopen_dir.load(std::memory_order_relaxed)); }

Result<UniqueFd> Reopen(BorrowedFd path_fd, int flags) {
  // A directory needs no /proc: "." of it is itself.
  if (flags & O_DIRECTORY) return OpenIn(path_fd, ".", flags);
  char name[16];
  std::snprintf(name, sizeof(name), "%d", path_fd.get());
  return host::OpenAt(ReopenDir(), name, flags | O_NOCTTY | O_NONBLOCK);
}

Result<FileAttr> StatIn(BorrowedFd dir, const char* name) {
  struct statx stx;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
  TRY(HostResult(::statx(dir.get(), name, flags, STATX_BASIC_STATS | STATX_BTIME, &stx)));
  FileAttr attr{};
  attr.dev = gnu_dev_makedev(stx.stx_dev_major, stx.stx_dev_minor);
  attr.ino = stx.stx_ino;
  attr.size = stx.stx_size;
  attr.blocks = stx.stx_blocks;
  attr.rdev = gnu_dev_makedev(stx.stx_rdev_major, stx.stx_rdev_minor);
  attr.attributes = stx.stx_attributes;
  attr.attributes_mask = stx.stx_attributes_mask;
  attr.atime_s = stx.stx_atime.tv_sec;
  attr.atime_ns = stx.stx_atime.tv_nsec;
  attr.mtime_s = stx.stx_mtime.tv_sec;
  attr.mtime_ns = stx.stx_mtime.tv_nsec;
  attr.ctime_s = stx.stx_ctime.tv_sec;
  attr.ctime_ns = stx.stx_ctime.tv_nsec;
  attr.mode = stx.stx_mode;
  attr.nlink = stx.stx_nlink;
  attr.uid = stx.stx_uid;
  attr.gid = stx.stx_gid;
  attr.blksize = stx.stx_blksize;
  if (stx.stx_mask & STATX_BTIME) {
    attr.has_btime = 1;
    attr.btime_s = stx.stx_btime.tv_sec;
    attr.btime_ns = stx.stx_btime.tv_nsec;
  }
  return attr;
}

Result<std::string> ReadLinkIn(BorrowedFd dir, const char* name) {
  char target[kMaxTarget + 1];
  const ssize_t size = ::readlinkat(dir.get(), name, target, sizeof(target));
  if (size < 0) return LastErrno();
  if (static_cast<size_t>(size) > kMaxTarget) return Err(ENAMETOOLONG);
  return std::string(target, static_cast<size_t>(size));
}

Result<bool> IsKernelFileSystem(BorrowedFd fd) {
  // Magic numbers missing from linux/magic.h of Debian 12 are given by value.
  static constexpr auto kTypes = std::to_array<uint32_t>({PROC_SUPER_MAGIC,
                                                          SYSFS_MAGIC,
                                                          CGROUP_SUPER_MAGIC,
                                                          CGROUP2_SUPER_MAGIC,
                                                          DEBUGFS_MAGIC,
                                                          TRACEFS_MAGIC,
                                                          SECURITYFS_MAGIC,
                                                          SELINUX_MAGIC,
                                                          SMACK_MAGIC,
                                                          BPF_FS_MAGIC,
                                                          DEVPTS_SUPER_MAGIC,
                                                          PSTOREFS_MAGIC,
                                                          EFIVARFS_MAGIC,
                                                          NSFS_MAGIC,
                                                          BINFMTFS_MAGIC,
                                                          SOCKFS_MAGIC,
                                                          0x19800202 /* mqueue */,
                                                          0x62656570 /* configfs */,
                                                          0x65735543 /* fusectl */,
                                                          0x67596969 /* rpc_pipefs */});
  const struct statfs st = TRY(host::StatFs(fd));
  return std::find(kTypes.begin(), kTypes.end(), static_cast<uint32_t>(st.f_type)) != kTypes.end();
}

}  // namespace sandbox::gofer
