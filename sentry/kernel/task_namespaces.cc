#include "sentry/kernel/task_namespaces.h"

#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sys/stat.h>

#include "base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/anon_file.h"

namespace sandbox {
namespace {

// All capabilities, over what belongs to `ns` (Linux: set_cred_user_ns).
CredentialsRef CredentialsIn(const Credentials& old, RefPtr<UserNamespace> ns) {
  auto creds = std::make_shared<Credentials>(old);
  creds->securebits = 0;
  creds->permitted = creds->effective = creds->bounding = kAllCapabilities;
  creds->inheritable = creds->ambient = 0;
  creds->user_ns = std::move(ns);
  return creds;
}

Result<RefPtr<PidNamespace>> MakePidNamespace(const RefPtr<PidNamespace>& parent, const RefPtr<UserNamespace>& owner) {
  if (parent->level() >= PidNamespace::kMostLevels) return Err(ENOSPC);
  if (!owner->IsWithin(*parent->owner())) return Err(EINVAL);
  return MakeRef<PidNamespace>(parent, owner);
}

}  // namespace

Result<Surroundings> MakeNamespaces(Task& task, uint64_t flags, RefPtr<FsContext> fs) {
  Surroundings now{task.creds_ref(), task.namespaces(), std::move(fs)};
  if (flags & CLONE_NEWUSER) {
    // A new root's view must not be less than its maker's: not from inside a chroot.
    if (!(task.fs().root() == task.mounts()->Traverse(task.mounts()->root()))) return Err(EPERM);
    now.creds = CredentialsIn(*now.creds, TRY(UserNamespace::Make(*now.creds)));
  }
  const RefPtr<UserNamespace>& owner = now.creds->user_ns;
  if ((flags & kNewNamespaces & ~uint64_t{CLONE_NEWUSER}) && !now.creds->HasOwn(CAP_SYS_ADMIN)) return Err(EPERM);
  if (flags & CLONE_NEWPID) now.spaces.pids = TRY(MakePidNamespace(now.spaces.pids, owner));
  if (flags & CLONE_NEWUTS) now.spaces.uts = MakeRef<UtsNamespace>(*now.spaces.uts, owner);
  if (flags & CLONE_NEWIPC) now.spaces.ipc = MakeRef<IpcNamespace>(owner);
  if (flags & CLONE_NEWNET) now.spaces.net = MakeRef<NetNamespace>(owner);
  if (flags & CLONE_NEWCGROUP) now.spaces.cgroup = MakeRef<CgroupNamespace>(owner);
  if (flags & CLONE_NEWNS) {
    Path root = now.fs->root(), cwd = now.fs->cwd();
    Path* const carried[] = {&root, &cwd};
    now.spaces.mounts = now.spaces.mounts->Clone(owner, carried);
    now.fs = MakeRef<FsContext>(std::move(root), std::move(cwd), now.fs->umask());
  }
  return now;
}

namespace {

// One setns: what the task will be, checked step by step before anything changes.
struct Joiner {
  Task& task;
  Surroundings now;
  const CredentialsRef before;

  Result<void> Join(const NamespaceRef& which) {
    if (which->kind() == CLONE_NEWUSER) return JoinUser(std::static_pointer_cast<UserNamespace>(which));
    if (!now.creds->HasIn(*which->owner(), CAP_SYS_ADMIN) || !now.creds->HasOwn(CAP_SYS_ADMIN)) return Err(EPERM);
    switch (which->kind()) {
      case CLONE_NEWNS:
        return JoinMounts(std::static_pointer_cast<MountNamespace>(which));
      case CLONE_NEWPID:
        return JoinPids(std::static_pointer_cast<PidNamespace>(which));
      case CLONE_NEWUTS:
        now.spaces.uts = std::static_pointer_cast<UtsNamespace>(which);
        return {};
      case CLONE_NEWIPC:
        now.spaces.ipc = std::static_pointer_cast<IpcNamespace>(which);
        return {};
      case CLONE_NEWNET:
        now.spaces.net = std::static_pointer_cast<NetNamespace>(which);
        return {};
      case CLONE_NEWCGROUP:
        now.spaces.cgroup = std::static_pointer_cast<CgroupNamespace>(which);
        return {};
      default:
        return Err(EINVAL);
    }
  }

  Result<void> JoinUser(RefPtr<UserNamespace> which) {
    // No way to get back the capabilities that one had in it.
    if (which == now.creds->user_ns || task.group().thread_count() > 1 || SharesPlaces()) return Err(EINVAL);
    if (!now.creds->HasIn(*which, CAP_SYS_ADMIN)) return Err(EPERM);
    now.creds = CredentialsIn(*now.creds, std::move(which));
    return {};
  }

  Result<void> JoinMounts(RefPtr<MountNamespace> which) {
    if (!now.creds->HasOwn(CAP_SYS_CHROOT)) return Err(EPERM);
    if (SharesPlaces()) return Err(EINVAL);
    const Path root = which->Traverse(which->root());
    now.fs = MakeRef<FsContext>(root, root, now.fs->umask());
    now.spaces.mounts = std::move(which);
    return {};
  }

  // Only inwards: no child may see less than its parent.
  Result<void> JoinPids(RefPtr<PidNamespace> which) {
    if (!which->IsWithin(task.pid_space())) return Err(EINVAL);
    now.spaces.pids = std::move(which);
    return {};
  }

  // CLONE_FS: another task would move too. `task` and `now` hold it.
  bool SharesPlaces() const { return task.fs_ref().use_count() > 3; }
};

class NamespaceFile final : public AnonFile {
 public:
  explicit NamespaceFile(NamespaceRef which) : AnonFile("", O_RDONLY), which_(std::move(which)) {}
  const NamespaceRef& which() const { return which_; }

  std::string AnonymousName() const override {
    return StrPrintf("%s:[%lu]", NamespaceKindName(which_->kind()), which_->number());
  }
  Result<Attr> GetAttr(Context&) override {
    Attr attr;
    attr.ino = which_->number();
    attr.mode = S_IFREG | 0444;
    return attr;
  }
  Result<FileRef> Reopen(Context&, int flags) override {
    if ((flags & O_ACCMODE) != O_RDONLY) return Err(EPERM);
    return OpenNamespace(which_);
  }

  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override {
    Task* const task = Task::Of(context);
    if (task == nullptr) return Err(ENOTTY);
    switch (request) {
      case NS_GET_USERNS:
        return Install(*task, which_->owner(), true);
      case NS_GET_PARENT:
        if (which_->kind() != CLONE_NEWUSER && which_->kind() != CLONE_NEWPID) return Err(EINVAL);
        return Install(*task, which_->outer(), which_->kind() == CLONE_NEWUSER);
      case NS_GET_NSTYPE:
        return which_->kind();
      case NS_GET_OWNER_UID: {
        if (which_->kind() != CLONE_NEWUSER) return Err(EINVAL);
        const uint32_t uid = static_cast<const UserNamespace&>(*which_).owner_uid();
        TRY(OutPtr<uint32_t>(GuestAddr(argument)).Write(context.memory(), context.creds().ShownUid(uid)));
        return 0;
      }
      default:
        return Err(ENOTTY);
    }
  }

 private:
  // EPERM for what lies outside of the caller's own.
  static Result<int64_t> Install(Task& task, const NamespaceRef& other, bool user) {
    if (other == nullptr) return Err(EPERM);
    const bool inside = user ? static_cast<const UserNamespace&>(*other).IsWithin(*task.creds().user_ns)
                             : static_cast<const PidNamespace&>(*other).IsWithin(task.pid_space());
    if (!inside) return Err(EPERM);
    return TRY(task.fds().Install(task, OpenNamespace(other), true)).number();
  }

  const NamespaceRef which_;
};

}  // namespace

Result<void> JoinNamespaces(Task& task, const std::vector<NamespaceRef>& which) {
  Joiner joiner{task, {task.creds_ref(), task.namespaces(), task.fs_ref()}, task.creds_ref()};
  // The user namespace first: its capabilities may be what joining the others needs.
  for (const NamespaceRef& each : which) {
    if (each->kind() == CLONE_NEWUSER) TRY(joiner.Join(each));
  }
  for (const NamespaceRef& each : which) {
    if (each->kind() != CLONE_NEWUSER) TRY(joiner.Join(each));
  }
  task.SetNamespaces(std::move(joiner.now.spaces), std::move(joiner.now.fs));
  if (joiner.now.creds != joiner.before) task.SetCredentials(std::move(joiner.now.creds));
  return {};
}

NamespaceRef NamespaceOf(Task& task, int kind) {
  const Namespaces spaces = task.namespaces();
  if (spaces.mounts == nullptr) return nullptr;
  switch (kind) {
    case CLONE_NEWNS:
      return spaces.mounts;
    case CLONE_NEWUTS:
      return spaces.uts;
    case CLONE_NEWIPC:
      return spaces.ipc;
    case CLONE_NEWNET:
      return spaces.net;
    case CLONE_NEWCGROUP:
      return spaces.cgroup;
    case CLONE_NEWUSER:
      return task.creds_ref()->user_ns;
    case CLONE_NEWPID:
      return task.pid()->numbers.back().space;
    default:
      return nullptr;
  }
}

FileRef OpenNamespace(NamespaceRef which) { return MakeRef<NamespaceFile>(std::move(which)); }

NamespaceRef NamespaceOfFile(const FileDescription& file) {
  const auto* const own = dynamic_cast<const NamespaceFile*>(&file);
  return own == nullptr ? nullptr : own->which();
}

}  // namespace sandbox
