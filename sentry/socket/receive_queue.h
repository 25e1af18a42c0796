// The receiving half of a socket whose peer is in the sandbox (Linux: sk_receive_queue): messages in order, as a byte
// stream or as packets. Unix sockets and loopback TCP and UDP are made of pairs of these.
//
// The lock is never held while guest memory is copied: a receiver takes messages off, copies, and puts back what a
// fault left.
#pragma once

#include <deque>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/socket/message.h"
#include "sentry/socket/packet_filter.h"

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
  // Queues a byte of urgent data. There is one at a time: an older one that nobody has read becomes ordinary data.
  Result<void> PushUrgent(SocketMessage&& message);
  // No more will come: end of file after what is queued.
  void FinishWriting();

  // --- Receiver. ---
  // EAGAIN when empty, 0 bytes at end of file. `*freed` tells that the queue became Writable, so that senders are to be
  // notified. A read that has got something ends before urgent data; one that begins there skips it unless it is
  // inline.
  struct StreamRead {
    int flags = 0;                   // MSG_PEEK
    bool split_credentials = false;  // never joins bytes of different senders
    bool urgent_inline = false;      // SO_OOBINLINE
  };
  Result<size_t> ReadStream(IoSequence& to, const StreamRead& how, ReceiveResult& result, bool* freed);
  // MSG_OOB of recv(2): EINVAL when there is no unread urgent byte. `flags`: MSG_PEEK.
  Result<size_t> ReadUrgent(IoSequence& to, int flags, ReceiveResult& result);
  // One message. MSG_PEEK, MSG_TRUNC.
  Result<size_t> ReadPacket(IoSequence& to, int flags, ReceiveResult& result, bool* freed);
  // shutdown(SHUT_RD): what is queued stays readable, then end of file; senders get EPIPE.
  void FinishReading();
  // TCP's form: an empty queue is at its end, but senders are not told and what they send can be read.
  void EndWhenEmpty();
  // Drops everything (close). Returns true when unread data was lost: the peer then sees ECONNRESET.
  bool Clear();
  // As new, after Clear.
  void Reopen();

  // SO_PEEK_OFF: where MSG_PEEK begins, moving with what is read; negative = at the front, always.
  void SetPeekOffset(int offset);
  int peek_offset() const;

  // SO_ATTACH_FILTER, for who sends packets; null = none.
  void SetFilter(PacketFilterRef filter);
  PacketFilterRef filter() const;

  bool HasData() const;
  // TCP's view: an urgent byte that would be skipped is nothing to read.
  bool HasData(bool urgent_inline) const;
  bool HasUrgent() const;  // not read yet
  bool AtMark() const;     // SIOCATMARK: urgent data, read or not, is next
  // FIONREAD of TCP: what can be read without passing urgent data.
  size_t bytes_before_mark(bool urgent_inline) const;
  bool AtEnd() const;  // empty and nothing will come
  bool WriterFinished() const;
  bool ReaderFinished() const;
  size_t queued_bytes() const;
  size_t next_packet_bytes() const;  // FIONREAD of datagram sockets

  // For the collection of unreachable sockets.
  std::vector<FileRef> FilesInFlight() const;
  std::vector<InFlightFiles> TakeFilesInFlight();

  size_t limit() const;
  void SetLimit(size_t bytes);
  void SetMaxMessages(size_t count);

 private:
  Result<void> CanTakeLocked(size_t size) const REQUIRES(mu_);
  bool FullLocked() const REQUIRES(mu_);
  bool EndedLocked() const REQUIRES(mu_) { return writer_finished_ || reader_finished_ || ends_when_empty_; }
  SocketMessage TakeFrontLocked(size_t size) REQUIRES(mu_);
  SocketMessage DropFrontLocked() REQUIRES(mu_);
  // Deals with urgent data at the front: true when a read that has `got` bytes already ends there. What it drops is
  // put into `dropped`, to be destroyed without the lock.
  bool StopsAtMarkLocked(size_t got, const StreamRead& how, std::vector<SocketMessage>& dropped) REQUIRES(mu_);
  SocketMessage* FindUrgentLocked() REQUIRES(mu_);
  const SocketMessage* FindUrgentLocked() const REQUIRES(mu_);
  std::vector<SocketMessage> GlimpseStream(size_t size, const StreamRead& how);
  Result<size_t> PeekStream(IoSequence& to, const StreamRead& how, ReceiveResult& result);
  Result<SocketMessage> GlimpsePacketLocked() REQUIRES(mu_);
  void MovePeekOffset(int64_t by);
  void MovePeekOffsetLocked(int64_t by) REQUIRES(mu_);
  void PutBack(SocketMessage&& message);

  mutable Mutex mu_{LockRank::kSocket};
  std::deque<SocketMessage> messages_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
  size_t charged_ GUARDED_BY(mu_) = 0;  // bytes and overhead
  size_t limit_ GUARDED_BY(mu_) = kDefaultLimit;
  size_t max_messages_ GUARDED_BY(mu_) = SIZE_MAX;
  int peek_offset_ GUARDED_BY(mu_) = -1;
  PacketFilterRef filter_ GUARDED_BY(mu_);
  bool has_mark_ GUARDED_BY(mu_) = false;  // a message is urgent data, read or not
  bool writer_finished_ GUARDED_BY(mu_) = false;
  bool reader_finished_ GUARDED_BY(mu_) = false;
  bool ends_when_empty_ GUARDED_BY(mu_) = false;
};

}  // namespace sandbox
