// Socket: what every family provides, and the registry through which socket(2) finds a family. Nothing here knows a
// family; a second provider of AF_INET (a TCP/IP stack of our own) registers itself like the first.
//
// As for all files nothing blocks: EAGAIN, and the system call waits on wait_queue(). Connect says EINPROGRESS when
// it has begun and ends later (poll for writing, SO_ERROR), EAGAIN when it must be tried again.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sentry/socket/message.h"
#include "sentry/socket/options.h"
#include "sentry/socket/packet_filter.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

class ReceiveQueue;
class Socket;
using SocketRef = RefPtr<Socket>;

// The caller of an operation that may name a path (unix sockets).
struct SocketCaller {
  Context& context;
  const WalkBase& base;
  uint32_t umask;
};

// What /proc/net tells of a socket.
struct SocketSummary {
  SocketAddress local, peer;  // empty = none
  uint8_t state = 0;          // as the family's file shows it: TCP_ESTABLISHED …, SS_CONNECTED …
  bool listening = false;
  size_t to_send = 0, to_receive = 0;  // queued bytes; of a listener its backlog and who waits in it
};

class Socket : public FileDescription {
 public:
  ~Socket() override;
  // `type` without SOCK_NONBLOCK and SOCK_CLOEXEC; `flags`: O_NONBLOCK or 0.
  Socket(int family, int type, int protocol, int flags);

  int family() const { return family_.load(std::memory_order_relaxed); }
  int type() const { return type_; }
  int protocol() const { return protocol_; }
  // The network namespace it was made in; an accepted one is where its listener is.
  NetNamespace& net() const { return *net_; }
  const RefPtr<NetNamespace>& net_ref() const { return net_; }
  void set_net(RefPtr<NetNamespace> net) { net_ = std::move(net); }  // before anybody else knows the socket
  // Who made it: fstat(2) and /proc/net say so. Before anybody else knows the socket; All finds it from then on.
  void Publish(uint32_t uid, uint32_t gid);
  uint32_t owner_uid() const { return uid_; }
  // The published ones of a network namespace and family, oldest first.
  static std::vector<RefPtr<Socket>> All(const NetNamespace& net, int family);
  // SO_ATTACH_FILTER; null = none.
  PacketFilterRef filter() const;
  SocketOptions& options() { return options_; }
  const SocketOptions& options() const { return options_; }
  bool is_stream() const { return type_ == SOCK_STREAM; }

  // --- bind(2) … with Linux's errors. The defaults are EOPNOTSUPP. ---
  virtual Result<void> Bind(const SocketCaller& caller, const SocketAddress& address);
  virtual Result<void> Listen(Context& context, int backlog);
  virtual Result<SocketRef> Accept(Context& context, int flags);
  virtual Result<void> Connect(const SocketCaller& caller, const SocketAddress& address);
  // How a blocking connect ends after EINPROGRESS: EAGAIN while it is under way.
  virtual Result<void> FinishConnect(Context& context);
  virtual Result<SocketAddress> LocalAddress(Context& context);
  virtual Result<SocketAddress> PeerAddress(Context& context);
  // What accept(2) tells of a connection that may have ended meanwhile.
  virtual Result<SocketAddress> AcceptedFrom(Context& context) { return PeerAddress(context); }
  virtual Result<void> Shutdown(Context& context, int how);

  // Sends what it can from the front of `from`. A stream may take a part; EAGAIN when nothing fits. SIGPIPE is the
  // system call's.
  virtual Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) = 0;
  virtual Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) = 0;

  // SOL_SOCKET falls back to options(); other levels ENOPROTOOPT (EOPNOTSUPP for unix).
  virtual Result<void> SetOption(Context& context, int level, int name, OptionIn value);
  virtual Result<std::string> GetOption(Context& context, int level, int name);

  // --- FileDescription. ---
  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  bool writes_all() const override { return is_stream(); }
  int64_t TransferTimeoutNs(bool write) const override {
    return write ? options_.send_timeout_ns() : options_.receive_timeout_ns();
  }
  WaitQueue* wait_queue() override { return &wait_queue_; }
  Result<Attr> GetAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  std::string AnonymousName() const override;
  uint64_t ino() const { return ino_; }

  virtual SocketSummary Summary(Context& context);
  // Calls visit(queue) for each queue of messages that only this socket leads to (unix sockets).
  virtual void VisitQueues(const std::function<void(ReceiveQueue&)>& /*visit*/) {}

 protected:
  // Where SO_ATTACH_FILTER acts; null for streams, whose filter is kept only.
  virtual ReceiveQueue* filtered_queue() { return nullptr; }
  // SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN, asked before options().
  virtual int TakeError() { return 0; }
  virtual bool listening() const { return false; }
  // Where SO_PEEK_OFF applies; null when the family does not know it.
  virtual ReceiveQueue* peek_queue() { return nullptr; }
  void set_family(int family) { family_.store(family, std::memory_order_relaxed); }
  WaitQueue wait_queue_;

 private:
  std::atomic<int> family_;  // AF_INET6 may become AF_INET (IPV6_ADDRFORM)
  const int type_, protocol_;
  const uint64_t ino_;
  std::atomic<uint32_t> uid_{0}, gid_{0};
  std::atomic<uint32_t> permissions_{0777};
  Result<void> SetFilter(Context& context, int name, OptionIn value);

  RefPtr<NetNamespace> net_ = NetNamespace::Root();
  mutable Mutex filter_mu_{LockRank::kLeaf};
  PacketFilterRef filter_ GUARDED_BY(filter_mu_);
  SocketOptions options_;
};

// --- Families. ---

class SocketFamily {
 public:
  virtual ~SocketFamily() = default;
  // ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM.
  virtual Result<SocketRef> Create(Context& context, int type, int protocol, int flags) = 0;
  virtual Result<std::pair<SocketRef, SocketRef>> CreatePair(Context&, int, int, int) { return Err(EOPNOTSUPP); }
};

// `provider` lives for ever. Call before the first guest instruction.
void RegisterSocketFamily(int family, SocketFamily* provider);
// The same for the initial network namespace only, which reaches what the others do not.
void RegisterOuterSocketFamily(int family, SocketFamily* provider);
// Who makes a family's sockets in `net`. EAFNOSUPPORT when nobody does.
Result<SocketFamily*> FindSocketFamily(const NetNamespace& net, int family);

// The socket behind a file: ENOTSOCK when it is none.
Result<SocketRef> AsSocket(const FileRef& file);

}  // namespace sandbox
