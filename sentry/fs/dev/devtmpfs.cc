// /dev: a tmpfs with the nodes and links that a container is promised (OCI runtime spec, "default devices"; Linux:
// drivers/base/devtmpfs.c).
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <string>

#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/inode.h"

namespace sandbox {
namespace {

struct Node {
  const char* name;
  uint32_t mode;
  uint32_t major, minor;
};
constexpr std::array<Node, 7> kNodes = {{
    {"null", S_IFCHR | 0666, 1, 3},
    {"zero", S_IFCHR | 0666, 1, 5},
    {"full", S_IFCHR | 0666, 1, 7},
    {"random", S_IFCHR | 0666, 1, 8},
    {"urandom", S_IFCHR | 0666, 1, 9},
    {"tty", S_IFCHR | 0666, 5, 0},
    {"console", S_IFCHR | 0620, 5, 1},
}};

struct Symlink {
  const char* name;
  const char* target;
};
constexpr std::array<Symlink, 5> kLinks = {{
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
    {"ptmx", "pts/ptmx"},
}};

// Mount points for devpts, a tmpfs and mqueue.
struct Directory {
  const char* name;
  uint32_t mode;
};
constexpr std::array<Directory, 3> kDirectories = {{{"pts", 0755}, {"shm", 01777}, {"mqueue", 01777}}};

Result<void> Populate(Context& context, Inode& root) {
  for (const Node& node : kNodes) {
    CreateArgs args;
    args.mode = node.mode;
    args.rdev = makedev(node.major, node.minor);
    TRY(root.Create(context, node.name, args));
  }
  for (const Symlink& link : kLinks) {
    CreateArgs args;
    args.mode = S_IFLNK | 0777;
    args.target = link.target;
    TRY(root.Create(context, link.name, args));
  }
  for (const Directory& directory : kDirectories) {
    CreateArgs args;
    args.mode = S_IFDIR | directory.mode;
    TRY(root.Create(context, directory.name, args));
  }
  return {};
}

Result<RefPtr<FileSystem>> CreateDevTmpfs(Context& context, std::string_view source, std::string_view options) {
  const FileSystemType* tmpfs = FindFileSystemType("tmpfs");
  if (tmpfs == nullptr) return Err(ENODEV);
  std::string with_mode = "mode=755";
  if (!options.empty()) with_mode.append(",").append(options);
  auto fs = TRY(tmpfs->create(context, source, with_mode));
  TRY(Populate(context, *fs->root()));
  return fs;
}

const FileSystemTypeRegistrar registrar({"devtmpfs", &CreateDevTmpfs});

}  // namespace
}  // namespace sandbox
