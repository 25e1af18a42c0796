// mountinfo, mounts, mountstats (Linux: fs/proc_namespace.c).
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <array>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/vfs/mount.h"

namespace sandbox::proc {
namespace {

// Space, tab, newline and backslash would break the columns (Linux: mangle).
std::string Mangled(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\' || c == '#')
      out += StrPrintf("\\%03o", c);
    else
      out += c;
  }
  return out;
}

std::string MountOptions(const Mount& mount) {
  struct Option {
    unsigned long flag;
    const char* text;
  };
  static constexpr std::array<Option, 7> kOptions = {{{MS_NOSUID, ",nosuid"},
                                                      {MS_NODEV, ",nodev"},
                                                      {MS_NOEXEC, ",noexec"},
                                                      {MS_NOATIME, ",noatime"},
                                                      {MS_NODIRATIME, ",nodiratime"},
                                                      {MS_RELATIME, ",relatime"},
                                                      {256, ",nosymfollow"}}};
  std::string text = mount.read_only() ? "ro" : "rw";
  for (const Option& option : kOptions) {
    if (mount.flags() & option.flag) text += option.text;
  }
  return text;
}

// A mount as a task sees it.
struct Line {
  const MountInfo& info;
  std::string point;
};

template <typename F>
Result<std::string> ForEachMount(Task& task, F f) {
  const auto mounts = task.mounts();
  const auto fs = task.fs_ref();
  if (mounts == nullptr || fs == nullptr) return Err(EINVAL);
  const Path root = fs->root();
  std::string text;
  for (const MountInfo& info : mounts->List(&root)) {
    std::string point;
    // Mounts outside the task's root are not shown.
    if (!FormatPath({info.mount, info.mount->root()}, root, point)) continue;
    text += f(Line{info, Mangled(point)});
  }
  return text;
}

std::string SourceOf(const Mount& mount) { return mount.source().empty() ? "none" : Mangled(mount.source()); }

Result<std::string> Mountinfo(Context&, Task& task) {
  return ForEachMount(task, [](const Line& line) {
    const Mount& mount = *line.info.mount;
    FileSystem& fs = *mount.fs();
    std::string text =
        StrPrintf("%u %u %u:%u ", mount.id(), line.info.parent_id, major(fs.device()), minor(fs.device()));
    text += Mangled(PathInFileSystem(fs, mount.root())) + " " + line.point + " " + MountOptions(mount);
    if (line.info.shared != 0) text += StrPrintf(" shared:%u", line.info.shared);
    if (line.info.master != 0) text += StrPrintf(" master:%u", line.info.master);
    if (line.info.from != 0 && line.info.from != line.info.master)
      text += StrPrintf(" propagate_from:%u", line.info.from);
    if (line.info.propagation == MS_UNBINDABLE) text += " unbindable";
    text += " - " + std::string(fs.type_name()) + " " + SourceOf(mount) + " rw";
    if (const std::string options = fs.MountOptions(); !options.empty()) text += "," + options;
    return text + "\n";
  });
}

Result<std::string> Mounts(Context&, Task& task) {
  return ForEachMount(task, [](const Line& line) {
    const Mount& mount = *line.info.mount;
    std::string text = SourceOf(mount) + " " + line.point + " " + std::string(mount.fs()->type_name()) + " ";
    text += MountOptions(mount);
    if (const std::string options = mount.fs()->MountOptions(); !options.empty()) text += "," + options;
    return text + " 0 0\n";
  });
}

Result<std::string> Mountstats(Context&, Task& task) {
  return ForEachMount(task, [](const Line& line) {
    return "device " + SourceOf(*line.info.mount) + " mounted on " + line.point + " with fstype " +
           std::string(line.info.mount->fs()->type_name()) + "\n";
  });
}

constexpr std::array<TaskEntry, 3> kEntries = {{
    {.name = "mountinfo", .mode = S_IFREG | 0444, .text = &Mountinfo},
    {.name = "mounts", .mode = S_IFREG | 0444, .text = &Mounts},
    {.name = "mountstats", .mode = S_IFREG | 0400, .text = &Mountstats, .where = Where::kProcessOnly},
}};

}  // namespace

std::span<const TaskEntry> MountEntries() { return kEntries; }

}  // namespace sandbox::proc
