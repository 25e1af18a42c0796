// fsopen(2), fsconfig(2), fsmount(2), fspick(2): making a file system step by step.
#include <fcntl.h>
#include <sys/mount.h>

#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "syscalls/mount_flags.h"
#include "syscalls/mount_tree.h"
#include "syscalls/path_args.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxKey = 256;            // Linux: strndup_user of names and values
constexpr size_t kMaxOptions = kPageSize;  // ours, as mount(2)'s
constexpr uint32_t kMaxBinary = 1 << 20;

enum Command : uint32_t {  // FSCONFIG_*
  kSetFlag,
  kSetString,
  kSetBinary,
  kSetPath,
  kSetPathEmpty,
  kSetFd,
  kCreate,
  kReconfigure,
  kCreateExclusive,
};

// What is being made or changed (Linux: struct fs_context).
class FsContextFile final : public AnonFile {
 public:
  explicit FsContextFile(const FileSystemType& type) : AnonFile("[fscontext]", O_RDWR), type_(&type) {}
  explicit FsContextFile(RefPtr<FileSystem> fs)
      : AnonFile("[fscontext]", O_RDWR), phase_(Phase::kChange), fs_(std::move(fs)) {}

  // The log of what went wrong: nothing is written to it.
  Result<size_t> Read(Context&, IoSequence&, int64_t*, int) override { return Err(ENODATA); }

  Result<void> SetOption(std::string_view key, const std::string* value) {
    MutexLock lock(mu_);
    if (phase_ != Phase::kOptions && phase_ != Phase::kChange) return Err(EBUSY);
    if (value == nullptr && (key == "ro" || key == "rw")) {
      read_only_ = key == "ro";
      return {};
    }
    if (value != nullptr && key == "source") {
      if (!source_.empty() || value->empty()) return Err(EINVAL);
      source_ = *value;
      return {};
    }
    const std::string option = std::string(key) + (value != nullptr ? "=" + *value : "");
    if (option.find(',') != std::string::npos || options_.size() + option.size() >= kMaxOptions) return Err(EINVAL);
    options_ += (options_.empty() ? "" : ",") + option;
    return {};
  }
  Result<void> Create(Task& task) {
    MutexLock lock(mu_);
    if (phase_ != Phase::kOptions) return Err(EBUSY);
    auto fs = type_->create(task, source_, options_);
    if (!fs.ok()) {
      phase_ = Phase::kFailed;
      return fs.error();
    }
    fs_ = *fs;
    phase_ = Phase::kMade;
    return {};
  }
  Result<void> Change() {
    RefPtr<FileSystem> fs;
    std::string options;
    {
      MutexLock lock(mu_);
      if (phase_ != Phase::kChange) return Err(EBUSY);
      fs = fs_;
      options.swap(options_);
    }
    return Reconfigure(*fs, options);
  }
  // The file system, once.
  Result<MountRef> Mount(MountFlags flags) {
    MutexLock lock(mu_);
    if (fs_ == nullptr) return Err(EINVAL);
    if (phase_ != Phase::kMade) return Err(EBUSY);
    phase_ = Phase::kChange;
    options_.clear();
    return MakeRef<sandbox::Mount>(fs_, nullptr, flags | (read_only_ ? MS_RDONLY : 0),
                                   source_.empty() ? "none" : source_);
  }

 private:
  enum class Phase { kOptions, kMade, kChange, kFailed };
  Mutex mu_{LockRank::kFile};
  const FileSystemType* const type_ = nullptr;
  Phase phase_ GUARDED_BY(mu_) = Phase::kOptions;
  RefPtr<FileSystem> fs_ GUARDED_BY(mu_);
  std::string source_ GUARDED_BY(mu_), options_ GUARDED_BY(mu_);
  bool read_only_ GUARDED_BY(mu_) = false;
};

Result<RefPtr<FsContextFile>> GetContext(Task& task, Fd fd) {
  auto file = std::dynamic_pointer_cast<FsContextFile>(TRY(task.fds().Get(fd)));
  if (file == nullptr) return Err(EINVAL);
  return file;
}

Result<Fd> SysFsopen(Task& task, GuestStr name, uint32_t flags) {
  constexpr uint32_t kCloseOnExec = 1;
  TRY(CheckMayMount(task));
  if (flags & ~kCloseOnExec) return Err(EINVAL);
  const std::string type_name = TRY(name.Read(task.memory(), kPageSize, EINVAL));
  const FileSystemType* const type = FindFileSystemType(type_name);
  if (type == nullptr || !type->guest_mountable) return Err(ENODEV);
  return task.fds().Install(task, MakeRef<FsContextFile>(*type), flags & kCloseOnExec);
}
SYSCALL_ROW(fsopen, Lane::kShort, Support::kFull, SysFsopen, "");

// Which arguments a command takes (Linux: SYSCALL_DEFINE5(fsconfig)).
Result<void> CheckArguments(uint32_t command, bool key, bool value, int aux) {
  bool right;
  switch (command) {
    case kSetFlag:
      right = key && !value && aux == 0;
      break;
    case kSetString:
      right = key && value && aux == 0;
      break;
    case kSetBinary:
      right = key && value && aux > 0 && static_cast<uint32_t>(aux) <= kMaxBinary;
      break;
    case kSetPath:
    case kSetPathEmpty:
      right = key && value && (aux == AT_FDCWD || aux >= 0);
      break;
    case kSetFd:
      right = key && !value && aux >= 0;
      break;
    case kCreate:
    case kCreateExclusive:
    case kReconfigure:
      right = !key && !value && aux == 0;
      break;
    default:
      return Err(EOPNOTSUPP);
  }
  return right ? Result<void>() : Err(EINVAL);
}

Result<void> SysFsconfig(Task& task, Fd fd, uint32_t command, GuestStr key, GuestStr value, int aux) {
  if (fd.number() < 0) return Err(EINVAL);
  TRY(CheckArguments(command, !key.IsNull(), !value.IsNull(), aux));
  const auto context = TRY(GetContext(task, fd));
  switch (command) {
    case kCreate:
    case kCreateExclusive:
      TRY(CheckMayMount(task));
      return context->Create(task);
    case kReconfigure:
      TRY(CheckMayMount(task));
      return context->Change();
    case kSetFlag:
      return context->SetOption(TRY(key.Read(task.memory(), kMaxKey, EINVAL)), nullptr);
    case kSetString: {
      const std::string name = TRY(key.Read(task.memory(), kMaxKey, EINVAL));
      const std::string text = TRY(value.Read(task.memory(), kMaxKey, EINVAL));
      return context->SetOption(name, &text);
    }
    default:
      TRY(key.Read(task.memory(), kMaxKey, EINVAL));
      return Err(EINVAL);  // no option of ours is bytes, a path or a descriptor
  }
}
SYSCALL_ROW(fsconfig, Lane::kShort, Support::kPartial, SysFsconfig,
            "options are checked when the file system is made; ro is one mount's");

Result<Fd> SysFsmount(Task& task, Fd fd, uint32_t flags, uint32_t attributes) {
  constexpr uint32_t kCloseOnExec = 1;
  TRY(CheckMayMount(task));
  if (flags & ~kCloseOnExec) return Err(EINVAL);
  const MountFlags mount_flags = TRY(MountFlagsOfAttributes(attributes));
  const auto context = TRY(GetContext(task, fd));
  MountRef mount = TRY(context->Mount(mount_flags));
  FileRef file = OpenDetachedTree(MountNamespace::Detached(task.mounts()->owner(), std::move(mount)));
  return task.fds().Install(task, std::move(file), flags & kCloseOnExec);
}
SYSCALL_ROW(fsmount, Lane::kShort, Support::kFull, SysFsmount, "");

Result<Fd> SysFspick(Task& task, Fd dirfd, GuestStr path, uint32_t flags) {
  constexpr uint32_t kCloseOnExec = 1, kNoFollow = 2, kNoAutomount = 4, kEmptyPath = 8;
  TRY(CheckMayMount(task));
  if (flags & ~(kCloseOnExec | kNoFollow | kNoAutomount | kEmptyPath)) return Err(EINVAL);
  const Path found = TRY(WalkAt(
      task, dirfd, path, (flags & kNoFollow ? AT_SYMLINK_NOFOLLOW : 0) | (flags & kEmptyPath ? AT_EMPTY_PATH : 0)));
  if (found.mount == nullptr || found.dentry != found.mount->root()) return Err(EINVAL);
  return task.fds().Install(task, MakeRef<FsContextFile>(found.mount->fs()), flags & kCloseOnExec);
}
SYSCALL_ROW(fspick, Lane::kShort, Support::kFull, SysFspick, "");

}  // namespace
}  // namespace sandbox::syscalls
