#include "sentry/socket/unix/unix_socket.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include "sentry/socket/interfaces.h"
#include "sentry/socket/unix/unix_names.h"

namespace sandbox {
namespace {

constexpr size_t kMaxStreamMessage = 64 * 1024;
constexpr size_t kPacketReserve = 32;  // Linux: a datagram may be SO_SNDBUF - 32 bytes long

// Who calls, as SO_PEERCRED and SCM_CREDENTIALS tell it.
ucred CallerCredentials(Context& context) { return {context.tgid(), context.creds().euid, context.creds().egid}; }

SocketAddress UnnamedAddress() {
  const sa_family_t family = AF_UNIX;
  return SocketAddress::From(family);
}

class UnixFamily final : public SocketFamily {
 public:
  Result<SocketRef> Create(Context&, int type, int protocol, int flags) override {
    return SocketRef(MakeRef<UnixSocket>(MakeRef<LocalEndpoint>(TRY(CheckType(type, protocol))), flags));
  }
  Result<std::pair<SocketRef, SocketRef>> CreatePair(Context& context, int type, int protocol, int flags) override {
    type = TRY(CheckType(type, protocol));
    auto a = MakeRef<LocalEndpoint>(type), b = MakeRef<LocalEndpoint>(type);
    LocalEndpoint::Pair(a, b, CallerCredentials(context));
    return std::pair(SocketRef(MakeRef<UnixSocket>(a, flags)), SocketRef(MakeRef<UnixSocket>(b, flags)));
  }

 private:
  static Result<int> CheckType(int type, int protocol) {
    if (protocol != 0 && protocol != PF_UNIX) return Err(EPROTONOSUPPORT);
    if (type == SOCK_RAW) return SOCK_DGRAM;  // as Linux has it since BSD 4.2 days
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) return Err(ESOCKTNOSUPPORT);
    return type;
  }
};

[[maybe_unused]] const bool registered = [] {
  static UnixFamily family;
  RegisterSocketFamily(AF_UNIX, &family);
  return true;
}();

}  // namespace

UnixSocket::UnixSocket(LocalEndpointRef endpoint, int flags)
    : Socket(AF_UNIX, endpoint->type, 0, flags), endpoint_(std::move(endpoint)) {}

UnixSocket::~UnixSocket() {
  ReleaseUnixName(net(), *endpoint_);
  endpoint_->Close();
  CollectInFlightSoon();
}

Result<void> UnixSocket::Bind(const SocketCaller& caller, const SocketAddress& address) {
  return BindUnixName(net(), caller, endpoint_, address);
}

Result<void> UnixSocket::Listen(Context& context, int backlog) {
  if (type() == SOCK_DGRAM) return Err(EOPNOTSUPP);
  return endpoint_->Listen(backlog, CallerCredentials(context));
}

Result<SocketRef> UnixSocket::Accept(Context&, int flags) {
  if (type() == SOCK_DGRAM) return Err(EOPNOTSUPP);
  auto socket = MakeRef<UnixSocket>(TRY(endpoint_->Accept()), flags);
  socket->set_net(net_ref());
  return SocketRef(std::move(socket));
}

Result<void> UnixSocket::Connect(const SocketCaller& caller, const SocketAddress& address) {
  if (type() == SOCK_DGRAM && address.family() == AF_UNSPEC && address.size >= sizeof(sa_family_t)) {
    return endpoint_->SetTarget(nullptr);
  }
  const LocalEndpointRef target = TRY(FindUnixName(net(), caller, address));
  if (target->type != type()) return Err(EPROTOTYPE);
  if (type() == SOCK_DGRAM) return endpoint_->SetTarget(target);
  const auto connected = endpoint_->ConnectTo(target, CallerCredentials(caller.context));
  if (connected.Is(EAGAIN)) target->WakeWhenFree(endpoint_);
  return connected;
}

Result<SocketAddress> UnixSocket::LocalAddress(Context&) {
  const SocketAddress address = endpoint_->address();
  return address.empty() ? UnnamedAddress() : address;
}

Result<SocketAddress> UnixSocket::PeerAddress(Context&) {
  const LocalEndpointRef peer = endpoint_->peer();
  if (peer == nullptr) return Err(ENOTCONN);
  const SocketAddress address = peer->address();
  return address.empty() ? UnnamedAddress() : address;
}

Result<void> UnixSocket::Shutdown(Context&, int how) { return endpoint_->Shutdown(how); }

Result<SocketMessage> UnixSocket::BuildMessage(Context& context, const IoSequence& from, size_t size,
                                               SendRequest& request) {
  SocketMessage message;
  message.bytes = MakeRef<SocketBytes>(size);
  message.length = size > 0 ? TRY(from.PeekIn(message.bytes->data.get(), size)) : 0;
  if (type() != SOCK_STREAM && message.length != size) return Err(EFAULT);
  message.from = endpoint_->address();
  const Credentials& creds = context.creds();
  message.credentials = request.control.credentials.value_or(ucred{context.tgid(), creds.uid, creds.gid});
  if (!request.control.rights.empty()) {
    TRY(CheckInFlightLimit(context));
    message.rights = InFlightFiles(request.control.rights, creds.uid);
  }
  return message;
}

Result<size_t> UnixSocket::SendStream(Context& context, IoSequence& from, SendRequest& request) {
  if ((request.flags & MSG_OOB) && from.empty()) return Err(EOPNOTSUPP);
  if (!request.to.empty()) return Err(endpoint_->peer() != nullptr ? EISCONN : EOPNOTSUPP);
  const LocalEndpointRef peer = TRY(endpoint_->PeerForSend());
  size_t done = 0;
  while (!from.empty()) {
    const auto room = peer->incoming.Room();
    if (!room.ok()) return done > 0 ? Result<size_t>(done) : room;
    // The last byte of urgent data is the urgent one.
    const bool urgent = (request.flags & MSG_OOB) && from.remaining() == 1;
    const size_t before = (request.flags & MSG_OOB) && !urgent ? from.remaining() - 1 : from.remaining();
    auto message = BuildMessage(context, from, std::min({*room, before, kMaxStreamMessage}), request);
    if (!message.ok()) return done > 0 ? Result<size_t>(done) : message.error();
    const size_t size = message->length;
    const auto pushed =
        urgent ? LocalEndpoint::SendUrgent(*peer, std::move(*message)) : peer->incoming.Push(std::move(*message));
    if (pushed.Is(EAGAIN)) continue;  // another thread took the room: look again
    if (!pushed.ok()) return done > 0 ? Result<size_t>(done) : pushed.error();
    request.control.rights.clear();  // they ride on the first byte only
    from.Advance(size);
    done += size;
    peer->wait_queue.Notify(kReadable);
  }
  return done;
}

Result<LocalEndpointRef> UnixSocket::Destination(const SocketCaller& caller, const SendRequest& request) {
  if (type() == SOCK_SEQPACKET || request.to.empty()) return endpoint_->PeerForSend();
  const LocalEndpointRef target = TRY(FindUnixName(net(), caller, request.to));
  if (target->type != type()) return Err(EPROTOTYPE);
  if (target->Refuses(*endpoint_)) return Err(EPERM);
  return target;
}

Result<size_t> UnixSocket::SendPacket(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  if (request.flags & MSG_OOB) return Err(EOPNOTSUPP);
  const LocalEndpointRef target = TRY(Destination(caller, request));
  const size_t size = from.remaining();
  if (size > static_cast<size_t>(options().send_buffer()) - kPacketReserve) return Err(EMSGSIZE);
  if ((options().pass_credentials() || options().pass_pidfd()) && endpoint_->address().empty()) {
    (void)BindUnixName(net(), caller, endpoint_, UnnamedAddress());  // unix(7): SO_PASSCRED names the sender
  }
  auto can = target->incoming.CanTake(size);
  if (can.ok()) {
    auto message = TRY(BuildMessage(caller.context, from, size, request));
    if (const PacketFilterRef filter = target->incoming.filter()) {
      const size_t kept = filter->Run({message.data(), size}, {});
      if (kept == 0) {  // the sender does not learn of it
        from.Advance(size);
        return size;
      }
      message.length = kept;
    }
    can = target->incoming.Push(std::move(message));
  }
  if (can.Is(EAGAIN)) {
    if (target == endpoint_) return Err(EAGAIN);
    target->WakeWhenFree(endpoint_);
    // Room may have appeared before we were on the list.
    if (target->incoming.CanTake(size).ok()) endpoint_->wait_queue.Notify(kWritable);
    return Err(EAGAIN);
  }
  if (can.Is(EPIPE) && target->closed()) return Err(ECONNREFUSED);
  if (!can.ok()) return can.error();
  request.control.rights.clear();
  from.Advance(size);
  target->wait_queue.Notify(kReadable);
  return size;
}

Result<size_t> UnixSocket::Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) {
  if (is_stream()) return SendStream(caller.context, from, request);
  return SendPacket(caller, from, request);
}

void UnixSocket::AfterRead(bool freed) {
  if (!freed) return;
  if (type() != SOCK_DGRAM) {
    if (auto peer = endpoint_->peer()) peer->wait_queue.Notify(kWritable);
  }
  endpoint_->NotifyRoom();
}

Result<size_t> UnixSocket::Receive(Context&, IoSequence& to, int flags, ReceiveResult& result) {
  if ((flags & MSG_OOB) && !is_stream()) return Err(EOPNOTSUPP);
  if (type() != SOCK_DGRAM && endpoint_->listening()) return Err(EINVAL);
  if (type() != SOCK_DGRAM && endpoint_->peer() == nullptr) return Err(is_stream() ? EINVAL : ENOTCONN);
  if (flags & MSG_OOB) {
    if (options().urgent_inline()) return Err(EINVAL);
    const auto got = endpoint_->incoming.ReadUrgent(to, flags, result);
    result.from = SocketAddress{};
    return got;
  }
  bool freed = false;
  // Of a stream queued data comes before a pending error; an error comes before the end of file.
  if (!is_stream() || !endpoint_->incoming.HasData()) {
    if (const int error = endpoint_->TakeError()) return Err(error);
  }
  const auto got = is_stream() ? endpoint_->incoming.ReadStream(
                                     to,
                                     {.flags = flags,
                                      .split_credentials = options().pass_credentials() || options().pass_pidfd(),
                                      .urgent_inline = options().urgent_inline()},
                                     result, &freed)
                               : endpoint_->incoming.ReadPacket(to, flags, result, &freed);
  if (options().pass_pidfd() && result.control.credentials) result.control.process = result.control.credentials->pid;
  if (!options().pass_credentials()) result.control.credentials.reset();
  AfterRead(freed);
  return got;
}

SocketSummary UnixSocket::Summary(Context& context) {
  constexpr uint8_t kUnconnected = 1, kConnected = 3;  // SS_* of linux/net.h
  SocketSummary summary;
  if (!endpoint_->address().empty()) summary.local = endpoint_->address();
  summary.listening = endpoint_->listening();
  summary.state = endpoint_->connected() && type() != SOCK_DGRAM ? kConnected : kUnconnected;
  summary.to_receive = endpoint_->incoming.queued_bytes();
  (void)context;
  return summary;
}

Result<void> UnixSocket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level != SOL_SOCKET) return Err(EOPNOTSUPP);
  if ((name == SO_REUSEPORT && TRY(OptionInt(value)) != 0) || name == SO_ZEROCOPY) return Err(EOPNOTSUPP);
  TRY(Socket::SetOption(context, level, name, value));
  if (name == SO_SNDBUF || name == SO_SNDBUFFORCE) {
    // What we may have under way towards a connected peer; datagrams are bounded by their receiver's count.
    const LocalEndpointRef peer = endpoint_->peer();
    if (peer != nullptr && type() != SOCK_DGRAM) peer->incoming.SetLimit(options().send_buffer());
  }
  return {};
}

Result<std::string> UnixSocket::GetOption(Context& context, int level, int name) {
  if (level != SOL_SOCKET) return Err(EOPNOTSUPP);
  if (name == SO_PEERCRED) {
    ucred creds = endpoint_->listening() ? ucred{0, ~0u, ~0u} : endpoint_->peer_credentials();
    creds.pid = context.ShownPid(creds.pid);
    if (creds.uid != ~0u) creds.uid = context.creds().ShownUid(creds.uid);
    if (creds.gid != ~0u) creds.gid = context.creds().ShownGid(creds.gid);
    return OptionBytes(&creds, sizeof(creds));
  }
  return Socket::GetOption(context, level, name);
}

Result<int64_t> UnixSocket::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  int32_t value = 0;
  if (request == SIOCINQ) {
    if (endpoint_->listening()) return Err(EINVAL);
    value = is_stream() ? endpoint_->incoming.queued_bytes() : endpoint_->incoming.next_packet_bytes();
  } else if (request == SIOCATMARK && is_stream()) {
    value = endpoint_->incoming.AtMark() ? 1 : 0;
  } else if (request == SIOCATMARK) {
    return Err(EOPNOTSUPP);
  } else if (request == SIOCOUTQ) {
    if (auto peer = endpoint_->peer()) value = peer->incoming.queued_bytes();
  } else {
    return InterfaceIoctl(context, request, argument);  // glibc's if_nametoindex asks through a unix socket
  }
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), value));
  return 0;
}

}  // namespace sandbox
