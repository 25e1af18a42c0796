#include "sentry/fs/anon/inotify.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

#include <cstdio>
#include <cstring>

#include "sentry/core/deferred.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/inode.h"

namespace sandbox {
namespace {

constexpr int kMaxInstances = 8192;    // bounds sentry memory; Linux has 128 a user
constexpr size_t kMaxWatches = 65536;  // an instance; /proc/sys/fs/inotify/max_user_watches
// Sent whether asked for or not.
constexpr uint32_t kAlways = IN_IGNORED | IN_Q_OVERFLOW | IN_UNMOUNT;
constexpr uint32_t kOptions = IN_ONESHOT | IN_EXCL_UNLINK;

std::atomic<int> instances{0};

size_t PaddedNameSize(const std::string& name) {
  if (name.empty()) return 0;
  return (name.size() + 1 + sizeof(inotify_event) - 1) / sizeof(inotify_event) * sizeof(inotify_event);
}

}  // namespace

size_t InotifyQueue::Event::encoded_size() const { return sizeof(inotify_event) + PaddedNameSize(name); }

void InotifyQueue::Push(Event event) {
  {
    MutexLock lock(mu_);
    if (!events_.empty() && events_.back() == event) return;
    if (events_.size() > kMaxEvents) return;
    if (events_.size() == kMaxEvents) event = Event{-1, IN_Q_OVERFLOW, 0, {}};
    events_.push_back(std::move(event));
  }
  wait_queue.Notify(kReadable);
}

Result<size_t> InotifyQueue::Read(IoSequence& to) {
  size_t done = 0;
  for (;;) {
    Event event;
    {
      MutexLock lock(mu_);
      if (events_.empty()) return done > 0 ? Result<size_t>(done) : Err(EAGAIN);
      if (events_.front().encoded_size() > to.remaining()) return done > 0 ? Result<size_t>(done) : Err(EINVAL);
      event = std::move(events_.front());
      events_.pop_front();
    }
    const uint32_t name_size = PaddedNameSize(event.name);
    std::string bytes(sizeof(inotify_event) + name_size, '\0');
    const inotify_event header{event.watch, event.mask, event.cookie, name_size};
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), event.name.data(), event.name.size());
    const auto copied = to.CopyOut(bytes.data(), bytes.size());
    if (!copied.ok() || *copied < bytes.size()) return done > 0 ? Result<size_t>(done) : Err(EFAULT);
    done += bytes.size();
  }
}

bool InotifyQueue::empty() const {
  MutexLock lock(mu_);
  return events_.empty();
}

size_t InotifyQueue::encoded_bytes() const {
  MutexLock lock(mu_);
  size_t total = 0;
  for (const Event& event : events_) total += event.encoded_size();
  return total;
}

void InotifyQueue::PushEnded(int32_t watch) {
  MutexLock lock(mu_);
  ended_.push_back(watch);
}

std::vector<int32_t> InotifyQueue::TakeEnded() {
  MutexLock lock(mu_);
  return std::exchange(ended_, {});
}

void InotifyQueue::PushUnlinked(int32_t watch) {
  {
    MutexLock lock(mu_);
    unlinked_.push_back(watch);
  }
  wait_queue.Notify(kReadable);
}

std::vector<int32_t> InotifyQueue::TakeUnlinked() {
  MutexLock lock(mu_);
  return std::exchange(unlinked_, {});
}

class Inotify::Watch final : public InotifyWatch {
 public:
  Watch(RefPtr<InotifyQueue> queue, const RefPtr<Inotify>& owner, int32_t number, uint32_t mask)
      : number(number), mask(mask), queue_(std::move(queue)), owner_(owner.get()), instance_(owner) {}

  void OnEvent(uint32_t event, uint32_t cookie, std::string_view name) override {
    if (event == kInotifyUnlinked) {
      // The end of the object is reported when its name is let go, which must not happen under the locks held here.
      queue_->PushUnlinked(number);
      return Defer([weak = instance_] {
        if (const auto instance = weak.lock()) instance->Reap();
      });
    }
    const uint32_t wanted = mask.load();
    if ((event & kInotifyChildUnlinked) && (wanted & IN_EXCL_UNLINK)) return;
    event &= ~kInotifyChildUnlinked;
    if (event & (IN_DELETE_SELF | IN_MOVE_SELF)) event &= ~uint32_t{IN_ISDIR};  // as inotify(7) has it
    if ((event & IN_ALL_EVENTS & wanted) == 0 && (event & kAlways) == 0) return;
    if (ended_.load()) return;
    if (event & IN_IGNORED) return End();
    queue_->Push({number, event, cookie, std::string(name)});
    if (wanted & IN_ONESHOT) End();
  }
  const void* owner() const override { return owner_; }
  // Reports that no more will come, once.
  void End() {
    if (ended_.exchange(true)) return;
    queue_->Push({number, IN_IGNORED, 0, {}});
    queue_->PushEnded(number);
  }
  bool ended() const { return ended_.load(); }

  const int32_t number;
  std::atomic<uint32_t> mask;

 private:
  const RefPtr<InotifyQueue> queue_;
  const void* const owner_;
  const WeakRef<Inotify> instance_;
  std::atomic<bool> ended_{false};
};

Inotify::Inotify(int flags) : AnonFile("inotify", O_RDONLY | (flags & O_NONBLOCK)), queue_(MakeRef<InotifyQueue>()) {}

Result<RefPtr<Inotify>> Inotify::Make(int flags) {
  if (instances.fetch_add(1) >= kMaxInstances) {
    instances.fetch_sub(1);
    return Err(EMFILE);
  }
  return RefPtr<Inotify>(new Inotify(flags));
}

Inotify::~Inotify() {
  std::map<int32_t, Held> held;  // paths are released without our lock
  {
    MutexLock lock(mu_);
    held.swap(watches_);
  }
  for (auto& [number, entry] : held) entry.inode->watches().Remove(*entry.watch);
  instances.fetch_sub(1);
}

void Inotify::Reap() {
  // Released after the lock: the last reference to an unlinked name reports IN_DELETE_SELF, to us among others.
  std::vector<Held> ended;
  std::vector<Path> unlinked;
  {
    MutexLock lock(mu_);
    for (const int32_t number : queue_->TakeUnlinked()) {
      auto it = watches_.find(number);
      if (it == watches_.end() || it->second.path.empty() || !it->second.path.dentry->IsDeleted()) continue;
      unlinked.push_back(std::exchange(it->second.path, Path{}));
    }
    for (const int32_t number : queue_->TakeEnded()) {
      auto it = watches_.find(number);
      if (it == watches_.end()) continue;
      ended.push_back(std::move(it->second));
      watches_.erase(it);
    }
  }
  for (Held& held : ended) held.inode->watches().Remove(*held.watch);
}

Result<int32_t> Inotify::Add(const Path& path, uint32_t mask) {
  const InodeRef inode = path.inode();
  const uint32_t kept = mask & (IN_ALL_EVENTS | kOptions);
  Reap();
  MutexLock lock(mu_);
  if (auto known = std::static_pointer_cast<Watch>(inode->watches().Find(this)); known != nullptr && !known->ended()) {
    if (mask & IN_MASK_CREATE) return Err(EEXIST);
    known->mask.store(mask & IN_MASK_ADD ? known->mask.load() | kept : kept);
    return known->number;
  }
  if (watches_.size() >= kMaxWatches) return Err(ENOSPC);
  auto watch = MakeRef<Watch>(queue_, std::static_pointer_cast<Inotify>(shared_from_this()), next_watch_++, kept);
  watches_.emplace(watch->number, Held{inode, path, watch});
  inode->watches().Add(watch);
  return watch->number;
}

Result<void> Inotify::Remove(int32_t number) {
  Held held;
  {
    MutexLock lock(mu_);
    auto it = watches_.find(number);
    if (it == watches_.end() || it->second.watch->ended()) return Err(EINVAL);
    held = std::move(it->second);
    watches_.erase(it);
  }
  held.inode->watches().Remove(*held.watch);
  held.watch->End();
  return {};
}

Result<size_t> Inotify::Read(Context&, IoSequence& to, int64_t*, int) {
  Reap();
  return queue_->Read(to);
}

EventMask Inotify::Readiness(Context&, EventMask) {
  Reap();
  return queue_->empty() ? 0 : kReadable;
}

Result<int64_t> Inotify::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Err(ENOTTY);
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), static_cast<int32_t>(queue_->encoded_bytes())));
  return 0;
}

std::string Inotify::FdInfo(Context& context) {
  std::string out;
  MutexLock lock(mu_);
  for (const auto& [number, held] : watches_) {
    const auto attr = held.inode->GetAttr(context);
    char line[128];
    std::snprintf(line, sizeof(line), "inotify wd:%x ino:%llx sdev:%llx mask:%x ignored_mask:0\n", number,
                  static_cast<unsigned long long>(attr.ok() ? attr->ino : 0),
                  static_cast<unsigned long long>(held.inode->device()), held.watch->mask.load());
    out += line;
  }
  return out;
}

}  // namespace sandbox
