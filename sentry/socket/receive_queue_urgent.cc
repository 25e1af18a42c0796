// Urgent data (MSG_OOB) in a queue: one byte, which ordinary reads stop before and then skip (Linux: manage_oob of
// net/unix/af_unix.c, tcp_recvmsg).
#include <algorithm>

#include "sentry/socket/receive_queue.h"

namespace sandbox {

SocketMessage* ReceiveQueue::FindUrgentLocked() {
  if (!has_mark_) return nullptr;
  const auto it = std::find_if(messages_.rbegin(), messages_.rend(),
                               [](const SocketMessage& message) { return message.urgent != Urgent::kNo; });
  return it == messages_.rend() ? nullptr : &*it;
}

const SocketMessage* ReceiveQueue::FindUrgentLocked() const {
  return const_cast<ReceiveQueue*>(this)->FindUrgentLocked();
}

Result<void> ReceiveQueue::PushUrgent(SocketMessage&& message) {
  MutexLock lock(mu_);
  TRY(CanTakeLocked(message.length));
  if (SocketMessage* const older = FindUrgentLocked()) older->urgent = Urgent::kNo;  // an empty message if it was read
  message.urgent = Urgent::kUnread;
  has_mark_ = true;
  bytes_ += message.length;
  charged_ += message.length + kOverhead;
  messages_.push_back(std::move(message));
  return {};
}

Result<size_t> ReceiveQueue::ReadUrgent(IoSequence& to, int flags, ReceiveResult& result) {
  SocketMessage taken;
  {
    MutexLock lock(mu_);
    SocketMessage* const urgent = FindUrgentLocked();
    if (urgent == nullptr || urgent->urgent != Urgent::kUnread) return Err(EINVAL);
    taken = urgent->Glimpse();
    if (!(flags & MSG_PEEK)) {
      urgent->urgent = Urgent::kRead;
      taken.rights = std::move(urgent->rights);
      bytes_ -= urgent->length;
      charged_ -= urgent->length;
      urgent->length = 0;
    }
  }
  result.flags |= MSG_OOB;
  result.from = taken.from;
  if (!to.empty()) TRY(to.CopyOut(taken.data(), taken.length));
  return taken.length;
}

bool ReceiveQueue::StopsAtMarkLocked(size_t got, const StreamRead& how, std::vector<SocketMessage>& dropped) {
  while (!messages_.empty() && messages_.front().urgent != Urgent::kNo) {
    if (got > 0) return true;
    SocketMessage& front = messages_.front();
    if (front.urgent == Urgent::kUnread && how.urgent_inline) {
      front.urgent = Urgent::kNo;
      has_mark_ = false;
      return false;
    }
    dropped.push_back(DropFrontLocked());
  }
  return false;
}

bool ReceiveQueue::HasUrgent() const {
  MutexLock lock(mu_);
  const SocketMessage* const urgent = FindUrgentLocked();
  return urgent != nullptr && urgent->urgent == Urgent::kUnread;
}

bool ReceiveQueue::AtMark() const {
  MutexLock lock(mu_);
  return !messages_.empty() && messages_.front().urgent != Urgent::kNo;
}

bool ReceiveQueue::HasData(bool urgent_inline) const {
  MutexLock lock(mu_);
  if (urgent_inline) return bytes_ > 0;
  const bool skipped = !messages_.empty() && messages_.front().urgent == Urgent::kUnread;
  return bytes_ > (skipped ? messages_.front().length : 0);
}

size_t ReceiveQueue::bytes_before_mark(bool urgent_inline) const {
  MutexLock lock(mu_);
  if (urgent_inline || !has_mark_) return bytes_;
  size_t bytes = 0;
  for (const SocketMessage& message : messages_) {
    if (message.urgent != Urgent::kNo) break;
    bytes += message.length;
  }
  return bytes;
}

}  // namespace sandbox
