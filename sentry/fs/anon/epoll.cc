#include "sentry/fs/anon/epoll.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace sandbox {
namespace {

constexpr uint32_t kPrivateBits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
// What may go with EPOLLEXCLUSIVE (Linux: EPOLLEXCLUSIVE_OK_BITS).
constexpr uint32_t kExclusiveBits =
    kEventIn | kEventOut | kEventErr | kEventHup | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
constexpr int kMaxNesting = 4;           // Linux: EP_MAX_NESTS, sets below a set
constexpr size_t kMaxWatches = 1 << 20;  // Linux: /proc/sys/fs/epoll/max_user_watches

// Serialises changes of who watches whom, so that loop checks see a stable graph.
Mutex topology_mu{LockRank::kEpoll};

}  // namespace

struct Epoll::Watch final : WaitEntry, RefFromThis<Watch> {
  Watch(Epoll& set, int32_t fd, const FileRef& file) : set(set), fd(fd), key(file.get()), file(file) {}
  void Notify(EventMask hit) override { (void)set.MarkReady(*this, hit); }
  // Taken when a thread waits for it; a set that nobody waits on must not swallow what another's
  // thread would take.
  bool NotifyExclusive(EventMask hit) override { return set.MarkReady(*this, hit); }

  Epoll& set;
  const int32_t fd;
  const FileDescription* const key;
  const WeakRef<FileDescription> file;
  bool watches_set = false;  // these two are fixed before the watch is found by others
  bool exclusive = false;
  // Under the set's ready_mu_.
  uint32_t events = 0;
  uint64_t data = 0;
  bool queued = false;
  bool removed = false;
  Watch* next = nullptr;
  Watch* previous = nullptr;
};

Epoll::Epoll() : AnonFile("[eventpoll]", O_RDWR) {}

Epoll::~Epoll() {
  MutexLock lock(mu_);
  for (auto& [key, watch] : watches_) Forget(*watch);
}

void Epoll::QueueLocked(Watch& watch) {
  if (watch.queued || watch.removed) return;
  watch.queued = true;
  watch.next = nullptr;
  watch.previous = ready_tail_;
  (ready_tail_ != nullptr ? ready_tail_->next : ready_head_) = &watch;
  ready_tail_ = &watch;
}

void Epoll::UnqueueLocked(Watch& watch) {
  if (!watch.queued) return;
  watch.queued = false;
  (watch.previous != nullptr ? watch.previous->next : ready_head_) = watch.next;
  (watch.next != nullptr ? watch.next->previous : ready_tail_) = watch.previous;
}

// Called with the lock of the file's wait queue. Notifying our own queues below it is safe: the
// graph has no cycles.
bool Epoll::MarkReady(Watch& watch, EventMask events) {
  {
    MutexLock lock(ready_mu_);
    // A one-shot watch that fired has no events left until it is modified.
    if ((watch.events & ~kPrivateBits) == 0 || (events & watch.events) == 0) return false;
    QueueLocked(watch);
  }
  const bool waited_for = !wait_queue_.empty() || !poll_queue_.empty();
  wait_queue_.Notify(kReadable);
  poll_queue_.Notify(kReadable);
  return waited_for;
}

Epoll::WatchRef Epoll::PopReady() {
  MutexLock lock(ready_mu_);
  if (ready_head_ == nullptr) return nullptr;
  WatchRef watch = ready_head_->shared_from_this();
  UnqueueLocked(*watch);
  return watch;
}

Epoll::WatchRef Epoll::Find(int32_t fd, const FileRef& file) {
  auto it = watches_.find(Key{file.get(), fd});
  if (it == watches_.end()) return nullptr;
  if (!it->second->file.expired()) return it->second;
  Forget(*it->second);  // another file lived at this address
  watches_.erase(it);
  return nullptr;
}

void Epoll::Forget(Watch& watch) {
  watch.Unregister();
  if (watch.watches_set) {
    if (auto file = watch.file.lock()) static_cast<Epoll&>(*file).sets_above_.fetch_sub(1);
  }
  MutexLock lock(ready_mu_);
  watch.removed = true;
  UnqueueLocked(watch);
}

// Puts the watch on the file's queue with new events; Check must follow, outside the locks.
void Epoll::Arm(Watch& watch, const FileRef& file, const epoll_event& event) {
  {
    MutexLock lock(ready_mu_);
    watch.events = event.events | kEventAlways;
    watch.data = event.data.u64;
  }
  watch.Unregister();
  WaitQueue* queue = file->wait_queue();
  if (queue == nullptr) return;
  if (watch.exclusive)
    queue->RegisterExclusive(watch, event.events & ~kPrivateBits);
  else
    queue->Register(watch, event.events & ~kPrivateBits);
}

// What became ready before the watch was on the queue is seen here.
void Epoll::Check(Context& context, Watch& watch, const FileRef& file) {
  const EventMask wanted = watch.mask();
  if (const EventMask now = file->Readiness(context, wanted) & wanted) (void)MarkReady(watch, now);
}

std::vector<FileRef> Epoll::WatchedSets() {
  std::vector<FileRef> sets;
  MutexLock lock(mu_);
  for (auto& [key, watch] : watches_) {
    if (!watch->watches_set) continue;
    if (auto file = watch->file.lock()) sets.push_back(std::move(file));
  }
  return sets;
}

Result<FileRef> Epoll::Target(int32_t fd, uint32_t offset) {
  MutexLock lock(mu_);
  for (const auto& [key, watch] : watches_) {
    if (key.second != fd || offset-- != 0) continue;
    FileRef file = watch->file.lock();
    if (file == nullptr) return Err(ENOENT);
    return file;
  }
  return Err(ENOENT);
}

bool Epoll::LeadsTo(const FileRef& file, const Epoll& target, int depth) {
  auto* set = dynamic_cast<Epoll*>(file.get());
  if (set == nullptr) return false;
  if (set == &target || depth >= kMaxNesting) return true;
  for (const FileRef& below : set->WatchedSets()) {
    if (LeadsTo(below, target, depth + 1)) return true;
  }
  return false;
}

Result<void> Epoll::Add(Context& context, int32_t fd, const FileRef& file, const epoll_event& event) {
  if (!file->pollable()) return Err(EPERM);
  auto* inner = dynamic_cast<Epoll*>(file.get());
  if ((event.events & EPOLLEXCLUSIVE) != 0 && inner != nullptr) return Err(EINVAL);
  if ((event.events & EPOLLEXCLUSIVE) != 0 && (event.events & ~kExclusiveBits) != 0) return Err(EINVAL);
  auto watch = MakeRef<Watch>(*this, fd, file);
  {
    // Only changes that can close a loop pay for the check: a set that is watched, or that watches
    // a set.
    const bool nested = inner != nullptr || sets_above_.load() > 0;
    std::optional<MutexLock> topology;
    if (nested) topology.emplace(topology_mu);
    if (inner != nullptr && LeadsTo(file, *this, 0)) return Err(ELOOP);
    MutexLock lock(mu_);
    if (Find(fd, file) != nullptr) return Err(EEXIST);
    if (watches_.size() >= kMaxWatches) return Err(ENOSPC);
    watch->watches_set = inner != nullptr;
    watch->exclusive = (event.events & EPOLLEXCLUSIVE) != 0;
    if (inner != nullptr) inner->sets_above_.fetch_add(1);
    watches_.emplace(Key{file.get(), fd}, watch);
    Arm(*watch, file, event);
  }
  Check(context, *watch, file);
  return {};
}

Result<void> Epoll::Modify(Context& context, int32_t fd, const FileRef& file, const epoll_event& event) {
  WatchRef watch;
  {
    MutexLock lock(mu_);
    watch = Find(fd, file);
    if (watch == nullptr) return Err(ENOENT);
    // epoll_ctl(2): an exclusive watch cannot be changed, nor another one be made exclusive.
    if (watch->exclusive || (event.events & EPOLLEXCLUSIVE)) return Err(EINVAL);
    Arm(*watch, file, event);
  }
  Check(context, *watch, file);
  return {};
}

Result<void> Epoll::Remove(int32_t fd, const FileRef& file) {
  MutexLock lock(mu_);
  WatchRef watch = Find(fd, file);
  if (watch == nullptr) return Err(ENOENT);
  watches_.erase(Key{file.get(), fd});
  Forget(*watch);
  return {};
}

std::vector<epoll_event> Epoll::Collect(Context& context, size_t max, bool waiting) {
  std::vector<epoll_event> found;
  std::vector<WatchRef> again;  // level-triggered, back on the list when this scan is over
  while (found.size() < max) {
    const WatchRef watch = PopReady();
    if (watch == nullptr) break;
    const FileRef file = watch->file.lock();
    if (file == nullptr) {
      MutexLock lock(mu_);
      auto it = watches_.find(Key{watch->key, watch->fd});
      if (it == watches_.end() || it->second != watch) continue;
      watches_.erase(it);
      Forget(*watch);
      continue;
    }
    const EventMask state = file->Readiness(context, watch->mask());
    MutexLock lock(ready_mu_);
    const EventMask hit = state & watch->events & ~kPrivateBits;
    if (hit == 0 || watch->removed) continue;
    epoll_event event;
    event.events = hit;
    event.data.u64 = watch->data;
    found.push_back(event);
    if (watch->events & EPOLLONESHOT) {
      watch->events &= kPrivateBits;
    } else if (!(watch->events & EPOLLET)) {
      again.push_back(watch);
    }
  }
  bool more;
  {
    MutexLock lock(ready_mu_);
    for (const WatchRef& watch : again) QueueLocked(*watch);
    more = ready_head_ != nullptr;
  }
  // Another waiter may have found the list empty while this one held its watches.
  if (more && !found.empty() && !waiting) wait_queue_.Notify(kReadable);
  return found;
}

Result<std::vector<epoll_event>> Epoll::Wait(Context& context, size_t max, const Deadline& deadline) {
  using Events = std::vector<epoll_event>;
  max = std::min(max, kMaxWatches);
  if (auto events = Collect(context, max, false); !events.empty()) return events;
  if (deadline && deadline->ns <= MonotonicNow().ns) return Events{};
  Waker waker(context);
  wait_queue_.RegisterExclusive(waker, kReadable);
  Result<Events> result = Events{};
  for (;;) {
    result = Collect(context, max, true);
    if (!result->empty()) break;
    if (auto slept = context.Block(deadline); !slept.ok()) {
      if (!slept.Is(ETIMEDOUT)) result = slept.error();
      break;
    }
  }
  waker.Unregister();
  bool more;
  {
    MutexLock lock(ready_mu_);
    more = ready_head_ != nullptr;
  }
  // One wake-up was for one waiter; it may have come while this one was giving up.
  if (more) wait_queue_.Notify(kReadable);
  return result;
}

EventMask Epoll::Readiness(Context& context, EventMask) {
  std::vector<WatchRef> candidates;
  {
    MutexLock lock(ready_mu_);
    for (Watch* w = ready_head_; w != nullptr; w = w->next) candidates.push_back(w->shared_from_this());
  }
  for (const WatchRef& watch : candidates) {
    const FileRef file = watch->file.lock();
    if (file == nullptr) continue;  // the next Wait drops it
    EventMask wanted;
    {
      MutexLock lock(ready_mu_);
      wanted = watch->events & ~kPrivateBits;
    }
    if (file->Readiness(context, wanted) & wanted) return kReadable;
  }
  return 0;
}

std::string Epoll::FdInfo(Context&) {
  std::string out;
  MutexLock lock(mu_);
  for (const auto& [key, watch] : watches_) {
    if (watch->file.expired()) continue;
    MutexLock ready(ready_mu_);
    char line[128];
    std::snprintf(line, sizeof(line), "tfd: %8d events: %8x data: %16llx  pos:0 ino:0 sdev:0\n", watch->fd,
                  watch->events, static_cast<unsigned long long>(watch->data));
    out += line;
  }
  return out;
}

}  // namespace sandbox
