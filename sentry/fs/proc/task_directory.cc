// /proc/<pid> and /proc/<pid>/task/<tid>.
#include <dirent.h>

#include <array>
#include <charconv>

#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/ptrace_access.h"

namespace sandbox::proc {
namespace {

// Inode numbers of a task's files are made of its id and the place in the tables, so that listing a directory needs no
// objects. The rest of the file system counts up from one.
constexpr uint64_t kTaskInoBase = uint64_t{1} << 40;
constexpr uint64_t kMaxEntries = 128;

NodeRef MakeTaskList(Fs& fs, const TaskRef& task, uint64_t ino);
NodeRef MakeNet(Fs& fs, const TaskRef&, uint64_t) { return MakeNetDirectory(fs); }

// A regular file of a task.
class TaskTextFile final : public synthetic::TextFile {
 public:
  TaskTextFile(Fs& fs, const TaskEntry& entry, const TaskRef& task, uint64_t ino)
      : TextFile(fs, entry.mode & 07777, Source(fs, entry, task),
                 entry.sink == nullptr ? synthetic::TextSink() : Sink(entry, task)),
        task_(task),
        inspect_(entry.inspect),
        ino_(ino) {}

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(TextFile::GetAttr(context));
    attr.ino = ino_;
    attr.blksize = 1024;
    if (const TaskRef task = task_.lock()) SetOwner(attr, *task);
    return attr;
  }

 protected:
  Result<void> CheckOpen(Context& context) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ESRCH);
    if (inspect_ && !MayInspect(context, *task).ok()) return Err(EACCES);
    return {};
  }

 private:
  static synthetic::TextSource Source(const Fs& fs, const TaskEntry& entry, const TaskRef& task) {
    if (entry.text == nullptr && entry.seen == nullptr) return {};
    return [&fs, entry, weak = WeakRef<Task>(task)](Context& context) -> Result<std::string> {
      const TaskRef target = Alive(weak);
      if (target == nullptr) return Err(ESRCH);
      return entry.seen != nullptr ? entry.seen(context, *target, fs.view()) : entry.text(context, *target);
    };
  }
  static synthetic::TextSink Sink(const TaskEntry& entry, const TaskRef& task) {
    return [sink = entry.sink, weak = WeakRef<Task>(task)](Context& context, std::string_view text) -> Result<void> {
      const TaskRef target = Alive(weak);
      if (target == nullptr) return Err(ESRCH);
      return sink(context, *target, text);
    };
  }

  const WeakRef<Task> task_;
  const bool inspect_;
  const uint64_t ino_;
};

constexpr std::array<TaskEntry, 2> kOwnEntries = {{
    {.name = "task", .mode = S_IFDIR | 0555, .make = &MakeTaskList, .where = Where::kProcessOnly},
    {.name = "net", .mode = S_IFDIR | 0555, .make = &MakeNet},
}};

// Calls `f(entry, index)` for all entries until it returns true.
template <typename F>
void ForEachEntry(bool process, F f) {
  uint64_t index = 0;
  for (const auto table : {std::span<const TaskEntry>(kOwnEntries), StatusEntries(), MemoryEntries(), TextEntries(),
                           MountEntries(), LinkEntries()}) {
    for (const TaskEntry& entry : table) {
      ++index;
      if (!process && entry.where == Where::kProcessOnly) continue;
      if (f(entry, index)) return;
    }
  }
}

class TaskDirectory final : public synthetic::Directory {
 public:
  TaskDirectory(Fs& fs, const TaskRef& task, bool process)
      : Directory(fs), fs_(fs), task_(task), process_(process), ino_(TaskDirectoryIno(task->tid(), process)) {}

  TaskRef task() const { return Alive(task_); }

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Directory::GetAttr(context));
    attr.ino = ino_;
    attr.nlink = process_ ? 9 : 7;
    if (const TaskRef task = task_.lock()) SetOwner(attr, *task);
    return attr;
  }
  Result<InodeRef> Lookup(Context&, std::string_view name) override {
    const TaskRef task = this->task();
    if (task == nullptr) return Err(ESRCH);
    NodeRef found;
    ForEachEntry(process_, [&](const TaskEntry& entry, uint64_t index) {
      if (name != entry.name) return false;
      const uint64_t ino = ino_ + index;
      found = entry.make != nullptr ? entry.make(fs_, task, ino) : MakeRef<TaskTextFile>(fs_, entry, task, ino);
      return true;
    });
    if (found == nullptr) return Err(ENOENT);
    return InodeRef(std::move(found));
  }
  Result<InodeRef> Revalidate(Context&, std::string_view, const InodeRef& cached) override {
    if (task() == nullptr) return Err(ENOENT);
    return cached;  // the names of a live task are fixed
  }
  Result<std::vector<synthetic::Entry>> List(Context&) override {
    if (task() == nullptr) return Err(ENOENT);
    std::vector<synthetic::Entry> entries;
    ForEachEntry(process_, [&](const TaskEntry& entry, uint64_t index) {
      entries.push_back({entry.name, ino_ + index, static_cast<uint8_t>(IFTODT(entry.mode))});
      return false;
    });
    return entries;
  }

 private:
  Fs& fs_;
  const WeakRef<Task> task_;
  const bool process_;
  const uint64_t ino_;
};

// /proc/<pid>/task
class TaskList final : public synthetic::Directory {
 public:
  TaskList(Fs& fs, const TaskRef& task, uint64_t ino) : Directory(fs), fs_(fs), task_(task), ino_(ino) {}

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Directory::GetAttr(context));
    attr.ino = ino_;
    const TaskRef task = task_.lock();
    if (task == nullptr) return attr;
    attr.nlink = 2 + static_cast<uint32_t>(task->group().thread_count());
    SetOwner(attr, *task);
    return attr;
  }
  Result<InodeRef> Lookup(Context&, std::string_view name) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ENOENT);
    int32_t tid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tid);
    if (error != std::errc() || end != name.data() + name.size()) return Err(ENOENT);
    const TaskRef thread = task->kernel().FindTask(task->kernel().PidOf(fs_.view(), tid));
    if (thread == nullptr || &thread->group() != &task->group()) return Err(ENOENT);
    return InodeRef(MakeTaskDirectory(fs_, thread, /*process=*/false));
  }
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override {
    if (cached != nullptr && TaskOfDirectory(*cached) != nullptr) return cached;
    return Lookup(context, name);
  }
  Result<std::vector<synthetic::Entry>> List(Context&) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ENOENT);
    std::vector<PidRef> pids;
    for (const TaskRef& thread : task->group().tasks()) pids.push_back(thread->pid());
    if (pids.empty()) pids.push_back(task->pid());  // a zombie's leader
    std::sort(pids.begin(), pids.end(), [](const PidRef& a, const PidRef& b) { return a->root() < b->root(); });
    std::vector<synthetic::Entry> entries;
    for (const PidRef& pid : pids) {
      entries.push_back({std::to_string(pid->In(fs_.view())), TaskDirectoryIno(pid->root(), false), DT_DIR});
    }
    return entries;
  }

 private:
  Fs& fs_;
  const WeakRef<Task> task_;
  const uint64_t ino_;
};

NodeRef MakeTaskList(Fs& fs, const TaskRef& task, uint64_t ino) { return MakeRef<TaskList>(fs, task, ino); }

}  // namespace

uint64_t TaskDirectoryIno(int32_t tid, bool process) {
  return kTaskInoBase + (static_cast<uint64_t>(tid) * 2 + (process ? 0 : 1)) * kMaxEntries;
}

NodeRef MakeTaskDirectory(Fs& fs, const TaskRef& task, bool process) {
  return MakeRef<TaskDirectory>(fs, task, process);
}

TaskRef TaskOfDirectory(Inode& inode) {
  const auto* directory = dynamic_cast<const TaskDirectory*>(&inode);
  return directory != nullptr ? directory->task() : nullptr;
}

TaskRef Alive(const WeakRef<Task>& weak) {
  TaskRef task = weak.lock();
  if (task == nullptr || task->kernel().FindTask(task->tid()) != task) return nullptr;
  return task;
}

void SetOwner(Attr& attr, Task& task) {
  const auto creds = task.creds_ref();
  const auto mm = task.mm_ref();
  if (creds == nullptr || (mm != nullptr && !mm->dumpable() && !attr.IsDir())) return;
  attr.uid = creds->euid;
  attr.gid = creds->egid;
}

}  // namespace sandbox::proc
