#include "sentry/fs/gofer/client.h"

#include <sched.h>

#include <algorithm>

#include "base/log.h"

namespace sandbox {

using gofer::Op;

namespace {
// Handles are told to be forgotten in batches, in front of the next call.
constexpr size_t kForgetBatch = 64;
}  // namespace

GoferHandle::~GoferHandle() {
  if (client_ != nullptr) client_->Forget(value_);
}

Result<RefPtr<GoferClient>> GoferClient::Connect(UniqueFd socket) {
  auto client = MakeRef<GoferClient>();
  {
    MutexLock lock(client->mu_);
    client->idle_.push_back(MakeLane(std::move(socket)));
    client->lanes_ = 1;
  }
  TRY(client->Hello());
  AddOutsideShare(client);
  return client;
}

GoferClient::~GoferClient() = default;

GoferClient::LaneRef GoferClient::MakeLane(UniqueFd socket) {
  // The buffers stay untouched, and so cost nothing, beyond the size of the messages that pass.
  return std::unique_ptr<Lane>(new Lane(std::move(socket)));
}

GoferClient::LaneRef GoferClient::Acquire() {
  LaneRef lane;
  bool forgets;
  {
    MutexLock lock(mu_);
    ++waiters_;
    while (idle_.empty()) free_lane_.Wait(mu_);
    --waiters_;
    lane = std::move(idle_.back());
    idle_.pop_back();
    forgets = forgotten_.size() >= kForgetBatch;
  }
  if (forgets) SendForgets(*lane);
  return lane;
}

void GoferClient::Release(LaneRef lane) {
  bool add = false;
  {
    MutexLock lock(mu_);
    if (waiters_ > 0 && lanes_ < kMaxChannels) {
      add = true;
      ++lanes_;
    }
  }
  LaneRef more = add ? AddLane(*lane) : nullptr;
  MutexLock lock(mu_);
  if (add && more == nullptr) --lanes_;
  idle_.push_back(std::move(lane));
  if (more != nullptr) idle_.push_back(std::move(more));
  if (waiters_ > 0) free_lane_.NotifyAll();
}

GoferClient::LaneRef GoferClient::AddLane(Lane& lane) {
  // Not in the lane's buffer, where a request of its user may wait (Park).
  std::array<std::byte, sizeof(gofer::RequestHeader)> request;
  gofer::Writer out(request);
  out.Put(gofer::RequestHeader{Op::kNewChannel, 0, 0});
  if (!lane.channel.Send(out.bytes()).ok()) return nullptr;
  UniqueFd fd;
  if (!lane.channel.Receive(lane.reply, {&fd, 1}).ok() || !fd.valid()) return nullptr;
  return MakeLane(std::move(fd));
}

bool GoferClient::Park(Lane& lane) {
  {
    MutexLock lock(mu_);
    if (lanes_ - parked_ >= 2) {
      ++parked_;
      return true;
    }
    if (lanes_ >= kMaxChannels) return false;
    ++lanes_;
  }
  LaneRef more = AddLane(lane);
  MutexLock lock(mu_);
  if (more == nullptr) {
    --lanes_;
    return false;
  }
  ++parked_;
  idle_.push_back(std::move(more));
  free_lane_.NotifyAll();
  return true;
}

void GoferClient::Unpark() {
  MutexLock lock(mu_);
  --parked_;
}

void GoferClient::Discard(LaneRef) {
  MutexLock lock(mu_);
  --lanes_;
}

void GoferClient::Forget(gofer::Handle handle) {
  MutexLock lock(mu_);
  forgotten_.push_back(handle);
}

void GoferClient::SendForgets(Lane& lane) {
  std::vector<gofer::Handle> handles;
  {
    MutexLock lock(mu_);
    const size_t count = std::min(forgotten_.size(), gofer::kMaxForget);
    handles.assign(forgotten_.end() - static_cast<ptrdiff_t>(count), forgotten_.end());
    forgotten_.resize(forgotten_.size() - count);
  }
  gofer::Writer out(lane.request);
  // Not before the deferred changes that name them.
  out.Put(gofer::RequestHeader{.op = Op::kForget, .flags = 0, .handle = 0, .after = journal_.sent()});
  out.Put(static_cast<uint32_t>(handles.size()));
  for (const gofer::Handle handle : handles) out.Put(handle);
  (void)lane.channel.Send(out.bytes()).ok();  // a dead server is noticed by the call that follows
}

Result<void> GoferClient::Hello() {
  GoferCall call(*this, Op::kHello, 0);
  call.request().Put(gofer::kProtocolVersion);
  TRY(call.Run());
  for (uint32_t i = 0; i < call.count(); ++i) {
    const auto info = call.reply().Get<gofer::TreeInfo>();
    if (!call.reply().ok()) return Err(EIO);
    trees_.push_back({info.root, info.read_only != 0, info.attr});
  }
  return {};
}

GoferHandleRef GoferClient::Own(gofer::Handle value) { return MakeRef<GoferHandle>(shared_from_this(), value); }

bool GoferClient::OpenJournal() {
  if (!journal_.BeginOpen()) return journal_.open();
  GoferCall call(*this, Op::kNewJournal, 0);
  if (!call.Run().ok()) return false;  // changes are waited for, then
  return journal_.Open(call.TakeFd());
}

// An error is the journal's, reported by those who look at its count of failures.
void GoferClient::Settle() {
  if (Owes()) (void)GoferCall(*this, Op::kSettle, 0).Run().ok();
}

GoferCall::GoferCall(GoferClient& client, Op op, gofer::Handle handle, uint32_t flags)
    : client_(client),
      op_(op),
      // Files without a name have nothing to do with changes of names.
      after_(op == Op::kTmpfile ? 0 : client.journal_.sent()),
      lane_(client.Acquire()),
      request_(lane_->request),
      reply_({}) {
  request_.Put(gofer::RequestHeader{.op = op,
                                    .flags = flags,
                                    .handle = handle,
                                    .processor = static_cast<uint32_t>(::sched_getcpu() + 1),
                                    .after = after_});
}

GoferCall::~GoferCall() {
  if (parked_) client_.Unpark();
  if (awaited_) {
    client_.Discard(std::move(lane_));
  } else {
    client_.Release(std::move(lane_));
  }
}

bool GoferCall::Park() {
  parked_ = client_.Park(*lane_);
  return parked_;
}

Result<void> GoferCall::Run() {
  TRY(Send());
  return Receive();
}

Result<void> GoferCall::Send() {
  if (!request_.ok()) return Err(EIO);  // callers bound what they put in
  client_.round_trips_.fetch_add(1, std::memory_order_relaxed);
  const auto sent = lane_->channel.Send(request_.bytes(), {&passed_, passed_.valid() ? size_t{1} : size_t{0}});
  awaited_ = sent.ok();
  if (sent.ok()) return {};
  LOGF(kError, "gofer: connection lost: errno %d", sent.error().value());
  return Err(EIO);
}

Result<void> GoferCall::Receive() {
  const auto got = lane_->channel.Receive(lane_->reply, fds_);
  awaited_ = false;
  if (!got.ok()) {
    LOGF(kError, "gofer: connection lost: errno %d", got.error().value());
    return Err(EIO);
  }
  reply_ = gofer::Reader(std::span<const std::byte>(lane_->reply).first(*got));
  header_ = reply_.Get<gofer::ReplyHeader>();
  if (!reply_.ok() || header_.op != op_ || header_.error < 0 || header_.error > 4095) return Err(EIO);
  if (client_.journal_.NoteDone(after_, header_.failed)) client_.Doubt();
  if (header_.error != 0 && op_ != Op::kWalk) return Err(header_.error);
  return {};
}

}  // namespace sandbox
