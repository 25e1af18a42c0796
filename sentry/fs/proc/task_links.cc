// Magic links: cwd, exe, root, fd/<n>, ns/<kind>; and fdinfo (Linux: fs/proc/base.c, fd.c, namespaces.c).
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <mutex>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task_namespaces.h"
#include "sentry/vfs/anonymous.h"

namespace sandbox::proc {
namespace {

enum class Target { kCwd, kExe, kRoot };

Result<TaskRef> Inspectable(Context& context, const WeakRef<Task>& weak) {
  TaskRef task = Alive(weak);
  if (task == nullptr) return Err(ENOENT);
  if (!MayInspect(context, *task).ok()) return Err(EACCES);
  return task;
}

class TaskNode : public synthetic::Node {
 public:
  TaskNode(Fs& fs, const TaskRef& task, uint32_t mode) : Node(fs, mode), task_(task) {}
  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Node::GetAttr(context));
    if (const TaskRef task = task_.lock()) SetOwner(attr, *task);
    return attr;
  }

 protected:
  const WeakRef<Task> task_;
};

class PathLink final : public TaskNode {
 public:
  PathLink(Fs& fs, const TaskRef& task, Target which) : TaskNode(fs, task, S_IFLNK | 0777), which_(which) {}
  Result<std::string> ReadLink(Context& context) override { return ShownPath(context, TRY(Jump(context))); }
  Result<Path> Jump(Context& context) override {
    const TaskRef task = TRY(Inspectable(context, task_));
    if (which_ == Target::kExe) {
      const auto mm = task->mm_ref();
      const auto file = mm != nullptr ? std::static_pointer_cast<FileDescription>(mm->executable()) : nullptr;
      if (file == nullptr) return Err(ENOENT);
      return PathOfFile(file);
    }
    const auto fs = task->fs_ref();
    if (fs == nullptr) return Err(ENOENT);
    return which_ == Target::kCwd ? fs->cwd() : fs->root();
  }

 private:
  const Target which_;
};

template <Target kWhich>
NodeRef MakePathLink(Fs& fs, const TaskRef& task, uint64_t) {
  return MakeRef<PathLink>(fs, task, kWhich);
}

Result<int32_t> ParseFd(std::string_view name) {
  int32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 0) return Err(ENOENT);
  if (name.size() > 1 && name.front() == '0') return Err(ENOENT);
  return number;
}

Result<FileRef> FileOf(Task& task, int32_t number) {
  const auto fds = task.fds_ref();
  if (fds == nullptr) return Err(ENOENT);
  auto file = fds->GetAny(Fd(number));
  if (!file.ok()) return Err(ENOENT);
  return file;
}

class FdLink final : public TaskNode {
 public:
  FdLink(Fs& fs, const TaskRef& task, int32_t number, uint32_t mode)
      : TaskNode(fs, task, S_IFLNK | mode), number_(number) {}

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(TaskNode::GetAttr(context));
    attr.size = 64;
    return attr;
  }
  Result<std::string> ReadLink(Context& context) override {
    const FileRef file = TRY(FileOf(*TRY(Inspectable(context, task_)), number_));
    return file->path().empty() ? file->AnonymousName() : ShownPath(context, file->path());
  }
  Result<Path> Jump(Context& context) override {
    return PathOfFile(TRY(FileOf(*TRY(Inspectable(context, task_)), number_)));
  }

 private:
  const int32_t number_;
};

// The permissions of the link say how the file is open (Linux: tid_fd_update_inode).
uint32_t LinkMode(const FileDescription& file) {
  if (file.is_path_only()) return 0;
  return (file.readable() ? 0500 : 0) | (file.writable() ? 0300 : 0);
}

Result<std::string> FdInfoText(Context& context, Task& task, int32_t number) {
  const FileRef file = TRY(FileOf(task, number));
  // The reader may be reading through this very description, whose position is locked then.
  int64_t position = 0;
  if (std::unique_lock<std::mutex> lock(file->position_mutex().native(), std::try_to_lock); lock.owns_lock()) {
    position = [&]() NO_THREAD_SAFETY_ANALYSIS { return file->position(); }();
  }
  const auto fds = task.fds_ref();
  const bool cloexec = fds != nullptr && fds->GetCloseOnExec(Fd(number)).value_or(false);
  const int flags = file->flags() | (cloexec ? O_CLOEXEC : 0) | 0100000;  // O_LARGEFILE as the kernel spells it
  const auto attr = file->GetAttr(context);
  return StrPrintf("pos:\t%ld\nflags:\t0%o\nmnt_id:\t%u\nino:\t%lu\n", position, flags,
                   file->path().mount != nullptr ? file->path().mount->id() : 15, attr.ok() ? attr->ino : 0) +
         file->FdInfo(context);
}

class FdDirectory final : public synthetic::Directory {
 public:
  FdDirectory(Fs& fs, const TaskRef& task, bool info)
      : Directory(fs, info ? 0555 : 0500), fs_(fs), task_(task), info_(info) {}

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Directory::GetAttr(context));
    const TaskRef task = task_.lock();
    if (task == nullptr) return attr;
    SetOwner(attr, *task);
    if (const auto fds = info_ ? nullptr : task->fds_ref()) attr.size = fds->Numbers().size();
    return attr;
  }
  // A process may always look at its own descriptors, also after it dropped its ids (Linux: proc_fd_permission).
  Result<void> CheckAccess(Context& context, int mask) override {
    auto allowed = Directory::CheckAccess(context, mask);
    if (allowed.ok() || (mask & W_OK)) return allowed;
    const TaskRef task = task_.lock();
    if (task != nullptr && task->tgid() == context.tgid()) return {};
    return allowed;
  }
  Result<InodeRef> Lookup(Context& context, std::string_view name) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ENOENT);
    const int32_t number = TRY(ParseFd(name));
    const FileRef file = TRY(FileOf(*task, number));
    if (!info_) return InodeRef(MakeRef<FdLink>(fs_, task, number, LinkMode(*file)));
    return InodeRef(synthetic::MakeText(fs_, [weak = task_, number](Context& c) -> Result<std::string> {
      return FdInfoText(c, *TRY(Inspectable(c, weak)), number);
    }));
  }
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ENOENT);
    const FileRef file = TRY(FileOf(*task, TRY(ParseFd(name))));
    const auto* link = dynamic_cast<const FdLink*>(cached.get());
    if (link != nullptr && (link->mode() & 0777) != LinkMode(*file)) return Lookup(context, name);
    return cached;
  }
  Result<std::vector<synthetic::Entry>> List(Context& context) override {
    const TaskRef task = TRY(Inspectable(context, task_));
    const auto fds = task->fds_ref();
    std::vector<synthetic::Entry> entries;
    if (fds == nullptr) return entries;
    const uint64_t base = TaskDirectoryIno(task->tid(), true) << 16;
    for (const int32_t number : fds->Numbers()) {
      entries.push_back({std::to_string(number), base + static_cast<uint64_t>(number),
                         static_cast<uint8_t>(info_ ? DT_REG : DT_LNK)});
    }
    return entries;
  }

 private:
  Fs& fs_;
  const WeakRef<Task> task_;
  const bool info_;
};

NodeRef MakeFd(Fs& fs, const TaskRef& task, uint64_t) { return MakeRef<FdDirectory>(fs, task, false); }
NodeRef MakeFdInfo(Fs& fs, const TaskRef& task, uint64_t) { return MakeRef<FdDirectory>(fs, task, true); }

// ns/<kind>: opening it gives a descriptor that setns(2) takes.
class NamespaceLink final : public TaskNode {
 public:
  struct Kind {
    const char* name;
    int kind;
    bool for_children = false;
  };
  NamespaceLink(Fs& fs, const TaskRef& task, const Kind& kind) : TaskNode(fs, task, S_IFLNK | 0777), kind_(kind) {}
  Result<std::string> ReadLink(Context& context) override { return OpenNamespace(TRY(Find(context)))->AnonymousName(); }
  Result<Path> Jump(Context& context) override { return PathOfFile(OpenNamespace(TRY(Find(context)))); }

 private:
  Result<NamespaceRef> Find(Context& context) {
    const TaskRef task = TRY(Inspectable(context, task_));
    NamespaceRef found = kind_.for_children ? task->namespaces().pids : NamespaceOf(*task, kind_.kind);
    if (found == nullptr) return Err(ENOENT);
    return found;
  }

  const Kind& kind_;
};

constexpr std::array<NamespaceLink::Kind, 8> kNamespaces = {{{"cgroup", CLONE_NEWCGROUP},
                                                             {"ipc", CLONE_NEWIPC},
                                                             {"mnt", CLONE_NEWNS},
                                                             {"net", CLONE_NEWNET},
                                                             {"pid", CLONE_NEWPID},
                                                             {"pid_for_children", CLONE_NEWPID, true},
                                                             {"user", CLONE_NEWUSER},
                                                             {"uts", CLONE_NEWUTS}}};

NodeRef MakeNs(Fs& fs, const TaskRef& task, uint64_t) {
  auto directory = MakeRef<synthetic::StaticDirectory>(fs, 0511);
  for (const auto& kind : kNamespaces) directory->Add(kind.name, MakeRef<NamespaceLink>(fs, task, kind));
  return directory;
}

constexpr std::array<TaskEntry, 6> kEntries = {{
    {.name = "cwd", .mode = S_IFLNK | 0777, .make = &MakePathLink<Target::kCwd>},
    {.name = "exe", .mode = S_IFLNK | 0777, .make = &MakePathLink<Target::kExe>},
    {.name = "root", .mode = S_IFLNK | 0777, .make = &MakePathLink<Target::kRoot>},
    {.name = "fd", .mode = S_IFDIR | 0500, .make = &MakeFd},
    {.name = "fdinfo", .mode = S_IFDIR | 0555, .make = &MakeFdInfo},
    {.name = "ns", .mode = S_IFDIR | 0511, .make = &MakeNs},
}};

}  // namespace

std::span<const TaskEntry> LinkEntries() { return kEntries; }

}  // namespace sandbox::proc
