#include "sentry/fs/devpts/devpts_fs.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <charconv>
#include <cstdio>

#include "sentry/fs/devpts/host_tty.h"
#include "sentry/fs/devpts/pty_files.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/walk.h"

namespace sandbox {
namespace {

using synthetic::Node;

// A node whose owner and mode may be changed (grantpt(3), tty's chown by login).
class DeviceNode : public Node {
 public:
  DeviceNode(DevptsFs& fs, uint32_t mode, uint64_t rdev, uint32_t uid, uint32_t gid)
      : Node(fs, S_IFCHR | mode), rdev_(rdev), mode_(S_IFCHR | mode), uid_(uid), gid_(gid) {}

  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Node::GetAttr(context));
    attr.rdev = rdev_;
    attr.mode = mode_.load();
    attr.uid = uid_.load();
    attr.gid = gid_.load();
    attr.nlink = 1;
    return attr;
  }
  Result<void> SetAttr(Context&, const AttrChange& change) override {
    if (change.mode) mode_.store(S_IFCHR | (*change.mode & 07777));
    if (change.uid) uid_.store(*change.uid);
    if (change.gid) gid_.store(*change.gid);
    return {};
  }

 private:
  const uint64_t rdev_;
  std::atomic<uint32_t> mode_, uid_, gid_;
};

class SlaveNode final : public DeviceNode {
 public:
  SlaveNode(DevptsFs& fs, uint32_t mode, const RefPtr<Pty>& pty, uint32_t uid, uint32_t gid)
      : DeviceNode(fs, mode, pty->device(), uid, gid), pty_(pty) {}
  Result<FileRef> Open(Context& context, const Path& path, int flags) override {
    const auto pty = pty_.lock();
    if (pty == nullptr) return Err(ENXIO);
    return OpenPtySlave(context, pty, path, flags);
  }

 private:
  const WeakRef<Pty> pty_;
};

// The host's terminal.
class HostNode final : public DeviceNode {
 public:
  HostNode(DevptsFs& fs, uint32_t mode, const RefPtr<HostTerminal>& terminal, uint32_t uid, uint32_t gid)
      : DeviceNode(fs, mode, terminal->device(), uid, gid), terminal_(terminal) {}
  Result<FileRef> Open(Context& context, const Path& path, int flags) override {
    const auto terminal = terminal_.lock();
    if (terminal == nullptr) return Err(ENXIO);
    FileRef file = TRY(terminal->OpenTerminal(context, path, flags));
    Task* task = Task::Of(context);
    if (!(flags & O_NOCTTY) && task != nullptr) JobControl::AcquireOnOpen(*task, terminal);
    return file;
  }

 private:
  const WeakRef<HostTerminal> terminal_;
};

class PtmxNode final : public DeviceNode {
 public:
  PtmxNode(DevptsFs& fs, uint32_t mode) : DeviceNode(fs, mode, makedev(5, 2), 0, 0) {}
  Result<FileRef> Open(Context& context, const Path& path, int flags) override {
    auto owner = std::static_pointer_cast<DevptsFs>(fs());
    if (owner == nullptr) return Err(ENXIO);
    return owner->OpenMaster(context, path, flags);
  }
};

Result<uint32_t> ParseNumber(std::string_view text, int base) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return Err(EINVAL);
  return value;
}

Result<DevptsOptions> ParseOptions(std::string_view text) {
  DevptsOptions options;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    if (key.empty() || key == "newinstance") continue;
    const uint32_t number = TRY(ParseNumber(value, key == "mode" || key == "ptmxmode" ? 8 : 10));
    if (key == "mode") {
      options.mode = number & 0777;
    } else if (key == "ptmxmode") {
      options.ptmx_mode = number & 0777;
    } else if (key == "uid") {
      options.uid = number;
    } else if (key == "gid") {
      options.gid = number;
    } else if (key == "max") {
      options.max = number;
    } else {
      return Err(EINVAL);
    }
  }
  return options;
}

const FileSystemTypeRegistrar registrar({"devpts", &DevptsFs::Create});

}  // namespace

// The root directory: ptmx, and a node for each open pair.
class DevptsRoot final : public synthetic::StaticDirectory {
 public:
  explicit DevptsRoot(DevptsFs& fs) : StaticDirectory(fs, 0755), devpts_(fs) {}

 protected:
  Result<InodeRef> FindDynamic(Context&, std::string_view name) override {
    const auto index = ParseNumber(name, 10);
    if (!index.ok()) return Err(ENOENT);
    MutexLock lock(devpts_.mu_);
    auto it = devpts_.slaves_.find(*index);
    if (it == devpts_.slaves_.end() || std::to_string(*index) != name) return Err(ENOENT);
    return InodeRef(it->second);
  }
  Result<void> ListDynamic(Context&, std::vector<synthetic::Entry>& entries) override {
    MutexLock lock(devpts_.mu_);
    for (const auto& [index, node] : devpts_.slaves_) entries.push_back({std::to_string(index), node->ino(), DT_CHR});
    return {};
  }

 private:
  DevptsFs& devpts_;  // owns this
};

DevptsFs::DevptsFs(const DevptsOptions& options) : Fs("devpts", DEVPTS_SUPER_MAGIC), options_(options) {}

Result<RefPtr<FileSystem>> DevptsFs::Create(Context&, std::string_view, std::string_view text) {
  const DevptsOptions options = TRY(ParseOptions(text));
  RefPtr<DevptsFs> fs(new DevptsFs(options));
  auto root = MakeRef<DevptsRoot>(*fs);
  root->Add("ptmx", MakeRef<PtmxNode>(*fs, options.ptmx_mode));
  fs->SetRoot(root);
  return RefPtr<FileSystem>(fs);
}

std::string DevptsFs::MountOptions() const {
  std::string text;
  char item[32];
  if (options_.gid) {
    std::snprintf(item, sizeof(item), "gid=%u,", *options_.gid);
    text += item;
  }
  std::snprintf(item, sizeof(item), "mode=%o,ptmxmode=%03o", options_.mode, options_.ptmx_mode);
  return text + item;
}

Result<FileRef> DevptsFs::OpenMaster(Context& context, const Path& path, int flags) {
  Task* task = Task::Of(context);
  if (task == nullptr) return Err(ENXIO);
  RefPtr<Pty> pty;
  {
    MutexLock lock(mu_);
    const uint32_t index = TRY(FreeIndexLocked());
    WeakRef<FileSystem> weak = weak_from_this();
    pty = MakeRef<Pty>(task->kernel(), index, [weak, index] {
      if (auto fs = std::static_pointer_cast<DevptsFs>(weak.lock())) fs->Release(index);
    });
    slaves_[index] = MakeRef<SlaveNode>(*this, options_.mode, pty, options_.uid.value_or(context.creds().fsuid),
                                        options_.gid.value_or(context.creds().fsgid));
  }
  return FileRef(MakeRef<PtyMaster>(path, flags, std::move(pty)));
}

Result<uint32_t> DevptsFs::FreeIndexLocked() const {
  uint32_t index = 0;
  for (const auto& [taken, node] : slaves_) {
    if (taken != index) break;
    ++index;
  }
  return index < options_.max ? Result<uint32_t>(index) : Err(ENOSPC);
}

Result<uint32_t> DevptsFs::Show(const RefPtr<HostTerminal>& terminal) {
  MutexLock lock(mu_);
  const uint32_t index = TRY(FreeIndexLocked());
  WeakRef<FileSystem> weak = weak_from_this();
  terminal->ShownAs(index, [weak, index] {
    if (auto fs = std::static_pointer_cast<DevptsFs>(weak.lock())) fs->Release(index);
  });
  slaves_[index] =
      MakeRef<HostNode>(*this, options_.mode, terminal, options_.uid.value_or(0), options_.gid.value_or(0));
  return index;
}

void DevptsFs::Release(uint32_t index) {
  RefPtr<Node> node;  // destroyed after the lock
  MutexLock lock(mu_);
  auto it = slaves_.find(index);
  if (it == slaves_.end()) return;
  node = std::move(it->second);
  slaves_.erase(it);
}

namespace {

// The root of the devpts that a device node at `path` stands for.
Result<Path> DevptsRootFor(Context& context, const Path& path) {
  Task* task = Task::Of(context);
  const DentryRef parent = path.dentry->parent();
  if (task == nullptr || parent == nullptr) return Err(ENODEV);
  const Path directory{path.mount, parent};
  if (std::dynamic_pointer_cast<DevptsFs>(path.inode()->fs()) != nullptr) return directory;
  return Walk(context, WalkBase{task->fs().root(), directory}, "pts", WalkOptions{});
}

}  // namespace

Result<RefPtr<DevptsFs>> FindDevpts(Context& context, const Path& path) {
  if (auto own = std::dynamic_pointer_cast<DevptsFs>(path.inode()->fs())) return own;
  const auto root = DevptsRootFor(context, path);
  auto fs = root.ok() ? std::dynamic_pointer_cast<DevptsFs>(root->inode()->fs()) : nullptr;
  if (fs == nullptr) return Err(ENODEV);
  return fs;
}

Result<Path> FindSlave(Context& context, const Path& master, uint32_t index) {
  const Path root = TRY(DevptsRootFor(context, master));
  return Walk(context, WalkBase{Task::Of(context)->fs().root(), root}, std::to_string(index), WalkOptions{});
}

}  // namespace sandbox
