// The open file of a unix socket: argument rules of unix(7) over a LocalEndpoint.
#pragma once

#include "sentry/socket/local_endpoint.h"

namespace sandbox {

class UnixSocket final : public Socket {
 public:
  UnixSocket(LocalEndpointRef endpoint, int flags);
  ~UnixSocket() override;

  Result<void> Bind(const SocketCaller& caller, const SocketAddress& address) override;
  Result<void> Listen(Context& context, int backlog) override;
  Result<SocketRef> Accept(Context& context, int flags) override;
  Result<void> Connect(const SocketCaller& caller, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress(Context& context) override;
  Result<SocketAddress> PeerAddress(Context& context) override;
  Result<void> Shutdown(Context& context, int how) override;
  Result<size_t> Send(const SocketCaller& caller, IoSequence& from, SendRequest& request) override;
  Result<size_t> Receive(Context& context, IoSequence& to, int flags, ReceiveResult& result) override;
  Result<void> SetOption(Context& context, int level, int name, OptionIn value) override;
  Result<std::string> GetOption(Context& context, int level, int name) override;

  EventMask Readiness(Context&, EventMask) override { return endpoint_->Readiness(options().urgent_inline()); }
  WaitQueue* wait_queue() override { return &endpoint_->wait_queue; }
  SocketSummary Summary(Context& context) override;
  void VisitQueues(const std::function<void(ReceiveQueue&)>& visit) override { endpoint_->VisitQueues(visit); }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 protected:
  int TakeError() override { return endpoint_->TakeError(); }
  bool listening() const override { return endpoint_->listening(); }
  ReceiveQueue* peek_queue() override { return &endpoint_->incoming; }
  ReceiveQueue* filtered_queue() override { return is_stream() ? nullptr : &endpoint_->incoming; }

 private:
  Result<size_t> SendStream(Context& context, IoSequence& from, SendRequest& request);
  Result<size_t> SendPacket(const SocketCaller& caller, IoSequence& from, SendRequest& request);
  Result<LocalEndpointRef> Destination(const SocketCaller& caller, const SendRequest& request);
  Result<SocketMessage> BuildMessage(Context& context, const IoSequence& from, size_t size, SendRequest& request);
  void AfterRead(bool freed);

  const LocalEndpointRef endpoint_;
};

}  // namespace sandbox
