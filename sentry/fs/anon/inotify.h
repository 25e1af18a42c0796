// inotify(7): events of watched inodes as a queue that is read (Linux: fs/notify/inotify).
//
// The VFS reports events to InotifyWatch objects on inodes (vfs/inotify_hooks.h), possibly with directory locks held.
// So a watch only touches the event queue, which file and watches share; a watch that ended by itself (one shot,
// object gone) is taken off its inode at the instance's next call.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/inotify_hooks.h"

namespace sandbox {

class InotifyQueue {
 public:
  struct Event {
    int32_t watch;
    uint32_t mask;
    uint32_t cookie;
    std::string name;
    friend bool operator==(const Event&, const Event&) = default;
    size_t encoded_size() const;
  };
  // Drops a repetition of the last event; the queue's limit ends in one IN_Q_OVERFLOW.
  void Push(Event event);
  // Copies whole events out. EAGAIN when empty, EINVAL when the first does not fit.
  Result<size_t> Read(IoSequence& to);
  bool empty() const;
  size_t encoded_bytes() const;
  WaitQueue wait_queue;

  // Watches that ended by themselves, and those whose object lost a name: looked at by the instance's next call.
  void PushEnded(int32_t watch);
  std::vector<int32_t> TakeEnded();
  void PushUnlinked(int32_t watch);
  std::vector<int32_t> TakeUnlinked();

 private:
  static constexpr size_t kMaxEvents = 16384;  // /proc/sys/fs/inotify/max_queued_events
  mutable Mutex mu_{LockRank::kLeaf};
  std::deque<Event> events_ GUARDED_BY(mu_);
  std::vector<int32_t> ended_ GUARDED_BY(mu_), unlinked_ GUARDED_BY(mu_);
};

class Inotify final : public AnonFile {
 public:
  // EMFILE when there are too many instances.
  static Result<RefPtr<Inotify>> Make(int flags);
  ~Inotify() override;

  // inotify_add_watch(2) on an object that was found and may be read.
  Result<int32_t> Add(const Path& path, uint32_t mask);
  Result<void> Remove(int32_t watch);

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &queue_->wait_queue; }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  std::string FdInfo(Context& context) override;

 private:
  class Watch;
  struct Held {
    InodeRef inode;
    Path path;  // keeps a cached name from being found again as another inode; empty once it is unlinked
    RefPtr<Watch> watch;
  };
  explicit Inotify(int flags);
  // Takes off the watches whose objects are gone.
  void Reap();

  const RefPtr<InotifyQueue> queue_;
  Mutex mu_{LockRank::kEpoll};
  std::map<int32_t, Held> watches_ GUARDED_BY(mu_);
  int32_t next_watch_ GUARDED_BY(mu_) = 1;
};

}  // namespace sandbox
