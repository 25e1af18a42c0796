#include "runsc/boot/mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/boot/mount_options.h"
#include "runsc/spec/bundle.h"
#include "sentry/fs/gofer/fs.h"
#include "sentry/fs/mqueue/mqueue_fs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/operations.h"

namespace sandbox::boot {
namespace {

absl::Status Failed(const std::string& what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(error.value())));
}

class Builder {
 public:
  Builder(const BootConfig& config, const RefPtr<GoferClient>& gofer,
          const RefPtr<IpcNamespace>& ipc)
      : config_(config), gofer_(gofer), ipc_(ipc) {}

  absl::StatusOr<RefPtr<MountNamespace>> Build() {
    if (auto status = MountRoot(); !status.ok()) return status;
    size_t next_tree = 1;
    for (const spec::Mount& mount : config_.spec.mounts) {
      auto status = spec::IsBind(mount) ? MountTree(mount, next_tree++) : MountType(mount);
      if (!status.ok()) return status;
    }
    return mounts_;
  }

 private:
  absl::StatusOr<RefPtr<FileSystem>> Gofer(size_t tree, GoferOptions options,
                                           const std::string& where) {
    auto fs = GoferFs::Create(gofer_, tree, options);
    if (!fs.ok()) return Failed(absl::StrCat("mounting ", where), fs.error());
    return RefPtr<FileSystem>(*fs);
  }

  absl::StatusOr<RefPtr<FileSystem>> NewFs(const std::string& type, const std::string& source,
                                           const std::string& data, const std::string& where) {
    const FileSystemType* fs_type = FindFileSystemType(type);
    if (fs_type == nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat("mounting ", where, ": unknown type \"", type, "\""));
    auto fs = fs_type->create(KernelContext(), source, data);
    if (!fs.ok())
      return Failed(absl::StrCat("mounting ", where, " (type ", type, ", options \"", data, "\")"),
                    fs.error());
    return *fs;
  }

  absl::Status MountRoot() {
    auto lower =
        Gofer(0,
              GoferOptions{.exclusive = true,
                           .read_only = config_.overlay != "none" || config_.spec.root.readonly},
              "/");
    if (!lower.ok()) return lower.status();
    RefPtr<FileSystem> root = *lower;
    if (config_.overlay == "memory") {
      auto upper = NewFs("tmpfs", "none", "mode=755", "the root's overlay");
      if (!upper.ok()) return upper.status();
      auto overlay = MakeOverlay(KernelContext(), *upper, {root});
      if (!overlay.ok()) return Failed("the root's overlay", overlay.error());
      root = *overlay;
    }
    mounts_ = MountNamespace::Create(root, config_.spec.root.readonly ? MS_RDONLY : 0, "none");
    return absl::OkStatus();
  }

  // Finds a mount point, making what is missing as runc does.
  absl::StatusOr<Path> Point(const std::string& destination, bool directory) {
    Context& context = KernelContext();
    const WalkBase base{mounts_->root(), mounts_->root()};
    auto found = Walk(context, base, destination, {});
    if (found.ok()) return *found;
    if (!found.Is(ENOENT)) return Failed(absl::StrCat("mount point ", destination), found.error());
    for (size_t slash = destination.find('/', 1); slash != std::string::npos;
         slash = destination.find('/', slash + 1)) {
      auto made = MakeDir(context, base, destination.substr(0, slash), 0755, 0);
      if (!made.ok() && !made.Is(EEXIST))
        return Failed(absl::StrCat("making ", destination.substr(0, slash)), made.error());
    }
    auto made = directory ? MakeDir(context, base, destination, 0755, 0)
                          : MakeNode(context, base, destination, S_IFREG | 0644, 0, 0);
    if (!made.ok() && !made.Is(EEXIST))
      return Failed(absl::StrCat("making mount point ", destination), made.error());
    found = Walk(context, base, destination, {});
    if (!found.ok()) return Failed(absl::StrCat("mount point ", destination), found.error());
    return *found;
  }

  absl::Status Attach(const spec::Mount& mount, RefPtr<FileSystem> fs,
                      const MountOptions& options) {
    auto attr = fs->root()->GetAttr(KernelContext());
    if (!attr.ok()) return Failed(absl::StrCat("mounting ", mount.destination), attr.error());
    auto point = Point(mount.destination, attr->IsDir());
    if (!point.ok()) return point.status();
    auto mounted = mounts_->MountAt(*point, std::move(fs), nullptr, options.flags,
                                    mount.source.empty() ? "none" : mount.source);
    if (!mounted.ok()) return Failed(absl::StrCat("mounting ", mount.destination), mounted.error());
    if (options.propagation != 0)
      (*mounted)->set_propagation(options.propagation & ~static_cast<unsigned long>(MS_REC));
    return absl::OkStatus();
  }

  absl::Status MountTree(const spec::Mount& mount, size_t tree) {
    // Shared with the host: somebody else may change it, so nothing is cached for long.
    const MountOptions options = ParseMountOptions(mount.options);
    auto fs =
        Gofer(tree, GoferOptions{.exclusive = false, .read_only = (options.flags & MS_RDONLY) != 0},
              mount.destination);
    if (!fs.ok()) return fs.status();
    return Attach(mount, *std::move(fs), options);
  }

  absl::Status MountType(const spec::Mount& mount) {
    MountOptions options = ParseMountOptions(mount.options);
    std::string type = mount.type;
    // The runtime fills /dev (OCI: default devices), which here is a file system of its own.
    if (mount.destination == "/dev" && type == "tmpfs") type = "devtmpfs";
    if (type == "mqueue") return Attach(mount, MqueueNamespace::Of(*ipc_)->fs(), options);
    // Types this kernel does not have yet: engines always mount them and most programs never look,
    // so an empty folder stands there.
    if ((type == "cgroup" || type == "cgroup2") && FindFileSystemType(type) == nullptr) {
      LOGF(kInfo, "mounting %s: no %s here, an empty folder instead", mount.destination.c_str(),
           type.c_str());
      type = "tmpfs";
      options.data.clear();
    }
    auto fs = NewFs(type, mount.source, options.data, mount.destination);
    if (!fs.ok()) return fs.status();
    return Attach(mount, *std::move(fs), options);
  }

  const BootConfig& config_;
  const RefPtr<GoferClient> gofer_;
  const RefPtr<IpcNamespace> ipc_;
  RefPtr<MountNamespace> mounts_;
};

}  // namespace

absl::StatusOr<RefPtr<MountNamespace>> BuildMounts(const BootConfig& config,
                                                   const RefPtr<GoferClient>& gofer,
                                                   const RefPtr<IpcNamespace>& ipc) {
  return Builder(config, gofer, ipc).Build();
}

}  // namespace sandbox::boot
