#include "sentry/socket/receive_queue.h"

#include <algorithm>
#include <array>

namespace sandbox {
namespace {

bool SameSender(const ucred& a, const ucred& b) { return a.pid == b.pid && a.uid == b.uid && a.gid == b.gid; }

void GiveControl(SocketMessage& message, ReceiveResult& result) {
  result.control.credentials = message.credentials;
  for (FileRef& file : message.rights.Take()) {
    result.control.rights.push_back(std::move(file));
    result.stop = true;
  }
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

void ReceiveQueue::SetFilter(PacketFilterRef filter) {
  MutexLock lock(mu_);
  filter_.swap(filter);
}

PacketFilterRef ReceiveQueue::filter() const {
  MutexLock lock(mu_);
  return filter_;
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

void ReceiveQueue::EndWhenEmpty() {
  MutexLock lock(mu_);
  ends_when_empty_ = true;
}

bool ReceiveQueue::Clear() {
  std::deque<SocketMessage> dropped;  // destroyed after the lock: files in it may be closed
  MutexLock lock(mu_);
  reader_finished_ = true;
  dropped.swap(messages_);
  has_mark_ = false;
  const bool lost = bytes_ > 0;
  bytes_ = charged_ = 0;
  return lost;
}

SocketMessage ReceiveQueue::DropFrontLocked() {
  SocketMessage whole = std::move(messages_.front());
  messages_.pop_front();
  if (whole.urgent != Urgent::kNo) has_mark_ = false;
  bytes_ -= whole.length;
  charged_ -= whole.length + kOverhead;
  return whole;
}

void ReceiveQueue::Reopen() {
  MutexLock lock(mu_);
  reader_finished_ = writer_finished_ = ends_when_empty_ = false;
}

// Takes up to `size` bytes of the first message; control data goes with its first byte.
SocketMessage ReceiveQueue::TakeFrontLocked(size_t size) {
  SocketMessage& front = messages_.front();
  if (front.length <= size) return DropFrontLocked();
  SocketMessage part;
  part.bytes = front.bytes;
  part.offset = front.offset;
  part.length = size;
  part.from = front.from;
  part.credentials = front.credentials;
  part.rights = std::move(front.rights);
  part.items = std::move(front.items);
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

std::vector<SocketMessage> ReceiveQueue::GlimpseStream(size_t size, const StreamRead& how) {
  std::vector<SocketMessage> seen;
  MutexLock lock(mu_);
  size_t skip = std::max(peek_offset_, 0), total = 0;
  for (const SocketMessage& message : messages_) {
    if (message.urgent != Urgent::kNo && total > 0) break;
    if (message.urgent == Urgent::kRead || (message.urgent == Urgent::kUnread && !how.urgent_inline)) continue;
    if (skip >= message.length) {
      skip -= message.length;
      continue;
    }
    if (!seen.empty() && how.split_credentials && !SameSender(seen.front().credentials, message.credentials)) break;
    seen.push_back(message.Glimpse());
    seen.back().offset += skip;
    seen.back().length -= std::exchange(skip, 0);
    total += seen.back().length;
    if (total >= size || !message.rights.empty()) break;
  }
  return seen;
}

Result<size_t> ReceiveQueue::PeekStream(IoSequence& to, const StreamRead& how, ReceiveResult& result) {
  std::vector<SocketMessage> seen = GlimpseStream(to.remaining(), how);
  if (seen.empty()) return WriterFinished() || ReaderFinished() ? Result<size_t>(size_t{0}) : Err(EAGAIN);
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
  MovePeekOffset(done);
  return done;
}

Result<size_t> ReceiveQueue::ReadStream(IoSequence& to, const StreamRead& how, ReceiveResult& result, bool* freed) {
  *freed = false;
  if (how.flags & MSG_PEEK) return PeekStream(to, how, result);
  size_t done = 0;
  ucred sender{};
  bool first = true;
  for (;;) {
    std::vector<SocketMessage> dropped;
    SocketMessage message;
    {
      MutexLock lock(mu_);
      // A blocked sender is woken once, when half is free, not for every byte (Linux: unix_writable).
      const bool was_full = charged_ * 2 > limit_;
      if (StopsAtMarkLocked(done, how, dropped)) {
        result.stop = true;
        return done;
      }
      if (messages_.empty()) {
        *freed = *freed || was_full;
        if (!first) return done;
        return EndedLocked() ? Result<size_t>(size_t{0}) : Err(EAGAIN);
      }
      if (!first && (to.empty() || (how.split_credentials && !SameSender(sender, messages_.front().credentials))))
        return done;
      if (to.empty() && messages_.front().length > 0) return done;
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
    if (n > 0) MovePeekOffset(-static_cast<int64_t>(n));
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

Result<SocketMessage> ReceiveQueue::GlimpsePacketLocked() {
  size_t skip = std::max(peek_offset_, 0);
  for (const SocketMessage& message : messages_) {
    if (skip > 0 && skip >= message.length) {
      skip -= message.length;
      continue;
    }
    SocketMessage seen = message.Glimpse();
    seen.offset += skip;
    seen.length -= skip;
    return seen;
  }
  return Err(EAGAIN);
}

Result<size_t> ReceiveQueue::ReadPacket(IoSequence& to, int flags, ReceiveResult& result, bool* freed) {
  *freed = false;
  SocketMessage message;
  {
    MutexLock lock(mu_);
    if (messages_.empty()) return EndedLocked() ? Result<size_t>(size_t{0}) : Err(EAGAIN);
    if (flags & MSG_PEEK) {
      message = TRY(GlimpsePacketLocked());
    } else {
      message = DropFrontLocked();
      MovePeekOffsetLocked(-static_cast<int64_t>(message.length));
      *freed = true;
    }
  }
  // A packet whose copy faults is lost, as on Linux.
  size_t copied = 0;
  if (message.length > 0 && !to.empty()) copied = TRY(to.CopyOut(message.data(), message.length));
  if (flags & MSG_PEEK) MovePeekOffset(copied);
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
  return messages_.empty() && EndedLocked();
}

bool ReceiveQueue::WriterFinished() const {
  MutexLock lock(mu_);
  return writer_finished_;
}

bool ReceiveQueue::ReaderFinished() const {
  MutexLock lock(mu_);
  return reader_finished_ || ends_when_empty_;
}

size_t ReceiveQueue::queued_bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

size_t ReceiveQueue::next_packet_bytes() const {
  MutexLock lock(mu_);
  return messages_.empty() ? 0 : messages_.front().length;
}

void ReceiveQueue::SetPeekOffset(int offset) {
  MutexLock lock(mu_);
  peek_offset_ = offset;
}

int ReceiveQueue::peek_offset() const {
  MutexLock lock(mu_);
  return peek_offset_;
}

void ReceiveQueue::MovePeekOffset(int64_t by) {
  MutexLock lock(mu_);
  MovePeekOffsetLocked(by);
}

void ReceiveQueue::MovePeekOffsetLocked(int64_t by) {
  if (peek_offset_ >= 0) peek_offset_ = static_cast<int>(std::clamp<int64_t>(peek_offset_ + by, 0, INT32_MAX));
}

std::vector<FileRef> ReceiveQueue::FilesInFlight() const {
  std::vector<FileRef> files;
  MutexLock lock(mu_);
  for (const SocketMessage& message : messages_) {
    files.insert(files.end(), message.rights.files().begin(), message.rights.files().end());
  }
  return files;
}

std::vector<InFlightFiles> ReceiveQueue::TakeFilesInFlight() {
  std::vector<InFlightFiles> taken;
  MutexLock lock(mu_);
  for (SocketMessage& message : messages_) {
    if (!message.rights.empty()) taken.push_back(std::move(message.rights));
  }
  return taken;
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
