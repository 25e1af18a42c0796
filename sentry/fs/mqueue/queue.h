// One POSIX message queue (mq_overview(7)): an inode of the mqueue file system, and the open
// description of it.
#pragma once

#include <signal.h>

#include <array>
#include <map>
#include <string>

#include "base/mutex.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/socket/socket.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

namespace sandbox {

class MqueueAccounts;
class MqueueFs;

// mq_attr's limits, fixed when the queue is made.
struct MqueueShape {
  int64_t max_messages = 0;
  int64_t message_size = 0;  // bytes, of the largest
};

// Who is told when a message comes to an empty queue, once (mq_notify(3)).
struct MqueueNotice {
  ThreadGroupRef owner;  // null = nobody
  int how = SIGEV_NONE;
  int signo = 0;
  uint64_t value = 0;
  // SIGEV_THREAD: the C library reads this cookie from the netlink socket, with a mark in the last
  // byte.
  SocketRef socket;
  std::array<char, 32> cookie = {};
};

class Mqueue final : public Inode {
 public:
  Mqueue(MqueueFs& fs, const CreateArgs& args, const MqueueShape& shape, std::shared_ptr<MqueueAccounts> accounts,
         uint64_t cost);
  ~Mqueue() override;

  const MqueueShape& shape() const { return shape_; }
  int64_t messages() const;
  // EAGAIN when full; ENOMEM when the sandbox holds too many bytes. `bytes` is at most
  // shape().message_size.
  Result<void> Send(Context& context, std::string bytes, uint32_t priority);
  struct Message {
    std::string bytes;
    uint32_t priority = 0;
  };
  Result<Message> Receive();  // EAGAIN when empty
  // EBUSY when somebody is registered.
  Result<void> Register(MqueueNotice notice);
  // `group` closed a descriptor of the queue, or took its registration back.
  void Unregister(const ThreadGroup& group);
  // Threads inside mq_receive: a message for one of them is no news to the registered process.
  void CountReceiver(int delta);

  std::string StatusText() const;
  EventMask Readiness() const;
  WaitQueue& wait_queue() { return wait_queue_; }

  // --- Inode. ---
  Result<Attr> GetAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;
  void Unlinked();

 private:
  const std::shared_ptr<MqueueAccounts> accounts_;
  const MqueueShape shape_;
  const uint64_t cost_;  // charged for RLIMIT_MSGQUEUE
  const uint32_t charged_uid_;
  mutable Mutex mu_{LockRank::kIpc};
  Attr attr_ GUARDED_BY(mu_);
  std::multimap<uint32_t, std::string, std::greater<>> messages_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
  int receivers_ GUARDED_BY(mu_) = 0;
  MqueueNotice notice_ GUARDED_BY(mu_);
  WaitQueue wait_queue_;
};

class MqueueFile final : public FileDescription {
 public:
  MqueueFile(Path path, int flags, RefPtr<Mqueue> queue)
      : FileDescription(std::move(path), flags), queue_(std::move(queue)) {}
  Mqueue& queue() { return *queue_; }

  // The state as text, as Linux shows it.
  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override;
  EventMask Readiness(Context&, EventMask) override { return queue_->Readiness(); }
  WaitQueue* wait_queue() override { return &queue_->wait_queue(); }
  Result<void> OnClose(Context& context) override;

 private:
  const RefPtr<Mqueue> queue_;
};

// EBADF when `file` is no message queue.
Result<RefPtr<MqueueFile>> AsMqueue(const FileRef& file);

}  // namespace sandbox
