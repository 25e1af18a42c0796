// A session: one client (a sentry) with its trees, handles and channels. Each channel is served by
// a thread of its own, so that a slow host call delays nobody else; what they share is the
// NodeTable.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/channel.h"
#include "gofer/protocol/messages.h"
#include "gofer/protocol/wire.h"
#include "gofer/server/journal.h"
#include "gofer/server/node.h"

namespace sandbox::gofer {

// What an operation answers: bytes, a record count and descriptors.
struct Reply {
  explicit Reply(std::span<std::byte> buffer) : body(buffer) {}
  Writer body;
  uint32_t count = 0;
  bool room = false;    // ReplyHeader::room
  bool unread = false;  // nobody wants the body
  std::vector<UniqueFd> fds;
};

class Session {
 public:
  static constexpr int kMaxChannels = 16;

  // `low_ports`: binds sockets to ports below kFirstFreePort for the client.
  explicit Session(bool low_ports = false) : low_ports_(low_ports) {}
  ~Session();
  NodeTable& nodes() { return nodes_; }

  // Serves one channel on the calling thread until the peer closes it or breaks the protocol.
  void Serve(UniqueFd socket);
  // Serves the channel on a thread of its own.
  Result<void> Start(UniqueFd socket);
  // Waits until no channel is left.
  void Wait();
  // Carries out what was deferred, for a client that is gone.
  void FinishDeferred() { journal_.Finish(); }

  // Handles one request; the reply's header has been reserved at the start of `out`. Public for
  // tests and the fuzzer. Returns the reply's size, 0 when there is none. EPROTO when the request
  // is malformed: the channel is closed. `passed`: what came with the request; `fds`: what goes with
  // the reply.
  Result<size_t> Handle(std::span<const std::byte> request, UniqueFd passed, std::span<std::byte> out,
                        std::vector<UniqueFd>* fds);

 private:
  Result<void> Dispatch(const RequestHeader& header, Reader& in, UniqueFd passed, Reply& reply);
  Result<void> NewChannel(Reply& reply);
  Result<void> NewJournal(Reply& reply);
  Result<void> Deferred(std::span<const std::byte> request);
  // Runs `serve` on a thread of its own, counted as a channel.
  template <typename Function>
  Result<void> StartThread(Function serve);

  const bool low_ports_;
  NodeTable nodes_;
  Journal journal_{[this](std::span<const std::byte> request) { return Deferred(request); }};
  Mutex mu_{LockRank::kLeaf};
  CondVar idle_;
  int channels_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox::gofer
