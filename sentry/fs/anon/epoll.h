// epoll(7): a set of watched files with a ready list (Linux: fs/eventpoll.c).
//
// A watch does not keep its file open. It sits on the file's wait queue and is put on the ready
// list by Notify; what is on the list is only a hint, and Wait asks each file for its state.
// Level-triggered watches that were ready go back to the end of the list, edge-triggered ones wait
// for the next Notify. Sets may watch sets, without cycles and at most five deep.
#pragma once

#include <sys/epoll.h>

#include <map>
#include <utility>
#include <vector>

#include "sentry/vfs/anon_file.h"

namespace sandbox {

class Epoll final : public AnonFile {
 public:
  Epoll();
  ~Epoll() override;

  // epoll_ctl(2). EPERM for files that cannot be polled, EEXIST, ENOENT, ELOOP, EINVAL.
  Result<void> Add(Context& context, int32_t fd, const FileRef& file, const epoll_event& event);
  Result<void> Modify(Context& context, int32_t fd, const FileRef& file, const epoll_event& event);
  Result<void> Remove(int32_t fd, const FileRef& file);

  // The `offset`th file that is watched under the number `fd` (kcmp(2)). ENOENT.
  Result<FileRef> Target(int32_t fd, uint32_t offset);

  // epoll_wait(2): up to `max` events; empty at the deadline. kErestartsys when interrupted.
  Result<std::vector<epoll_event>> Wait(Context& context, size_t max, const Deadline& deadline);

  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return &poll_queue_; }
  std::string FdInfo(Context& context) override;

 private:
  struct Watch;
  using WatchRef = RefPtr<Watch>;
  // A file number may be watched twice through different descriptions, so both make the key.
  using Key = std::pair<const FileDescription*, int32_t>;

  // True when somebody waits for this set.
  bool MarkReady(Watch& watch, EventMask events);
  void QueueLocked(Watch& watch) REQUIRES(ready_mu_);
  void UnqueueLocked(Watch& watch) REQUIRES(ready_mu_);
  WatchRef PopReady();
  WatchRef Find(int32_t fd, const FileRef& file) REQUIRES(mu_);
  void Arm(Watch& watch, const FileRef& file, const epoll_event& event) REQUIRES(mu_);
  void Check(Context& context, Watch& watch, const FileRef& file);
  void Forget(Watch& watch);
  std::vector<epoll_event> Collect(Context& context, size_t max, bool waiting);
  // True when `file` leads to this set, or the chain gets too deep. Under the topology lock.
  static bool LeadsTo(const FileRef& file, const Epoll& target, int depth);
  std::vector<FileRef> WatchedSets();

  Mutex mu_{LockRank::kEpoll};
  std::map<Key, WatchRef> watches_ GUARDED_BY(mu_);
  Mutex ready_mu_{LockRank::kLeaf};  // the list, and events and data of every watch
  Watch* ready_head_ GUARDED_BY(ready_mu_) = nullptr;
  Watch* ready_tail_ GUARDED_BY(ready_mu_) = nullptr;
  std::atomic<int> sets_above_{0};  // sets that watch this one
  WaitQueue wait_queue_;            // threads in epoll_wait
  WaitQueue poll_queue_;            // those who poll the set itself
};

}  // namespace sandbox
