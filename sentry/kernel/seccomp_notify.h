// User notification of seccomp (seccomp_unotify(2)): a filter hands calls to whoever holds its
// listener descriptor.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <map>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/wait_queue.h"
#include "sentry/vfs/anon_file.h"

namespace sandbox {

class Task;

// The calls that wait for an answer. Shared by the filter that asks and the file that answers.
class SeccompListener {
 public:
  // Hands the call in `data` to the supervisor and waits. Ok(nullopt): the call is to be made after
  // all (CONTINUE). Otherwise its result; ENOSYS when nobody listens any more, ERESTARTSYS when a
  // signal came first.
  Result<std::optional<int64_t>> Ask(Task& task, const seccomp_data& data, bool wait_killable);
  // The last filter that asks here is gone: the supervisor sees a hang-up.
  void FilterGone();

 private:
  friend class SeccompListenerFile;
  enum class State { kNew, kReceived, kAnswered };
  struct Request {
    Task* task;
    seccomp_data data;
    State state = State::kNew;
    bool proceed = false;  // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    int64_t result = 0;    // value or -errno
  };

  Result<void> TryReceive(seccomp_notif* out);
  Result<void> Send(const seccomp_notif_resp& response);
  Result<void> CheckId(uint64_t id);
  Result<int64_t> AddDescriptor(Task& supervisor, const seccomp_notif_addfd& request);
  EventMask Readiness();
  void Close();

  Mutex mu_{LockRank::kFile};
  std::map<uint64_t, Request> requests_ GUARDED_BY(mu_);
  uint64_t next_id_ GUARDED_BY(mu_) = 1;
  bool filter_gone_ GUARDED_BY(mu_) = false, closed_ GUARDED_BY(mu_) = false;
  WaitQueue queue_;
};

class SeccompListenerFile final : public AnonFile {
 public:
  explicit SeccompListenerFile(RefPtr<SeccompListener> listener)
      : AnonFile("seccomp notify", O_RDWR), listener_(std::move(listener)) {}
  ~SeccompListenerFile() override { listener_->Close(); }
  EventMask Readiness(Context&, EventMask interest) override {
    return listener_->Readiness() & (interest | kEventAlways);
  }
  WaitQueue* wait_queue() override { return &listener_->queue_; }
  // SECCOMP_IOCTL_NOTIF_RECV, SEND, ID_VALID, ADDFD.
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;

 private:
  const RefPtr<SeccompListener> listener_;
};

}  // namespace sandbox
