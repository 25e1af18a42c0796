#include "sentry/socket/receive_queue.h"

#include <algorithm>
#include <array>

namespace sandbox {
namespace {

bool SameSender(const ucred& a, const ucred& b) { return a.pid == b.pid && a.uid == b.uid && a.gid == b.gid; }

void GiveControl(SocketMessage& message, ReceiveResult& result) {
  result.control.credentials = message.credentials;
  for (FileRef& file : message.rights) result.control.rights.push_back(std::move(file));
  message.rights.clear();
  for (auto& item : message.items) result.control.items.push_back(std::move(item));
  message.items.clear();
  if (message.details != nullptr) result.details = std::move(message.details);
}

}  // namespace

bool ReceiveQueue::FullLocked() const { return charged_ >= limit_ || messages_.size() >= max_messages_; }

Result<void> ReceiveQueue::CanTakeLocked(size_t size) const {
  if (reader_finished_ || writer_finished_) return Err(EPIPE);
  // One message always fits an empty queue, whatever its size: the sender's own limit bounds it.
  if (FullLocked() || (!messages_.empty() && charged_ + size > limit_)) return Err(EAGAIN);
  return {};
}

Result<size_t> ReceiveQueue::Room() const {
  MutexLock lock(mu_);
  if (reader_finished_ || writer_finished_) return Err(EPIPE);
  if (FullLocked()) return Err(EAGAIN);
  return limit_ - charged_;
}

Result<void> ReceiveQueue::CanTake(size_t size) const {
  MutexLock lock(mu_);
  return CanTakeLocked(size);
}

Result<void> ReceiveQueue::Push(SocketMessage&& message) {
  MutexLock lock(mu_);
  TRY(CanTakeLocked(message.length));
  bytes_ += message.length;
  charged_ += message.length + kOverhead;
  messages_.push_back(std::move(message));
  return {};
}

void ReceiveQueue::FinishWriting() {
  MutexLock lock(mu_);
  writer_finished_ = true;
}

void ReceiveQueue::FinishReading() {
  MutexLock lock(mu_);
  reader_finished_ = true;
}

bool ReceiveQueue::Clear() {
  std::deque<SocketMessage> dropped;  // destroyed after the lock: rights in it may close files
  MutexLock lock(mu_);
  reader_finished_ = true;
  dropped.swap(messages_);
  const bool lost = bytes_ > 0;
  bytes_ = charged_ = 0;
  return lost;
}

// Takes up to `size` bytes of the first message; control data goes with its first byte.
SocketMessage ReceiveQueue::TakeFrontLocked(size_t size) {
  SocketMessage& front = messages_.front();
  if (front.length <= size) {
    SocketMessage whole = std::move(front);
    messages_.pop_front();
    bytes_ -= whole.length;
    charged_ -= whole.length + kOverhead;
    return whole;
  }
  SocketMessage part;
  part.bytes = front.bytes;
  part.offset = front.offset;
  part.length = size;
  part.from = front.from;
  part.credentials = front.credentials;
  part.rights = std::move(front.rights);
  part.items = std::move(front.items);
  front.rights.clear();
  front.items.clear();
  front.offset += size;
  front.length -= size;
  bytes_ -= size;
  charged_ -= size;
  return part;
}

void ReceiveQueue::PutBack(SocketMessage&& message) {
  MutexLock lock(mu_);
  if (reader_finished_ && messages_.empty() && writer_finished_ && message.length == 0) return;
  bytes_ += message.length;
  charged_ += message.length + kOverhead;
  messages_.push_front(std::move(message));
}

Result<size_t> ReceiveQueue::PeekStream(IoSequence& to, ReceiveResult& result) {
  std::vector<SocketMessage> seen;
  {
    MutexLock lock(mu_);
    size_t total = 0;
    for (const SocketMessage& message : messages_) {
      if (total >= to.remaining()) break;
      seen.push_back(message);
      total += message.length;
      if (!message.rights.empty()) break;
    }
    if (seen.empty()) return writer_finished_ || reader_finished_ ? Result<size_t>(size_t{0}) : Err(EAGAIN);
  }
  result.from = seen.front().from;
  size_t done = 0;
  for (SocketMessage& message : seen) {
    const auto moved = to.CopyOut(message.data(), message.length);
    if (!moved.ok() && done == 0) return moved;
    if (!moved.ok()) break;
    done += *moved;
    GiveControl(message, result);
    if (*moved < message.length) break;
  }
  return done;
}

Result<size_t> ReceiveQueue::ReadStream(IoSequence& to, int flags, bool split_credentials, ReceiveResult& result,
                                        bool* freed) {
  *freed = false;
  if (flags & MSG_PEEK) return PeekStream(to, result);
  size_t done = 0;
  ucred sender{};
  bool first = true;
  for (;;) {
    SocketMessage message;
    {
      MutexLock lock(mu_);
      if (messages_.empty()) {
        if (!first) return done;
        return writer_finished_ || reader_finished_ ? Result<size_t>(size_t{0}) : Err(EAGAIN);
      }
      if (!first && (to.empty() || (split_credentials && !SameSender(sender, messages_.front().credentials))))
        return done;
      if (to.empty() && messages_.front().length > 0) return done;
      // A blocked sender is woken once, when half is free, not for every byte (Linux: unix_writable).
      const bool was_full = charged_ * 2 > limit_;
      message = TakeFrontLocked(to.remaining());
      *freed = *freed || (was_full && charged_ * 2 <= limit_);
    }
    if (first) result.from = message.from;
    sender = message.credentials;
    first = false;
    const auto moved = to.CopyOut(message.data(), message.length);
    const size_t n = moved.ok() ? *moved : 0;
    const bool had_rights = !message.rights.empty();
    if (n > 0 || message.length == 0) GiveControl(message, result);
    done += n;
    if (n < message.length) {
      message.offset += n;
      message.length -= n;
      PutBack(std::move(message));
      return done > 0 ? Result<size_t>(done) : Err(EFAULT);
    }
    // As Linux: descriptors end the read that receives them.
    if (had_rights) return done;
  }
}

Result<size_t> ReceiveQueue::ReadPacket(IoSequence& to, int flags, ReceiveResult& result, bool* freed) {
  *freed = false;
  SocketMessage message;
  {
    MutexLock lock(mu_);
    if (messages_.empty()) return writer_finished_ || reader_finished_ ? Result<size_t>(size_t{0}) : Err(EAGAIN);
    if (flags & MSG_PEEK) {
      message = messages_.front();
    } else {
      message = TakeFrontLocked(SIZE_MAX);
      *freed = true;
    }
  }
  // A packet whose copy faults is lost, as on Linux.
  size_t copied = 0;
  if (message.length > 0 && !to.empty()) copied = TRY(to.CopyOut(message.data(), message.length));
  result.from = message.from;
  if (copied < message.length) result.flags |= MSG_TRUNC;
  const size_t length = message.length;
  GiveControl(message, result);
  return (flags & MSG_TRUNC) ? length : copied;
}

bool ReceiveQueue::Writable() const {
  MutexLock lock(mu_);
  return reader_finished_ || writer_finished_ || (charged_ * 2 <= limit_ && messages_.size() < max_messages_);
}

bool ReceiveQueue::HasData() const {
  MutexLock lock(mu_);
  return !messages_.empty();
}

bool ReceiveQueue::AtEnd() const {
  MutexLock lock(mu_);
  return messages_.empty() && (writer_finished_ || reader_finished_);
}

bool ReceiveQueue::WriterFinished() const {
  MutexLock lock(mu_);
  return writer_finished_;
}

bool ReceiveQueue::ReaderFinished() const {
  MutexLock lock(mu_);
  return reader_finished_;
}

size_t ReceiveQueue::queued_bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

size_t ReceiveQueue::next_packet_bytes() const {
  MutexLock lock(mu_);
  return messages_.empty() ? 0 : messages_.front().length;
}

size_t ReceiveQueue::limit() const {
  MutexLock lock(mu_);
  return limit_;
}

void ReceiveQueue::SetLimit(size_t bytes) {
  MutexLock lock(mu_);
  limit_ = bytes;
}

void ReceiveQueue::SetMaxMessages(size_t count) {
  MutexLock lock(mu_);
  max_messages_ = count;
}

}  // namespace sandbox
