// The root of procfs and its registration.
#include <dirent.h>

#include <charconv>

#include "base/log.h"
#include "sentry/fs/proc/ipc_settings.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/mount.h"

namespace sandbox::proc {
namespace {

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
    const Kernel& kernel = caller->kernel();
    const TaskRef task = kernel.FindTask(kernel.PidOf(fs_.view(), *pid));
    if (task == nullptr) return Err(ENOENT);
    return InodeRef(MakeTaskDirectory(fs_, task, /*process=*/true));
  }
  Result<void> ListDynamic(Context& context, std::vector<synthetic::Entry>& entries) override {
    const Task* caller = Task::Of(context);
    if (caller == nullptr) return {};
    for (const auto& group : caller->kernel().Groups()) {
      const int32_t number = group->pid()->In(fs_.view());
      if (number != 0) entries.push_back({std::to_string(number), TaskDirectoryIno(group->tgid(), true), DT_DIR});
    }
    return {};
  }

 private:
  Fs& fs_;
};

// Who is not in the file system's namespace has no self.
synthetic::TextSource SelfTarget(const PidNamespace& view, bool thread) {
  return [&view, thread](Context& context) -> Result<std::string> {
    const Task* const self = Task::Of(context);
    const int32_t pid = self == nullptr ? 0 : self->group().pid()->In(view);
    if (pid == 0) return Err(ENOENT);
    return thread ? StrPrintf("%d/task/%d", pid, self->pid()->In(view)) : std::to_string(pid);
  };
}

Result<RefPtr<FileSystem>> CreateProc(Context& context, std::string_view, std::string_view) {
  const Task* const mounter = Task::Of(context);
  return MakeProc(mounter == nullptr ? PidNamespace::Root() : mounter->pid()->numbers.back().space);
}

const FileSystemTypeRegistrar registrar({.name = "proc", .create = &CreateProc});

}  // namespace

RefPtr<FileSystem> MakeProc(RefPtr<PidNamespace> view) {
  auto fs = MakeRef<Fs>(std::move(view));
  auto root = MakeRef<RootDirectory>(*fs);
  root->Add("self", MakeRef<synthetic::Symlink>(*fs, SelfTarget(fs->view(), false)));
  root->Add("thread-self", MakeRef<synthetic::Symlink>(*fs, SelfTarget(fs->view(), true)));
  root->Add("mounts", MakeRef<synthetic::Symlink>(*fs, std::string("self/mounts")));
  root->Add("net", MakeRef<synthetic::Symlink>(*fs, std::string("self/net")));
  AddSystemFiles(*fs, *root);
  AddSysctl(*fs, *root);
  AddKeys(*fs, *root);
  fs->SetRoot(std::move(root));
  return fs;
}

Path ReaderRoot(Context& context) {
  const Task* reader = Task::Of(context);
  const auto fs = reader != nullptr ? reader->fs_ref() : nullptr;
  return fs != nullptr ? fs->root() : Path{};
}

std::string ShownPath(Context& context, const Path& path) { return PathToString(path, ReaderRoot(context)); }

}  // namespace sandbox::proc
