// A namespace with a tmpfs root for unit tests. Calls run as the kernel's own context (root).
#pragma once

#include <fcntl.h>

#include <string>
#include <vector>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/operations.h"

namespace sandbox {

struct TmpfsWorld {
  TmpfsWorld() : ns(MountNamespace::Create(TmpfsFileSystem::Create(), 0, "none")) { base = {ns->root(), ns->root()}; }

  Context& context() { return KernelContext(); }
  Result<FileRef> Open(std::string_view path, int flags, uint32_t mode = 0644) {
    OpenOptions options;
    options.flags = flags;
    options.mode = mode;
    return sandbox::Open(context(), base, path, options);
  }
  Result<Path> Find(std::string_view path, bool follow = true) {
    WalkOptions options;
    options.follow_last = follow;
    return Walk(context(), base, path, options);
  }
  Result<void> Mkdir(std::string_view path) { return MakeDir(context(), base, path, 0755, 0); }
  Result<void> Symlink(std::string_view target, std::string_view path) {
    return MakeSymlink(context(), base, target, path);
  }
  Result<size_t> Write(FileDescription& file, std::string text) {
    auto from = IoSequence::Kernel(text.data(), text.size());
    return WriteFile(context(), file, from);
  }
  std::string ReadAll(FileDescription& file, int64_t offset = 0) {
    std::string text(1 << 20, '\0');
    auto to = IoSequence::Kernel(text.data(), text.size());
    auto got = ReadFileAt(context(), file, to, offset);
    text.resize(got.ok() ? *got : 0);
    return text;
  }

  RefPtr<MountNamespace> ns;
  WalkBase base;
};

}  // namespace sandbox
