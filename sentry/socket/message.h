// What sockets send each other inside the sandbox: bytes, where they came from, and what rides along.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "sentry/socket/address.h"
#include "sentry/socket/in_flight.h"
#include "sentry/vfs/file.h"

namespace sandbox {

struct PacketDetails;  // sentry/socket/inet/packet_details.h

// Ancillary data, decoded (cmsg(3), unix(7)).
struct SocketControl {
  std::vector<FileRef> rights;       // SCM_RIGHTS
  std::optional<ucred> credentials;  // SCM_CREDENTIALS
  std::optional<int32_t> process;    // SCM_PIDFD: the sender, a number of the root pid namespace; for receivers only
  // Other items, as they are copied: level, type, payload (IP_PKTINFO, SO_TIMESTAMP …). What the guest sends is checked
  // by the protocol.
  struct Item {
    int level;
    int type;
    std::string payload;
  };
  std::vector<Item> items;
};

// Bytes shared between a queue and its readers; never changed once queued.
struct SocketBytes {
  explicit SocketBytes(size_t size) : data(std::make_unique_for_overwrite<char[]>(size)) {}
  const std::unique_ptr<char[]> data;
};

// Of a stream's urgent byte, which is a message of its own (MSG_OOB).
enum class Urgent : uint8_t {
  kNo,
  kUnread,
  kRead,  // taken with MSG_OOB; the message, empty now, marks where it was
};

struct SocketMessage {
  RefPtr<SocketBytes> bytes;
  size_t offset = 0;
  size_t length = 0;
  SocketAddress from;
  ucred credentials{};
  InFlightFiles rights;
  std::vector<SocketControl::Item> items;
  Urgent urgent = Urgent::kNo;
  std::shared_ptr<const PacketDetails> details;  // of internet datagrams, for a receiver that asked

  const char* data() const { return bytes->data.get() + offset; }
  // For MSG_PEEK.
  SocketMessage Glimpse() const {
    return {bytes, offset, length, from, credentials, rights.Glimpse(), items, urgent, details};
  }
};

// Arguments of sendmsg(2) below the system call.
struct SendRequest {
  int flags = 0;     // MSG_*
  SocketAddress to;  // empty = the connected peer
  SocketControl control;
};

// Results of recvmsg(2).
struct ReceiveResult {
  size_t bytes = 0;  // what the call returns; with MSG_TRUNC the real length of a datagram
  int flags = 0;     // MSG_TRUNC, MSG_EOR, MSG_CTRUNC …
  SocketAddress from;
  SocketControl control;
  bool stop = false;                             // descriptors came, or urgent data is next: MSG_WAITALL does not go on
  std::shared_ptr<const PacketDetails> details;  // of the last message taken
};

}  // namespace sandbox
