#include "sentry/fs/host/host_notifier.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <unordered_map>

#include "base/check.h"
#include "base/host_sys.h"

namespace sandbox {

class HostNotifier {
 public:
  // Never destroyed: its thread runs until the process ends.
  static HostNotifier& Get() {
    static auto* notifier = new HostNotifier;
    return *notifier;
  }

  // 0 when the host refuses to poll the descriptor.
  uint64_t Add(HostPollable& pollable) {
    MutexLock lock(mu_);
    const uint64_t id = next_id_++;
    epoll_event event{};
    event.events = EPOLLONESHOT;  // disarmed: hang-ups are reported by epoll even for an empty mask, but only once
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pollable.fd_.get(), &event) != 0) return 0;
    pollables_.emplace(id, &pollable);
    if (!started_) {
      started_ = true;
      std::thread([this] { Run(); }).detach();
    }
    return id;
  }
  void Remove(HostPollable& pollable) {
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, pollable.fd_.get(), nullptr);
    MutexLock lock(mu_);  // waits for a dispatch in progress
    pollables_.erase(pollable.id_);
  }
  void Arm(const HostPollable& pollable, EventMask events) {
    epoll_event event{};
    event.events = events | EPOLLONESHOT;
    event.data.u64 = pollable.id_;
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, pollable.fd_.get(), &event);
  }

 private:
  HostNotifier() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) { CHECK(epoll_.valid()); }

  void Run() {
    epoll_event events[64];
    for (;;) {
      const int n = ::epoll_wait(epoll_.get(), events, 64, -1);
      CHECK(n >= 0 || errno == EINTR);
      for (int i = 0; i < n; ++i) {
        MutexLock lock(mu_);
        auto it = pollables_.find(events[i].data.u64);
        if (it != pollables_.end()) it->second->OnHostEvents(events[i].events);
      }
    }
  }

  const UniqueFd epoll_;
  Mutex mu_{LockRank::kHostNotifier};
  std::unordered_map<uint64_t, HostPollable*> pollables_ GUARDED_BY(mu_);
  uint64_t next_id_ GUARDED_BY(mu_) = 1;
  bool started_ GUARDED_BY(mu_) = false;
};

HostPollable::HostPollable(BorrowedFd fd) : fd_(fd) {
  id_ = HostNotifier::Get().Add(*this);
  can_wait_ = id_ != 0;
}

HostPollable::~HostPollable() {
  if (can_wait_) HostNotifier::Get().Remove(*this);
}

EventMask HostPollable::State(EventMask interest) {
  return static_cast<uint16_t>(host::PollNow(fd_, static_cast<short>(interest)));
}

void HostPollable::ArmLocked(EventMask events) {
  armed_ |= events;
  HostNotifier::Get().Arm(*this, armed_);
}

void HostPollable::Arm(EventMask missing) {
  if (!can_wait_ || missing == 0 || queue_.empty()) return;
  MutexLock lock(mu_);
  if ((missing & ~armed_) != 0) ArmLocked(missing);
}

void HostPollable::OnHostEvents(EventMask events) {
  {
    MutexLock lock(mu_);
    // One shot disarmed everything; what others still wait for is armed again. Not after a hang-up or an error: those
    // persist and would come back at once, and every waiter is told of them anyway.
    const EventMask rest = armed_ & ~events;
    armed_ = 0;
    if (rest != 0 && (events & kEventAlways) == 0 && !queue_.empty()) ArmLocked(rest);
  }
  queue_.Notify(events);
}

}  // namespace sandbox
