#include "sentry/socket/inet/tcp_socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <string_view>

namespace sandbox {
namespace {

constexpr size_t kMaxMessage = 64 * 1024;
// States of TCP_INFO (net/tcp_states.h).
constexpr char kCongestion[] = "cubic";
constexpr size_t kCongestionName = 16;                // Linux: TCP_CA_NAME_MAX
constexpr int kMinSegment = 88, kMaxSegment = 32767;  // Linux: TCP_MIN_MSS, MAX_TCP_WINDOW
constexpr int kDefaultSegment = 536, kLoopbackSegment = 65483;
constexpr uint32_t kInitialRetransmitUs = 1'000'000, kInitialWindow = 10, kReordering = 3;
constexpr uint8_t kEstablished = 1, kFinWait2 = 5, kClose = 7, kCloseWait = 8, kListen = 10;

// The owner of a TCP port, as PortTable wants it: the endpoint tells whether it listens.
RefPtr<PortTable<LocalEndpoint>> Ports(NetNamespace& net) { return net.Table<PortTable<LocalEndpoint>>("tcp"); }

}  // namespace

TcpSocket::TcpSocket(int family, int flags, LocalEndpointRef endpoint)
    : InetSocket(family, SOCK_STREAM, IPPROTO_TCP, flags),
      endpoint_(std::move(endpoint)),
      options_(family, SOCK_STREAM, IPPROTO_TCP) {}

TcpSocket::~TcpSocket() {
  if (const uint16_t port = claimed_port_.load()) Ports(net())->Release(port, endpoint_.get());
  // SO_LINGER with zero seconds resets instead of ending in order.
  endpoint_->Close(options().linger_on() && options().linger_seconds() == 0);
}

Result<void> TcpSocket::BindTo(Context& context, const InetAddress& address) {
  if (claimed_port_.load() != 0) return Err(EINVAL);
  BindClaim claim = TRY(MakeClaim(context, address));
  claim.address.port = TRY(Ports(net())->Claim(claim, endpoint_));
  claimed_port_.store(claim.address.port);
  return endpoint_->SetAddress(claim.address.ToSocketAddress(family()));
}

Result<void> TcpSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  const InetAddress wanted = TRY(InetAddress::Parse(family(), address));
  TRY(BindTo(caller.context, wanted));
  bound_port_.store(wanted.port != 0);
  return {};
}

Result<void> TcpSocket::Listen(Context& context, int backlog) {
  if (endpoint_->connected()) return Err(EINVAL);
  if (claimed_port_.load() == 0) TRY(BindTo(context, InetAddress::Any(family())));
  return endpoint_->Listen(backlog, ucred{});
}

Result<SocketRef> TcpSocket::Accept(Context&, int flags) {
  auto socket = MakeRef<TcpSocket>(family(), flags, TRY(endpoint_->Accept()));
  socket->set_net(net_ref());
  return SocketRef(std::move(socket));
}

// Finds the listener and joins its backlog. The port of our end is chosen first, as the listener sees it.
Result<void> TcpSocket::Establish(Context& context, const InetAddress& to) {
  static std::atomic<uint32_t> next_connection{0};  // the port of our end is not known yet
  const auto candidates = Ports(net())->Find(to, next_connection.fetch_add(1));
  const auto listener =
      std::find_if(candidates.begin(), candidates.end(), [](const auto& e) { return e->listening(); });
  if (listener == candidates.end()) return Err(ECONNREFUSED);
  if (claimed_port_.load() == 0) {
    InetAddress own = to;  // the address that reaches a local destination is that destination
    own.port = 0;
    TRY(BindTo(context, own));
  }
  // Accepted sockets are of the listener's family; both write an address their own way.
  const auto server_name = to.ToSocketAddress((*listener)->address().family());
  return endpoint_->ConnectTo(*listener, ucred{}, &server_name);
}

Result<void> TcpSocket::Connect(const SocketCaller& caller, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Err(EINVAL);
  if (address.family() == AF_UNSPEC) {
    Disconnect();
    return {};
  }
  if (connecting_.exchange(false)) {
    endpoint_->incoming.Reopen();  // a refused attempt had ended it
    if (const int error = endpoint_->TakeError()) return Err(error);
    return endpoint_->connected() ? Result<void>() : Err(ECONNABORTED);
  }
  if (endpoint_->connected()) return Err(EISCONN);
  if (endpoint_->listening()) return Err(EISCONN);
  const InetAddress to = TRY(Destination(address));
  const auto established = Establish(caller.context, to);
  if (!nonblocking()) return established;
  if (!established.ok() && !established.Is(ECONNREFUSED)) return established;
  if (!established.ok()) {
    endpoint_->SetError(ECONNREFUSED);
    endpoint_->incoming.EndWhenEmpty();
  }
  connecting_.store(true);
  endpoint_->wait_queue.Notify(kWritable | kEventErr);
  return Err(EINPROGRESS);
}

// The port goes unless bind(2) chose it (Linux: tcp_disconnect).
void TcpSocket::Disconnect() {
  connecting_.store(false);
  const bool keep = bound_port_.load();
  endpoint_->Disconnect(keep);
  (void)endpoint_->TakeError();
  if (keep) return;
  if (const uint16_t port = claimed_port_.exchange(0)) Ports(net())->Release(port, endpoint_.get());
}

Result<SocketAddress> TcpSocket::LocalAddress(Context&) {
  const SocketAddress own = endpoint_->address();
  if (own.empty()) return InetAddress::Any(family()).ToSocketAddress(family());
  return TRY(InetAddress::Parse(own.family(), own)).ToSocketAddress(family());
}

Result<SocketAddress> TcpSocket::PeerAddress(Context& context) {
  return State() == kClose ? Err(ENOTCONN) : AcceptedFrom(context);
}

Result<SocketAddress> TcpSocket::AcceptedFrom(Context&) {
  const LocalEndpointRef peer = endpoint_->peer();
  if (peer == nullptr) return Err(ENOTCONN);
  const SocketAddress name = peer->address();
  return TRY(InetAddress::Parse(name.family(), name)).ToSocketAddress(family());
}

Result<void> TcpSocket::Shutdown(Context&, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Err(EINVAL);
  if (State() == kClose) return Err(ENOTCONN);
  if (listening() && how == SHUT_WR) return {};
  return endpoint_->Shutdown(how);
}

Result<size_t> TcpSocket::Send(const SocketCaller&, IoSequence& from, SendRequest& request) {
  const auto found = endpoint_->PeerForSend();
  if (found.Is(ENOTCONN)) return Err(EPIPE);  // as Linux has it for a stream that was never connected
  const LocalEndpointRef peer = TRY(found);
  size_t done = 0;
  while (!from.empty()) {
    const auto room = peer->incoming.Room();
    if (room.Is(EPIPE)) {
      // The first write to a closed peer succeeds and draws the reset that later ones see.
      if (done > 0) return done;
      endpoint_->TakeReset();
      const size_t lost = std::min<size_t>(from.remaining(), kLoopbackSegment);
      from.Advance(lost);
      return lost;
    }
    if (!room.ok()) return done > 0 ? Result<size_t>(done) : room;
    // The last byte of urgent data is the urgent one.
    const bool urgent = (request.flags & MSG_OOB) && from.remaining() == 1;
    const size_t before = (request.flags & MSG_OOB) && !urgent ? from.remaining() - 1 : from.remaining();
    const size_t size = std::min({*room, before, kMaxMessage});
    SocketMessage message;
    message.bytes = MakeRef<SocketBytes>(size);
    const auto copied = from.PeekIn(message.bytes->data.get(), size);
    if (!copied.ok()) return done > 0 ? Result<size_t>(done) : copied;
    message.length = *copied;
    const auto pushed =
        urgent ? LocalEndpoint::SendUrgent(*peer, std::move(message)) : peer->incoming.Push(std::move(message));
    if (!pushed.ok()) continue;  // full or closed meanwhile: Room tells which
    from.Advance(*copied);
    done += *copied;
    peer->wait_queue.Notify(kReadable);
    if (*copied < size) break;
  }
  return done;
}

Result<size_t> TcpSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if (flags & MSG_ERRQUEUE) return Err(EAGAIN);
  if (flags & MSG_OOB) return ReceiveUrgent(to, flags, result);
  // EPIPE is a sender's: whoever reads sees the end that came before it.
  if (!endpoint_->incoming.HasData() && endpoint_->pending_error() != EPIPE) {
    if (const int error = endpoint_->TakeError()) return Err(error);
  }
  if (endpoint_->peer() == nullptr) return Err(ENOTCONN);
  bool freed = false;
  const auto got =
      endpoint_->incoming.ReadStream(to, {.flags = flags, .urgent_inline = options().urgent_inline()}, result, &freed);
  result.control.credentials.reset();
  result.from = SocketAddress{};
  if (freed) {
    if (auto peer = endpoint_->peer()) peer->wait_queue.Notify(kWritable);
  }
  return got;
}

Result<size_t> TcpSocket::ReceiveUrgent(IoSequence& to, int flags, ReceiveResult& result) {
  if (options().urgent_inline()) return Err(EINVAL);
  const bool no_room = to.empty();
  TRY(endpoint_->incoming.ReadUrgent(to, flags, result));
  result.from = SocketAddress{};
  if (no_room) result.flags |= MSG_TRUNC;
  return size_t{no_room ? 0u : 1u};
}

Result<void> TcpSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (MulticastGroups::Handles(level, name)) return groups_.Set(family(), type(), level, name, value);
  if (level != IPPROTO_TCP || (name != TCP_CONGESTION && name != TCP_MAXSEG && name != TCP_INFO)) {
    TRY(InetSocket::SetOption(context, level, name, value));
    // The sender has a buffer of its own in front of ours.
    constexpr size_t kSendBuffer = 16 * 1024;  // net.ipv4.tcp_wmem
    if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE))
      endpoint_->incoming.SetLimit(options().receive_buffer() + kSendBuffer);
    return {};
  }
  if (name == TCP_CONGESTION) {
    const std::string algorithm(reinterpret_cast<const char*>(value.data()),
                                std::min(value.size(), kCongestionName - 1));
    if (algorithm.empty()) return Err(EINVAL);
    return algorithm.c_str() == std::string_view(kCongestion) ? Result<void>() : Err(ENOENT);
  }
  if (name == TCP_INFO) return Err(ENOPROTOOPT);
  const int segment = TRY(OptionInt(value));
  if (segment != 0 && (segment < kMinSegment || segment > kMaxSegment)) return Err(EINVAL);
  segment_.store(segment);
  return {};
}

Result<std::string> TcpSocket::GetOption(Context& context, int level, int name) {
  if (level != IPPROTO_TCP) return InetSocket::GetOption(context, level, name);
  switch (name) {
    case TCP_CONGESTION: {
      std::string padded = kCongestion;
      padded.resize(kCongestionName);
      return padded;
    }
    case TCP_MAXSEG:
      if (segment_.load() != 0) return OptionBytes(segment_.load());
      return OptionBytes(endpoint_->connected() ? kLoopbackSegment : kDefaultSegment);
    case TCP_INFO: {
      const tcp_info info = Info();
      return OptionBytes(&info, sizeof(info));
    }
    default:
      return InetSocket::GetOption(context, level, name);
  }
}

uint8_t TcpSocket::State() {
  if (listening()) return kListen;
  const LocalEndpointRef peer = endpoint_->peer();
  if (!endpoint_->connected() || peer == nullptr || endpoint_->was_reset()) return kClose;
  const bool we_ended = peer->incoming.WriterFinished(), they_ended = endpoint_->incoming.WriterFinished();
  if (we_ended) return they_ended ? kClose : kFinWait2;
  return they_ended ? kCloseWait : kEstablished;
}

SocketSummary TcpSocket::Summary(Context& context) {
  SocketSummary summary = Socket::Summary(context);
  summary.state = State();
  summary.to_receive = listening() ? endpoint_->waiting() : endpoint_->incoming.queued_bytes();
  if (const LocalEndpointRef peer = endpoint_->peer()) summary.to_send = peer->incoming.queued_bytes();
  return summary;
}

tcp_info TcpSocket::Info() {
  tcp_info info{};
  info.tcpi_state = State();
  info.tcpi_rto = kInitialRetransmitUs;
  info.tcpi_snd_mss = info.tcpi_rcv_mss = endpoint_->connected() ? kLoopbackSegment : kDefaultSegment;
  info.tcpi_snd_cwnd = kInitialWindow;
  info.tcpi_snd_ssthresh = INT32_MAX;
  info.tcpi_reordering = kReordering;
  return info;
}

}  // namespace sandbox
