#include "gofer/server/session.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "base/host_sys.h"
#include "base/log.h"
#include "gofer/server/follow.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/ops.h"

namespace sandbox::gofer {
namespace {

OpFunction* const kOps[] = {
    nullptr,
    OpHello,
    nullptr /* kNewChannel */,
    nullptr /* kNewJournal */,
    nullptr /* kSettle */,
    OpForget,
    OpWalk,
    OpLookupMany,
    OpGetAttr,
    OpSetAttr,
    OpOpen,
    OpCreate,
    OpTmpfile,
    OpPlace,
    OpLink,
    OpUnlink,
    OpRename,
    OpReadLink,
    OpReadDir,
    OpStatFs,
    OpGetXattr,
    OpSetXattr,
    OpListXattr,
    OpRemoveXattr,
    OpSync,
    nullptr /* kReopenMemory */,
    nullptr /* kBindPort */,
};
static_assert(std::size(kOps) == static_cast<size_t>(Op::kMaxOp) + 1);

// The sentry sees no /proc, so it cannot open a memory file again by itself. Only for a descriptor
// that can do more than what it gets: a memory file (it has seals and no name), open for reading
// and writing.
Result<void> ReopenMemory(const UniqueFd& memory, Reply& reply) {
  if (!memory.valid()) return Err(EPROTO);
  const struct stat st = TRY(host::Stat(memory.borrow()));
  const int flags = TRY(host::StatusFlags(memory.borrow()));
  const bool sealable = ::fcntl(memory.get(), F_GET_SEALS) >= 0;
  if (!sealable || !S_ISREG(st.st_mode) || st.st_nlink != 0 || (flags & O_ACCMODE) != O_RDWR) return Err(EACCES);
  reply.fds.push_back(TRY(Reopen(memory.borrow(), O_RDONLY)));
  return {};
}

// The sentry has checked that the guest may have the port. A socket of another family refuses the address.
Result<void> BindPort(bool allowed, const UniqueFd& socket, Reader& in) {
  const std::string_view bytes = in.GetString(kMaxAddress);
  if (!in.Done() || !socket.valid()) return Err(EPROTO);
  if (!allowed) return Err(EACCES);
  sockaddr_in6 address = {};
  std::memcpy(&address, bytes.data(), std::min(bytes.size(), sizeof(address)));
  const bool v4 = address.sin6_family == AF_INET && bytes.size() == sizeof(sockaddr_in);
  const bool v6 = address.sin6_family == AF_INET6 && bytes.size() == sizeof(sockaddr_in6);
  // The port is at the same place in both.
  const uint16_t port = ntohs(address.sin6_port);
  if ((!v4 && !v6) || port == 0 || port >= kFirstFreePort) return Err(EACCES);
  TRY(HostResult(
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(bytes.size()))));
  return {};
}

}  // namespace

Session::~Session() { Wait(); }

Result<void> Session::NewChannel(Reply& reply) {
  auto [ours, theirs] = TRY(Channel::MakePair());
  TRY(Start(std::move(ours)));
  reply.fds.push_back(std::move(theirs));
  return {};
}

Result<void> Session::NewJournal(Reply& reply) {
  auto [ours, theirs] = TRY(Channel::MakePair());
  TRY(journal_.Open(std::move(ours)));
  TRY(StartThread([this] { journal_.Serve(); }));
  reply.fds.push_back(std::move(theirs));
  return {};
}

Result<void> Session::Deferred(std::span<const std::byte> request) {
  Reader in(request);
  const auto header = in.Get<RequestHeader>();
  const Op op = header.op;
  if (!in.ok() || (op != Op::kUnlink && op != Op::kRename && op != Op::kLink && op != Op::kPlace && op != Op::kSetAttr))
    return Err(EPROTO);
  Reply reply({});
  reply.unread = true;
  return Dispatch(header, in, {}, reply);
}

Result<void> Session::Dispatch(const RequestHeader& header, Reader& in, UniqueFd passed, Reply& reply) {
  if (header.op == Op::kReopenMemory) return in.Done() ? ReopenMemory(passed, reply) : Err(EPROTO);
  if (header.op == Op::kBindPort) return BindPort(low_ports_, passed, in);
  if (header.op == Op::kNewChannel) return in.Done() ? NewChannel(reply) : Err(EPROTO);
  if (header.op == Op::kNewJournal) return in.Done() ? NewJournal(reply) : Err(EPROTO);
  if (header.op == Op::kSettle) return in.Done() ? Ok() : Result<void>(Err(EPROTO));
  const auto index = static_cast<uint32_t>(header.op);
  if (index >= std::size(kOps) || kOps[index] == nullptr) return Err(EPROTO);
  return kOps[index](nodes_, header, in, reply);
}

Result<size_t> Session::Handle(std::span<const std::byte> request, UniqueFd passed, std::span<std::byte> out,
                               std::vector<UniqueFd>* fds) {
  Reader in(request);
  const auto header = in.Get<RequestHeader>();
  if (!in.ok()) return Err(EPROTO);
  TRY(journal_.CatchUp(header.after));
  Reply reply(out);
  reply.body.Put(ReplyHeader{});
  const auto result = Dispatch(header, in, std::move(passed), reply);
  if (result.Is(EPROTO)) return Err(EPROTO);
  if (header.op == Op::kForget) return 0;
  ReplyHeader answer{header.op, 0, 0, reply.count, journal_.failed(), reply.room ? 1u : 0u};
  if (!result.ok()) {
    // A walk's or batch's own records stay; every other operation answers the error alone.
    answer.error = result.error().value();
    if (header.op != Op::kWalk) {
      reply.body.Rewind(sizeof(ReplyHeader));
      answer.count = 0;
    }
    reply.fds.clear();
  }
  if (!reply.body.ok()) {
    // Every operation bounds what it writes; a name or target that still does not fit is refused,
    // not cut.
    reply.body.Rewind(sizeof(ReplyHeader));
    answer.error = EMSGSIZE;
    answer.count = 0;
    reply.fds.clear();
  }
  answer.descriptors = static_cast<uint32_t>(reply.fds.size());
  reply.body.PutAt(0, answer);
  *fds = std::move(reply.fds);
  return reply.body.size();
}

void Session::Serve(UniqueFd socket) {
  Channel channel(std::move(socket));
  // Touched only as far as messages are large, so an idle channel costs a page or two.
  auto in = std::make_unique_for_overwrite<std::array<std::byte, kMaxMessage>>();
  auto out = std::make_unique_for_overwrite<std::array<std::byte, kMaxMessage>>();
  Follower follower;
  for (;;) {
    UniqueFd fd;
    std::vector<UniqueFd> fds;
    const auto size = channel.Receive(*in, {&fd, 1});
    if (!size.ok()) return;
    follower.Follow(Reader(std::span(*in).first(*size)).Get<RequestHeader>().processor);
    const auto reply = Handle(std::span(*in).first(*size), std::move(fd), *out, &fds);
    if (!reply.ok()) {
      LOGF(kWarning, "gofer: malformed request of %zu bytes, closing the channel", *size);
      return;
    }
    if (*reply == 0) continue;
    std::vector<BorrowedFd> passed;
    for (const UniqueFd& made : fds) passed.push_back(made.borrow());
    if (!channel.Send(std::span(*out).first(*reply), passed).ok()) return;
  }
}

template <typename Function>
Result<void> Session::StartThread(Function serve) {
  {
    MutexLock lock(mu_);
    if (channels_ >= kMaxChannels) return Err(EMFILE);
    ++channels_;
  }
  try {
    std::thread([this, serve = std::move(serve)] {
      serve();
      MutexLock lock(mu_);
      if (--channels_ == 0) idle_.NotifyAll();
    }).detach();
  } catch (const std::system_error&) {  // the pids limit of the container
    MutexLock lock(mu_);
    --channels_;
    return Err(EAGAIN);
  }
  return {};
}

Result<void> Session::Start(UniqueFd socket) {
  return StartThread([this, fd = std::make_shared<UniqueFd>(std::move(socket))] { Serve(std::move(*fd)); });
}

void Session::Wait() {
  MutexLock lock(mu_);
  while (channels_ > 0) idle_.Wait(mu_);
}

}  // namespace sandbox::gofer
