// A host directory, a gofer server on threads of this process, and a mount namespace over it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gofer/protocol/channel.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/session.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/fs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/operations.h"

namespace sandbox {

class HostDir {
 public:
  HostDir() {
    path_ = Base() + "/gofer_test_XXXXXX";
    CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~HostDir() { std::filesystem::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }
  void Write(std::string_view name, std::string_view text) const { std::ofstream(*this / name) << text; }
  std::string Read(std::string_view name) const {
    std::ifstream in(*this / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Mkdir(std::string_view name) const { CHECK(::mkdir((*this / name).c_str(), 0755) == 0); }

 private:
  // A folder whose files can have no name and user attributes, which tests of both need (tmpfs has the latter only
  // since Linux 6.6).
  static std::string Base() {
    for (const char* base : {"/tmp", "/var/tmp"}) {
      const UniqueFd file(::open(base, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      if (file.valid() && ::fsetxattr(file.get(), "user.probe", "", 0, 0) == 0) return base;
    }
    return "/tmp";
  }

  std::string path_;
};

// The client keeps the server's session alive until its channels are closed.
inline RefPtr<GoferClient> Serve(gofer::Session& session, const std::string& path, bool read_only = false) {
  ::umask(0);
  CHECK(gofer::InitReopen().ok());
  gofer::Tree tree{read_only, UniqueFd(::open(path.c_str(), O_PATH | O_CLOEXEC))};
  CHECK(session.nodes().AddTree(std::move(tree)).ok());
  auto pair = gofer::Channel::MakePair();
  CHECK(pair.ok());
  CHECK(session.Start(std::move(pair->first)).ok());
  auto client = GoferClient::Connect(std::move(pair->second));
  CHECK(client.ok());
  return *client;
}

// System calls, as the kernel's own context (root) makes them.
class Calls {
 public:
  explicit Calls(RefPtr<FileSystem> fs) : ns_(MountNamespace::Create(std::move(fs), 0, "none")) {
    base_ = {ns_->root(), ns_->root()};
  }
  Context& context() { return KernelContext(); }
  const WalkBase& base() const { return base_; }
  Result<FileRef> Open(std::string_view path, int flags, uint32_t mode = 0644) {
    OpenOptions options;
    options.flags = flags;
    options.mode = mode;
    return sandbox::Open(context(), base_, path, options);
  }
  Result<Path> Find(std::string_view path, bool follow = true) {
    WalkOptions options;
    options.follow_last = follow;
    return Walk(context(), base_, path, options);
  }
  Result<Attr> Stat(std::string_view path, bool follow = true) {
    return TRY(Find(path, follow)).inode()->GetAttr(context());
  }
  bool Exists(std::string_view path) { return Stat(path, false).ok(); }
  Result<void> Mkdir(std::string_view path, uint32_t mode = 0755) { return MakeDir(context(), base_, path, mode, 0); }
  Result<void> Symlink(std::string_view target, std::string_view path) {
    return MakeSymlink(context(), base_, target, path);
  }
  Result<void> Link(std::string_view old_path, std::string_view path) {
    return MakeLink(context(), TRY(Find(old_path, false)), base_, path);
  }
  Result<void> Unlink(std::string_view path) { return sandbox::Unlink(context(), base_, path); }
  Result<void> Rmdir(std::string_view path) { return RemoveDir(context(), base_, path); }
  Result<void> Rename(std::string_view from, std::string_view to, unsigned flags = 0) {
    return sandbox::Rename(context(), base_, from, base_, to, flags);
  }
  Result<size_t> Write(FileDescription& file, std::string text) {
    auto from = IoSequence::Kernel(text.data(), text.size());
    return WriteFile(context(), file, from);
  }
  Result<void> WriteTo(std::string_view path, std::string text, int flags = O_WRONLY | O_CREAT | O_TRUNC) {
    const FileRef file = TRY(Open(path, flags));
    TRY(Write(*file, std::move(text)));
    return {};
  }
  std::string ReadAll(FileDescription& file) {
    std::string text(1 << 16, '\0');
    auto to = IoSequence::Kernel(text.data(), text.size());
    auto got = ReadFileAt(context(), file, to, 0);
    text.resize(got.ok() ? *got : 0);
    return text;
  }
  // "!errno" on failure.
  std::string ReadFrom(std::string_view path) {
    auto file = Open(path, O_RDONLY);
    if (!file.ok()) return "!" + std::to_string(file.error().value());
    return ReadAll(**file);
  }
  std::vector<std::string> List(std::string_view path);

 private:
  RefPtr<MountNamespace> ns_;
  WalkBase base_;
};

// A gofer tree as the root.
struct GoferWorld {
  explicit GoferWorld(GoferOptions options = {}) : client(Serve(session, host.path(), options.read_only)) {
    auto made = GoferFs::Create(client, 0, options);
    CHECK(made.ok());
    fs = *made;
    calls = std::make_unique<Calls>(fs);
  }
  // Root of an overlay with a tmpfs above the tree.
  void AddOverlay() {
    auto made = MakeOverlay(KernelContext(), TmpfsFileSystem::Create(), {fs});
    CHECK(made.ok());
    calls = std::make_unique<Calls>(*made);
  }

  HostDir host;
  gofer::Session session;
  RefPtr<GoferClient> client;
  RefPtr<FileSystem> fs;
  std::unique_ptr<Calls> calls;
};

}  // namespace sandbox
