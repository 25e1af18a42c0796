// One end of a gofer connection: datagrams over a SOCK_SEQPACKET socket pair, with a few descriptors beside them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox::gofer {

class Channel {
 public:
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}

  static Result<std::pair<UniqueFd, UniqueFd>> MakePair();

  // EPIPE when the peer is gone.
  Result<void> Send(std::span<const std::byte> message, std::span<const BorrowedFd> fds = {});
  // Waits for a datagram; returns its size. EPIPE when the peer is gone, EMSGSIZE when it did not fit.
  // Descriptors go to the front of `fds` (at most kMaxDescriptors), which were invalid before; what there is no room
  // for, by our count or in our table, is closed.
  Result<size_t> Receive(std::span<std::byte> buffer, std::span<UniqueFd> fds = {});

  // As Send and Receive, without a descriptor, but EAGAIN instead of waiting.
  Result<void> TrySend(std::span<const std::byte> message);
  Result<size_t> Poll(std::span<std::byte> buffer);

  BorrowedFd socket() const { return socket_.borrow(); }

 private:
  UniqueFd socket_;
};

}  // namespace sandbox::gofer
