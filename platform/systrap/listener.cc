#include "platform/systrap/listener.h"

#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/slow_handler_monitor.h"
#include "platform/systrap/spin_policy.h"

namespace sandbox::platform::systrap {

Listener::Received Listener::ReceiveFor(Notification* out, int timeout_ms) {
  {
    MutexLock lock(mu_);
    if (receiving_) return Received::kBusy;
    receiving_ = true;
  }
  const auto leave = [this](Received result) {
    bool watch = false;
    {
      MutexLock lock(mu_);
      receiving_ = false;
      if (waiters_ != 0) changed_.notify_all();
      if (result == Received::kNotification) {
        ++received_;
        watch = running_ > 1 && !std::exchange(watched_, true);
      }
    }
    if (watch) monitor_.Watch(shared_from_this());
    return result;
  };
  for (;;) {
    if (timeout_ms >= 0) {
      pollfd poll = {fd_.get(), POLLIN, 0};
      const int ready = ::poll(&poll, 1, timeout_ms);
      if (ready == 0 || (ready < 0 && errno == EINTR)) return leave(Received::kTimeout);
      if (poll.revents & POLLHUP) return leave(Received::kGone);
    }
    // The kernel's structure may grow; it wants zeroes.
    union {
      seccomp_notif notification;
      char space[256];
    } buffer;
    std::memset(&buffer, 0, sizeof(buffer));
    if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &buffer) == 0) {
      const seccomp_notif& n = buffer.notification;
      *out = {n.id, static_cast<int32_t>(n.pid), static_cast<uint32_t>(n.data.nr), n.data.instruction_pointer, {}};
      std::memcpy(out->args, n.data.args, sizeof(out->args));
      return leave(Received::kNotification);
    }
    // ENOENT: the notification was withdrawn (its thread took a signal first), or the last thread is gone.
    if (errno == ENOENT) {
      pollfd poll = {fd_.get(), 0, 0};
      if (::poll(&poll, 1, 0) == 1 && (poll.revents & POLLHUP)) return leave(Received::kGone);
    } else {
      CHECK(errno == EINTR);
    }
    if (timeout_ms >= 0) return leave(Received::kTimeout);
  }
}

bool Listener::Pending() {
  pollfd poll = {fd_.get(), POLLIN, 0};
  return ::poll(&poll, 1, 0) > 0;
}

void Listener::WaitNotReceiving(int timeout_ms) {
  std::unique_lock<std::mutex> lock(mu_.native());
  ++waiters_;
  const uint64_t seen = wakeups_;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (receiving_ && wakeups_ == seen) {
    if (changed_.wait_until(lock, limit) == std::cv_status::timeout) break;
  }
  --waiters_;
}

void Listener::Wakeup() {
  MutexLock lock(mu_);
  ++wakeups_;
  if (waiters_ != 0) changed_.notify_all();
}

bool Listener::Send(uint64_t id, int64_t value, int32_t error, uint32_t flags) {
  seccomp_notif_resp response = {};
  response.id = id;
  response.val = value;
  response.error = error;
  response.flags = flags;
  for (;;) {
    if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0) return true;
    if (errno == EINTR) continue;
    CHECK(errno == ENOENT || errno == EINPROGRESS);
    return false;
  }
}

Result<int> Listener::AddFd(uint64_t id, int fd) {
  seccomp_notif_addfd request = {};
  request.id = id;
  request.srcfd = static_cast<uint32_t>(fd);
  request.newfd_flags = 02000000;  // O_CLOEXEC
  for (;;) {
    const int remote = ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
    if (remote >= 0) return remote;
    if (errno != EINTR) return LastErrno();
  }
}

void Listener::Add(int tid, RefPtr<GuestThread> thread) {
  RefPtr<GuestThread> stale;
  {
    MutexLock lock(mu_);
    auto& entry = threads_[tid];
    stale = std::move(entry);
    entry = std::move(thread);
  }
  // The number was reused, so its former owner ended without telling.
  if (stale) stale->MarkDead(0);
}

void Listener::Remove(int tid, const GuestThread* thread) {
  RefPtr<GuestThread> gone;  // destroyed outside the lock
  MutexLock lock(mu_);
  const auto entry = threads_.find(tid);
  if (entry == threads_.end() || entry->second.get() != thread) return;
  gone = std::move(entry->second);
  threads_.erase(entry);
}

RefPtr<GuestThread> Listener::Find(int tid) {
  MutexLock lock(mu_);
  const auto entry = threads_.find(tid);
  return entry == threads_.end() ? nullptr : entry->second;
}

void Listener::AddPending(uint64_t token, RefPtr<GuestThread> child) {
  MutexLock lock(mu_);
  pending_[token] = std::move(child);
}

RefPtr<GuestThread> Listener::TakePending(uint64_t token) {
  MutexLock lock(mu_);
  const auto entry = pending_.find(token);
  if (entry == pending_.end()) return nullptr;
  RefPtr<GuestThread> child = std::move(entry->second);
  pending_.erase(entry);
  return child;
}

void Listener::AddUnbound(RefPtr<GuestThread> thread) {
  MutexLock lock(mu_);
  unbound_.push_back(std::move(thread));
}

void Listener::RemoveUnbound(const GuestThread* thread) {
  RefPtr<GuestThread> gone;  // destroyed outside the lock
  MutexLock lock(mu_);
  const auto entry = std::find_if(unbound_.begin(), unbound_.end(), [&](const auto& t) { return t.get() == thread; });
  if (entry == unbound_.end()) return;
  gone = std::move(*entry);
  unbound_.erase(entry);
}

bool Listener::Bind(int tid, const RefPtr<GuestThread>& thread) {
  RefPtr<GuestThread> stale;
  {
    MutexLock lock(mu_);
    auto& entry = threads_[tid];
    if (entry != nullptr && entry->process() == thread->process()) return entry == thread;
    stale = std::exchange(entry, thread);
    std::erase(unbound_, thread);
  }
  if (stale) stale->MarkDead(0);  // as in Add
  return true;
}

RefPtr<GuestThread> Listener::BindAndFind(int tid) {
  std::vector<RefPtr<GuestThread>> unbound;
  {
    MutexLock lock(mu_);
    unbound = unbound_;
  }
  for (const RefPtr<GuestThread>& thread : unbound) (void)thread->Bind();
  return Find(tid);
}

bool Listener::NeedsWorkerLocked() {
  if (duty_ != 0 || running_ == 0) return false;
  ++duty_;
  return true;
}

bool Listener::NeedsWorker() {
  MutexLock lock(mu_);
  return NeedsWorkerLocked();
}

bool Listener::HoldNotification() {
  MutexLock lock(mu_);
  if (held_ == kMostHeld) return false;
  ++held_;
  return true;
}

void Listener::ReleaseNotification() {
  MutexLock lock(mu_);
  --held_;
}

bool Listener::ThreadRuns() {
  spin_.ThreadRuns();
  MutexLock lock(mu_);
  ++running_;
  return NeedsWorkerLocked();
}

void Listener::ThreadStops() {
  spin_.ThreadStops();
  MutexLock lock(mu_);
  --running_;
  CHECK(running_ >= 0);
}

void Listener::ThreadUnblocks() {
  spin_.ThreadUnblocks();
  MutexLock lock(mu_);
  ++running_;
}

bool Listener::LeaveSurplusDuty() {
  MutexLock lock(mu_);
  if (duty_ <= 1) return false;
  --duty_;
  return true;
}

Listener::Tick Listener::CheckProgress() {
  MutexLock lock(mu_);
  const uint64_t now = received_ + posted_.load(std::memory_order_relaxed);
  const bool moved = std::exchange(received_before_tick_, now) != now;
  if (running_ <= 1) return Tick::kQuiet;
  if (receiving_ || moved) return receiving_ && !moved ? Tick::kQuiet : Tick::kBusy;
  ++duty_;
  return Tick::kStuck;
}

void Listener::StopWatching() {
  MutexLock lock(mu_);
  watched_ = false;
}

bool Listener::LeaveDuty() {
  MutexLock lock(mu_);
  --duty_;
  CHECK(duty_ >= 0);
  return NeedsWorkerLocked();
}

}  // namespace sandbox::platform::systrap
