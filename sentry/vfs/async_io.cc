#include "sentry/vfs/async_io.h"

#include <signal.h>

#include "sentry/core/deferred.h"
#include "sentry/vfs/file.h"

namespace sandbox {
namespace {

// si_band of each si_code (Linux: band_table of fs/fcntl.c).
int64_t BandOf(int code) {
  constexpr EventMask kEventMsg = 0x400;
  switch (code) {
    case POLL_IN:
      return kEventIn | kEventRdNorm;
    case POLL_OUT:
      return kEventOut | kEventWrNorm | kEventWrBand;
    case POLL_MSG:
      return kEventIn | kEventRdNorm | kEventMsg;
    case POLL_ERR:
      return kEventErr;
    case POLL_PRI:
      return kEventPri | kEventRdBand;
    default:
      return kEventHup | kEventErr;  // POLL_HUP
  }
}

int CodeOf(EventMask events) {
  if (events & kReadable) return POLL_IN;
  if (events & kWritable) return POLL_OUT;
  if (events & kEventPri) return POLL_PRI;
  if (events & kEventErr) return POLL_ERR;
  return POLL_HUP;
}

// What a description of these access rights is told.
EventMask MaskOf(const FileDescription& file) {
  EventMask mask = kEventAlways | kEventPri | kEventRdBand;
  if (file.readable()) mask |= kReadable | kEventRdHup;
  if (file.writable()) mask |= kWritable;
  return mask;
}

}  // namespace

// Sits on the file's wait queue while O_ASYNC is set.
class AsyncIo::Entry final : public WaitEntry {
 public:
  Entry(AsyncIo& owner, const FileRef& file, int fd) : owner_(owner), file_(file), fd_(fd) {}
  void Notify(EventMask events) override {
    // The hang-up that the end of the queue itself reports is nobody's news.
    if (!file_.expired()) owner_.Signal(CodeOf(events), fd_);
  }

 private:
  AsyncIo& owner_;
  const WeakRef<FileDescription> file_;
  const int fd_;
};

class AsyncIo::UrgentEntry final : public WaitEntry {
 public:
  explicit UrgentEntry(AsyncIo& owner) : owner_(owner) {}
  void Notify(EventMask events) override {
    if (events & kEventPri) owner_.SignalUrgent();
  }

 private:
  AsyncIo& owner_;
};

AsyncIo::AsyncIo() = default;
AsyncIo::~AsyncIo() {
  Disable();
  MutexLock lock(entry_mu_);
  if (urgent_entry_ != nullptr) urgent_entry_->Unregister();
}

void AsyncIo::WatchUrgent(const FileRef& file) {
  MutexLock lock(entry_mu_);
  if (urgent_entry_ != nullptr) return;
  urgent_entry_ = std::make_unique<UrgentEntry>(*this);
  file->wait_queue()->Register(*urgent_entry_, kEventPri);
}

void AsyncIo::SignalUrgent() {
  AsyncOwner to = owner();
  if (to.id == 0 || !to.send) return;
  Defer([send = std::move(to.send)] { send(SIGURG, SI_KERNEL, 0, 0); });
}

void AsyncIo::SetOwner(AsyncOwner owner) {
  MutexLock lock(mu_);
  std::swap(owner_, owner);
}

void AsyncIo::SetOwnerIfNone(AsyncOwner owner) {
  MutexLock lock(mu_);
  if (owner_.id == 0) std::swap(owner_, owner);
}

AsyncOwner AsyncIo::owner() const {
  MutexLock lock(mu_);
  return owner_;
}

void AsyncIo::Enable(const FileRef& file, int fd) {
  WaitQueue* queue = file->wait_queue();
  if (queue == nullptr) return;
  auto entry = std::make_unique<Entry>(*this, file, fd);
  queue->Register(*entry, MaskOf(*file));
  MutexLock lock(entry_mu_);
  if (entry_ != nullptr) entry_->Unregister();
  entry_ = std::move(entry);
}

void AsyncIo::Disable() {
  MutexLock lock(entry_mu_);
  if (entry_ != nullptr) entry_->Unregister();
  entry_.reset();
}

void AsyncIo::Signal(int code, int fd) {
  AsyncOwner to = owner();
  if (to.id == 0 || !to.send) return;
  Defer([send = std::move(to.send), signo = signal(), code, fd] { send(signo, code, BandOf(code), fd); });
}

}  // namespace sandbox
