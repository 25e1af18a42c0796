// msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include <linux/capability.h>
#include <sys/msg.h>

#include "sentry/kernel/sysv_msg.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

RefPtr<MessageTable> Table(Task& task) { return MessageTable::Of(*task.ipc()); }

// The queue, with the permission `wanted` for the caller: EINVAL, EACCES.
Result<RefPtr<MessageQueue>> FindAllowed(Task& task, int id, uint32_t wanted) {
  const auto table = Table(task);
  const auto queue = TRY(table->Find(id));
  TRY(table->WithLock([&] { return CheckIpc(task.creds(), queue->permissions, wanted); }));
  return queue;
}

Result<int> SysMsgget(Task& task, int32_t key, int flags) { return Table(task)->Get(task, key, flags); }
SYSCALL_ROW(msgget, Lane::kShort, Support::kFull, SysMsgget, "");

Result<void> SysMsgsnd(Task& task, int id, GuestAddr buffer, uint64_t size, int flags) {
  SysvMessage message;
  message.type = TRY(InPtr<int64_t>(buffer).Read(task.memory()));
  if (size > static_cast<uint64_t>(Table(task)->max_message.load()) || id < 0 || message.type < 1) return Err(EINVAL);
  message.bytes = TRY(InPtr<uint8_t>(GuestAddr(buffer.value() + sizeof(int64_t))).ReadArray(task.memory(), size));
  const auto queue = TRY(FindAllowed(task, id, 0222));
  return queue->Send(task, std::move(message), !(flags & IPC_NOWAIT));
}
SYSCALL_ROW(msgsnd, Lane::kMayBlock, Support::kFull, SysMsgsnd, "");

Result<int64_t> SysMsgrcv(Task& task, int id, GuestAddr buffer, uint64_t size, int64_t type, int flags) {
  if (id < 0 || static_cast<int64_t>(size) < 0) return Err(EINVAL);
  if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT))) return Err(EINVAL);
  const auto queue = TRY(FindAllowed(task, id, 0444));
  const SysvMessage message = TRY(queue->Receive(task, size, type, flags));
  TRY(OutPtr<int64_t>(buffer).Write(task.memory(), message.type));
  TRY(OutPtr<uint8_t>(GuestAddr(buffer.value() + sizeof(int64_t))).WriteArray(task.memory(), message.bytes));
  return static_cast<int64_t>(message.bytes.size());
}
SYSCALL_ROW(msgrcv, Lane::kMayBlock, Support::kFull, SysMsgrcv, "");

Result<int> Stat(Task& task, MessageTable& table, int id, int command, GuestAddr out) {
  const auto queue = TRY(command == IPC_STAT ? table.Find(id) : table.At(id));
  msqid_ds info = {};
  TRY(table.WithLock([&]() -> Result<void> {
    if (command != MSG_STAT_ANY) TRY(CheckIpc(task.creds(), queue->permissions, 0444));
    CopyPermissions(task.creds(), queue->permissions, info.msg_perm);
    return {};
  }));
  const MessageQueue::State state = queue->state();
  info.msg_stime = state.send_time;
  info.msg_rtime = state.receive_time;
  info.msg_ctime = state.change_time;
  info.__msg_cbytes = state.bytes;
  info.msg_qnum = state.messages;
  info.msg_qbytes = state.most_bytes;
  info.msg_lspid = state.last_sender;
  info.msg_lrpid = state.last_receiver;
  TRY(OutPtr<msqid_ds>(out).Write(task.memory(), info));
  return command == IPC_STAT ? 0 : queue->id;
}

Result<int> Info(Task& task, MessageTable& table, int command, GuestAddr out) {
  msginfo info = {};
  info.msgmax = static_cast<int>(table.max_message.load());
  info.msgmnb = static_cast<int>(table.max_bytes.load());
  info.msgmni = static_cast<int>(table.most());
  info.msgssz = 16;  // MSGSSZ and MSGSEG of uapi/linux/msg.h, unused
  info.msgseg = 0xffff;
  info.msgpool = static_cast<int>(MessageTable::kMaxQueues * MessageQueue::kMaxBytes / 1024);
  info.msgmap = info.msgtql = static_cast<int>(MessageQueue::kMaxBytes);
  const auto queues = table.All();
  if (command == MSG_INFO) {
    info.msgpool = static_cast<int>(queues.size());
    info.msgmap = info.msgtql = 0;
    for (const auto& queue : queues) {
      const MessageQueue::State state = queue->state();
      info.msgmap += static_cast<int>(state.messages);
      info.msgtql += static_cast<int>(state.bytes);
    }
  }
  TRY(OutPtr<msginfo>(out).Write(task.memory(), info));
  return std::max(static_cast<int>(queues.size()) - 1, 0);
}

Result<int> Administer(Task& task, MessageTable& table, int id, int command, GuestAddr in) {
  msqid_ds wanted = {};
  if (command == IPC_SET) wanted = TRY(InPtr<msqid_ds>(in).Read(task.memory()));
  const auto queue = TRY(table.Find(id));
  TRY(table.WithLock([&]() -> Result<void> {
    TRY(CheckIpcOwner(task.creds(), queue->permissions));
    if (command != IPC_SET) return {};
    if (wanted.msg_qbytes > static_cast<uint64_t>(table.max_bytes.load()) && !task.creds().Has(CAP_SYS_RESOURCE))
      return Err(EPERM);
    TRY(SetPermissions(task.creds(), wanted.msg_perm, queue->permissions));
    return {};
  }));
  if (command == IPC_SET) {
    queue->SetMostBytes(wanted.msg_qbytes);
  } else {
    table.Remove(id);
    queue->Destroy();
  }
  return 0;
}

Result<int> SysMsgctl(Task& task, int id, int command, GuestAddr buffer) {
  if (id < 0 || command < 0) return Err(EINVAL);
  const auto table = Table(task);
  switch (command) {
    case IPC_INFO:
    case MSG_INFO:
      return Info(task, *table, command, buffer);
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY:
      return Stat(task, *table, id, command, buffer);
    case IPC_SET:
    case IPC_RMID:
      return Administer(task, *table, id, command, buffer);
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(msgctl, Lane::kShort, Support::kFull, SysMsgctl, "");

}  // namespace
}  // namespace sandbox::syscalls
