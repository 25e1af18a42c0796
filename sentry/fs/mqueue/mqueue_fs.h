// The file system of the POSIX message queues of one IPC namespace: a flat directory. mq_open(3)
// works whether it is mounted or not.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "sentry/fs/mqueue/queue.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/vfs/mount.h"

namespace sandbox {

// Settings of /proc/sys/fs/mqueue and what the queues of a namespace have taken. Queues keep it
// alive, not their file system.
class MqueueAccounts {
 public:
  static constexpr size_t kMaxBytes = 64 << 20;  // what all queues may hold: it is the sentry's memory

  std::atomic<int64_t> queues_max{256}, msg_max{10}, msgsize_max{8192}, msg_default{10}, msgsize_default{8192};

  bool TakeBytes(size_t bytes);
  void ReturnBytes(size_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  // One more queue of `uid`, whose cost RLIMIT_MSGQUEUE bounds: ENOSPC, EMFILE.
  Result<void> Charge(Context& context, uint32_t uid, uint64_t cost);
  void Uncharge(uint32_t uid, uint64_t cost);

 private:
  std::atomic<size_t> bytes_{0};
  Mutex mu_{LockRank::kLeaf};
  int64_t queues_ GUARDED_BY(mu_) = 0;
  std::map<uint32_t, uint64_t> charges_ GUARDED_BY(mu_);  // by user
};

class MqueueFs final : public FileSystem {
 public:
  static constexpr int64_t kHardMaxMessages = 65536;     // HARD_MSGMAX
  static constexpr int64_t kHardMessageSize = 16 << 20;  // HARD_MSGSIZEMAX

  static RefPtr<MqueueFs> Create();
  std::string_view type_name() const override { return "mqueue"; }
  InodeRef root() override { return root_; }
  Result<FsStat> StatFs(Context& context) override;
  MqueueAccounts& accounts() { return *accounts_; }
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

  // For the root directory, with its dentry's lock: a queue with the shape that mq_open(3) asked
  // for, charged.
  Result<RefPtr<Mqueue>> MakeQueue(Context& context, const CreateArgs& args);
  void set_wanted_shape(const MqueueShape* shape) { wanted_shape_ = shape; }

 private:
  InodeRef root_;
  const std::shared_ptr<MqueueAccounts> accounts_ = std::make_shared<MqueueAccounts>();
  std::atomic<uint64_t> next_ino_{1};
  const MqueueShape* wanted_shape_ = nullptr;  // of the mq_open under way, null = the defaults; lock as above
};

// The queues of one IPC namespace, with a mount that no mount namespace shows, to resolve names in.
class MqueueNamespace {
 public:
  MqueueNamespace() : fs_(MqueueFs::Create()), mount_(MakeRef<Mount>(fs_, nullptr, 0, "mqueue")) {}
  // The namespace's, made on first use.
  static RefPtr<MqueueNamespace> Of(IpcNamespace& ipc);
  const RefPtr<MqueueFs>& fs() const { return fs_; }

  // mq_open(3) with the umask applied to `mode`. `shape` null = the defaults. EACCES, EEXIST,
  // EINVAL, EMFILE (RLIMIT_MSGQUEUE), ENOENT, ENOSPC.
  Result<FileRef> Open(Context& context, std::string_view name, int flags, uint32_t mode, const MqueueShape* shape);
  Result<void> Unlink(Context& context, std::string_view name);

 private:
  Path RootPath() const { return {mount_, mount_->root()}; }

  const RefPtr<MqueueFs> fs_;
  const MountRef mount_;
};

}  // namespace sandbox
