// File system types mount(2) and the container's mounts can name (Linux: struct file_system_type). Each file system
// registers itself from a static initialiser beside its implementation.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

struct FileSystemType {
  std::string name;
  // `options` is mount(2)'s data: "size=64k,mode=1777"; EINVAL for options the file system does not know.
  std::function<Result<RefPtr<FileSystem>>(Context& context, std::string_view source, std::string_view options)> create;
  bool guest_mountable = true;  // false: only the container's configuration may (gofer)
  bool needs_device = false;    // no "nodev" in /proc/filesystems
};

// `static const FileSystemTypeRegistrar registrar({"tmpfs", &CreateTmpfs});`
class FileSystemTypeRegistrar {
 public:
  explicit FileSystemTypeRegistrar(FileSystemType type);
};

// Null when unknown.
const FileSystemType* FindFileSystemType(std::string_view name);
std::vector<const FileSystemType*> AllFileSystemTypes();  // in order of name

}  // namespace sandbox
