// procfs (proc(5)): what the files of this folder share. The tree is made on demand: a process
// directory is a table of names with generators, so that looking at one file costs one object.
//
//   proc_fs.cc        the root, /proc/self, registration       system_files.cc   /proc/stat,
//   meminfo, cpuinfo… task_directory.cc /proc/<pid> and its task/<tid>           sysctl.cc
//   /proc/sys task_*.cc         the files of a process                   net.cc /proc/net
//   sysvipc.cc        /proc/sysvipc              keys.cc /proc/keys, key-users and sys/kernel/keys
#pragma once

#include <linux/magic.h>

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "sentry/core/cpus.h"
#include "sentry/fs/synthetic/synthetic.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace sandbox::proc {

using synthetic::NodeRef;

// One proc file system: that of one pid namespace, its first mounter's.
class Fs final : public synthetic::Fs {
 public:
  explicit Fs(RefPtr<PidNamespace> view) : synthetic::Fs("proc", PROC_SUPER_MAGIC), view_(std::move(view)) {}
  const PidNamespace& view() const { return *view_; }
  // Processes come and go without the VFS: every cached entry is asked for again.
  bool exclusive() const override { return false; }

 private:
  const RefPtr<PidNamespace> view_;
};

// Makes the text of one file of a task. ESRCH is answered by the caller when the task is gone.
using TaskText = Result<std::string> (*)(Context& context, Task& task);
// The same for texts with process numbers in them: those of the namespace that the file system shows.
using TaskSeenText = Result<std::string> (*)(Context& context, Task& task, const PidNamespace& view);
using TaskSink = Result<void> (*)(Context& context, Task& task, std::string_view text);
// Makes a node that is no text file.
using TaskNodeMaker = NodeRef (*)(Fs& fs, const TaskRef& task, uint64_t ino);

enum class Where { kBoth, kProcessOnly };

// One entry of a process directory.
struct TaskEntry {
  const char* name;
  uint32_t mode;            // with S_IFMT
  TaskText text = nullptr;  // regular files
  TaskSeenText seen = nullptr;
  TaskSink sink = nullptr;
  bool inspect = false;  // opening asks MayInspect
  TaskNodeMaker make = nullptr;
  Where where = Where::kBoth;
};

// The tables, one for each file of generators.
std::span<const TaskEntry> StatusEntries();
std::span<const TaskEntry> MemoryEntries();
std::span<const TaskEntry> TextEntries();
std::span<const TaskEntry> MountEntries();
std::span<const TaskEntry> LinkEntries();  // cwd, exe, root, fd, fdinfo, ns

// Directory of a process (`process`) or of a thread.
NodeRef MakeTaskDirectory(Fs& fs, const TaskRef& task, bool process);
// The task a directory made by MakeTaskDirectory stands for; null when `inode` is none, or it is
// gone.
TaskRef TaskOfDirectory(Inode& inode);
uint64_t TaskDirectoryIno(int32_t tid, bool process);

// A task that can still be found by its id, or null.
TaskRef Alive(const WeakRef<Task>& weak);
// Owner as procfs shows it: the task's effective ids, or root for one that may not be dumped.
void SetOwner(Attr& attr, Task& task);
// The caller's root, for paths as text; an empty Path for the kernel.
Path ReaderRoot(Context& context);
// A task's path as the reader sees it.
std::string ShownPath(Context& context, const Path& path);

// Text of the root directory's files.
void AddSystemFiles(Fs& fs, synthetic::StaticDirectory& root);
void AddSysvipc(Fs& fs, synthetic::StaticDirectory& root);  // /proc/sysvipc
void AddSysctl(Fs& fs, synthetic::StaticDirectory& root);
void AddKeys(Fs& fs, synthetic::StaticDirectory& root);  // /proc/keys, /proc/key-users
// The settings of /proc/sys/kernel/keys, by name.
std::map<std::string, NodeRef> KeySettings(Fs& fs);
// The directory behind /proc/net.
NodeRef MakeNetDirectory(Fs& fs);

inline constexpr int64_t kNsPerTick = 10'000'000;  // USER_HZ is 100
inline uint64_t Ticks(uint64_t ns) { return ns / kNsPerTick; }
inline uint64_t KiB(uint64_t bytes) { return bytes / 1024; }

}  // namespace sandbox::proc
