#include "sentry/socket/local_endpoint.h"

#include <algorithm>

namespace sandbox {
namespace {

constexpr EventMask kEverything = kReadable | kWritable | kEventErr | kEventHup | kEventRdHup;

}  // namespace

void LocalEndpoint::Pair(const LocalEndpointRef& a, const LocalEndpointRef& b, const ucred& creds) {
  const auto link = [&](LocalEndpoint& end, const LocalEndpointRef& other) {
    MutexLock lock(end.mu_);
    end.state_ = State::kConnected;
    end.peer_ = other;
    end.peer_credentials_ = creds;
  };
  link(*a, b);
  link(*b, a);
}

Result<void> LocalEndpoint::SetAddress(const SocketAddress& address) {
  MutexLock lock(mu_);
  if (!address_.empty()) return Err(EINVAL);
  address_ = address;
  return {};
}

SocketAddress LocalEndpoint::address() const {
  MutexLock lock(mu_);
  return address_;
}

Result<void> LocalEndpoint::Listen(int backlog, const ucred& creds) {
  MutexLock lock(mu_);
  if (state_ == State::kConnected || address_.empty()) return Err(EINVAL);
  state_ = State::kListening;
  peer_credentials_ = creds;  // what those who connect see of us
  backlog_limit_ = backlog < 0 ? kMaxBacklog : std::min<size_t>(backlog, kMaxBacklog);
  return {};
}

bool LocalEndpoint::listening() const {
  MutexLock lock(mu_);
  return state_ == State::kListening;
}

size_t LocalEndpoint::waiting() const {
  MutexLock lock(mu_);
  return backlog_.size();
}

bool LocalEndpoint::connected() const {
  MutexLock lock(mu_);
  return state_ == State::kConnected;
}

Result<void> LocalEndpoint::ConnectTo(const LocalEndpointRef& listener, const ucred& creds,
                                      const SocketAddress* server_address) {
  auto server = MakeRef<LocalEndpoint>(type, ending);
  server->incoming.SetLimit(listener->incoming.limit());
  ucred listener_creds;
  SocketAddress listener_address;
  const bool shut = listener->incoming.ReaderFinished();
  {
    MutexLock lock(listener->mu_);
    if (listener->state_ != State::kListening || listener->closed() || shut) return Err(ECONNREFUSED);
    if (listener->backlog_.size() > listener->backlog_limit_) return Err(EAGAIN);
    listener_creds = listener->peer_credentials_;
    listener_address = listener->address_;
  }
  {
    MutexLock lock(mu_);
    if (state_ == State::kConnected) return Err(EISCONN);
    if (state_ == State::kListening) return Err(EINVAL);
  }
  {
    MutexLock lock(server->mu_);
    server->address_ = server_address != nullptr ? *server_address : listener_address;
    server->state_ = State::kConnected;
    server->peer_ = shared_from_this();
    server->peer_credentials_ = creds;
  }
  {
    MutexLock lock(mu_);
    if (state_ != State::kUnconnected) return Err(EISCONN);  // another thread was faster; `server` is dropped
    state_ = State::kConnected;
    peer_ = server;
    peer_credentials_ = listener_creds;
  }
  bool refused;
  {
    MutexLock lock(listener->mu_);
    refused = listener->closed();
    if (!refused) listener->backlog_.push_back(server);
  }
  if (refused) {
    server->Close();
    return {};  // connected, and closed by the other side at once
  }
  listener->wait_queue.Notify(kReadable);
  wait_queue.Notify(kWritable);
  return {};
}

Result<LocalEndpointRef> LocalEndpoint::Accept() {
  LocalEndpointRef accepted;
  {
    MutexLock lock(mu_);
    if (state_ != State::kListening) return Err(EINVAL);
    if (backlog_.empty()) return incoming.ReaderFinished() ? Err(EINVAL) : Err(EAGAIN);
    accepted = std::move(backlog_.front());
    backlog_.pop_front();
  }
  NotifyRoom();
  return accepted;
}

Result<void> LocalEndpoint::SetTarget(const LocalEndpointRef& target) {
  if (target != nullptr && target->Refuses(*this)) return Err(EPERM);
  LocalEndpointRef old;
  MutexLock lock(mu_);
  old = std::move(peer_);
  peer_ = target;
  state_ = target != nullptr ? State::kConnected : State::kUnconnected;
  return {};
}

Result<LocalEndpointRef> LocalEndpoint::PeerForSend() {
  if (const int error = TakeError()) return Err(error);
  LocalEndpointRef gone;
  MutexLock lock(mu_);
  if (write_shut_) return Err(EPIPE);
  if (peer_ == nullptr) return Err(ENOTCONN);
  if (type == SOCK_DGRAM && peer_->closed()) {
    gone = std::move(peer_);
    state_ = State::kUnconnected;
    return Err(ECONNREFUSED);
  }
  return peer_;
}

LocalEndpointRef LocalEndpoint::peer() const {
  MutexLock lock(mu_);
  return peer_;
}

bool LocalEndpoint::Refuses(const LocalEndpoint& sender) const {
  MutexLock lock(mu_);
  return peer_ != nullptr && peer_.get() != &sender;
}

Result<void> LocalEndpoint::Shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Err(EINVAL);
  LocalEndpointRef other;
  {
    MutexLock lock(mu_);
    if (how != SHUT_RD) write_shut_ = true;
    // Only connections tell the other side; a datagram target never learns of its senders.
    if (type != SOCK_DGRAM) other = peer_;
  }
  if (how != SHUT_WR) ending == Ending::kBoth ? incoming.FinishReading() : incoming.EndWhenEmpty();
  if (other != nullptr) {
    if (how != SHUT_RD) other->incoming.FinishWriting();
    // The other side of TCP does not learn that nobody reads any more.
    if (how != SHUT_WR && ending == Ending::kBoth) {
      MutexLock lock(other->mu_);
      other->write_shut_ = true;
    }
    other->wait_queue.Notify(kEverything);
  }
  wait_queue.Notify(kEverything);
  return {};
}

void LocalEndpoint::PeerClosed(bool data_lost) {
  if (ending == Ending::kBoth || data_lost) {
    MutexLock lock(mu_);
    write_shut_ = true;
  }
  if (data_lost) {
    error_.store(ECONNRESET);
    was_reset_.store(true, std::memory_order_release);
  }
  incoming.FinishWriting();
  wait_queue.Notify(kEverything);
}

void LocalEndpoint::TakeReset() {
  {
    MutexLock lock(mu_);
    write_shut_ = true;
  }
  error_.store(EPIPE);
  was_reset_.store(true, std::memory_order_release);
  wait_queue.Notify(kEverything);
}

void LocalEndpoint::Close(bool reset) {
  closed_.store(true, std::memory_order_release);
  Sever(reset);
}

void LocalEndpoint::Disconnect(bool keep_name) {
  Sever(true);
  incoming.Reopen();
  MutexLock lock(mu_);
  state_ = State::kUnconnected;
  write_shut_ = false;
  was_reset_.store(false, std::memory_order_release);
  if (!keep_name) address_ = SocketAddress{};
}

void LocalEndpoint::Sever(bool reset) {
  LocalEndpointRef other;
  std::deque<LocalEndpointRef> pending;
  {
    MutexLock lock(mu_);
    other = std::move(peer_);
    pending.swap(backlog_);
  }
  const bool lost = incoming.Clear() || reset;
  if (other != nullptr && type != SOCK_DGRAM) other->PeerClosed(lost);
  for (const LocalEndpointRef& server : pending) server->Close(true);
  NotifyRoom();
}

void LocalEndpoint::WakeWhenFree(const LocalEndpointRef& sender) {
  MutexLock lock(mu_);
  std::erase_if(blocked_, [&](const auto& weak) {
    auto known = weak.lock();
    return known == nullptr || known == sender;
  });
  blocked_.push_back(sender);
  has_blocked_.store(true);
}

void LocalEndpoint::NotifyRoom() {
  if (!has_blocked_.load()) return;
  std::vector<WeakRef<LocalEndpoint>> senders;
  {
    MutexLock lock(mu_);
    senders.swap(blocked_);
    has_blocked_.store(false);
  }
  for (const auto& weak : senders) {
    if (auto sender = weak.lock()) sender->wait_queue.Notify(kWritable);
  }
}

EventMask LocalEndpoint::WriteReadiness() {
  const LocalEndpointRef other = peer();
  const EventMask writable = ending == Ending::kBoth ? kWritable | kEventWrBand : kWritable;
  if (other == nullptr || other->closed()) return writable;
  if (other->incoming.Writable()) return writable;
  if (type != SOCK_DGRAM) return 0;  // a connection notifies its one sender by itself
  other->WakeWhenFree(shared_from_this());
  return other->incoming.Writable() ? writable : 0;
}

Result<void> LocalEndpoint::SendUrgent(LocalEndpoint& to, SocketMessage&& message) {
  TRY(to.incoming.PushUrgent(std::move(message)));
  to.wait_queue.Notify(kReadable | kEventPri | kEventRdBand);
  return {};
}

void LocalEndpoint::VisitQueues(const std::function<void(ReceiveQueue&)>& visit) {
  std::deque<LocalEndpointRef> waiting;
  {
    MutexLock lock(mu_);
    waiting = backlog_;
  }
  visit(incoming);
  for (const LocalEndpointRef& server : waiting) visit(server->incoming);
}

EventMask LocalEndpoint::Readiness(bool urgent_inline) {
  EventMask events = error_.load() != 0 ? kEventErr : 0;
  bool write_shut, connected;
  const bool read_shut = incoming.ReaderFinished();
  {
    MutexLock lock(mu_);
    write_shut = write_shut_;
    if (state_ == State::kListening) {
      if (read_shut) events |= kReadable | kEventRdHup | (write_shut ? kEventHup : 0);
      return events | (backlog_.empty() ? 0 : kReadable);
    }
    connected = state_ == State::kConnected;
  }
  const bool ended = incoming.WriterFinished() || read_shut;
  if (ended) events |= kReadable | kEventRdHup;
  if (ending == Ending::kBoth ? incoming.HasData() : incoming.HasData(urgent_inline)) events |= kReadable;
  if (incoming.HasUrgent()) events |= kEventPri;
  if ((ended && write_shut) || (!connected && type != SOCK_DGRAM)) events |= kEventHup;
  return events | WriteReadiness();
}

ucred LocalEndpoint::peer_credentials() const {
  MutexLock lock(mu_);
  return peer_credentials_;
}

}  // namespace sandbox
