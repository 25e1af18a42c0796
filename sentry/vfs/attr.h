// Inode attributes as they pass between file systems and system calls (stat(2), statx(2), statfs(2)).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>

namespace sandbox {

struct FileTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  friend constexpr auto operator<=>(const FileTime&, const FileTime&) = default;
};

FileTime FileTimeNow();  // CLOCK_REALTIME

struct Attr {
  uint64_t ino = 0;
  uint32_t mode = 0;  // S_IFMT and permission bits
  uint32_t nlink = 1;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t rdev = 0;  // makedev() encoding of the guest device
  uint64_t size = 0;
  uint64_t blocks = 0;  // 512-byte units
  uint32_t blksize = 4096;
  FileTime atime, mtime, ctime, btime;
  bool has_btime = false;
  uint64_t attributes = 0;  // STATX_ATTR_*
  uint64_t attributes_mask = 0;

  uint32_t type() const { return mode & S_IFMT; }
  bool IsDir() const { return type() == S_IFDIR; }
  bool IsRegular() const { return type() == S_IFREG; }
  bool IsSymlink() const { return type() == S_IFLNK; }
};

// A change to attributes; absent fields stay. The VFS has checked permissions and cleared set-id bits already.
struct AttrChange {
  std::optional<uint32_t> mode;  // permission bits only
  std::optional<uint32_t> uid, gid;
  std::optional<uint64_t> size;
  std::optional<FileTime> atime, mtime;
};

struct FsStat {  // statfs(2)
  uint64_t type = 0, block_size = 4096, blocks = 0, blocks_free = 0, blocks_available = 0, files = 0, files_free = 0;
  uint64_t fsid = 0, name_max = 255, flags = 0;
};

}  // namespace sandbox
