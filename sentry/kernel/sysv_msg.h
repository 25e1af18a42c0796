// System V message queues (msgop(2)): typed messages, taken in order of arrival or by type.
#pragma once

#include <sys/msg.h>

#include <list>
#include <memory>
#include <vector>

#include "sentry/core/wait_queue.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/sysv_ipc.h"

namespace sandbox {

struct SysvMessage {
  int64_t type = 0;
  std::vector<uint8_t> bytes;
};

// Memory of the messages of all queues of a namespace, bounded so that guests cannot fill the
// sentry.
class MessageMemory {
 public:
  static constexpr int64_t kMost = 64 << 20;
  static constexpr int64_t kPerMessage = 128;  // what a message costs beside its bytes
  // ENOMEM.
  Result<void> Take(size_t bytes) {
    const auto size = static_cast<int64_t>(bytes) + kPerMessage;
    if (used_.fetch_add(size, std::memory_order_relaxed) + size <= kMost) return {};
    used_.fetch_sub(size, std::memory_order_relaxed);
    return Err(ENOMEM);
  }
  void Return(size_t bytes) { used_.fetch_sub(static_cast<int64_t>(bytes) + kPerMessage, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> used_{0};
};

class MessageQueue {
 public:
  static constexpr size_t kMaxMessage = 8192;   // MSGMAX
  static constexpr uint64_t kMaxBytes = 16384;  // MSGMNB

  MessageQueue(std::shared_ptr<MessageMemory> memory, uint64_t most_bytes);
  ~MessageQueue();

  // msgsnd(2): EAGAIN with `wait` off, EIDRM, EINTR, ENOMEM. `message.type` is positive.
  Result<void> Send(Context& context, SysvMessage message, bool wait);
  // msgrcv(2): `type` and `flags` are its own. ENOMSG, E2BIG, EIDRM, EINTR.
  Result<SysvMessage> Receive(Context& context, size_t most, int64_t type, int flags);

  struct State {
    uint64_t bytes = 0, messages = 0, most_bytes = 0;
    int32_t last_sender = 0, last_receiver = 0;
    int64_t send_time = 0, receive_time = 0, change_time = 0;  // seconds
  };
  State state() const;
  void SetMostBytes(uint64_t bytes);  // IPC_SET
  void Destroy();                     // IPC_RMID: waiters get EIDRM

  IpcPermissions permissions;  // the table's lock
  int id = 0;

 private:
  Result<void> TrySend(SysvMessage& message, int32_t pid);
  Result<SysvMessage> TryReceive(size_t most, int64_t type, int flags, int32_t pid);
  std::list<SysvMessage>::iterator Select(int64_t type, int flags) REQUIRES(mu_);

  const std::shared_ptr<MessageMemory> memory_;
  mutable Mutex mu_{LockRank::kIpc};
  std::list<SysvMessage> messages_ GUARDED_BY(mu_);
  State state_ GUARDED_BY(mu_);
  bool destroyed_ GUARDED_BY(mu_) = false;
  WaitQueue queue_;  // kReadable: a message came; kWritable: room came
};

class MessageTable final : public IpcTable<MessageQueue> {
 public:
  static constexpr size_t kMaxQueues = 32000;  // MSGMNI
  MessageTable() : IpcTable(kMaxQueues), memory_(std::make_shared<MessageMemory>()) {}
  static RefPtr<MessageTable> Of(IpcNamespace& ipc);
  Result<int> Get(Context& context, int32_t key, int flags);

  // /proc/sys/kernel/msgmax and msgmnb: the largest message, and the bytes a new queue takes.
  std::atomic<int64_t> max_message{MessageQueue::kMaxMessage}, max_bytes{MessageQueue::kMaxBytes};

 private:
  const std::shared_ptr<MessageMemory> memory_;
};

}  // namespace sandbox
