// The receiving half of a socket whose peer is in the sandbox (Linux: sk_receive_queue): messages in order, as a byte
// stream or as packets. Unix sockets and loopback TCP and UDP are made of pairs of these.
//
// The lock is never held while guest memory is copied: a receiver takes messages off, copies, and puts back what a
// fault left.
#pragma once

#include <deque>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/socket/message.h"

namespace sandbox {

class ReceiveQueue {
 public:
  // What a message counts beyond its bytes, so that empty ones are bounded too (Linux: SKB_TRUESIZE).
  static constexpr size_t kOverhead = 256;
  static constexpr size_t kDefaultLimit = 212992;  // net.core.rmem_default

  // --- Sender. ---
  // Free bytes for a stream (at least one), or whether a packet of `size` fits. EAGAIN when full, EPIPE when the
  // receiver is gone or shut for reading.
  Result<size_t> Room() const;
  Result<void> CanTake(size_t size) const;
  // Queues; fails like CanTake when things changed meanwhile. The caller notifies the receiver.
  Result<void> Push(SocketMessage&& message);
  // What poll reports: half of the limit is free, or writing would fail at once.
  bool Writable() const;
  // No more will come: end of file after what is queued.
  void FinishWriting();

  // --- Receiver. ---
  // EAGAIN when empty, 0 bytes at end of file. `flags`: MSG_PEEK. `split_credentials`: never joins bytes of different
  // senders. `*freed` tells that the queue became Writable, so that senders are to be notified.
  Result<size_t> ReadStream(IoSequence& to, int flags, bool split_credentials, ReceiveResult& result, bool* freed);
  // One message. MSG_PEEK, MSG_TRUNC.
  Result<size_t> ReadPacket(IoSequence& to, int flags, ReceiveResult& result, bool* freed);
  // shutdown(SHUT_RD): what is queued stays readable, then end of file; senders get EPIPE.
  void FinishReading();
  // Drops everything (close). Returns true when unread data was lost: the peer then sees ECONNRESET.
  bool Clear();

  bool HasData() const;
  bool AtEnd() const;  // empty and nothing will come
  bool WriterFinished() const;
  bool ReaderFinished() const;
  size_t queued_bytes() const;
  size_t next_packet_bytes() const;  // FIONREAD of datagram sockets

  size_t limit() const;
  void SetLimit(size_t bytes);
  void SetMaxMessages(size_t count);

 private:
  static constexpr size_t kBatch = 8;
  Result<void> CanTakeLocked(size_t size) const REQUIRES(mu_);
  bool FullLocked() const REQUIRES(mu_);
  SocketMessage TakeFrontLocked(size_t size) REQUIRES(mu_);
  Result<size_t> PeekStream(IoSequence& to, ReceiveResult& result);
  void PutBack(SocketMessage&& message);

  mutable Mutex mu_{LockRank::kSocket};
  std::deque<SocketMessage> messages_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
  size_t charged_ GUARDED_BY(mu_) = 0;  // bytes and overhead
  size_t limit_ GUARDED_BY(mu_) = kDefaultLimit;
  size_t max_messages_ GUARDED_BY(mu_) = SIZE_MAX;
  bool writer_finished_ GUARDED_BY(mu_) = false;
  bool reader_finished_ GUARDED_BY(mu_) = false;
};

}  // namespace sandbox
