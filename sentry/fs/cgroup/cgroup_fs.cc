// The file systems cgroup and cgroup2: the reader's own control group as the root of the hierarchy, as in a cgroup
// namespace of its own. Limits are the host side's to set, so everything is read-only and there are no groups below.
#include <linux/magic.h>

#include <algorithm>

#include "sentry/fs/cgroup/values.h"
#include "sentry/fs/synthetic/synthetic.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/fs_registry.h"

namespace sandbox::cgroupfs {
namespace {

class CgroupFs final : public synthetic::Fs {
 public:
  CgroupFs(const char* type, uint64_t magic, std::string options) : Fs(type, magic), options_(std::move(options)) {}
  std::string MountOptions() const override { return options_; }

 private:
  const std::string options_;
};

void AddFiles(CgroupFs& fs, synthetic::StaticDirectory& root, std::span<const ValueFile> files) {
  for (const ValueFile& file : files) {
    root.Add(file.name, synthetic::MakeText(fs, [text = file.text](Context& context) -> Result<std::string> {
               const Task* reader = Task::Of(context);
               return reader == nullptr ? std::string() : text(reader->group().cgroup());
             }));
  }
}

// The tasks of the reader's group by the numbers that it knows them by, one a line.
Result<std::string> Members(Context& context, bool threads) {
  const Task* reader = Task::Of(context);
  if (reader == nullptr) return std::string();
  std::string text;
  const auto add = [&](const PidRef& pid) {
    if (const int32_t number = pid->In(reader->pid_space()); number != 0) text += std::to_string(number) + "\n";
  };
  for (const ThreadGroupRef& group : reader->group().cgroup().Groups()) {
    if (!threads) {
      add(group->pid());
      continue;
    }
    for (const TaskRef& task : group->tasks()) add(task->pid());
  }
  return text;
}

// `threads`: the name of the file with those.
void AddMembers(CgroupFs& fs, synthetic::StaticDirectory& root, const char* threads) {
  root.Add("cgroup.procs", synthetic::MakeText(fs, [](Context& context) { return Members(context, false); }));
  root.Add(threads, synthetic::MakeText(fs, [](Context& context) { return Members(context, true); }));
}

Result<RefPtr<FileSystem>> CreateUnified(Context&, std::string_view, std::string_view options) {
  // nsdelegate, memory_recursiveprot and the like are about what this hierarchy does not have.
  auto fs = MakeRef<CgroupFs>("cgroup2", CGROUP2_SUPER_MAGIC, std::string(options));
  auto root = MakeRef<synthetic::StaticDirectory>(*fs);
  AddMembers(*fs, *root, "cgroup.threads");
  AddFiles(*fs, *root, UnifiedFiles());
  fs->SetRoot(std::move(root));
  return RefPtr<FileSystem>(std::move(fs));
}

// `options`: controllers of the hierarchy, all without any; or "none,name=…" for one that only has groups (cgroups(7)).
Result<RefPtr<FileSystem>> CreateHierarchy(Context&, std::string_view, std::string_view options) {
  std::vector<std::string> controllers;
  bool named = false;
  for (std::string_view rest = options; !rest.empty();) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    if (one == "none" || one == "xattr" || one == "noprefix" || one == "clone_children") continue;
    if (one.starts_with("name=")) {
      named = true;
    } else if (one != "all") {
      if (ControllerFiles(one).empty()) return Err(EINVAL);
      controllers.emplace_back(one);
    }
  }
  if (controllers.empty() && !named) controllers.assign(kCgroupControllers.begin(), kCgroupControllers.end());
  auto fs = MakeRef<CgroupFs>("cgroup", CGROUP_SUPER_MAGIC, std::string(options));
  auto root = MakeRef<synthetic::StaticDirectory>(*fs);
  AddMembers(*fs, *root, "tasks");
  AddFiles(*fs, *root, HierarchyFiles());
  for (const std::string& controller : controllers) AddFiles(*fs, *root, ControllerFiles(controller));
  fs->SetRoot(std::move(root));
  return RefPtr<FileSystem>(std::move(fs));
}

const FileSystemTypeRegistrar unified({.name = "cgroup2", .create = &CreateUnified});
const FileSystemTypeRegistrar hierarchy({.name = "cgroup", .create = &CreateHierarchy});

}  // namespace
}  // namespace sandbox::cgroupfs
