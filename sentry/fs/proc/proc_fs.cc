// The root of procfs and its registration.
#include <dirent.h>

#include <charconv>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/mount.h"

namespace sandbox::proc {
namespace {

class ProcFs final : public Fs {
 public:
  ProcFs() : Fs("proc", PROC_SUPER_MAGIC) {}
  // Processes come and go without the VFS: every cached entry is asked for again.
  bool exclusive() const override { return false; }
};

std::optional<int32_t> ParsePid(std::string_view name) {
  int32_t pid = 0;
  if (name.empty() || name.front() == '0' || name.size() > 9) return std::nullopt;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end != name.data() + name.size() || pid <= 0) return std::nullopt;
  return pid;
}

class RootDirectory final : public synthetic::StaticDirectory {
 public:
  explicit RootDirectory(Fs& fs) : StaticDirectory(fs), fs_(fs) {}

  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override {
    if (Fixed(name) != nullptr) return cached;
    const TaskRef task = cached != nullptr ? TaskOfDirectory(*cached) : nullptr;
    if (task != nullptr) return cached;
    return Lookup(context, name);
  }

 protected:
  // A thread's own id works too, though it is not listed, as on Linux.
  Result<InodeRef> FindDynamic(Context& context, std::string_view name) override {
    const Task* caller = Task::Of(context);
    const auto pid = ParsePid(name);
    if (caller == nullptr || !pid) return Err(ENOENT);
    const TaskRef task = caller->kernel().FindTask(*pid);
    if (task == nullptr) return Err(ENOENT);
    return InodeRef(MakeTaskDirectory(fs_, task, /*process=*/true));
  }
  Result<void> ListDynamic(Context& context, std::vector<synthetic::Entry>& entries) override {
    const Task* caller = Task::Of(context);
    if (caller == nullptr) return {};
    for (const auto& group : caller->kernel().Groups()) {
      entries.push_back({std::to_string(group->tgid()), TaskDirectoryIno(group->tgid(), true), DT_DIR});
    }
    return {};
  }

 private:
  Fs& fs_;
};

Result<std::string> SelfTarget(Context& context) {
  if (context.tgid() == 0) return Err(ENOENT);
  return std::to_string(context.tgid());
}

Result<std::string> ThreadSelfTarget(Context& context) {
  if (context.tgid() == 0) return Err(ENOENT);
  return StrPrintf("%d/task/%d", context.tgid(), context.tid());
}

Result<RefPtr<FileSystem>> CreateProc(Context&, std::string_view, std::string_view) {
  auto fs = MakeRef<ProcFs>();
  auto root = MakeRef<RootDirectory>(*fs);
  root->Add("self", MakeRef<synthetic::Symlink>(*fs, &SelfTarget));
  root->Add("thread-self", MakeRef<synthetic::Symlink>(*fs, &ThreadSelfTarget));
  root->Add("mounts", MakeRef<synthetic::Symlink>(*fs, std::string("self/mounts")));
  root->Add("net", MakeRef<synthetic::Symlink>(*fs, std::string("self/net")));
  AddSystemFiles(*fs, *root);
  AddSysctl(*fs, *root);
  fs->SetRoot(std::move(root));
  return RefPtr<FileSystem>(std::move(fs));
}

const FileSystemTypeRegistrar registrar({.name = "proc", .create = &CreateProc});

}  // namespace

Path ReaderRoot(Context& context) {
  const Task* reader = Task::Of(context);
  const auto fs = reader != nullptr ? reader->fs_ref() : nullptr;
  return fs != nullptr ? fs->root() : Path{};
}

std::string ShownPath(Context& context, const Path& path) { return PathToString(path, ReaderRoot(context)); }

}  // namespace sandbox::proc
