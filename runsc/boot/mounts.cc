#include "runsc/boot/mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "runsc/boot/copy_tree.h"
#include "runsc/boot/mount_options.h"
#include "runsc/spec/bundle.h"
#include "sentry/fs/gofer/fs.h"
#include "sentry/fs/mqueue/mqueue_fs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/proc/ipc_settings.h"
#include "sentry/kernel/cgroup.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/operations.h"

namespace sandbox::boot {
namespace {

absl::Status Failed(const std::string& what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(error.value())));
}

class Builder {
 public:
  Builder(const BootConfig& config, const RefPtr<GoferClient>& gofer, const RefPtr<IpcNamespace>& ipc,
          const RefPtr<PidNamespace>& pids)
      : config_(config), gofer_(gofer), ipc_(ipc), pids_(pids) {}

  absl::StatusOr<RefPtr<MountNamespace>> Build() {
    if (auto status = MountRoot(); !status.ok()) return status;
    size_t next_tree = 1;
    for (const spec::Mount& mount : config_.spec.mounts) {
      auto status = spec::IsBind(mount) ? MountTree(mount, next_tree++) : MountType(mount);
      if (!status.ok()) return status;
    }
    if (auto status = MakeDevices(); !status.ok()) return status;
    for (const std::string& path : config_.spec.linux_.masked_paths) {
      if (auto status = Mask(path); !status.ok()) return status;
    }
    for (const std::string& path : config_.spec.linux_.readonly_paths) {
      if (auto status = MakeReadOnly(path); !status.ok()) return status;
    }
    // Only now, so that missing mount points could be made.
    const MountRef& root = mounts_->root().mount;
    if (config_.spec.root.readonly) root->set_flags(root->flags() | MS_RDONLY);
    return mounts_;
  }

 private:
  absl::StatusOr<RefPtr<FileSystem>> Gofer(size_t tree, GoferOptions options, const std::string& where) {
    auto fs = GoferFs::Create(gofer_, tree, options);
    if (!fs.ok()) return Failed(absl::StrCat("mounting ", where), fs.error());
    return RefPtr<FileSystem>(*fs);
  }

  absl::StatusOr<RefPtr<FileSystem>> NewFs(const std::string& type, const std::string& source, const std::string& data,
                                           const std::string& where) {
    const FileSystemType* fs_type = FindFileSystemType(type);
    if (fs_type == nullptr)
      return absl::InvalidArgumentError(absl::StrCat("mounting ", where, ": unknown type \"", type, "\""));
    auto fs = fs_type->create(KernelContext(), source, data);
    if (!fs.ok())
      return Failed(absl::StrCat("mounting ", where, " (type ", type, ", options \"", data, "\")"), fs.error());
    return *fs;
  }

  absl::Status MountRoot() {
    auto lower = Gofer(0, GoferOptions{.exclusive = true, .read_only = config_.root_tree_read_only}, "/");
    if (!lower.ok()) return lower.status();
    RefPtr<FileSystem> root = *lower;
    if (config_.overlay == "memory") {
      auto upper = NewFs("tmpfs", "none", "mode=755", "the root's overlay");
      if (!upper.ok()) return upper.status();
      auto overlay = MakeOverlay(KernelContext(), *upper, {root});
      if (!overlay.ok()) return Failed("the root's overlay", overlay.error());
      root = *overlay;
    }
    mounts_ = MountNamespace::Create(root, 0, "none");
    const MountOptions propagation = ParseMountOptions({config_.spec.linux_.rootfs_propagation});
    if (propagation.propagation != 0) SetPropagation(mounts_->root().mount, propagation.propagation);
    return absl::OkStatus();
  }

  void SetPropagation(const MountRef& mount, unsigned long type) {
    (void)mounts_->SetPropagation({mount, mount->root()}, type & ~static_cast<unsigned long>(MS_REC), type & MS_REC);
  }

  // Null when nothing is there.
  absl::StatusOr<std::optional<Path>> Find(const std::string& path) {
    auto found = Walk(KernelContext(), WalkBase{mounts_->root(), mounts_->root()}, path, {});
    if (found.ok()) return *found;
    if (found.Is(ENOENT) || found.Is(ENOTDIR)) return std::nullopt;
    return Failed(path, found.error());
  }

  // linux.devices beyond the default ones. They are nodes of this kernel, whatever driver it has for them.
  absl::Status MakeDevices() {
    Context& context = KernelContext();
    const WalkBase base{mounts_->root(), mounts_->root()};
    for (const spec::Device& device : config_.spec.linux_.devices) {
      const auto type = DeviceType(device.type);
      if (!type) return absl::InvalidArgumentError(absl::StrCat("linux.devices: unknown type \"", device.type, "\""));
      auto found = Find(device.path);
      if (!found.ok()) return found.status();
      if (*found) continue;  // a default device
      if (auto status = MakeParents(device.path); !status.ok()) return status;
      const uint32_t mode = *type | (device.file_mode.value_or(0666) & 07777);
      const uint64_t number = makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
      auto made = MakeNode(context, base, device.path, mode, number, 0);
      if (!made.ok()) return Failed(absl::StrCat("making device ", device.path), made.error());
      AttrChange change;
      change.uid = device.uid.value_or(0);
      change.gid = device.gid.value_or(0);
      auto node = Find(device.path);
      if (node.ok() && *node) (void)(*node)->inode()->SetAttr(context, change);
    }
    return absl::OkStatus();
  }

  static std::optional<uint32_t> DeviceType(const std::string& type) {
    if (type == "c" || type == "u") return S_IFCHR;
    if (type == "b") return S_IFBLK;
    if (type == "p") return S_IFIFO;
    return std::nullopt;
  }

  // A folder is hidden by an empty read-only one, a file by /dev/null.
  absl::Status Mask(const std::string& path) {
    auto point = Find(path);
    if (!point.ok()) return point.status();
    if (!*point) return absl::OkStatus();
    auto attr = (*point)->inode()->GetAttr(KernelContext());
    if (!attr.ok()) return Failed(absl::StrCat("masking ", path), attr.error());
    if (attr->IsDir()) {
      auto empty = NewFs("tmpfs", "tmpfs", "size=0,mode=755", path);
      if (!empty.ok()) return empty.status();
      auto mounted = mounts_->MountAt(**point, *std::move(empty), nullptr, MS_RDONLY, "tmpfs");
      return mounted.ok() ? absl::OkStatus() : Failed(absl::StrCat("masking ", path), mounted.error());
    }
    auto null = Find("/dev/null");
    if (!null.ok()) return null.status();
    if (!*null) return absl::FailedPreconditionError(absl::StrCat("masking ", path, ": there is no /dev/null"));
    auto mounted = mounts_->Bind(**null, **point, false);
    return mounted.ok() ? absl::OkStatus() : Failed(absl::StrCat("masking ", path), mounted.error());
  }

  absl::Status MakeReadOnly(const std::string& path) {
    auto point = Find(path);
    if (!point.ok()) return point.status();
    if (!*point) return absl::OkStatus();
    const MountFlags inherited = (*point)->mount->flags();
    auto mounted = mounts_->Bind(**point, **point, true);
    if (!mounted.ok()) return Failed(absl::StrCat("making ", path, " read-only"), mounted.error());
    (*mounted)->set_flags(inherited | MS_RDONLY);
    return absl::OkStatus();
  }

  // The folders that lead to `path`, as far as they are missing.
  absl::Status MakeParents(const std::string& path) {
    for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      auto made = MakeDir(KernelContext(), WalkBase{mounts_->root(), mounts_->root()}, path.substr(0, slash), 0755, 0);
      if (!made.ok() && !made.Is(EEXIST)) return Failed(absl::StrCat("making ", path.substr(0, slash)), made.error());
    }
    return absl::OkStatus();
  }

  // Finds a mount point, making what is missing as runc does.
  absl::StatusOr<Path> Point(const std::string& destination, bool directory) {
    Context& context = KernelContext();
    const WalkBase base{mounts_->root(), mounts_->root()};
    auto found = Walk(context, base, destination, {});
    if (found.ok()) return *found;
    if (!found.Is(ENOENT)) return Failed(absl::StrCat("mount point ", destination), found.error());
    if (auto status = MakeParents(destination); !status.ok()) return status;
    auto made = directory ? MakeDir(context, base, destination, 0755, 0)
                          : MakeNode(context, base, destination, S_IFREG | 0644, 0, 0);
    if (!made.ok() && !made.Is(EEXIST)) return Failed(absl::StrCat("making mount point ", destination), made.error());
    found = Walk(context, base, destination, {});
    if (!found.ok()) return Failed(absl::StrCat("mount point ", destination), found.error());
    return *found;
  }

  absl::Status Attach(const spec::Mount& mount, RefPtr<FileSystem> fs, const MountOptions& options) {
    auto attr = fs->root()->GetAttr(KernelContext());
    if (!attr.ok()) return Failed(absl::StrCat("mounting ", mount.destination), attr.error());
    auto point = Point(mount.destination, attr->IsDir());
    if (!point.ok()) return point.status();
    if (options.copy_up) {
      const auto copied = CopyTree(*point, fs->root());
      if (!copied.ok()) return Failed(absl::StrCat("mounting ", mount.destination, " (tmpcopyup)"), copied.error());
    }
    auto mounted =
        mounts_->MountAt(*point, std::move(fs), nullptr, options.flags, mount.source.empty() ? "none" : mount.source);
    if (!mounted.ok()) return Failed(absl::StrCat("mounting ", mount.destination), mounted.error());
    if (options.propagation != 0) SetPropagation(*mounted, options.propagation);
    return absl::OkStatus();
  }

  absl::Status MountTree(const spec::Mount& mount, size_t tree) {
    // Shared with the host: somebody else may change it, so nothing is cached for long.
    const MountOptions options = ParseMountOptions(mount.options);
    auto fs = Gofer(
        tree, GoferOptions{.exclusive = false, .read_only = (options.flags & MS_RDONLY) != 0, .origin = mount.source},
        mount.destination);
    if (!fs.ok()) return fs.status();
    return Attach(mount, *std::move(fs), options);
  }

  absl::Status MountType(const spec::Mount& mount) {
    MountOptions options = ParseMountOptions(mount.options);
    std::string type = mount.type;
    // The runtime fills /dev (OCI: default devices), which here is a file system of its own.
    if (mount.destination == "/dev" && type == "tmpfs") type = "devtmpfs";
    if (type == "proc") return Attach(mount, proc::MakeProc(pids_), options);
    if (type == "mqueue") return Attach(mount, MqueueNamespace::Of(*ipc_)->fs(), options);
    if (type == "cgroup") {
      // "cgroup" means the host's groups, whichever version they are (as in runc).
      if (!config_.cgroup_unified) return MountHierarchies(mount, options);
      type = "cgroup2";
    }
    auto fs = NewFs(type, mount.source, options.data, mount.destination);
    if (!fs.ok()) return fs.status();
    return Attach(mount, *std::move(fs), options);
  }

  // A folder with the hierarchies of version 1 in it.
  absl::Status MountHierarchies(const spec::Mount& mount, MountOptions options) {
    auto folder = NewFs("tmpfs", "tmpfs", "mode=755", mount.destination);
    if (!folder.ok()) return folder.status();
    spec::Mount inner = mount;
    inner.source = "tmpfs";
    const MountFlags flags = options.flags;
    options.flags &= ~static_cast<MountFlags>(MS_RDONLY);  // until the mount points in it are made
    if (auto status = Attach(inner, *std::move(folder), options); !status.ok()) return status;
    auto top = Find(mount.destination);
    if (!top.ok()) return top.status();
    options.flags = flags;
    const auto add = [&](const std::string& name, const std::string& data) -> absl::Status {
      inner = {mount.destination + "/" + name, "cgroup", "cgroup", {}};
      auto fs = NewFs("cgroup", "cgroup", data, inner.destination);
      if (!fs.ok()) return fs.status();
      return Attach(inner, *std::move(fs), options);
    };
    for (const char* controller : kCgroupControllers) {
      if (auto status = add(controller, controller); !status.ok()) return status;
    }
    if (auto status = add("systemd", "none,name=systemd"); !status.ok()) return status;
    (**top).mount->set_flags((**top).mount->flags() | (flags & MS_RDONLY));
    return absl::OkStatus();
  }

  const BootConfig& config_;
  const RefPtr<GoferClient> gofer_;
  const RefPtr<IpcNamespace> ipc_;
  const RefPtr<PidNamespace> pids_;
  RefPtr<MountNamespace> mounts_;
};

}  // namespace

absl::StatusOr<RefPtr<MountNamespace>> BuildMounts(const BootConfig& config, const RefPtr<GoferClient>& gofer,
                                                   const RefPtr<IpcNamespace>& ipc, const RefPtr<PidNamespace>& pids) {
  return Builder(config, gofer, ipc, pids).Build();
}

}  // namespace sandbox::boot
