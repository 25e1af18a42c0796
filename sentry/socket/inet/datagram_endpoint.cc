#include "sentry/socket/inet/datagram_endpoint.h"

#include <sys/socket.h>

namespace sandbox {

std::optional<InetAddress> DatagramEndpoint::local() const {
  MutexLock lock(mu_);
  return local_;
}
std::optional<InetAddress> DatagramEndpoint::peer() const {
  MutexLock lock(mu_);
  return peer_;
}
void DatagramEndpoint::SetLocal(const std::optional<InetAddress>& address) {
  MutexLock lock(mu_);
  local_ = address;
}
void DatagramEndpoint::SetPeer(const std::optional<InetAddress>& address) {
  MutexLock lock(mu_);
  peer_ = address;
}

Result<void> DatagramEndpoint::Shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Err(EINVAL);
  if (how != SHUT_RD) write_shut_.store(true);
  if (how != SHUT_WR) incoming.FinishReading();
  wait_queue.Notify(kReadable | kWritable | kEventHup);
  return peer() ? Result<void>() : Err(ENOTCONN);
}

EventMask DatagramEndpoint::Readiness() const {
  EventMask events = kWritable | kEventWrBand;
  if (incoming.HasData()) events |= kReadable;
  if (incoming.ReaderFinished()) {
    events |= kReadable | kEventRdHup;
    if (write_shut()) events |= kEventHup;
  }
  return events;
}

void DatagramEndpoint::Summarize(SocketSummary& summary) const {
  constexpr uint8_t kEstablished = 1, kClose = 7;  // net/tcp_states.h
  summary.state = peer() ? kEstablished : kClose;
  summary.to_receive = incoming.queued_bytes();
}

}  // namespace sandbox
