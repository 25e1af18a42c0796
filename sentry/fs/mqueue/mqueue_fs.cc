#include "sentry/fs/mqueue/mqueue_fs.h"

#include <dirent.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/fs_registry.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/operations.h"
#include "sentry/vfs/permissions.h"
#include "sentry/vfs/walker.h"

namespace sandbox {
namespace {

constexpr uint64_t kMqueueMagic = 0x19800202;  // MQUEUE_MAGIC of Linux's ipc/mqueue.c
// sizeof(struct msg_msg) and sizeof(struct posix_msg_tree_node): what RLIMIT_MSGQUEUE counts beside
// the bytes.
constexpr uint64_t kMessageCost = 48, kPriorityCost = 48;
constexpr int64_t kPriorities = 32768;  // MQ_PRIO_MAX

class MqueueRoot final : public Inode {
 public:
  explicit MqueueRoot(MqueueFs& fs) : Inode(fs), ino_(fs.NextIno()) {
    set_type(S_IFDIR);
    attr_.mode = S_IFDIR | 01777;
    attr_.nlink = 2;
    attr_.ino = ino_;
    attr_.atime = attr_.mtime = attr_.ctime = FileTimeNow();
  }

  Result<Attr> GetAttr(Context&) override {
    MutexLock lock(mu_);
    return attr_;
  }
  Result<void> SetAttr(Context&, const AttrChange& change) override {
    MutexLock lock(mu_);
    if (change.mode) attr_.mode = S_IFDIR | (*change.mode & 07777);
    if (change.uid) attr_.uid = *change.uid;
    if (change.gid) attr_.gid = *change.gid;
    attr_.ctime = FileTimeNow();
    if (change.atime) attr_.atime = *change.atime;
    if (change.mtime) attr_.mtime = *change.mtime;
    return {};
  }
  Result<InodeRef> Lookup(Context&, std::string_view name) override {
    MutexLock lock(mu_);
    const auto it = queues_.find(name);
    if (it == queues_.end()) return Err(ENOENT);
    return InodeRef(it->second);
  }
  Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args) override {
    if (!S_ISREG(args.mode)) return Err(EPERM);
    auto queue = TRY(std::static_pointer_cast<MqueueFs>(fs())->MakeQueue(context, args));
    MutexLock lock(mu_);
    queues_.emplace(name, queue);
    attr_.mtime = attr_.ctime = FileTimeNow();
    return InodeRef(queue);
  }
  Result<void> Unlink(Context&, std::string_view name, const InodeRef& victim) override {
    static_cast<Mqueue&>(*victim).Unlinked();
    MutexLock lock(mu_);
    if (const auto it = queues_.find(name); it != queues_.end()) queues_.erase(it);
    attr_.mtime = attr_.ctime = FileTimeNow();
    return {};
  }
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;

  void ReadEntries(DirSink& sink, int64_t* position) {
    std::vector<std::pair<std::string, uint64_t>> entries = {{".", ino_}, {"..", ino_}};
    std::vector<std::pair<std::string, RefPtr<Mqueue>>> queues;
    {
      MutexLock lock(mu_);
      queues.assign(queues_.begin(), queues_.end());
    }
    for (const auto& [name, queue] : queues) entries.emplace_back(name, InoOf(*queue));
    for (auto at = static_cast<size_t>(std::max<int64_t>(*position, 0)); at < entries.size(); ++at) {
      const uint8_t type = at < 2 ? DT_DIR : DT_REG;
      if (!sink.Emit(entries[at].first, entries[at].second, type, static_cast<int64_t>(at) + 1)) return;
      *position = static_cast<int64_t>(at) + 1;
    }
  }

 private:
  static uint64_t InoOf(Mqueue& queue) {
    const auto attr = queue.GetAttr(KernelContext());
    return attr.ok() ? attr->ino : 0;
  }

  const uint64_t ino_;
  mutable Mutex mu_{LockRank::kInode};
  Attr attr_ GUARDED_BY(mu_);
  std::map<std::string, RefPtr<Mqueue>, std::less<>> queues_ GUARDED_BY(mu_);
};

class MqueueDirectoryFile final : public FileDescription {
 public:
  using FileDescription::FileDescription;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context&, int64_t offset, int whence) override {
    if (whence != SEEK_END) return Err(EINVAL);
    return offset;
  }
  Result<void> ReadDir(Context&, DirSink& sink, int64_t* position) override {
    static_cast<MqueueRoot&>(*path().dentry->inode()).ReadEntries(sink, position);
    return {};
  }
};

Result<FileRef> MqueueRoot::Open(Context&, const Path& path, int flags) {
  return FileRef(MakeRef<MqueueDirectoryFile>(path, flags));
}

// Linux: mq_attr_ok and the checks of mqueue_get_inode.
Result<void> CheckShape(Context& context, const MqueueAccounts& limits, const MqueueShape& shape) {
  if (shape.max_messages <= 0 || shape.message_size <= 0) return Err(EINVAL);
  const bool privileged = context.creds().Has(CAP_SYS_RESOURCE);
  const int64_t most = privileged ? MqueueFs::kHardMaxMessages : limits.msg_max.load();
  const int64_t largest = privileged ? MqueueFs::kHardMessageSize : limits.msgsize_max.load();
  if (shape.max_messages > most || shape.message_size > largest) return Err(EINVAL);
  return {};
}

uint64_t Cost(const MqueueShape& shape) {
  const auto messages = static_cast<uint64_t>(shape.max_messages);
  const auto priorities = static_cast<uint64_t>(std::min(shape.max_messages, kPriorities));
  return messages * kMessageCost + priorities * kPriorityCost + messages * static_cast<uint64_t>(shape.message_size);
}

// A name is one component (Linux: lookup_one_len).
Result<void> CheckName(std::string_view name) {
  if (name.empty()) return Err(ENOENT);
  if (name == "." || name == ".." || name.find('/') != std::string_view::npos) return Err(EACCES);
  if (name.size() > 255) return Err(ENAMETOOLONG);
  return {};
}

const FileSystemTypeRegistrar registrar({
    .name = "mqueue",
    .create = [](Context& context, std::string_view, std::string_view) -> Result<RefPtr<FileSystem>> {
      const Task* task = Task::Of(context);
      if (task == nullptr) return Err(EINVAL);  // boot names the namespace itself
      return RefPtr<FileSystem>(MqueueNamespace::Of(*task->ipc())->fs());
    },
});

}  // namespace

RefPtr<MqueueFs> MqueueFs::Create() {
  auto fs = MakeRef<MqueueFs>();
  fs->root_ = MakeRef<MqueueRoot>(*fs);
  return fs;
}

RefPtr<MqueueNamespace> MqueueNamespace::Of(IpcNamespace& ipc) {
  return ipc.Table<MqueueNamespace>(IpcNamespace::kMqueue, [] { return MakeRef<MqueueNamespace>(); });
}

Result<FsStat> MqueueFs::StatFs(Context&) {
  FsStat stat;
  stat.type = kMqueueMagic;
  stat.fsid = device();
  return stat;
}

bool MqueueAccounts::TakeBytes(size_t bytes) {
  if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMaxBytes) return true;
  ReturnBytes(bytes);
  return false;
}

Result<void> MqueueAccounts::Charge(Context& context, uint32_t uid, uint64_t cost) {
  const bool privileged = context.creds().Has(CAP_SYS_RESOURCE);
  const uint64_t limit = context.rlimit(RLIMIT_MSGQUEUE);
  MutexLock lock(mu_);
  if (queues_ >= queues_max.load() && !privileged) return Err(ENOSPC);
  uint64_t& charged = charges_[uid];
  if (charged + cost > limit) return Err(EMFILE);
  charged += cost;
  ++queues_;
  return {};
}

void MqueueAccounts::Uncharge(uint32_t uid, uint64_t cost) {
  MutexLock lock(mu_);
  --queues_;
  const auto it = charges_.find(uid);
  if (it != charges_.end() && (it->second -= std::min(it->second, cost)) == 0) charges_.erase(it);
}

Result<RefPtr<Mqueue>> MqueueFs::MakeQueue(Context& context, const CreateArgs& args) {
  MqueueShape shape{std::min(accounts_->msg_max.load(), accounts_->msg_default.load()),
                    std::min(accounts_->msgsize_max.load(), accounts_->msgsize_default.load())};
  if (wanted_shape_ != nullptr) shape = *wanted_shape_;
  TRY(CheckShape(context, *accounts_, shape));
  const uint64_t cost = Cost(shape);
  TRY(accounts_->Charge(context, args.uid, cost));
  return MakeRef<Mqueue>(*this, args, shape, accounts_, cost);
}

Result<FileRef> MqueueNamespace::Open(Context& context, std::string_view name, int flags, uint32_t mode,
                                      const MqueueShape* shape) {
  TRY(CheckName(name));
  const Path root = RootPath();
  Path found{root.mount, nullptr};
  bool created = false;
  {
    MutexLock lock(root.dentry->lock());
    found.dentry = TRY(LookupChildLocked(context, root, name));
    if (found.dentry->IsNegative()) {
      if (!(flags & O_CREAT)) return Err(ENOENT);
      CreateArgs args;
      args.mode = S_IFREG | (mode & 07777);
      fs_->set_wanted_shape(shape);
      auto made = CreateEntry(context, root, name, std::move(args));
      fs_->set_wanted_shape(nullptr);
      found.dentry = TRY(std::move(made));
      created = true;
    }
  }
  flags &= O_ACCMODE | O_NONBLOCK | O_CREAT | O_EXCL;
  if (created) return found.dentry->inode()->Open(context, found, flags);
  if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return Err(EEXIST);
  if ((flags & O_ACCMODE) == O_ACCMODE) return Err(EINVAL);
  return OpenPath(context, found, flags & ~(O_CREAT | O_EXCL));
}

Result<void> MqueueNamespace::Unlink(Context& context, std::string_view name) {
  TRY(CheckName(name));
  const Path root = RootPath();
  return sandbox::Unlink(context, WalkBase{root, root}, name);
}

}  // namespace sandbox
