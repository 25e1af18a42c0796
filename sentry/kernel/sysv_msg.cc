#include "sentry/kernel/sysv_msg.h"

#include <limits>

namespace sandbox {
namespace {

int64_t NowSeconds() { return RealtimeNowNs() / 1'000'000'000; }

// msgop(2) is never restarted.
Errno NotRestarted(Errno error) { return error == Errno(kErestartsys) ? Errno(EINTR) : error; }

}  // namespace

MessageQueue::MessageQueue(std::shared_ptr<MessageMemory> memory, uint64_t most_bytes) : memory_(std::move(memory)) {
  state_.most_bytes = most_bytes;
  state_.change_time = NowSeconds();
}

MessageQueue::~MessageQueue() {
  for (const SysvMessage& message : messages_) memory_->Return(message.bytes.size());
}

Result<void> MessageQueue::TrySend(SysvMessage& message, int32_t pid) {
  {
    MutexLock lock(mu_);
    if (destroyed_) return Err(EIDRM);
    // A queue takes at most as many messages as bytes, so that empty ones have a limit too.
    if (state_.bytes + message.bytes.size() > state_.most_bytes || state_.messages + 1 > state_.most_bytes)
      return Err(EAGAIN);
    TRY(memory_->Take(message.bytes.size()));
    state_.bytes += message.bytes.size();
    ++state_.messages;
    state_.last_sender = pid;
    state_.send_time = NowSeconds();
    messages_.push_back(std::move(message));
  }
  queue_.Notify(kReadable);
  return {};
}

Result<void> MessageQueue::Send(Context& context, SysvMessage message, bool wait) {
  auto attempt = [&] { return TrySend(message, context.tgid()); };
  auto result = wait ? BlockUntil(context, queue_, kWritable | kEventHup, std::nullopt, attempt) : attempt();
  if (!result.ok()) return NotRestarted(result.error());
  return {};
}

std::list<SysvMessage>::iterator MessageQueue::Select(int64_t type, int flags) {
  if (flags & MSG_COPY) {  // `type` counts messages from zero
    if (type < 0 || static_cast<uint64_t>(type) >= messages_.size()) return messages_.end();
    return std::next(messages_.begin(), type);
  }
  if (type == 0) return messages_.begin();
  if (type > 0) {
    auto it = messages_.begin();
    const bool other = flags & MSG_EXCEPT;
    while (it != messages_.end() && (it->type == type) == other) ++it;
    return it;
  }
  const int64_t limit = type == std::numeric_limits<int64_t>::min() ? std::numeric_limits<int64_t>::max() : -type;
  auto best = messages_.end();
  for (auto it = messages_.begin(); it != messages_.end(); ++it) {
    if (it->type <= limit && (best == messages_.end() || it->type < best->type)) best = it;
  }
  return best;
}

Result<SysvMessage> MessageQueue::TryReceive(size_t most, int64_t type, int flags, int32_t pid) {
  SysvMessage taken;
  {
    MutexLock lock(mu_);
    if (destroyed_) return Err(EIDRM);
    const auto it = Select(type, flags);
    if (it == messages_.end()) return Err(EAGAIN);
    if (it->bytes.size() > most && !(flags & MSG_NOERROR)) return Err(E2BIG);
    if (flags & MSG_COPY) {
      taken = *it;
      if (taken.bytes.size() > most) taken.bytes.resize(most);
      return taken;
    }
    taken = std::move(*it);
    messages_.erase(it);
    memory_->Return(taken.bytes.size());
    state_.bytes -= taken.bytes.size();
    --state_.messages;
    state_.last_receiver = pid;
    state_.receive_time = NowSeconds();
  }
  queue_.Notify(kWritable);
  if (taken.bytes.size() > most) taken.bytes.resize(most);
  return taken;
}

Result<SysvMessage> MessageQueue::Receive(Context& context, size_t most, int64_t type, int flags) {
  auto attempt = [&] { return TryReceive(most, type, flags, context.tgid()); };
  if (flags & IPC_NOWAIT) {
    auto result = attempt();
    if (result.Is(EAGAIN)) return Err(ENOMSG);
    return result;
  }
  auto result = BlockUntil(context, queue_, kReadable | kEventHup, std::nullopt, attempt);
  if (!result.ok()) return NotRestarted(result.error());
  return result;
}

MessageQueue::State MessageQueue::state() const {
  MutexLock lock(mu_);
  return state_;
}

void MessageQueue::SetMostBytes(uint64_t bytes) {
  {
    MutexLock lock(mu_);
    state_.most_bytes = bytes;
    state_.change_time = NowSeconds();
  }
  // A smaller limit can turn away a sender, a larger one let it in.
  queue_.Notify(kReadable | kWritable);
}

void MessageQueue::Destroy() {
  {
    MutexLock lock(mu_);
    destroyed_ = true;
  }
  queue_.Notify(kReadable | kWritable | kEventHup);
}

RefPtr<MessageTable> MessageTable::Of(IpcNamespace& ipc) {
  return ipc.Table<MessageTable>(IpcNamespace::kMsg, [] { return MakeRef<MessageTable>(); });
}

Result<int> MessageTable::Get(Context& context, int32_t key, int flags) {
  return IpcTable::Get(
      context, key, flags,
      [&]() -> Result<RefPtr<MessageQueue>> {
        return MakeRef<MessageQueue>(memory_, static_cast<uint64_t>(max_bytes.load()));
      },
      [](const MessageQueue&) -> Result<void> { return {}; });
}

}  // namespace sandbox
