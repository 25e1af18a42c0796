#include "sentry/kernel/aio.h"

#include <algorithm>

#include "sentry/core/deferred.h"

namespace sandbox {

// One poll under way. It sits on the file's queue; what it notices is acted on later, without the queue's lock.
class AioContext::PollEntry final : public WaitEntry, public RefFromThis<PollEntry> {
 public:
  PollEntry(RefPtr<AioContext> context, FileRef file, EventMask wanted, const io_event& event, RefPtr<EventFd> tell)
      : context_(std::move(context)), file_(std::move(file)), wanted_(wanted), event_(event), tell_(std::move(tell)) {}

  void Notify(EventMask) override {
    if (noticed_.exchange(true)) return;
    Defer([self = shared_from_this()] {
      self->noticed_.store(false);
      self->Check(KernelContext());
    });
  }
  // Finishes when the file is ready by now.
  void Check(Context& context) {
    const EventMask found = file_->Readiness(context, wanted_ | kEventAlways) & (wanted_ | kEventAlways);
    if (found != 0) End(found);
  }
  void End(int64_t result) {
    if (ended_.exchange(true)) return;
    Unregister();
    event_.res = result;
    context_->Finish(event_, tell_);
    MutexLock lock(context_->mu_);
    context_->polls_.erase(event_.obj);
  }

 private:
  const RefPtr<AioContext> context_;
  const FileRef file_;
  const EventMask wanted_;
  io_event event_;
  const RefPtr<EventFd> tell_;
  std::atomic<bool> noticed_{false}, ended_{false};
};

AioContext::~AioContext() = default;

Result<void> AioContext::Reserve() {
  MutexLock lock(mu_);
  if (destroyed_) return Err(EINVAL);
  if (reserved_ >= size_) return Err(EAGAIN);
  ++reserved_;
  return {};
}

void AioContext::Unreserve() {
  MutexLock lock(mu_);
  --reserved_;
}

void AioContext::Finish(const io_event& event, const RefPtr<EventFd>& tell) {
  {
    MutexLock lock(mu_);
    done_.push_back(event);
  }
  if (tell != nullptr) tell->Signal(1);
  queue_.Notify(kReadable);
}

void AioContext::Poll(Context& context, const FileRef& file, EventMask events, const io_event& event,
                      RefPtr<EventFd> tell) {
  auto entry = MakeRef<PollEntry>(shared_from_this(), file, events, event, std::move(tell));
  {
    MutexLock lock(mu_);
    polls_[event.obj] = entry;
  }
  if (WaitQueue* queue = file->wait_queue()) queue->Register(*entry, events);
  entry->Check(context);
}

Result<void> AioContext::Cancel(uint64_t iocb) {
  RefPtr<PollEntry> entry;
  {
    MutexLock lock(mu_);
    const auto it = polls_.find(iocb);
    if (it == polls_.end()) return Err(EINVAL);
    entry = it->second;
  }
  entry->End(-ECANCELED);
  return {};
}

std::vector<io_event> AioContext::Take(size_t most) {
  MutexLock lock(mu_);
  const size_t count = std::min(most, done_.size());
  std::vector<io_event> taken(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(count));
  done_.erase(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(count));
  reserved_ -= static_cast<uint32_t>(count);
  return taken;
}

Result<std::vector<io_event>> AioContext::Wait(Context& context, size_t least, size_t most, const Deadline& deadline) {
  std::vector<io_event> events = Take(most);
  if (events.size() >= least) return events;
  Waker waker(context);
  queue_.Register(waker, kReadable | kEventHup);
  Result<void> slept;
  for (;;) {
    for (const io_event& event : Take(most - events.size())) events.push_back(event);
    if (events.size() >= least || !slept.ok()) break;
    {
      MutexLock lock(mu_);
      if (destroyed_) break;
    }
    slept = context.Block(deadline);
  }
  queue_.Unregister(waker);
  if (events.empty() && slept.Is(kErestartsys)) return slept.error();
  return events;
}

void AioContext::Destroy() {
  std::map<uint64_t, RefPtr<PollEntry>> polls;
  {
    MutexLock lock(mu_);
    destroyed_ = true;
    polls = polls_;
  }
  for (const auto& [iocb, poll] : polls) poll->End(-ECANCELED);
  queue_.Notify(kReadable | kEventHup);
}

AioTable& AioTable::Get() {
  static auto& table = *new AioTable;
  return table;
}

std::vector<RefPtr<AioContext>> AioTable::DropDead() {
  std::vector<RefPtr<AioContext>> dead;
  std::erase_if(all_, [&](auto& entry) {
    if (!entry.first.expired()) return false;
    for (auto& [page, context] : entry.second) {
      events_ -= context->size();
      dead.push_back(std::move(context));
    }
    return true;
  });
  return dead;
}

Result<void> AioTable::Add(const RefPtr<MemoryManager>& mm, GuestAddr page, uint32_t size) {
  std::vector<RefPtr<AioContext>> dead;
  Result<void> result;
  {
    MutexLock lock(mu_);
    dead = DropDead();
    if (events_ + size > kMaxEvents) {
      result = Err(EAGAIN);
    } else {
      events_ += size;
      all_[mm].emplace(page, MakeRef<AioContext>(size));
    }
  }
  for (const auto& context : dead) context->Destroy();
  return result;
}

RefPtr<AioContext> AioTable::Find(const RefPtr<MemoryManager>& mm, GuestAddr page) {
  MutexLock lock(mu_);
  const auto contexts = all_.find(mm);
  if (contexts == all_.end()) return nullptr;
  const auto it = contexts->second.find(page);
  return it == contexts->second.end() ? nullptr : it->second;
}

RefPtr<AioContext> AioTable::Remove(const RefPtr<MemoryManager>& mm, GuestAddr page) {
  MutexLock lock(mu_);
  const auto contexts = all_.find(mm);
  if (contexts == all_.end()) return nullptr;
  auto node = contexts->second.extract(page);
  if (node.empty()) return nullptr;
  events_ -= node.mapped()->size();
  return node.mapped();
}

uint64_t AioTable::events() const {
  MutexLock lock(mu_);
  return events_;
}

}  // namespace sandbox
