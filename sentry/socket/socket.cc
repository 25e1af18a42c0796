#include "sentry/socket/socket.h"

#include <signal.h>

#include <array>
#include <map>

#include "sentry/socket/receive_queue.h"
#include "sentry/vfs/special.h"

namespace sandbox {
namespace {

using Providers = std::array<SocketFamily*, AF_MAX>;

Providers& Families() {
  static Providers families = {};
  return families;
}

using SocketsByIno = std::map<uint64_t, Socket*>;
Guarded<SocketsByIno>& AllSockets() {
  static auto* const all = new Guarded<SocketsByIno>(LockRank::kLeaf);  // sockets may outlive every other object
  return *all;
}

Providers& OuterFamilies() {
  static Providers families = {};
  return families;
}

}  // namespace

Socket::Socket(int family, int type, int protocol, int flags)
    : FileDescription(Path{}, O_RDWR | (flags & O_NONBLOCK)),
      family_(family),
      type_(type),
      protocol_(protocol),
      ino_(NextAnonymousIno()) {}

void Socket::Publish(uint32_t uid, uint32_t gid) {
  uid_ = uid;
  gid_ = gid;
  AllSockets().With([&](SocketsByIno& all) { all.emplace(ino_, this); });
}

Socket::~Socket() {
  AllSockets().With([&](SocketsByIno& all) { all.erase(ino_); });
}

std::vector<SocketRef> Socket::All(const NetNamespace& net, int family) {
  std::vector<SocketRef> found, others;  // references end outside the lock
  AllSockets().With([&](SocketsByIno& all) {
    for (const auto& [ino, socket] : all) {
      auto held = std::static_pointer_cast<Socket>(socket->weak_from_this().lock());
      if (held == nullptr) continue;  // it is ending
      (socket->family_ == family && socket->net_.get() == &net ? found : others).push_back(std::move(held));
    }
  });
  return found;
}

SocketSummary Socket::Summary(Context& context) {
  SocketSummary summary;
  if (const auto local = LocalAddress(context); local.ok()) summary.local = *local;
  if (const auto peer = PeerAddress(context); peer.ok()) summary.peer = *peer;
  summary.listening = listening();
  return summary;
}

Result<void> Socket::Bind(const SocketCaller&, const SocketAddress&) { return Err(EOPNOTSUPP); }
Result<void> Socket::Listen(Context&, int) { return Err(EOPNOTSUPP); }
Result<SocketRef> Socket::Accept(Context&, int) { return Err(EOPNOTSUPP); }
Result<void> Socket::Connect(const SocketCaller&, const SocketAddress&) { return Err(EOPNOTSUPP); }
Result<void> Socket::FinishConnect(Context&) { return {}; }
Result<SocketAddress> Socket::LocalAddress(Context&) { return Err(EOPNOTSUPP); }
Result<SocketAddress> Socket::PeerAddress(Context&) { return Err(EOPNOTSUPP); }
Result<void> Socket::Shutdown(Context&, int) { return Err(EOPNOTSUPP); }

PacketFilterRef Socket::filter() const {
  MutexLock lock(filter_mu_);
  return filter_;
}

Result<void> Socket::SetFilter(Context& context, int name, OptionIn value) {
  PacketFilterRef filter;
  if (name == SO_ATTACH_FILTER) {
    if (value.size() != sizeof(sock_fprog)) return Err(EINVAL);
    if (options_.filter_locked()) return Err(EPERM);
    filter = TRY(PacketFilter::Read(context, value));
  } else {
    if (options_.filter_locked()) return Err(EPERM);
    if (this->filter() == nullptr) return Err(ENOENT);
  }
  if (ReceiveQueue* const queue = filtered_queue()) queue->SetFilter(filter);
  MutexLock lock(filter_mu_);
  filter_.swap(filter);
  return {};
}

Result<void> Socket::SetOption(Context& context, int level, int name, OptionIn value) {
  if (level != SOL_SOCKET) return Err(ENOPROTOOPT);
  if (name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER) return SetFilter(context, name, value);
  if (name != SO_PEEK_OFF) return options_.Set(context, name, value);
  const int offset = TRY(OptionInt(value));
  if (peek_queue() == nullptr) return Err(EOPNOTSUPP);
  peek_queue()->SetPeekOffset(offset);
  return {};
}

Result<std::string> Socket::GetOption(Context& context, int level, int name) {
  if (level != SOL_SOCKET) return Err(ENOPROTOOPT);
  switch (name) {
    case SO_TYPE:
      return OptionBytes(type_);
    case SO_DOMAIN:
      return OptionBytes(family_);
    case SO_PROTOCOL:
      return OptionBytes(protocol_);
    case SO_ERROR:
      return OptionBytes(TakeError());
    case SO_ACCEPTCONN:
      return OptionBytes(listening() ? 1 : 0);
    case SO_COOKIE:
      return OptionBytes(&ino_, sizeof(ino_));
    case SO_PEERNAME: {
      const SocketAddress peer = TRY(PeerAddress(context));
      return OptionBytes(peer.bytes.data(), peer.size);
    }
    case SO_PEEK_OFF:
      if (peek_queue() == nullptr) return Err(EOPNOTSUPP);
      return OptionBytes(peek_queue()->peek_offset());
    default:
      return options_.Get(name);
  }
}

Result<size_t> Socket::Read(Context& context, IoSequence& to, int64_t*, int) {
  if (to.empty()) return size_t{0};  // Linux: sock_read_iter
  ReceiveResult result;              // ancillary data is dropped, as read(2) does
  return Receive(context, to, 0, result);
}

Result<size_t> Socket::Write(Context& context, IoSequence& from, int64_t*, int) {
  SendRequest request;
  const WalkBase nowhere;
  auto sent = Send(SocketCaller{context, nowhere, 0}, from, request);
  if (sent.Is(EPIPE) && type_ != SOCK_DGRAM) context.RaiseSignal(SIGPIPE);
  return sent;
}

Result<Attr> Socket::GetAttr(Context&) {
  Attr attr;
  attr.ino = ino_;
  attr.mode = S_IFSOCK | permissions_.load();
  attr.uid = uid_;
  attr.gid = gid_;
  return attr;
}

// The VFS has checked who may (Linux: sockfs_setattr).
Result<void> Socket::SetAttr(Context&, const AttrChange& change) {
  if (change.mode) permissions_.store(*change.mode & 07777);
  if (change.uid) uid_.store(*change.uid);
  if (change.gid) gid_.store(*change.gid);
  return {};
}

std::string Socket::AnonymousName() const { return "socket:[" + std::to_string(ino_) + "]"; }

void RegisterSocketFamily(int family, SocketFamily* provider) { Families().at(family) = provider; }

void RegisterOuterSocketFamily(int family, SocketFamily* provider) { OuterFamilies().at(family) = provider; }

Result<SocketFamily*> FindSocketFamily(const NetNamespace& net, int family) {
  if (family < 0 || family >= AF_MAX) return Err(EAFNOSUPPORT);
  SocketFamily* const outer = net.initial() ? OuterFamilies()[family] : nullptr;
  SocketFamily* const provider = outer != nullptr ? outer : Families()[family];
  if (provider == nullptr) return Err(EAFNOSUPPORT);
  return provider;
}

Result<SocketRef> AsSocket(const FileRef& file) {
  auto socket = std::dynamic_pointer_cast<Socket>(file);
  if (socket == nullptr) return Err(ENOTSOCK);
  return socket;
}

}  // namespace sandbox
